"""Packed (quantised) weights are measured and scaled as they act, or unpacked as they are loaded, or refused."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig

from hneurons import store
from hneurons.cett.measure import cett_batch, column_norms
from hneurons.cett.norms import norms_of
from hneurons.cett.regions import TokenRegions
from hneurons.cett.tokens import token_cett
from hneurons.config.models import EngineSettings, ModelSettings, shape_of_model
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.decode import generate
from hneurons.models.checkpoint import Checkpoint
from hneurons.models.decoder import layer_neurons
from hneurons.models.guard import check_supported
from hneurons.models.load import load_model
from hneurons.models.prepare import prepare
from hneurons.models.prepared import PreparedModel
from hneurons.neurons.export import export
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.neurons.scaling import scaled, scaled_rows

SIZES = {"vocab_size": 200, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
NO_TORCHAO = pytest.mark.skipif(find_spec("torchao") is None, reason="torchao is not installed: make test-families")
QUANTIZATIONS = ["bitsandbytes-8bit", "bitsandbytes-4bit", pytest.param("torchao-int8", marks=NO_TORCHAO)]
IDS = [5, 6, 7, 8, 9, 10]
REGIONS = [TokenRegions(IDS, [[i >= 4 for i in range(6)], [i < 4 for i in range(6)]])]
NEURONS = {0: [1, 5], 1: [100]}


@pytest.fixture(scope="module")
def plain():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.2)
    return model


@pytest.fixture(scope="module")
def folder(plain, tmp_path_factory):
    place = tmp_path_factory.mktemp("plain") / "model"
    plain.save_pretrained(place)
    return place


@pytest.fixture(scope="module", params=QUANTIZATIONS)
def packed(request, folder):
    return load_model(folder, dtype="float32", quantization=request.param)


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([IDS])).logits[0]


def changed(model, change):
    """Logits while `change` has replaced the input of every down-projection by hand."""
    hooks = [
        layer.mlp.down_proj.register_forward_pre_hook(lambda _m, args, i=i: (change(i, args[0].clone()),))
        for i, layer in enumerate(model.model.layers)
    ]
    said = logits(model)
    for hook in hooks:
        hook.remove()
    return said


def test_cett_is_what_a_neuron_adds_to_the_output(packed):
    """By definition: how far the layer's output moves without the neuron, over the output."""
    values = cett_batch(packed, REGIONS)[0]
    tokens, _ = token_cett(packed, [IDS], {0: list(range(256)), 1: [100]}, [2])[0]
    for layer, neurons in {0: [1, 5, 77, 255], 1: [100]}.items():
        inputs = []
        down = packed.model.layers[layer].mlp.down_proj
        hook = down.register_forward_hook(lambda _m, args, _out, inputs=inputs: inputs.append(args[0][0]))
        logits(packed)
        hook.remove()
        (z,) = inputs
        with torch.no_grad():
            out = down(z)
            for j in neurons:
                without = z.clone()
                without[:, j] = 0
                moved = (out - down(without)).norm(dim=-1) / out.norm(dim=-1)
                for region, mask in enumerate(REGIONS[0].regions):
                    expected = float(moved[torch.tensor(mask)].mean())
                    # Inputs of eight bits round too.
                    assert values[region][layer][j] == pytest.approx(expected, rel=0.1, abs=4e-3)
    np.testing.assert_allclose(tokens[4:].mean(0)[:256], values[0][0], rtol=1e-4, atol=1e-7)
    batch = cett_batch(packed, [*REGIONS, TokenRegions(IDS[:4], [[False] * 2 + [True] * 2, [True] * 2 + [False] * 2])])
    # The outliers that bitsandbytes keeps in 16 bits are those of all rows of a batch.
    np.testing.assert_allclose(batch[0], values, rtol=1e-2, atol=5e-3)


def test_scaling_multiplies_the_inputs(packed):
    def by_hand(layer, z):
        z[..., NEURONS[layer]] *= 3.0
        return z

    expected, untouched = changed(packed, by_hand), logits(packed)
    with scaled(packed, NEURONS, 3.0):
        assert torch.equal(logits(packed), expected) and not torch.allclose(expected, untouched, atol=1e-3)
        with scaled(packed, NEURONS, 1 / 3):
            torch.testing.assert_close(logits(packed), untouched, rtol=0, atol=1e-4)
    with scaled_rows(packed, [(NEURONS, 3.0)]):
        assert torch.equal(logits(packed), expected)
    with scaled(packed, NEURONS, 1.0):
        assert torch.equal(logits(packed), untouched)
    assert torch.equal(logits(packed), untouched)


