"""Words in the form in which answers are compared.

Case, accents, possessives and leading articles are dropped; number words become digits.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Word:
    """A word of a text.

    Attributes:
        form: The word as it is compared.
        start: Its first character in the text.
        end: The character after its last one.
    """

    form: str
    start: int
    end: int


# Initials ("J. R. R.", "U.S."), numbers with their commas and points, and words with an apostrophe each count as one word.
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
    """Split a text into its words, in order."""
    starts = [(match.start(), match.group().rstrip()) for match in _WORD.finditer(text)]
    return [Word(_form(word), start, start + len(word)) for start, word in starts]


@lru_cache(maxsize=100_000)
def word_forms(text: str) -> tuple[str, ...]:
    """Return the words of an answer as they are compared, without a leading article."""
    forms = [word.form for word in split_words(text)]
    return tuple(forms[1:] if len(forms) > 1 and forms[0] in ARTICLES else forms)


def singular(form: str) -> str:
    """Return a word without the s of its plural."""
    return form[:-1] if len(form) > 3 and form.endswith("s") and not form.endswith("ss") else form


def stem(form: str) -> str:
    """Return the first letters of a word, which its inflections share ("octopuses", "octopus"; "released", "release")."""
    return singular(form)[:6]


def occurrences(phrase: Sequence[str], words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Find the word ranges [i, j) of a text at which a phrase occurs.

    Args:
        phrase: The forms of its words; an empty phrase occurs nowhere.
        words: The words of the text.
    """
    if phrase:
        for i in range(len(words) - len(phrase) + 1):
            if all(words[i + k].form == form for k, form in enumerate(phrase)):
                yield i, i + len(phrase)


_NOT = set("not never neither nor cannot rather instead unlike no without eliminate exclude if".split())
_NOT |= {verb + "nt" for verb in "is was are were do does did ca could would should wo has have".split()}
# A negation counts if it is at most this many words before the mention.
_REACH = 4
_DENIED = re.compile(
    r"\W{0,3}\s*(?:(?:is|was|are|were|would be|seems|looks)(?: \w+)? (?:not|never|wrong|incorrect|false|impossible)\b"
    r"|(?:is|was|are|were)n['’]t\b|(?:can|could)(?:not|n['’]t| not) be\b)"
)


def negated(words: Sequence[Word], i: int, text: str) -> bool:
    """Return whether a negation shortly before the i-th word, in the same clause, denies it.

    Args:
        words: The words of the text.
        i: Index of the word.
        text: The text.
    """
    for k in range(i - 1, max(-1, i - 1 - _REACH), -1):
        if words[k].form == "but" or re.search(r"[.;,:!?\n]", text[words[k].end : words[k + 1].start]):
            return False
        if words[k].form in _NOT:
            return True
    return False


def denied(text: str, end: int) -> bool:
    """Return whether the words after character `end` deny what ends there: "Paris is wrong", "B isn't it"."""
    return bool(_DENIED.match(text, end))
