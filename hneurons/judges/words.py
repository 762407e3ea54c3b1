"""Words as answers are compared: without case, accents, possessives and leading articles, digits for number words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Word:
    """A word of a text in the form it is compared in, and its characters [start, end)."""

    form: str
    start: int
    end: int


# Initials ("J. R. R.", "U.S.") are one word; so are numbers with their commas and points, and words with an apostrophe.
_WORD = re.compile(r"(?<!\w)(?:[^\W\d_]\.[ ]?){2,}|\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’`´ʻ][^\W\d_]+)*")
_APOSTROPHES = re.compile(r"['’`´ʻ]")
_UNITS = "zero one two three four five six seven eight nine ten".split()
_TEENS = "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
_NUMBERS = {word: str(i) for i, word in enumerate(_UNITS + _TEENS)}
_NUMBERS |= {w: str(10 * i) for i, w in enumerate("thirty forty fifty sixty seventy eighty ninety".split(), 3)}
ARTICLES = {"a", "an", "the"}


@lru_cache(maxsize=200_000)
def _form(word: str) -> str:
    if word[0].isdigit():
        return re.sub(r",(?=\d{3}(?!\d))", "", word).rstrip(".,")
    plain = unicodedata.normalize("NFKD", word.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c)).replace(".", "").replace(" ", "")
    plain = _APOSTROPHES.sub("", re.sub(r"['’`´ʻ]s$", "", plain))
    return _NUMBERS.get(plain, plain)


def split_words(text: str) -> list[Word]:
    """The words of a text, in order."""
    found = []
    for match in _WORD.finditer(text):
        end = match.end() - (len(match.group()) - len(match.group().rstrip()))
        found.append(Word(_form(match.group().rstrip()), match.start(), end))
    return found


@lru_cache(maxsize=100_000)
def word_forms(text: str) -> tuple[str, ...]:
    """The words of an answer as they are compared, its leading article aside."""
    found = [w.form for w in split_words(text)]
    return tuple(found[1:] if len(found) > 1 and found[0] in ARTICLES else found)


def singular(form: str) -> str:
    """A word without the s of its plural."""
    return form[:-1] if len(form) > 3 and form.endswith("s") and not form.endswith("ss") else form


def stem(form: str) -> str:
    """The beginning of a word, by which a response repeats a question's: "Octopuses" an octopus, "released" a release."""
    return singular(form)[:6]


def occurrences(of: Sequence[str], among: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Places [i, j) where words stand one after another among those of a text."""
    if of:
        for i in range(len(among) - len(of) + 1):
            if all(among[i + k].form == form for k, form in enumerate(of)):
                yield i, i + len(of)


_NOT = set("not never neither nor cannot rather instead unlike no without eliminate exclude if".split())
_NOT |= {verb + "nt" for verb in "is was are were do does did ca could would should wo has have".split()}
# How far before a mention a negation still concerns it, in words.
_REACH = 4
_DENIED = re.compile(
    r"\W{0,3}\s*(?:(?:is|was|are|were|would be|seems|looks)(?: \w+)? (?:not|never|wrong|incorrect|false|impossible)\b"
    r"|(?:is|was|are|were)n['’]t\b|(?:can|could)(?:not|n['’]t| not) be\b)"
)


def negated(said: Sequence[Word], i: int, text: str) -> bool:
    """Whether the i-th word of a text is denied: a negation stands shortly before it in the same clause."""
    for k in range(i - 1, max(-1, i - 1 - _REACH), -1):
        if said[k].form == "but" or re.search(r"[.;,:!?\n]", text[said[k].end : said[k + 1].start]):
            return False
        if said[k].form in _NOT:
            return True
    return False


def denied(text: str, end: int) -> bool:
    """Whether what ends at a character of a text is denied by what follows: "Paris is wrong", "B isn't it"."""
    return bool(_DENIED.match(text, end))
