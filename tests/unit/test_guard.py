"""A model that would be measured or decoded wrongly is refused: when it is loaded, prepared, or planned."""

from __future__ import annotations

import copy
import json
from functools import partial

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, LlamaConfig

from hneurons.cett.measure import cett_batch
from hneurons.cett.regions import TokenRegions
from hneurons.cett.tokens import token_cett
from hneurons.config.models import ModelSettings
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.decode import generate
from hneurons.models.checkpoint import Checkpoint
from hneurons.models.decoder import layer_neurons
from hneurons.models.guard import check_supported
from hneurons.models.layouts import REFUSED_TYPES
from hneurons.models.load import load_model
from hneurons.models.prepare import prepare
from hneurons.neurons.adapters import write_adapter
from tests.families.build import tiny
from tests.families.coverage import outcome
from tests.families.reference import mlps
from tests.tiny import SIZES, tiny_model

# A type of each kind: gated and not, other names of layers, transposed weights, residuals in the MLP, latent attention,
# linear attention and state spaces, activations in one row, no MLP of its own, sparse activations. Of experts: alone,
# with a shared one and its gate, after dense layers, transposed with biases, beside a dense MLP, with tokens for none, on
# scaled inputs.
RIGHT = ["llama", "gpt2", "gpt_neox", "bloom", "opt", "phi", "minicpm3", "qwen3_5_text", "bamba", "lfm2", "gemma3n_text"]
RIGHT += ["mixtral", "qwen2_moe", "deepseek_v3", "gpt_oss", "granitemoeshared", "zaya", "llama4_text"]
REFUSED_KINDS = ["bert", "bart", "mamba", "paligemma", "nemotron_h", "inkling_text", "deepseek_v4"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", RIGHT)
def test_a_type_of_each_kind_is_right(kind):
    row = outcome(kind)
    assert row.outcome == "right", row.detail


@pytest.mark.slow
@pytest.mark.parametrize("kind", REFUSED_KINDS)
def test_a_type_of_each_kind_is_refused_in_one_line(kind):
    row = outcome(kind)
    assert row.outcome == "refused" and "\n" not in row.detail, row


def test_what_is_supported_passes(any_model):
    check_supported(any_model)
    check_supported(copy.deepcopy(any_model).to(torch.bfloat16))


class _Adds(nn.Module):
    """An MLP with a second branch."""

    def __init__(self, mlp):
        super().__init__()
        self.down_proj, self._mlp, self._more = mlp.down_proj, mlp, nn.Linear(32, 32)

    def forward(self, x):
        return self._mlp(x) + self._more(x)


class _Twice(nn.Module):
    def __init__(self, mlp):
        super().__init__()
        self.down_proj, self._mlp = mlp.down_proj, mlp

    def forward(self, x):
        return self._mlp(x) + self._mlp(x)


class _Centred(nn.Linear):
    """A linear layer that acts with other weights than it has."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight - self.weight.mean(1, keepdim=True))


def _centred(mlp):
    mlp.down_proj.__class__ = _Centred
    return mlp


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_Adds, "layer 1: its MLP adds something"),
        (_Twice, "layer 1: its MLP ran twice"),
        (_centred, "layer 1: column 24 of its down-projection is not what"),
    ],
)
def test_an_mlp_that_does_something_else_is_refused(change, message):
    model = tiny_model("llama")
    model.model.layers[1].mlp = change(model.model.layers[1].mlp)
    with pytest.raises(HNeuronsError, match=message):
        check_supported(model)


def _with_mask(model, mask_of):
    """The model, whose text decoder is given another attention mask."""
    forward = model.model.forward

    def changed(*args, attention_mask=None, **options):
        return forward(*args, attention_mask=mask_of(attention_mask, options), **options)

    model.model.forward = changed
    return model


def _everything(mask, options):
    """Every token attends to every other."""
    return torch.zeros(len(mask), 1, options["input_ids"].shape[1], mask.shape[1])


def test_attention_to_later_tokens_is_refused():
    with pytest.raises(HNeuronsError, match="tokens attend to later ones"):
        check_supported(_with_mask(tiny_model("llama"), _everything))


def test_a_model_that_reads_padding_is_refused():
    with pytest.raises(HNeuronsError, match="padding on the left changes"):
        check_supported(_with_mask(tiny_model("llama"), lambda mask, _: torch.ones_like(mask)))


def test_a_model_that_cannot_use_a_cache_is_refused(llama, monkeypatch):
    monkeypatch.setattr(llama, "forward", partial(_refusing, llama.forward))
    with pytest.raises(HNeuronsError, match="does not run on texts in a batch and with a cache: TypeError: no cache"):
        check_supported(llama)


def _refusing(forward, *args, past_key_values=None, **options):
    if past_key_values is not None:
        raise TypeError("no cache")
    return forward(*args, **options)


@pytest.mark.parametrize("kind", sorted(REFUSED_TYPES))
def test_types_that_are_known_to_go_wrong_are_refused_before_anything_is_read(tmp_path, kind):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    settings = ModelSettings(folder=str(tmp_path), dtype="float32")
    for refused in (lambda: prepare("m", settings, tmp_path / "manifest.json"), lambda: load_model(tmp_path)):
        with pytest.raises(HNeuronsError, match=f"models of type {kind} are not supported: "):
            refused()


@pytest.mark.parametrize("kind", ["mamba", "gpt_neo"])
def test_a_plan_refuses_what_could_not_be_measured(tmp_path, kind):
    from hneurons.cli.plan import _check_models

    AutoConfig.for_model(kind).save_pretrained(tmp_path)
    with pytest.raises(HNeuronsError, match=r"^models: mine: .*(no dense MLP|not supported)"):
        _check_models({"mine": ModelSettings(folder=str(tmp_path), dtype="float32")})


def test_a_plan_names_types_that_were_never_tested(tmp_path, monkeypatch):
    from hneurons.cli.plan import _check_models

    AutoConfig.for_model("llama").save_pretrained(tmp_path)
    models = {"mine": ModelSettings(folder=str(tmp_path), dtype="float32")}
    assert _check_models(models) == []
    monkeypatch.setattr("hneurons.models.layouts.tested_types", lambda: {"qwen3"})
    (note,) = _check_models(models)
    assert note.startswith("note: mine is of type llama, which was never tested (docs/models.md); it is checked on a few")


LONG = {
    "longrope": {
        "short_factor": [1.0] * 4,
        "long_factor": [2.0] * 4,
        "original_max_position_embeddings": 16,
        "factor": 16.0,
    },
    "dynamic": {"factor": 2.0},
}


@pytest.mark.parametrize("kind", LONG)
def test_a_row_that_would_change_the_positions_of_others_is_refused(kind):
    rotary = {"rope_type": kind, "rope_theta": 1e4, **LONG[kind]}
    sizes = {**SIZES, "max_position_embeddings": 256 if kind == "longrope" else 16}
    model = AutoModelForCausalLM.from_config(LlamaConfig(**sizes, rope_parameters=rotary)).eval()
    short, long = list(range(5, 17)), list(range(5, 25))
    regions = [TokenRegions(ids, [[True] * len(ids)]) for ids in (short, long)]
    assert cett_batch(model, regions[:1]).shape == (1, 1, 3, 48)
    options = {"seeds": [0], "stop_ids": [2]}
    assert dict(generate(model, [short], Decoding(max_new_tokens=4, temperature=0), **options))
    for passing in (
        lambda: cett_batch(model, regions),
        lambda: token_cett(model, [short, long], {0: [1]}, [2, 2]),
        lambda: list(generate(model, [short], Decoding(max_new_tokens=5, temperature=0), **options)),
    ):
        with pytest.raises(HNeuronsError, match=rf"past 16 this model's rotary positions \({kind}\) change"):
            passing()


@pytest.mark.parametrize(
    "kind",
    ["gpt2", "starcoder2", "gpt_neox", "lfm2", "opt", "mixtral", "qwen2_moe", "gpt_oss", "granitemoeshared", "aria_text"],
)
def test_the_weights_on_disk_are_those_in_memory(tmp_path, kind):
    """Under every name: a row or a column for each neuron, of a layer, of an expert, or of all experts in one tensor."""
    model = tiny(kind)
    model.save_pretrained(tmp_path)
    checkpoint = Checkpoint(tmp_path)
    neurons = [3, 0]
    for layer, (in_memory, mlp) in enumerate(zip(layer_neurons(model), mlps(model), strict=True)):
        matrices, weights = checkpoint.down_proj(layer), mlp.columns(mlp.blocks)
        assert checkpoint.widths.per_layer[layer] == in_memory.d_ff == sum(matrix.d_ff for matrix in matrices)
        for matrix, up, weight in zip(matrices, checkpoint.up_proj(layer), weights, strict=True):
            assert (matrix.d_model, matrix.d_ff) == (32, up.d_ff) == weight.shape
            assert torch.equal(matrix.take(range(matrix.d_ff)), weight)
        assert torch.equal(checkpoint.columns(layer, neurons), in_memory.columns(neurons))
        assert torch.equal(torch.cat(weights, dim=1), in_memory.columns(range(in_memory.d_ff)))


def test_layers_that_predict_further_tokens_are_not_the_decoder(tmp_path, llama):
    from safetensors.torch import save_file

    llama.config.save_pretrained(tmp_path)
    tensors = {name: values.clone() for name, values in llama.state_dict().items()}
    tensors["mtp.layers.0.mlp.down_proj.weight"] = torch.zeros(32, 48)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert Checkpoint(tmp_path).layers == 3


def test_no_adapter_is_written_for_transposed_layers(tmp_path):
    AutoModelForCausalLM.from_config(GPT2Config(n_layer=2, n_embd=32, n_head=4, vocab_size=64)).save_pretrained(tmp_path)
    with pytest.raises(HNeuronsError, match="Conv1D layers, for which no adapter is written; export it"):
        write_adapter(Checkpoint(tmp_path), {0: [1]}, 2.0, tmp_path)
