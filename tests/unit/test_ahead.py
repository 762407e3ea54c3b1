"""Sampling that runs ahead of the host: tokens of the path that looks at each one, and how often the host waits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hneurons.cett import measure
from hneurons.cett.measure import cett_batch, column_norms
from hneurons.cett.regions import TokenRegions
from hneurons.config.study import Decoding
from hneurons.generation import ahead
from hneurons.generation.ahead import generate_ahead
from hneurons.generation.decode import generate
from hneurons.generation.kv_cache import attends_to_all, new_cache
from hneurons.models.decoder import model_identity
from tests.unit.test_generation import GREEDY, PROMPTS, SAMPLED

# Operations whose result the host must know before it goes on.
_WAITS = {"_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "_unique2", "unique_dim", "item"}
_COPIES = ("cpu", "numpy", "tolist", "item", "__bool__", "__int__", "__float__")


class RoundTrips(TorchDispatchMode):
    """Counts where the host waits for a device: what reads a tensor's values, other than in a look, which counts as one."""

    def __init__(self, monkeypatch, where, name):
        super().__init__()
        self.looks, self.others, self._in_look = 0, [], False
        real = getattr(where, name)

        def look(*arguments, **options):
            self.looks, self._in_look = self.looks + 1, True
            try:
                return real(*arguments, **options)
            finally:
                self._in_look = False

        monkeypatch.setattr(where, name, look)
        for copy in _COPIES:
            monkeypatch.setattr(torch.Tensor, copy, self._counted(copy, getattr(torch.Tensor, copy)))

    def _counted(self, name, real):
        def counted(tensor, *arguments, **options):
            self._count(name, tensor)
            return real(tensor, *arguments, **options)

        return counted

    def _count(self, name, tensor):
        # What a look returned is on the host.
        if not self._in_look and not getattr(tensor, "on_host", False):
            self.others.append(name)

    def __torch_dispatch__(self, func, types, arguments=(), options=None):
        name = func.overloadpacket.__name__
        if name in _WAITS or (name == "index" and any(t is not None and t.dtype == torch.bool for t in arguments[1])):
            self._count(name, arguments[0])
        return func(*arguments, **(options or {}))


def run(model, decoding, samples, steps, stops, scaled_by=None):
    options = {"seeds": [hash(tuple(p)) % 2**31 for p in PROMPTS], "stop_ids": stops, "samples": samples}
    found = dict(generate(model, PROMPTS, decoding, **options, steps_per_look=steps, scaled_by=scaled_by))
    return [found[i] for i in range(len(PROMPTS))]


@pytest.mark.parametrize("steps", [2, 5, 64])
@pytest.mark.parametrize("decoding", [GREEDY, SAMPLED])
def test_tokens_are_those_of_the_path_that_looks_at_each(any_model, decoding, steps):
    stops = tuple(range(2, 60))
    samples = 1 if decoding is GREEDY else 4
    for each, other in zip(
        run(any_model, decoding, samples, 1, stops), run(any_model, decoding, samples, steps, stops), strict=True
    ):
        assert [r.token_ids for r in each] == [r.token_ids for r in other]
        assert [r.truncated for r in each] == [r.truncated for r in other]
        for a, b in zip(each, other, strict=True):
            assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


def test_rows_that_are_scaled_differently_stay_so_while_rows_are_dropped(llama):
    shape = model_identity(llama)
    neurons = {layer: list(range(shape["d_ff"] // 2)) for layer in range(shape["layers"])}
    scaled_by = [None, (neurons, 0.0), (neurons, 2.0), None, (neurons, 3.0)]
    stops = tuple(range(2, 120))
    each, other = (run(llama, SAMPLED, 6, steps, stops, scaled_by) for steps in (1, 3))
    assert [[r.token_ids for r in rs] for rs in each] == [[r.token_ids for r in rs] for rs in other]
    assert each != run(llama, SAMPLED, 6, 3, stops)


def test_the_host_waits_once_for_eight_tokens(llama, monkeypatch):
    decoding = Decoding(max_new_tokens=40, temperature=0.8, top_k=50, top_p=0.9)
    trips = RoundTrips(monkeypatch, ahead, "look")
    prefill = ahead.prefill

    def before_the_first_step(*arguments):
        trips._in_look = True
        try:
            return prefill(*arguments)
        finally:
            trips._in_look = False

    monkeypatch.setattr(ahead, "prefill", before_the_first_step)
    monkeypatch.setattr(ahead, "next_logits", waiting_for(trips, ahead.next_logits))
    with trips:
        generate_ahead(llama, PROMPTS, decoding, seeds=range(5), stop_ids=[2], steps_per_look=8, samples=4)
    assert trips.looks == math.ceil(40 / 8)
    assert trips.in_steps == []


def waiting_for(trips, next_logits):
    """The forward pass of a step, with what made the host wait within it kept in `trips.in_steps`."""
    trips.in_steps = []

    def counted(*arguments):
        before = len(trips.others)
        result = next_logits(*arguments)
        trips.in_steps += trips.others[before:]
        return result

    return counted


def test_drawing_a_token_does_not_wait(monkeypatch):
    logits = torch.randn(6, 300, generator=torch.Generator().manual_seed(0))
    trips = RoundTrips(monkeypatch, ahead, "look")
    rows, numbers = torch.arange(6), torch.rand(6)
    with trips:
        for temperature in (0.0, 1.0):
            decoding = Decoding(max_new_tokens=1, temperature=temperature, top_k=50, top_p=0.9)
            ahead.choose(logits, decoding, numbers, rows)
    assert trips.others == []


def test_a_batch_of_cett_is_copied_to_the_host_once(any_model, monkeypatch):
    sequences = [
        TokenRegions(ids, [[i > 4 for i in range(len(ids))], [i <= 4 for i in range(len(ids))]]) for ids in PROMPTS[1:4]
    ]
    norms = column_norms(any_model)
    trips = RoundTrips(monkeypatch, measure, "_stacked")
    copies = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: copies.append(tensor.shape) or tensor)
    with trips:
        cett_batch(any_model, sequences, norms)
    assert len(copies) == trips.looks == 1
    # Where layers attend to a window, transformers looks into the mask.
    waits = [name for name in trips.others if name not in ("numpy", "is_nonzero")]
    assert len(waits) <= (0 if attends_to_all(new_cache(any_model)) else 2)


def test_rows_of_one_length_need_no_mask(any_model):
    ids = [[1, *range(30 + 7 * i, 38 + 7 * i)] for i in range(3)]
    sequences = [TokenRegions(row, [[i > 4 for i in range(9)], [i <= 4 for i in range(9)]]) for row in ids]
    together = cett_batch(any_model, sequences)
    padded = cett_batch(any_model, [*sequences, TokenRegions([1, *range(40, 52)], [[True] * 13, [True] * 13])])
    np.testing.assert_allclose(together, padded[:3], rtol=1e-3, atol=1e-5)


def test_a_batch_out_of_memory_is_drawn_in_halves(llama, monkeypatch):
    real, passes = ahead.next_logits, []

    def fails_once(*arguments):
        passes.append(1)
        if len(passes) == 6:
            raise torch.OutOfMemoryError
        return real(*arguments)

    expected = run(llama, SAMPLED, 4, 4, [2])
    monkeypatch.setattr(ahead, "next_logits", fails_once)
    drawn = run(llama, SAMPLED, 4, 4, [2])
    assert [[r.token_ids for r in rs] for rs in drawn] == [[r.token_ids for r in rs] for rs in expected]
