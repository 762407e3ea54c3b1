"""The mapping between the tokens of a response and its characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def token_offsets(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
    """Decode response tokens and locate each in the text.

    Ever longer prefixes are decoded, so that a character spread over several byte-level tokens belongs to all of them.

    Args:
        tokenizer: the model's tokenizer.
        ids: the token ids of a response.

    Returns:
        The text without special tokens, and for each token its characters [start, end); a token without text has an empty
        range.
    """
    text = tokenizer.decode(list(ids), skip_special_tokens=True)
    offsets, stable = [], 0
    for i in range(len(ids)):
        prefix = tokenizer.decode(list(ids[: i + 1]), skip_special_tokens=True)
        complete = min(len(prefix.rstrip("\ufffd")), len(text))
        # A prefix that ends within a character decodes to U+FFFD there: the token shares the character to come.
        end = max(stable, min(len(prefix), len(text)))
        offsets.append((stable, end))
        stable = max(stable, complete)
    return text, offsets


def token_mask(offsets: Sequence[tuple[int, int]], start: int, end: int) -> list[bool]:
    """Tell for each token whether it shares a character with [start, end)."""
    return [token_start < end and token_end > start for token_start, token_end in offsets]
