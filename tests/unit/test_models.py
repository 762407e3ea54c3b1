"""Models come from safetensors alone, and the manifest pins what was found."""

from __future__ import annotations

import pytest
import torch

from hneurons import store
from hneurons.config.models import ModelSettings
from hneurons.errors import HNeuronsError
from hneurons.models.decoder import decoder_mlps
from hneurons.models.load import load_model
from hneurons.models.prepare import prepare
from hneurons.models.prepared import PreparedModel
from hneurons.models.tokenizer import stop_token_ids
from tests.tiny import tiny_model


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
    with pytest.raises(OSError, match="safetensors"):
        load_model(tmp_path)


def test_a_multimodal_checkpoint_loads_with_its_text_decoder(tmp_path):
    model = tiny_model("gemma3-multimodal")
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path, dtype="float32")
    assert len(decoder_mlps(again)) == 3
    ours, theirs = (m[0].down_proj.weight for m in (decoder_mlps(again), decoder_mlps(model)))
    assert torch.equal(ours, theirs)


def test_a_layer_without_down_proj_is_named(llama):
    model = tiny_model("llama")
    model.model.layers[1].mlp = torch.nn.Identity()
    with pytest.raises(HNeuronsError, match=r"layer 1 has no mlp.down_proj"):
        decoder_mlps(model)
