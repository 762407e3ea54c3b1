"""Closed vocabularies of answers (countries, elements), and their mentions in a text."""

import re
from dataclasses import dataclass
from functools import lru_cache

from hneurons.data.folding import fold


@dataclass(frozen=True)
class Vocabulary:
    """All possible answers of a type.

    Attributes:
        answers: The answers, each a tuple of its accepted spellings. A spelling of up to four capitals (US, UAE) matches
            in capitals only.
        decoys: Longer names that contain a spelling but mean something else ("New South Wales").
        case_sensitive: Whether all spellings must match in case.
    """

    answers: tuple[tuple[str, ...], ...]
    decoys: tuple[str, ...] = ()
    case_sensitive: bool = False


@dataclass(frozen=True)
class Mention:
    """A mention of an answer in a text.

    Attributes:
        answer: Spellings of the answer.
        start: First character.
        end: Character after the last.
    """

    answer: tuple[str, ...]
    start: int
    end: int


# Chemical symbols that are English words: not a symbol at the start of a sentence.
_NEXT_WORD, _FOLLOWED = re.compile(r",?\s+\w"), re.compile(r"\s+\w")
_WORDS = {"Am", "As", "At", "Be", "He", "I", "In", "No"}


@lru_cache(maxsize=64)
def _pattern(vocabulary: Vocabulary) -> tuple[re.Pattern[str], dict[str, tuple[str, ...]]]:
    """Pattern that matches all spellings and decoys, and the answer of each spelling, empty for a decoy."""
    answers = {fold(s).text: answer for answer in vocabulary.answers for s in answer if s.strip()}
    answers |= {fold(s).text: () for s in vocabulary.decoys}
    # Longest first, so that "Guinea" does not match in "Papua New Guinea".
    ordered = sorted(answers, key=len, reverse=True)
    exact = {s for s in answers if vocabulary.case_sensitive or (s.isupper() and len(s) <= 4)}
    choices = "|".join(re.escape(s) if s in exact else f"(?i:{re.escape(s)})" for s in ordered)
    # A symbol must not match in a contraction ("I'm"); a name may be a possessive ("China's").
    ends = r"(?![\w’'])" if vocabulary.case_sensitive else r"(?!\w)"
    spellings = {s if s in exact else s.casefold(): answer for s, answer in answers.items()}
    return re.compile(rf"(?<!\w)(?:{choices or '(?!)'}){ends}"), spellings


def _begins_sentence(text: str, match: re.Match[str]) -> bool:
    """Whether a word is the first of a sentence of several words."""
    i = match.start()
    while i and text[i - 1].isspace():
        i -= 1
    return (not i or text[i - 1] in ".!?:\n") and bool(_NEXT_WORD.match(text, match.end()))


def find_mentions(text: str, vocabulary: Vocabulary) -> list[Mention]:
    """Find the answers that a text mentions, on word boundaries, longest spelling first; accents and width do not count.

    In a case-sensitive vocabulary (chemical symbols) a word such as "In" does not count at the start of a sentence, and
    "I" does not count if another word follows.

    Returns:
        The mentions, in the order of the text.
    """
    pattern, spellings = _pattern(vocabulary)
    folded = fold(text)
    text = folded.text
    mentions = []
    for match in pattern.finditer(text):
        word = match.group()
        if vocabulary.case_sensitive and word in _WORDS:
            is_pronoun = word == "I" and _FOLLOWED.match(text, match.end())
            if is_pronoun or _begins_sentence(text, match):
                continue
        answer = spellings[word] if word in spellings else spellings[word.casefold()]
        if answer:
            mentions.append(Mention(answer, folded.starts[match.start()], folded.ends[match.end() - 1]))
    return mentions


def claimed_mentions(text: str, question: str, vocabulary: Vocabulary) -> list[Mention]:
    """Find the answers that a response mentions and the question does not: what it claims rather than repeats."""
    in_question = {m.answer for m in find_mentions(question, vocabulary)}
    return [m for m in find_mentions(text, vocabulary) if m.answer not in in_question]
