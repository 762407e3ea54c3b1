"""Batches hold their budget; where memory runs out the budget is halved, said once, and no row is lost."""

from __future__ import annotations

import pytest
import torch

from hneurons.cett.measure import cett
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.generation.decode import generate
from tests.unit.test_cett import sequences

LENGTHS = [10, 50, 20, 200, 5]


def within(memory, error=torch.OutOfMemoryError):
    """A run that a machine with memory for so many tokens holds; it returns what it was given."""

    def run(batch):
        if len(batch) * LENGTHS[batch[0]] > memory:
            raise error("[enforce fail at alloc_cpu.cpp:127] data. DefaultCPUAllocator: can't allocate memory")
        return [10 * i for i in batch]

    return run


def test_batches_hold_the_budget_longest_first():
    assert [batch for batch, _ in in_batches(LENGTHS, 100, lambda batch: None)] == [[3], [1, 2], [0, 4]]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_out_of_memory_halves_the_budget_and_loses_no_row(caplog, error):
    budget = TokenBudget(1000)
    found = [dict(zip(*each, strict=True)) for each in in_batches(LENGTHS, budget, within(200, error))]
    assert sum(map(len, found)) == 5 and {i: v for each in found for i, v in each.items()} == {i: 10 * i for i in range(5)}
    # Five rows of 200 do not fit, nor do two: 1,000 tokens, 400, 200.
    assert budget.tokens == 200
    assert caplog.messages == ["out of memory: batches of 200 tokens from here on (token_budget was 1000)"]
    list(in_batches(LENGTHS, budget, within(200, error)))
    assert len(caplog.messages) == 1, "what was learnt holds for the rest of the job"


def test_a_row_that_does_not_fit_alone_is_told():
    with pytest.raises(HNeuronsError, match="out of memory with a single row of 200 tokens"):
        list(in_batches(LENGTHS, 1000, within(100)))


def test_another_error_is_not_taken_for_it():
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        list(in_batches(LENGTHS, 1000, lambda batch: torch.ones(2) @ torch.ones(3)))


@pytest.fixture
def small_memory(llama):
    """A model on a machine whose allocator fails at batches of more than two rows."""

    def allocate(_module, args, kwargs):
        if len(kwargs["input_ids"]) > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")

    handle = llama.register_forward_pre_hook(allocate, with_kwargs=True)
    inner = llama.model.register_forward_pre_hook(allocate, with_kwargs=True)
    yield llama
    handle.remove()
    inner.remove()


def test_generation_goes_on_in_smaller_batches(llama, small_memory, caplog):
    prompts = [list(range(3, 3 + n)) for n in (4, 9, 6, 12, 5)]
    options = {"seeds": [1] * 5, "stop_ids": [2]}
    found = dict(generate(small_memory, prompts, Decoding(max_new_tokens=6, temperature=0), **options))
    assert "out of memory" in caplog.text
    alone = dict(generate(small_memory, prompts, Decoding(max_new_tokens=6, temperature=0), **options, budget=1))
    assert [found[i][0].token_ids for i in range(5)] == [alone[i][0].token_ids for i in range(5)]


def test_cett_goes_on_in_smaller_batches(small_memory, caplog):
    measured = sequences()
    found = dict(cett(small_memory, measured))
    assert "out of memory" in caplog.text
    alone = dict(cett(small_memory, measured, budget=1))
    for i in range(len(measured)):
        torch.testing.assert_close(torch.tensor(found[i]), torch.tensor(alone[i]), atol=1e-5, rtol=1e-4)
