"""Scaling: hook = columns, α = 1 = untouched, and nothing stays behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.decode import generate
from hneurons.models.decoder import layer_neurons
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.neurons.scaling import scaled
from tests.tiny import tiny_model

CHOSEN = {0: [1, 7, 30], 2: [0, 47]}
IDS = torch.arange(3, 20)[None]


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits


def greedy(model):
    prompts = [IDS[0, :n].tolist() for n in (5, 11, 17)]
    found = dict(generate(model, prompts, Decoding(max_new_tokens=12, temperature=0), seeds=[0] * 3, stop_ids=[2]))
    return [found[i][0] for i in range(3)]


@pytest.mark.parametrize("alpha", [0, 0.5, 1, 1.7, 3])
def test_hook_equals_scaled_columns(any_model, alpha):
    with scaled(any_model, CHOSEN, alpha):
        by_columns = logits(any_model)
    with scaled(any_model, CHOSEN, [alpha]):
        torch.testing.assert_close(logits(any_model), by_columns, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("alpha", [0, 1.7])
def test_scaled_columns_are_what_generates(llama, alpha):
    """In batches and with the KV cache: as a model whose weights were scaled for good."""
    with scaled(llama, CHOSEN, alpha):
        said = greedy(llama)
    steered = tiny_model("llama")
    with torch.no_grad():
        for layer, neurons in CHOSEN.items():
            layer_neurons(steered)[layer].parts[0].weight[:, neurons] *= alpha
    assert greedy(steered) == said != greedy(llama)


@pytest.mark.parametrize("temperature", [0, 1])
def test_rows_scaled_differently_in_one_batch_equal_one_by_one(any_model, temperature):
    """Also while rows end at different lengths and share their prompts."""
    scaled_by = [(CHOSEN, 0), ({1: [3, 4]}, 2), (CHOSEN, 3), ({}, 1)]
    prompts = [IDS[0, :n].tolist() for n in (5, 11, 5, 17)]
    options = {"stop_ids": list(range(2, 60)), "samples": 2}
    decoding = Decoding(max_new_tokens=12, temperature=temperature)
    together = dict(generate(any_model, prompts, decoding, seeds=[0, 1, 2, 3], scaled_by=scaled_by, **options))
    lengths = set()
    for i, (neurons, alpha) in enumerate(scaled_by):
        with scaled(any_model, neurons, alpha):
            ((_, alone),) = generate(any_model, prompts[i : i + 1], decoding, seeds=[i], **options)
        assert [r.token_ids for r in together[i]] == [r.token_ids for r in alone], i
        lengths |= {len(r.token_ids) for r in alone}
    assert len(lengths) > 1 or temperature == 0
    assert not any(layer.parts[0].module._forward_pre_hooks for layer in layer_neurons(any_model))


def test_alpha_1_is_the_untouched_model(any_model):
    untouched, said = logits(any_model), greedy(any_model)
    with scaled(any_model, CHOSEN, 1):
        assert torch.equal(logits(any_model), untouched)
        assert greedy(any_model) == said


def test_scaling_changes_the_model_within_the_block_only(any_model):
    untouched = logits(any_model)
    weights = [layer.parts[0].weight.detach().clone() for layer in layer_neurons(any_model)]
    for alpha in (0, [0.0]):
        with pytest.raises(RuntimeError, match="inside"), scaled(any_model, CHOSEN, alpha):
            assert not torch.allclose(logits(any_model), untouched)
            raise RuntimeError("inside")
        assert torch.equal(logits(any_model), untouched)
        for layer, weight in zip(layer_neurons(any_model), weights, strict=True):
            assert torch.equal(layer.parts[0].weight, weight), "bit by bit"


def test_nested_blocks_multiply(llama):
    with scaled(llama, CHOSEN, 6):
        once = logits(llama)
    with scaled(llama, CHOSEN, 2), scaled(llama, CHOSEN, 3):
        torch.testing.assert_close(logits(llama), once, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("neurons", "alpha", "message"),
    [
        (CHOSEN, -1, "alpha must be a number >= 0"),
        (CHOSEN, float("nan"), "alpha must be a number >= 0"),
        ({3: [0]}, 1, "layer 3 is not in this model: it has 3"),
        ({0: [48]}, 1, "outside d_ff = 48"),
    ],
)
def test_what_the_model_does_not_have_is_refused(llama, neurons, alpha, message):
    with pytest.raises(HNeuronsError, match=message), scaled(llama, neurons, alpha):
        pass
    assert not any(layer.parts[0].module._forward_pre_hooks for layer in layer_neurons(llama))


def neuron_set():
    weights = np.array([0.5, -0.2, 1.0, 0.3])
    return NeuronSet(np.array([0, 0, 0, 2]), np.array([1, 2, 7, 40]), weights, weights > 0, {"d_ff": 48, "C": 1.0})


def test_a_set_survives_its_file(tmp_path):
    neuron_set().save(tmp_path / "neurons.parquet")
    again = NeuronSet.load(tmp_path / "neurons.parquet")
    assert again.by_layer() == {0: [1, 7], 2: [40]}
    np.testing.assert_array_equal(again.weights, neuron_set().weights)
    assert again.made_by == {"d_ff": 48, "C": 1.0}


def test_a_set_scales_its_positive_neurons():
    model = tiny_model("llama")
    with neuron_set().scale(model, 0.0):
        by_set = logits(model)
    with scaled(model, {0: [1, 7], 2: [40]}, 0.0):
        assert torch.equal(logits(model), by_set)


def test_the_random_control_has_as_many_neurons_per_layer_and_none_of_the_set():
    found = neuron_set()
    control = found.variant("random-3")
    assert {layer: len(n) for layer, n in control.by_layer().items()} == {0: 2, 2: 1}
    assert not set(control.by_layer()[0]) & {1, 2, 7}
    assert control.by_layer() == found.random_like(3).by_layer() != found.random_like(4).by_layer()