def test_it_generates_in_batches_scaled_row_by_row(packed):
    prompts, options = [IDS, IDS[:3]], {"stop_ids": [2]}
    scaled_by = [None, (NEURONS, 4.0)]
    decoding = Decoding(max_new_tokens=6, temperature=0)
    together = dict(generate(packed, prompts, decoding, seeds=[0, 0], scaled_by=scaled_by, **options))
    with scaled(packed, NEURONS, 4.0):
        ((_, (alone,)),) = generate(packed, prompts[1:], decoding, seeds=[0], **options)
    assert together[1][0].token_ids == alone.token_ids


def test_a_study_packs_as_its_models_file_says(folder):
    settings = ModelSettings(folder=str(folder), dtype="float32", quantization="bitsandbytes-8bit")
    prepare("tiny", settings, folder.with_name("manifest.json"))
    prepared = PreparedModel(folder.with_name("manifest.json"))
    assert prepared.identity["quantization"] == "bitsandbytes-8bit" and layer_neurons(prepared.model)[0].packed
    norms = norms_of(prepared)
    kept = folder.with_name("column_norms.parquet")
    before = kept.stat().st_ino
    for again, expected in zip(norms_of(prepared), column_norms(prepared.model), strict=True):
        assert torch.equal(again, expected)
    assert len(norms) == 2 and kept.stat().st_ino == before, "computed once"
    assert settings.bytes_per_weight < settings.model_copy(update={"quantization": None}).bytes_per_weight
    with pytest.raises(ValueError, match="leave out finetune and engine"):
        ModelSettings(
            folder="x", dtype="float32", quantization="torchao-int8", engine={"command": "serve", "speaks": "vllm"}
        )


def test_a_packed_checkpoint_is_measured_as_it_is(folder, tmp_path):
    how = BitsAndBytesConfig(load_in_8bit=True)
    AutoModelForCausalLM.from_pretrained(folder, quantization_config=how, dtype=torch.float32).save_pretrained(tmp_path)
    settings = ModelSettings(folder=str(tmp_path), dtype="float32")
    assert shape_of_model("tiny", settings).d_ff == 256
    prepare("tiny", settings, tmp_path / "manifest.json")
    again = load_model(tmp_path, dtype="float32")
    values = cett_batch(again, REGIONS)
    np.testing.assert_allclose(
        values, cett_batch(load_model(folder, dtype="float32", quantization="bitsandbytes-8bit"), REGIONS), atol=1e-4
    )
    server = settings.model_copy(update={"engine": EngineSettings(command="serve", speaks="vllm")})
    for planned in (lambda: shape_of_model("m", server), lambda: prepare("m", server, tmp_path / "m.json")):
        with pytest.raises(HNeuronsError, match="scaled in the job itself, by no server: leave out engine"):
            planned()
    with pytest.raises(HNeuronsError, match="are packed already"):
        load_model(tmp_path, quantization="bitsandbytes-4bit")
    neurons = NeuronSet(np.array([0]), np.array([1]), np.ones(1), np.ones(1, bool), {"layers": 2, "d_ff": 256})
    for refused in (lambda: Checkpoint(tmp_path), lambda: export(tmp_path, neurons, 2.0, tmp_path / "out")):
        with pytest.raises(HNeuronsError, match="packed or quantised weights, whose columns can neither be written nor"):
            refused()


