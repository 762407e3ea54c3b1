"""Answer spans: which characters of a response carry its claim, and which of its tokens those are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Vocabulary:
    """All possible answers of one type, each a tuple of its accepted spellings.

    decoys: longer names that hold a spelling and mean something else ("New South Wales"). A spelling in capitals of up to
    four letters (US, UAE) is found in capitals only; case_sensitive asks that of all spellings.
    """

    answers: tuple[tuple[str, ...], ...]
    decoys: tuple[str, ...] = ()
    case_sensitive: bool = False


@dataclass(frozen=True)
class Mention:
    """A spelling of an answer found in a text: characters [start, end)."""

    answer: tuple[str, ...]
    start: int
    end: int


# Chemical symbols that are English words: no symbols where a sentence begins.
_WORDS = {"Am", "As", "At", "Be", "He", "I", "In", "No"}


@lru_cache(maxsize=64)
def _pattern(vocabulary: Vocabulary) -> tuple[re.Pattern[str], dict[str, tuple[str, ...]]]:
    answers = {s: answer for answer in vocabulary.answers for s in answer if s.strip()} | dict.fromkeys(
        vocabulary.decoys, ()
    )
    # Longest first, so that "Guinea" is not found in "Papua New Guinea".
    ordered = sorted(answers, key=len, reverse=True)
    exact = {s for s in answers if vocabulary.case_sensitive or (s.isupper() and len(s) <= 4)}
    choices = "|".join(re.escape(s) if s in exact else f"(?i:{re.escape(s)})" for s in ordered)
    # A symbol is no contraction ("I'm"); a name may be a possessive ("China's").
    ends = r"(?![\w’'])" if vocabulary.case_sensitive else r"(?!\w)"
    spellings = {s if s in exact else s.casefold(): answer for s, answer in answers.items()}
    return re.compile(rf"(?<!\w)(?:{choices or '(?!)'}){ends}"), spellings


def _begins_sentence(text: str, match: re.Match[str]) -> bool:
    """Whether a word stands where a sentence begins that goes on after it."""
    before, after = text[: match.start()].rstrip(), text[match.end() :]
    return (not before or before[-1] in ".!?:\n") and bool(re.match(r",?\s+\w", after))


def mentions(text: str, vocabulary: Vocabulary) -> list[Mention]:
    """Answers named in a text, on word boundaries, longest spelling first, in the order they stand.

    In a case-sensitive vocabulary (chemical symbols) a word such as "In" is none where it begins a sentence, nor is "I"
    where it goes on.
    """
    pattern, spellings = _pattern(vocabulary)
    found = []
    for match in pattern.finditer(text):
        word = match.group()
        if vocabulary.case_sensitive and word in _WORDS:
            goes_on = word == "I" and re.match(r"\s+\w", text[match.end() :])
            if goes_on or _begins_sentence(text, match):
                continue
        answer = spellings[word] if word in spellings else spellings[word.casefold()]
        if answer:
            found.append(Mention(answer, match.start(), match.end()))
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
