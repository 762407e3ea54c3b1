"""Which tokens of a response carry which of its characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def token_offsets(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
    """The text of response tokens and the characters [start, end) of each; a token of no text gets an empty range.

    Found by decoding ever longer prefixes, so that a character spread over several byte-level tokens belongs to all.
    """
    text = tokenizer.decode(list(ids), skip_special_tokens=True)
    offsets, stable = [], 0
    for i in range(len(ids)):
        prefix = tokenizer.decode(list(ids[: i + 1]), skip_special_tokens=True)
        whole = min(len(prefix.rstrip("\ufffd")), len(text))
        # A prefix that ends in part of a character decodes to U+FFFD: the token shares the character to come.
        reached = max(stable, min(len(prefix), len(text)))
        offsets.append((stable, reached))
        stable = max(stable, whole)
    return text, offsets


def token_mask(offsets: Sequence[tuple[int, int]], start: int, end: int) -> list[bool]:
    """Which tokens share a character with [start, end)."""
    return [a < end and b > start for a, b in offsets]
