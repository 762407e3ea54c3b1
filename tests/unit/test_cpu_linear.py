"""Linear layers by oneDNN: the same numbers, weights that can be scaled, gradients; other kinds are left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hneurons.models import cpu_linear
from hneurons.neurons.scaling import scaled
from tests.tiny import tiny_model

IDS = torch.arange(3, 20)[None]


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits


@pytest.fixture
def on_amd(monkeypatch):
    monkeypatch.setattr(cpu_linear, "_is_amd_with_avx512", lambda: True)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
def test_the_logits_are_those_of_torch(on_amd, alpha):
    plain, fast = tiny_model("llama"), tiny_model("llama")
    cpu_linear.use_fast_linear(fast)
    assert all(isinstance(m, cpu_linear._OneDnnLinear) for m in fast.modules() if isinstance(m, nn.Linear))
    with scaled(plain, {0: [1, 7], 2: [0]}, alpha), scaled(fast, {0: [1, 7], 2: [0]}, alpha):
        torch.testing.assert_close(logits(fast), logits(plain), atol=1e-5, rtol=1e-5)


def test_biases_and_gradients_are_those_of_torch(on_amd):
    plain, x = nn.Linear(33, 17), torch.randn(5, 2, 33)
    fast = nn.Sequential(nn.Linear(33, 17))
    fast[0].load_state_dict(plain.state_dict())
    cpu_linear.use_fast_linear(fast)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), atol=1e-5, rtol=1e-5)
    for module in (plain, fast):
        module(x).square().sum().backward()
    torch.testing.assert_close(fast[0].weight.grad, plain.weight.grad)


def test_other_types_and_subclasses_are_left_alone(on_amd):
    class Packed(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(4, 4).bfloat16(), Packed(4, 4))
    cpu_linear.use_fast_linear(model)
    assert [type(module) for module in model] == [nn.Linear, Packed]
