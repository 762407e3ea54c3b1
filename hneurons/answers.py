"""Answer spans: which characters of a response carry its claim, and which of its tokens those are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Vocabulary:
    """All possible answers of one type, each a tuple of its accepted spellings."""

    answers: tuple[tuple[str, ...], ...]
    case_sensitive: bool = False


@dataclass(frozen=True)
class Mention:
    """A spelling of an answer found in a text: characters [start, end)."""

    answer: tuple[str, ...]
    start: int
    end: int


@lru_cache(maxsize=64)
def _pattern(vocabulary: Vocabulary) -> tuple[re.Pattern[str], dict[str, tuple[str, ...]]]:
    spellings = {s if vocabulary.case_sensitive else s.casefold(): answer for answer in vocabulary.answers for s in answer}
    # Longest first, so that "Guinea" is not found in "Papua New Guinea".
    choices = "|".join(re.escape(s) for s in sorted(spellings, key=len, reverse=True) if s.strip())
    flags = re.NOFLAG if vocabulary.case_sensitive else re.IGNORECASE
    # A symbol is no contraction ("I'm"); a name may be a possessive ("China's").
    ends = r"(?![\w’'])" if vocabulary.case_sensitive else r"(?!\w)"
    return re.compile(rf"(?<!\w)(?:{choices or '(?!)'}){ends}", flags), spellings


def mentions(text: str, vocabulary: Vocabulary) -> list[Mention]:
    """Answers named in a text, on word boundaries, longest spelling first, in the order they stand.

    A case-sensitive vocabulary (chemical symbols) is not looked for in the first word of a longer text: "In", "As" and
    "I" begin sentences.
    """
    pattern, spellings = _pattern(vocabulary)
    found = []
    for match in pattern.finditer(text):
        if vocabulary.case_sensitive and match.start() == 0 and len(text.split()) > 1:
            continue
        spelling = match.group() if vocabulary.case_sensitive else match.group().casefold()
        found.append(Mention(spellings[spelling], match.start(), match.end()))
    return found


def claimed(text: str, question: str, vocabulary: Vocabulary) -> list[Mention]:
    """Answers that a response names and the question does not: what it claims, not what it repeats."""
    asked = {m.answer for m in mentions(question, vocabulary)}
    return [m for m in mentions(text, vocabulary) if m.answer not in asked]


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
