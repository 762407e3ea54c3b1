"""Closed vocabularies of answers (countries, elements), and which of their spellings a text names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


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


def find_mentions(text: str, vocabulary: Vocabulary) -> list[Mention]:
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


def claimed_mentions(text: str, question: str, vocabulary: Vocabulary) -> list[Mention]:
    """Answers that a response names and the question does not: what it claims, not what it repeats."""
    asked = {m.answer for m in find_mentions(question, vocabulary)}
    return [m for m in find_mentions(text, vocabulary) if m.answer not in asked]
