"""The mapping between the tokens of a response and its characters, from the token ids alone, also while it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What a tokenizer decodes the bytes of a part of a character to.
_UNREADABLE = "\ufffd"
# Tokens after which decoding starts again, so that a response takes linear time.
_STEP = 16


def token_offsets(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
    """Decode response tokens without special ones, and locate each in the text (`decoded_offsets`)."""
    return decoded_offsets(tokenizer, ids, skip_special_tokens=True)


def decoded_offsets(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], skip_special_tokens: bool
) -> tuple[str, list[tuple[int, int]]]:
    """Decode response tokens and locate each in the text.

    Ever longer prefixes are decoded. A character spread over several tokens, as byte-level and byte-fallback tokenizers
    spread it, belongs to all of them and to no other.

    Args:
        tokenizer: the model's tokenizer.
        ids: the token ids of a response.
        skip_special_tokens: whether special tokens have no text.

    Returns:
        The text, and for each token its characters [start, end); a token without text has an empty
        range.
    """

    def decode(part: Sequence[int]) -> str:
        text: str = tokenizer.decode(list(part), skip_special_tokens=skip_special_tokens)
        return text

    text = decode(ids)
    offsets: list[tuple[int, int]] = []
    # Characters that the tokens so far complete.
    complete = 0
    # Decoded again are only the tokens from `first` on, of which those before `last` end where `settled` characters end.
    first, last, settled, lead, added = 0, 0, 0, "", ""
    for i, token in enumerate(ids):
        start, previous, added = complete, added, decode(ids[first : i + 1])[len(lead) :]
        shared = _common_start(added, text[settled : settled + len(added)])
        # U+FFFD may be a part of the next character; it is complete if the rest of the tokens continues after it.
        if shared.endswith(_UNREADABLE) and not _continues(text[settled + len(shared) :], decode(ids[i + 1 :])):
            shared = shared.rstrip(_UNREADABLE)
        complete = max(complete, settled + len(shared))
        begins_next = added[complete - settled :].startswith(_UNREADABLE) and (added != previous or decode([token]) != "")
        offsets.append((start, min(complete + begins_next, len(text))))
        if i + 1 - last >= _STEP and len(added) == complete - settled:
            context = decode(ids[last : i + 1])
            # Without text before it, a decoded part may lose its leading space.
            if context.strip() and text[:complete].endswith(context):
                first, last, settled, lead, added = last, i + 1, complete, context, ""
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


class TextSoFar:
    """The text of a response while its tokens come, without special ones.

    Args:
        tokenizer: the model's tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = ""

    def add(self, token_id: int) -> str:
        """Add a token, and return the characters that are complete with it: none while a part of one is missing.

        Where a tokenizer writes earlier characters differently now (it removes a space before a full stop), they are left
        as they were returned.
        """
        self._ids.append(token_id)
        text: str = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        complete = text.rstrip(_UNREADABLE)
        added, self._shown = complete[len(_common_start(complete, self._shown)) :], complete
        return added