def rewritten(model, folder, tensors, packing):
    """A checkpoint in which some tensors are packed."""
    model.save_pretrained(folder)
    values = {k: v for k, v in load_file(folder / "model.safetensors").items() if k not in tensors}
    save_file({**values, **{n: t for parts in tensors.values() for n, t in parts.items()}}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": packing}))


def test_fp8_is_unpacked_as_it_is_loaded(plain, tmp_path, caplog):
    tensors, expected = {}, {}
    for name, weight in plain.state_dict().items():
        if "_proj" not in name:
            continue
        tiles = weight.reshape(weight.shape[0] // 128, 128, weight.shape[1] // 128, 128)
        scale = tiles.abs().amax((1, 3)) / 448
        codes = (tiles / scale[:, None, :, None]).reshape(weight.shape).to(torch.float8_e4m3fn)
        tensors[name] = {name: codes, f"{name}_scale_inv": scale}
        expected[name] = (codes.float().reshape(tiles.shape) * scale[:, None, :, None]).reshape(weight.shape)
    rewritten(plain, tmp_path, tensors, {"quant_method": "fp8", "weight_block_size": [128, 128]})
    with caplog.at_level("INFO"):
        model = load_model(tmp_path, dtype="float32")
    assert "packed weights (fp8), unpacked as they are loaded" in caplog.text
    for name, weight in expected.items():
        torch.testing.assert_close(model.get_parameter(name), weight)
    assert not layer_neurons(model)[0].packed and cett_batch(model, REGIONS).any()


FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def test_mxfp4_is_unpacked_as_it_is_loaded(tmp_path):
    """GPT-OSS: two values in a byte, a power of two for 32 of them."""
    torch.manual_seed(0)
    sizes = {**SIZES, "hidden_size": 64, "intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 16}
    config = AutoConfig.for_model("gpt_oss", **sizes, num_local_experts=4, num_experts_per_tok=2)
    model = AutoModelForCausalLM.from_config(config)
    tensors, expected = {}, {}
    for name, weight in model.state_dict().items():
        if not name.endswith(("experts.down_proj", "experts.gate_up_proj")):
            continue
        experts, rows, columns = weight.shape
        codes = torch.randint(0, 16, (experts, columns, rows // 32, 32), dtype=torch.uint8)
        scales = torch.randint(119, 123, (experts, columns, rows // 32), dtype=torch.uint8)
        tensors[name] = {f"{name}_blocks": codes[..., 0::2] | (codes[..., 1::2] << 4), f"{name}_scales": scales}
        values = FP4[codes.long()] * 2.0 ** (scales.float() - 127)[..., None]
        expected[name] = values.reshape(experts, columns, rows).transpose(1, 2)
    rewritten(model, tmp_path, tensors, {"quant_method": "mxfp4"})
    prepare("tiny", ModelSettings(folder=str(tmp_path), dtype="float32"), tmp_path / "manifest.json")
    assert store.read_json(tmp_path / "manifest.json")["experts"] == [4, 64]
    unpacked = load_model(tmp_path, dtype="float32")
    for name, weight in expected.items():
        assert torch.equal(unpacked.get_parameter(name), weight)
    assert cett_batch(unpacked, REGIONS).any()


def test_compressed_tensors_are_unpacked_as_they_are_loaded(plain, tmp_path):
    tensors, expected = {}, {}
    for name, weight in plain.state_dict().items():
        if "_proj" in name:
            scale = weight.abs().amax(1, keepdim=True) / 127
            codes = (weight / scale).round().to(torch.int8)
            tensors[name] = {name: codes, f"{name}_scale": scale}
            expected[name] = codes.float() * scale
    weights = {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}
    inputs = {"num_bits": 8, "type": "int", "strategy": "token", "dynamic": True, "symmetric": True}
    packing = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": inputs}},
    }
    rewritten(plain, tmp_path, tensors, packing)
    model = load_model(tmp_path, dtype="float32")
    for name, weight in expected.items():
        torch.testing.assert_close(model.get_parameter(name), weight)
    assert cett_batch(model, REGIONS).any()


@pytest.mark.parametrize("method", ["gptq", "awq", "hqq"])
def test_what_was_not_tested_is_refused_before_any_job(folder, tmp_path, method):
    packing = {"quant_method": method, "bits": 4, "group_size": 16}
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": packing}))
    settings = ModelSettings(folder=str(tmp_path), dtype="float32")
    for refused in (lambda: shape_of_model("m", settings), lambda: prepare("m", settings, tmp_path / "m.json")):
        with pytest.raises(
            HNeuronsError, match=rf"quantised weights \({method}\), which were not tested; take the model's"
        ):
            refused()


def test_a_library_that_is_missing_is_named_before_any_job(folder, tmp_path, monkeypatch):
    config = json.loads((folder / "config.json").read_text())
    packing = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": packing}))
    absent = lambda name: None if name in ("bitsandbytes", "torchao") else find_spec(name)  # noqa: E731
    monkeypatch.setattr("hneurons.config.weights.find_spec", absent)
    monkeypatch.setattr("hneurons.models.load.find_spec", absent)
    with pytest.raises(HNeuronsError, match="for which a library is missing: pip install bitsandbytes"):
        shape_of_model("m", ModelSettings(folder=str(tmp_path), dtype="float32"))
    with pytest.raises(HNeuronsError, match="torchao-int8 needs a library: pip install torchao"):
        load_model(folder, quantization="torchao-int8")


class _Saturating(nn.Linear):
    """A packed layer whose inputs end at a quarter."""

    def forward(self, x):
        return nn.functional.linear(x.clamp(-0.25, 0.25), self.weight)


class _Packed(nn.Parameter):
    pass


def test_packed_layers_that_saturate_are_refused(folder):
    model = load_model(folder, dtype="float32")
    down = model.model.layers[1].mlp.down_proj
    down.__class__ = _Saturating
    down.weight = _Packed(down.weight.data)
    with pytest.raises(HNeuronsError, match="layer 1: its packed down-projection is not linear"):
        check_supported(model)
