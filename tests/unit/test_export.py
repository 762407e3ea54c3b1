"""An exported checkpoint: the same as the hook and as scaled columns, whatever the layout of its files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, GlmConfig, Mistral3Config, Phi3Config
from typer.testing import CliRunner

import hneurons as hn
from hneurons import store
from hneurons.cli import app
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.decode import generate
from hneurons.models.checkpoint import Checkpoint
from hneurons.neurons.export import export
from hneurons.neurons.neuron_set import NeuronSet
from tests.tiny import ARCHITECTURES, SIZES, VISION, tiny_model

# Gate and up as one tensor, and Mistral Small's decoder beside a vision tower that has gated MLPs of its own.
OTHERS = {
    "phi3": Phi3Config(**SIZES),
    "glm": GlmConfig(**SIZES, partial_rotary_factor=1.0),
    "mistral3": Mistral3Config(
        text_config={"model_type": "mistral", **SIZES, "sliding_window": None},
        vision_config={"model_type": "pixtral", **VISION, "head_dim": 16},
        image_token_index=10,
    ),
}
PROMPTS = [[1, *range(50, 50 + n)] for n in (3, 9, 5)]


def made(name):
    if name not in OTHERS:
        return tiny_model(name)
    torch.manual_seed(0)
    auto = AutoModelForImageTextToText if name == "mistral3" else AutoModelForCausalLM
    model = auto.from_config(OTHERS[name]).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
    return model


def neuron_set(**made_by):
    made_by = {"model": "tiny", "revision": "r1", "layers": 3, "d_ff": 48, **made_by}
    return NeuronSet(np.array([0, 0, 2]), np.array([1, 7, 30]), np.ones(3), np.ones(3, bool), made_by)


def logits(model):
    ids = torch.tensor([PROMPTS[1], PROMPTS[1][::-1]])
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def greedy(model):
    """Batched, with the key-value cache."""
    found = dict(generate(model, PROMPTS, Decoding(max_new_tokens=10, temperature=0), seeds=[0] * 3, stop_ids=[2]))
    return [found[i][0].token_ids for i in range(3)]


@pytest.mark.parametrize("name", [*ARCHITECTURES, *OTHERS])
def test_hook_columns_and_exported_checkpoint_are_one(tmp_path, name):
    model = made(name)
    model.save_pretrained(tmp_path / "plain", max_shard_size="30KB")
    rows = len(logits(model))
    with neuron_set().scale(model, [1.7] * rows):
        by_hook = logits(model)
    with neuron_set().scale(model, 1.7):
        by_columns, said = logits(model), greedy(model)
    torch.testing.assert_close(by_columns, by_hook, atol=1e-4, rtol=1e-4)
    out = export(tmp_path / "plain", neuron_set(), 1.7, tmp_path / "steered")
    exported = hn.load_model(out, dtype="float32")
    assert torch.equal(logits(exported), by_columns)
    assert greedy(exported) == said


def test_bf16_drifts_by_its_rounding(tmp_path):
    """Hook and columns round at other places: logits differ by about bfloat16's last digit, and no more."""
    model = made("llama").bfloat16()
    with neuron_set().scale(model, [1.7] * len(logits(model))):
        by_hook = logits(model)
    with neuron_set().scale(model, 1.7):
        by_columns = logits(model)
    difference = (by_columns - by_hook).float().abs().max() / by_hook.float().abs().max()
    assert 0 < difference < 2**-5


def test_alpha_1_exports_the_same_weights(tmp_path):
    made("llama").save_pretrained(tmp_path / "plain")
    out = export(tmp_path / "plain", neuron_set(), 1, tmp_path / "same")
    assert torch.equal(logits(hn.load_model(out)), logits(hn.load_model(tmp_path / "plain")))


