"""Scaling as a LoRA adapter: the same as columns, hook and exported checkpoint, for a hundredth of the bytes."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from hneurons.cli import app
from hneurons.errors import HNeuronsError
from hneurons.neurons.export import export
from tests.tiny import ARCHITECTURES
from tests.unit.test_export import OTHERS, logits, made, neuron_set


def with_adapter(model, folder):
    from peft import PeftModel

    return PeftModel.from_pretrained(model, folder).eval()


@pytest.mark.parametrize("alpha", [0, 1.7, 3])
@pytest.mark.parametrize("name", [*ARCHITECTURES, *OTHERS])
def test_an_adapter_is_the_scaled_columns(tmp_path, name, alpha):
    model = made(name)
    model.save_pretrained(tmp_path / "plain", max_shard_size="30KB")
    with neuron_set().scale(model, alpha):
        by_columns = logits(model)
    out = export(tmp_path / "plain", neuron_set(), alpha, tmp_path / "adapter", form="lora")
    untouched = logits(model)
    adapted = with_adapter(model, out)
    torch.testing.assert_close(logits(adapted), by_columns, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(untouched, by_columns, atol=1e-3)
    with adapted.disable_adapter():
        torch.testing.assert_close(logits(adapted), untouched)


def test_alpha_1_is_the_untouched_model_bit_by_bit(tmp_path):
    model = made("llama")
    model.save_pretrained(tmp_path / "plain")
    untouched = logits(model)
    out = export(tmp_path / "plain", neuron_set(), 1, tmp_path / "adapter", form="lora")
    assert torch.equal(logits(with_adapter(model, out)), untouched)


def test_an_adapter_has_the_rank_of_the_fullest_layer_and_touches_no_other_layer(tmp_path):
    made("llama").save_pretrained(tmp_path / "plain")
    out = export(tmp_path / "plain", neuron_set(), 3, tmp_path / "adapter", form="lora")
    assert {path.name for path in out.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
        "neurons.parquet",
    }
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["r"] == config["lora_alpha"] == 2
    assert config["target_modules"] == ["model.layers.0.mlp.down_proj", "model.layers.2.mlp.down_proj"]
    tensors = load_file(out / "adapter_model.safetensors")
    a = tensors["base_model.model.model.layers.2.mlp.down_proj.lora_A.weight"]
    assert a.sum() == 1 and a[0, 30] == 1, "one neuron of this layer; the second column is not needed"
    card = (out / "README.md").read_text()
    assert "library_name: peft" in card and "A LoRA adapter of rank 2" in card and "3 of 144" in card


def kl(of, given):
    """KL divergence of next-token distributions in nats, the largest of any position."""
    p, q = (logits.double().log_softmax(-1) for logits in (of, given))
    return (p.exp() * (p - q)).sum(-1).max().item()


@pytest.mark.parametrize("alpha", [0, 3])
def test_in_bf16_an_adapter_rounds_no_worse_than_the_hook(tmp_path, alpha):
    exact = made("llama").bfloat16()
    exact.save_pretrained(tmp_path / "plain")
    out = export(tmp_path / "plain", neuron_set(), alpha, tmp_path / "adapter", form="lora")
    with neuron_set().scale(exact, [float(alpha)] * len(logits(exact))):
        by_hook = logits(exact)
    with neuron_set().scale(exact, alpha):
        by_columns = logits(exact)
    by_adapter = logits(with_adapter(exact, out))
    assert kl(by_columns, by_adapter) < 2 * kl(by_columns, by_hook) + 1e-3


def test_the_command_line_writes_one(tmp_path):
    made("llama").save_pretrained(tmp_path / "plain")
    neuron_set().save(tmp_path / "neurons.parquet")
    command = ["export", str(tmp_path / "adapter"), "--as", "lora", "--alpha", "0"]
    command += ["--model", str(tmp_path / "plain"), "--neurons", str(tmp_path / "neurons.parquet"), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["as"] == "lora" and (tmp_path / "adapter/adapter_config.json").is_file()
    with pytest.raises(HNeuronsError, match="already exists"):
        export(tmp_path / "plain", neuron_set(), 0, tmp_path / "adapter", form="lora")
