"""Models come from safetensors alone, and the manifest pins what was found."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from hneurons import store
from hneurons.config.models import ModelSettings, shape_of_model
from hneurons.config.weights import read_config
from hneurons.errors import HNeuronsError
from hneurons.models.checkpoint import Checkpoint
from hneurons.models.decoder import layer_neurons
from hneurons.models.load import load_model
from hneurons.models.prepare import prepare
from hneurons.models.prepared import PreparedModel
from hneurons.models.tokenizer import stop_token_ids
from tests.tiny import SIZES, tiny_model


def test_a_folder_is_pinned_and_loaded(tmp_path, llama, tokenizer):
    llama.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    manifest = tmp_path / "checkpoint/manifest.json"
    prepare("tiny", ModelSettings(folder=str(tmp_path / "model"), dtype="float32"), manifest)
    pinned = store.read_json(manifest)
    assert (pinned["layers"], pinned["d_ff"], len(pinned["revision"])) == (3, 48, 16)
    prepared = PreparedModel(manifest)
    assert torch.equal(prepared.model.lm_head.weight, llama.lm_head.weight)
    assert stop_token_ids(prepared.model.generation_config, prepared.tokenizer) == [2]


def test_pickled_weights_are_not_read(tmp_path, llama):
    llama.config.save_pretrained(tmp_path)
    torch.save(llama.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(HNeuronsError, match="holds no complete safetensors checkpoint"):
        prepare("tiny", ModelSettings(folder=str(tmp_path)), tmp_path / "manifest.json")
    with pytest.raises(HNeuronsError, match=r"only pytorch_model\.bin"):
        load_model(tmp_path)


@pytest.fixture
def sharded(tmp_path, llama):
    """A checkpoint of several files with an index."""
    llama.save_pretrained(tmp_path / "model", max_shard_size="60KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 2
    return tmp_path / "model"


def refusals(folder):
    """What every reader of weights says about a folder."""
    settings = ModelSettings(folder=str(folder), dtype="float32")
    readers = (
        lambda: shape_of_model("tiny", settings),
        lambda: prepare("tiny", settings, folder / "manifest.json"),
        lambda: load_model(folder),
        lambda: Checkpoint(folder),
    )
    for reader in readers:
        try:
            reader()
        except HNeuronsError as error:
            yield str(error)
        else:
            yield "accepted"


@pytest.mark.parametrize("number", ["00001-of-00002", "00002-of-00009"])
def test_what_the_loader_ignores_is_no_weight(sharded, llama, number):
    """Left over from an earlier upload, or in another layout or precision: transformers opens none of these."""
    size = shape_of_model("tiny", ModelSettings(folder=str(sharded), dtype="float32"))
    others = (f"model-{number}.safetensors", "model.fp16.safetensors", "consolidated.safetensors", "original/a.safetensors")
    (sharded / "original").mkdir()
    for name in others:
        save_file({k: v + 1 for k, v in llama.state_dict().items()}, sharded / name)
    read = torch.cat([values for _, values in Checkpoint(sharded).down_proj(1)[0].blocks()]).float()
    assert torch.equal(read, load_model(sharded).model.layers[1].mlp.down_proj.weight)
    assert torch.equal(read, llama.model.layers[1].mlp.down_proj.weight)
    assert shape_of_model("tiny", ModelSettings(folder=str(sharded), dtype="float32")) == size
    prepare("tiny", ModelSettings(folder=str(sharded), dtype="float32"), sharded.parent / "manifest.json")
    assert not set(others) & set(store.read_json(sharded.parent / "manifest.json")["weights"])


def test_a_config_may_name_the_weights(tmp_path, llama):
    llama.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "first.safetensors")
    save_file({k: v + 1 for k, v in llama.state_dict().items()}, tmp_path / "model.safetensors")
    store.write_json(tmp_path / "config.json", {**read_config(tmp_path), "transformers_weights": "first.safetensors"})
    read = torch.cat([values for _, values in Checkpoint(tmp_path).down_proj(0)[0].blocks()]).float()
    assert torch.equal(read, load_model(tmp_path).model.layers[0].mlp.down_proj.weight)


def one_file(folder, llama):
    save_file(llama.state_dict(), folder / "model.safetensors")


def no_index(folder, llama):
    (folder / "model.safetensors.index.json").unlink()


def one_file_and_stray_shards(folder, llama):
    no_index(folder, llama)
    one_file(folder, llama)


def lost_shard(folder, llama):
    next(folder.glob("model-00002-*")).unlink()


def shard_outside(folder, llama):
    index = store.read_json(folder / "model.safetensors.index.json")
    index["weight_map"]["lm_head.weight"] = "../model.safetensors"
    store.write_json(folder / "model.safetensors.index.json", index)


def copied_tensor(folder, change=0.0):
    """A tensor of the second file in the last one too."""
    index = store.read_json(folder / "model.safetensors.index.json")["weight_map"]
    name = next(name for name, file in index.items() if "-00002-" in file)
    last = folder / sorted(index.values())[-1]
    save_file({**load_file(last), name: load_file(folder / index[name])[name] + change}, last, {"format": "pt"})
    return name


def test_a_tensor_may_be_in_two_files_if_it_is_the_same(sharded, llama):
    name = copied_tensor(sharded)
    assert torch.equal(load_model(sharded).state_dict()[name], llama.state_dict()[name])
    assert Checkpoint(sharded).layers == 3
    copied_tensor(sharded, 1.0)
    for read in (load_model, Checkpoint):
        with pytest.raises(HNeuronsError, match=r"model-00002-.* both hold .*, with other values"):
            read(sharded)


def adapter(folder, llama):
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (one_file, "two sets of weights, model.safetensors and model-00001-of-"),
        (one_file_and_stray_shards, "two sets of weights, model.safetensors and model-00001-of-"),
        (no_index, "neither model.safetensors nor model.safetensors.index.json, only model-00001-of-"),
        (lost_shard, "model.safetensors.index.json lists model-00002-of-"),
        (shard_outside, "it lists ../model.safetensors, outside of the folder"),
        (adapter, "adapter_config.json: an adapter (such as LoRA); merge it"),
    ],
)
def test_every_reader_of_weights_refuses_the_same_folders(sharded, llama, change, says):
    change(sharded, llama)
    for said in refusals(sharded):
        assert says in said and "\n" not in said


@pytest.mark.parametrize("place", [None, "text_config"])
@pytest.mark.parametrize(
    "packing", [{"quant_method": "hqq", "nbits": 3}, {"quant_method": "fp8", "activation_scheme": "dynamic"}]
)
def test_packed_weights_are_refused_before_any_job(sharded, place, packing):
    config, found = read_config(sharded), {"quantization_config": packing}
    store.write_json(sharded / "config.json", {**config, **({place: {**config, **found}} if place else found)})
    shape = {"layers": 3, "d_ff": 48, "d_model": 32, "vocabulary": 400, "parameters": 49_632}
    settings = [ModelSettings(folder=str(sharded), shape=shape), ModelSettings(folder=str(sharded))]
    for call in (
        lambda: shape_of_model("tiny", settings[0]),
        lambda: shape_of_model("tiny", settings[1]),
        lambda: prepare("tiny", settings[0], sharded / "manifest.json"),
        lambda: load_model(sharded),
    ):
        with pytest.raises(HNeuronsError, match=rf"packed or quantised weights \({packing['quant_method']}\)"):
            call()


def test_tensors_that_are_missing_or_of_another_shape_are_not_replaced_by_random_ones(tmp_path, llama):
    llama.save_pretrained(tmp_path)
    tensors = {k: v for k, v in llama.state_dict().items() if "layers.2.self_attn" not in k}
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(HNeuronsError, match=r"4 tensors of the model are missing, such as model\.layers\.2\.self_attn"):
        load_model(tmp_path)
    save_file({**llama.state_dict(), "model.norm.weight": torch.zeros(7)}, tmp_path / "model.safetensors")
    with pytest.raises(HNeuronsError, match="do not have the shape that follows"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda content: content[:-1], "bytes, "),
        (lambda content: content[:50], "no valid header"),
        (lambda content: b"", "no valid header"),
        (lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "run `git lfs pull`"),
    ],
)
def test_a_damaged_file_is_named(sharded, harm, says):
    path = sorted(sharded.glob("*.safetensors"))[1]
    path.write_bytes(harm(path.read_bytes()))
    for said in list(refusals(sharded))[1:]:
        assert f"{path}: not a complete safetensors file (" in said and says in said


def test_a_multimodal_checkpoint_loads_with_its_text_decoder(tmp_path):
    model = tiny_model("gemma3-multimodal")
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path, dtype="float32")
    assert len(layer_neurons(again)) == 3
    ours, theirs = (d[0].parts[0].weight for d in (layer_neurons(again), layer_neurons(model)))
    assert torch.equal(ours, theirs)


def test_a_layer_without_down_proj_is_named(llama):
    model = tiny_model("llama")
    model.model.layers[1].mlp = torch.nn.Identity()
    with pytest.raises(HNeuronsError, match=r"layer 1 \(LlamaDecoderLayer\) has no dense MLP"):
        layer_neurons(model)


def test_routed_experts_next_to_a_dense_mlp_are_refused():
    experts = {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 24}
    per_layer = {"vocab_size_per_layer_input": 400, "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0}
    config = AutoConfig.for_model("gemma4_text", **SIZES, **experts, **per_layer, global_head_dim=8)
    with pytest.raises(HNeuronsError, match=r"layer 0 has experts beside its MLP \(experts\)"):
        layer_neurons(AutoModelForCausalLM.from_config(config))
