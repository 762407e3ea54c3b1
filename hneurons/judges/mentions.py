"""Where a reply gives an accepted answer, and the mentions of one that do not count."""

import re
from collections.abc import Sequence

from hneurons.data.digits import Word
from hneurons.data.words import (
    ARTICLES,
    answer_words,
    denied,
    index_words,
    negated,
    occurrences,
    singular,
    word_forms,
)
from hneurons.judges.claims import CONNECTING, Span
from hneurons.judges.states import Answer

# An alias of one such word is not searched within a longer reply.
WEAK = ARTICLES | set("it is in on of to and or no yes i he she they we you us one my your his her their".split())
# Before a name they make it a different name: "New York" is not York.
_NAME_PREFIXES = set(
    "new north south east west northern southern eastern western upper lower saint st san santa great little".split()
)
# After a name they make it a longer one: "San José de Asunción".
_NAME_PARTICLES = {"de", "del", "da", "di", "du", "la", "von", "van"}
_HEDGED = re.compile(r"\b(?:used to be|could be|might be|may be|may have been|could have been)\s+(?:\w+\s+)?$")
_OR_AFTER, _OR_BEFORE = re.compile(r"\s*,?\s+or\s+\S"), re.compile(r"\S\s*,?\s+or\s+(?:the\s+)?$")
# The words right before and after a mention, in characters.
_WINDOW = 100
# A mention that the model gives up: "I was wrong to say Paris".
_GIVEN_UP = re.compile(
    r"\b(?:wrong|mistaken|incorrect|error|mistake)\s+(?:to|about|with|in|when|that)\s+(?:\w+\s+){0,3}$", re.IGNORECASE
)


def _capital(text: str, word: Word) -> bool:
    return text[word.start].isupper()


def _has_case(text: str) -> bool:
    """Return whether a text has letters of a script with capitals, in which a word is not written onto a number."""
    return text.upper() != text.lower()


def _glued(text: str, edge: int) -> bool:
    """Return whether a letter and a digit meet at a character: "B12", "CO₂". A word after a number is a word: "6goals"."""
    before, after = text[max(0, edge - 1) : edge], text[edge : edge + 3]
    if not before.isalnum() or not after[:1].isalnum():
        return False
    word = before.isdigit() and after.isalpha() and len(after) > 2
    return before.isdigit() != after[0].isdigit() and _has_case(before + after[0]) and not word


def _longer_name(text: str, words: Sequence[Word], i: int, j: int, question_words: set[str], last_lower: int) -> bool:
    """Return whether words [i, j) belong to a longer name: "New York" for York, "Guinea-Bissau" for Guinea.

    A neighbouring word of the question is not part of the name: for "Which river …?", "Columbia River" is Columbia. After
    character `last_lower` all letters are capitals.
    """
    if any(_glued(text, edge) for edge in (words[i].start, words[j - 1].end)):
        return True
    if i and singular(words[i - 1].form) not in question_words:
        gap = text[words[i - 1].end : words[i].start]
        prefix = words[i - 1].form in _NAME_PREFIXES and _capital(text, words[i - 1])
        if gap == "-" or (gap == " " and prefix):
            return True
    if j == len(words) or singular(words[j].form) in question_words:
        return False
    gap = text[words[j - 1].end : words[j].start]
    particle = words[j].form in _NAME_PARTICLES and j + 1 < len(words) and _capital(text, words[j + 1])
    capitals = _capital(text, words[j]) and _capital(text, words[j - 1]) and words[j].start < last_lower
    return gap == "-" or (gap == " " and (particle or capitals))


def _alternative(text: str, start: int, end: int) -> bool:
    """Return whether a mention is offered as an alternative to another answer: "Lima or Quito"."""
    return bool(_OR_AFTER.match(text[end : end + _WINDOW]) or _OR_BEFORE.search(text[max(0, start - _WINDOW) : start]))


def _entries(claim: str) -> Sequence[str]:
    """Return the entries of a list of three or more short ones, none for another claim."""
    entries = re.split(r",\s*(?:and\s+|or\s+)?", claim)
    listed = len(entries) >= 3 and all(0 < len(word_forms(entry)) <= 3 for entry in entries)
    return entries if listed else ()


def _is_letter(alias: Sequence[Word]) -> bool:
    return len(alias) == 1 and len(alias[0].form) == 1 and not alias[0].form.isdigit()


def _is_all(alias: Sequence[Word], claimed: Sequence[Word], text: str, question_words: set[str]) -> bool:
    """Return whether a claim is nothing but the capital of a one-letter answer: "Vitamin C", "the symbol is K"."""
    others = [word for word in claimed if word.form != alias[0].form or not _capital(text, word)]
    return len(others) < len(claimed) and all(
        singular(word.form) in question_words or word.form in WEAK | CONNECTING for word in others
    )


def accepted_mentions(answer: Answer, words: Sequence[Word], claim: Span) -> tuple[list[Span], set[str]]:
    """Find where a reply gives an accepted answer.

    Args:
        answer: The answer.
        words: The words of its text.
        claim: Characters [start, end) of what may be its claim.

    Returns:
        The characters of the mentions that count, and why others do not.
    """
    text = answer.text
    question_words = set(word_forms(answer.question))
    question_singulars = {singular(form) for form in question_words}
    claimed = answer_words(text[slice(*claim)])
    claimed_words = [word for word in words if claim[0] <= word.start and word.end <= claim[1]]
    claimed_forms = tuple(word.form for word in claimed)
    entries = _entries(text[slice(*claim)])
    last_lower = max((i for i, c in enumerate(text) if c.islower()), default=-1) if words else -1
    places = index_words(words)
    owner: dict[int, int] = {}
    mentions: list[Span] = []
    doubts: set[str] = set()
    # Of two spellings with the same forms, the one in capitals may have a Roman numeral.
    numbered = sorted(map(answer_words, answer.aliases), key=lambda alias: sum(bool(word.numeral) for word in alias))
    aliases = {tuple(word.form for word in alias): alias for alias in numbered}
    for forms, alias in sorted(aliases.items(), key=lambda item: (len(item[0]), item[0]), reverse=True):
        letter = _is_letter(alias)
        searched = letter and _is_all(alias, claimed_words, text, question_singulars)
        if forms != claimed_forms and (letter or (len(forms) == 1 and forms[0] in WEAK)) and not searched:
            continue
        in_question = set(forms) <= question_words
        repeats = len((question_words & set(claimed_forms)) - set(forms) - WEAK) > 1
        late = entries and word_forms(entries[0]) != forms
        for i, j in occurrences(alias, words, places):
            start, end = words[i].start, words[j - 1].end
            outside = not (claim[0] <= start and end <= claim[1])
            if i in owner and owner[i] == owner.get(j - 1):
                continue
            before = text[max(0, start - _WINDOW) : start]
            if in_question and outside:
                if " or " in answer.question and start < claim[0]:
                    doubts.add("that the question holds too")
                continue
            if in_question and repeats:
                doubts.add("that the question holds too")
            elif negated(words, i, text) or denied(text, end):
                doubts.add("denied")
            elif _GIVEN_UP.search(before):
                doubts.add("given up")
            elif _HEDGED.search(before):
                doubts.add("held possible")
            elif late and start > claim[0]:
                doubts.add("in a list of others")
            elif _longer_name(text, words, i, j, question_singulars, last_lower):
                doubts.add("within a longer name")
            elif _alternative(text, start, end) and " or " not in answer.question:
                doubts.add("alongside another answer")
            else:
                owner |= dict.fromkeys(range(i, j), len(mentions))
                mentions.append((start, end))
    return mentions, doubts