def test_untouched_files_are_links_and_the_card_says_what_was_done(tmp_path):
    made("llama").save_pretrained(tmp_path / "plain", max_shard_size="20KB")
    (tmp_path / "plain" / "README.md").write_text("The original card.")
    for path in (tmp_path / "plain").glob("*.safetensors"):
        path.chmod(0o644)
    out = export(tmp_path / "plain", neuron_set().random_like(3), 0.5, tmp_path / "steered")
    files = {
        path.name: (out / path.name).stat().st_ino == path.stat().st_ino for path in (tmp_path / "plain").glob("*.safet*")
    }
    weights = {name: linked for name, linked in files.items() if name.endswith(".safetensors")}
    assert len(weights) > 3 and sum(not linked for linked in weights.values()) in (1, 2)
    card = (out / "README.md").read_text()
    assert "3 neurons scaled by α = 0.5" in card and "random neurons (random-3)" in card and "base_model: tiny" in card
    assert (out / "README.original.md").read_text() == "The original card."
    assert NeuronSet.load(out / "neurons.parquet").by_layer() == neuron_set().random_like(3).by_layer()
    assert not list(tmp_path.glob(".steered*"))


def test_an_export_holds_the_weights_and_what_belongs_to_them(tmp_path, tokenizer, caplog):
    plain = tmp_path / "plain"
    made("llama").save_pretrained(plain, max_shard_size="60KB")
    tokenizer.save_pretrained(plain)
    ours = {path.name for path in plain.iterdir()}
    kept = ("LICENSE.txt", "USE_POLICY.md", "tokenizer.model", "merges.txt", "preprocessor_config.json")
    kept += ("additional_chat_templates/tools.jinja",)
    weights = ("pytorch_model.bin", "original/consolidated.00.pth", "onnx/model.onnx", "m.Q4_0.gguf", "tf_model.h5")
    weights += ("consolidated.safetensors", "model-00001-of-00099.safetensors")
    others = (
        ".git/objects/pack/x.pack",
        ".cache/huggingface/a.metadata",
        "pytorch_model.bin.index.json",
        "code/run.py",
        "a.png",
    )
    for name in (*kept, *weights, *others):
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        (plain / name).write_text("{}")
    with caplog.at_level("INFO", logger="hneurons"):
        out = export(plain, neuron_set(), 0, tmp_path / "steered")
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert written == {*ours, *kept, "README.md", "neurons.parquet"}
    (line,) = (record.getMessage() for record in caplog.records)
    assert "would not be scaled" in line and all(name in line for name in weights)
    # With custom code, its modules too.
    (plain / "config.json").write_text(
        (plain / "config.json").read_text().replace("{", '{"auto_map": {"AutoModelForCausalLM": "code.run.Model"},', 1)
    )
    assert (export(plain, neuron_set(), 0, tmp_path / "with-code") / "code/run.py").is_file()


@pytest.mark.parametrize("source_mode", [0o644, 0o600])
def test_others_may_read_an_export_as_far_as_the_umask_allows(tmp_path, source_mode):
    made("llama").save_pretrained(tmp_path / "plain", max_shard_size="60KB")
    for path in (tmp_path / "plain").iterdir():
        path.chmod(source_mode)
    out = export(tmp_path / "plain", neuron_set(), 0, tmp_path / "steered")
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {store.new_file_mode(tmp_path)}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "plain").iterdir()} == {source_mode}


def test_what_was_there_is_not_overwritten(tmp_path):
    made("llama").save_pretrained(tmp_path / "plain")
    with pytest.raises(HNeuronsError, match="already exists"):
        export(tmp_path / "plain", neuron_set(), 0, tmp_path / "plain")


def manifest(folder, name, revision="r1"):
    """A study's checkpoint folder."""
    model = made("llama")
    model.save_pretrained(folder / "weights")
    store.write_json(folder / "manifest.json", {"model": name, "revision": revision, "path": "weights"})
    return folder


