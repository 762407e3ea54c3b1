"""The mapping between the tokens of a response and its characters, from the token ids alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What a tokenizer decodes the bytes of a part of a character to.
_UNREADABLE = "\ufffd"


def token_offsets(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
    """Decode response tokens and locate each in the text.

    Ever longer prefixes are decoded. A character spread over several tokens, as byte-level and byte-fallback tokenizers
    spread it, belongs to all of them and to no other.

    Args:
        tokenizer: the model's tokenizer.
        ids: the token ids of a response.

    Returns:
        The text without special tokens, and for each token its characters [start, end); a token without text has an empty
        range.
    """

    def decode(part: Sequence[int]) -> str:
        text: str = tokenizer.decode(list(part), skip_special_tokens=True)
        return text

    text, prefix = decode(ids), ""
    offsets: list[tuple[int, int]] = []
    # Characters that the tokens so far complete.
    complete = 0
    for i, token in enumerate(ids):
        start, previous, prefix = complete, prefix, decode(ids[: i + 1])
        shared = _common_start(prefix, text)
        # U+FFFD may be a part of the next character; it is complete if the rest of the tokens continues after it.
        if shared.endswith(_UNREADABLE) and not _continues(text[len(shared) :], decode(ids[i + 1 :])):
            shared = shared.rstrip(_UNREADABLE)
        complete = max(complete, len(shared))
        begins_next = prefix[complete:].startswith(_UNREADABLE) and (prefix != previous or decode([token]) != "")
        offsets.append((start, min(complete + begins_next, len(text))))
    return text, offsets


def _common_start(first: str, second: str) -> str:
    length = min(len(first), len(second))
    return first[: next((k for k in range(length) if first[k] != second[k]), length)]


def _continues(text: str, decoded: str) -> bool:
    """Whether the remaining text is what the remaining tokens decode to, which may lack the leading space."""
    return text in (decoded, f" {decoded}")


def token_mask(offsets: Sequence[tuple[int, int]], start: int, end: int) -> list[bool]:
    """Tell for each token whether it shares a character with [start, end)."""
    return [token_start < end and token_end > start for token_start, token_end in offsets]
