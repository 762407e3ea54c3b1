"""Batches that fit: rows grouped by a budget of tokens, which is halved where memory runs out."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from tqdm import tqdm

from hneurons.errors import HNeuronsError

Found = TypeVar("Found")


class TokenBudget:
    """How many tokens a batch may hold, padding included; what memory taught about it holds for the rest of a job."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    @classmethod
    def from_tokens(cls, tokens: int | TokenBudget) -> TokenBudget:
        """The budget itself, or a new one of so many tokens."""
        return tokens if isinstance(tokens, TokenBudget) else cls(tokens)


def in_batches(
    lengths: Sequence[int], budget: int | TokenBudget, run: Callable[[list[int]], Found]
) -> Iterator[tuple[list[int], Found]]:
    """Yield (indices, run(indices)) for batches of rows, longest first, whose rows × longest row stay within the budget.

    lengths: tokens that each row takes in the end. A batch has at least one row. One that memory has no room for is tried
    again with half of its rows and the budget stays that small; no row is left out. Raises HNeuronsError where a single row
    does not fit.
    """
    budget = TokenBudget.from_tokens(budget)
    left = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while left:
        batch = left[: max(1, budget.tokens // max(1, lengths[left[0]]))]
        found, budget_before = None, budget.tokens
        while found is None:
            try:
                # In a tuple, so that a run may return nothing.
                found = (run(batch),)
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise HNeuronsError(
                        f"out of memory with a single row of {lengths[batch[0]]} tokens: nothing smaller can be "
                        "tried; use a larger GPU, or more of them"
                    ) from None
            if found is None:
                batch = batch[: len(batch) // 2]
                budget.tokens = len(batch) * lengths[batch[0]]
                _release()
        if budget.tokens < budget_before:
            said = f"out of memory: batches of {budget.tokens} tokens from here on (token_budget was {budget_before})"
            tqdm.write(said, file=sys.stderr)
        yield batch, found[0]
        left = left[len(batch) :]


def _is_out_of_memory(error: BaseException) -> bool:
    said = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(s in str(error) for s in said)


def _release() -> None:
    # The failed batch's tensors are gone with its frames; what the allocator holds of them is of other sizes.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