@pytest.mark.parametrize(
    ("name", "revision", "made_by", "said"),
    [
        ("other", "r1", {}, "found on another model: model tiny, not other; strict=False"),
        ("tiny", "r2", {}, "revision r1, not r2"),
        ("tiny", "r1", {"layers": 4}, "layers 4, not 3$"),
        ("tiny", "r1", {"d_ff": 64}, "d_ff 64, not 48$"),
    ],
)
def test_neurons_of_another_model_are_refused(tmp_path, name, revision, made_by, said):
    folder = manifest(tmp_path / "checkpoint", name, revision)
    neurons = neuron_set(**made_by)
    with pytest.raises(HNeuronsError, match=said):
        export(folder, neurons, 0, tmp_path / "out")
    model = hn.load_model(folder)
    with pytest.raises(HNeuronsError, match=said), neurons.scale(model, 0):
        pass
    if not made_by:
        with neurons.scale(model, 0, strict=False):
            pass
        export(folder, neurons, 0, tmp_path / "out", strict=False)


def test_the_right_model_is_known_by_its_manifest(tmp_path):
    model = hn.load_model(manifest(tmp_path / "checkpoint", "tiny") / "weights")
    with neuron_set().scale(model, 0):
        pass


def test_packed_weights_are_refused(tmp_path):
    tensors = {f"model.layers.{i}.mlp.down_proj.weight": torch.zeros(8, 4, dtype=torch.uint8) for i in range(3)}
    from safetensors.torch import save_file

    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(HNeuronsError, match="packed or quantised"):
        Checkpoint(tmp_path)


def test_each_row_of_a_batch_may_have_its_own_alpha(any_model):
    ids = torch.tensor([PROMPTS[1]] * 3)
    with torch.no_grad():
        expected = []
        for alpha in (0.0, 1.0, 2.5):
            with neuron_set().scale(any_model, alpha):
                expected.append(any_model(input_ids=ids[:1]).logits[0])
        with neuron_set().scale(any_model, [0.0, 1.0, 2.5]):
            together = any_model(input_ids=ids).logits
            with pytest.raises(HNeuronsError, match="alpha has 3 numbers, one per row, but the batch has 2 rows"):
                any_model(input_ids=ids[:2])
    torch.testing.assert_close(together, torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_rows_with_their_own_alpha_generate_like_alone(llama):
    ids = torch.tensor([PROMPTS[1]] * 2)
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": 2, "pad_token_id": 0}
    with neuron_set().scale(llama, [0.0, 3.0]):
        together = llama.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
    for row, alpha in enumerate((0.0, 3.0)):
        with neuron_set().scale(llama, alpha):
            alone = llama.generate(input_ids=ids[:1], attention_mask=torch.ones_like(ids[:1]), **options)
        assert together[row, : alone.shape[1]].tolist() == alone[0].tolist()


def test_the_negative_end_of_a_probe():
    weights = np.array([0.5, -0.2, 0.0, -1.0])
    found = NeuronSet(np.array([0, 0, 1, 2]), np.arange(4), weights, weights > 0, {"d_ff": 48})
    assert found.variant("negative").by_layer() == {0: [1], 2: [3]}
    with pytest.raises(HNeuronsError, match="no neuron of this set has a negative weight"):
        neuron_set().variant("negative")


def test_the_command_line(tmp_path):
    folder = manifest(tmp_path / "checkpoint", "tiny")
    neuron_set().save(tmp_path / "neurons.parquet")
    options = ["--model", str(folder), "--neurons", str(tmp_path / "neurons.parquet"), "--alpha", "0"]
    done = CliRunner().invoke(app, ["export", str(tmp_path / "out"), *options])
    assert done.exit_code == 0, done.output
    weight = hn.load_model(tmp_path / "out").model.layers[2].mlp.down_proj.weight
    assert not weight[:, 30].any() and weight[:, 31].any()
    again = CliRunner().invoke(app, ["export", str(tmp_path / "out"), *options])
    assert again.exit_code == 1 and again.output.startswith("error: ") and again.output.count("\n") == 1
