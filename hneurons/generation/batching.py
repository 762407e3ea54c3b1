"""Batches that fit into memory: rows grouped by a token budget, which is reduced when memory runs out."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from hneurons.errors import HNeuronsError

Result = TypeVar("Result")
logger = logging.getLogger(__name__)


class TokenBudget:
    """The number of tokens, padding included, that a batch may hold.

    A job shares one budget between its batches: once reduced by an out-of-memory error, it stays reduced.

    Attributes:
        tokens: the current limit.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    @classmethod
    def from_tokens(cls, tokens: int | TokenBudget) -> TokenBudget:
        """Return a given budget unchanged, or wrap a number of tokens in a new one."""
        return tokens if isinstance(tokens, TokenBudget) else cls(tokens)


def in_batches(
    lengths: Sequence[int], budget: int | TokenBudget, run: Callable[[list[int]], Result]
) -> Iterator[tuple[list[int], Result]]:
    """Run rows in batches, longest first, whose number of rows × longest row is within the budget.

    A batch has at least one row. A batch that runs out of memory is retried with half of its rows, and the budget stays at
    that size. No row is left out.

    Args:
        lengths: the final number of tokens of each row.
        budget: the token budget; a `TokenBudget` is reduced in place.
        run: computes the result of a batch from the indices of its rows.

    Yields:
        The indices of a batch and what `run` returned for it.

    Raises:
        HNeuronsError: a single row does not fit into memory.
    """
    budget = TokenBudget.from_tokens(budget)
    pending = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while pending:
        batch = pending[: max(1, budget.tokens // max(1, lengths[pending[0]]))]
        result, budget_before = None, budget.tokens
        while result is None:
            try:
                # In a tuple, so that `run` may return None.
                result = (run(batch),)
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise HNeuronsError(
                        f"out of memory with a single row of {lengths[batch[0]]} tokens, which cannot be split further: "
                        "use a larger GPU or more GPUs"
                    ) from None
            if result is None:
                batch = batch[: len(batch) // 2]
                budget.tokens = len(batch) * lengths[batch[0]]
                _release_memory()
        if budget.tokens < budget_before:
            message = "out of memory: batches of %d tokens from here on (token_budget was %d)"
            logger.warning(message, budget.tokens, budget_before)
        yield batch, result[0]
        pending = pending[len(batch) :]


def _is_out_of_memory(error: BaseException) -> bool:
    markers = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(marker in str(error) for marker in markers)


def _release_memory() -> None:
    # The failed batch's tensors went with its frames; the blocks that the allocator caches have the wrong sizes.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
