"""Characters in the form in which answers are compared, with their places in the original text.

Width, digits of other scripts, accents and Latin letters beyond ASCII are folded; letters of other scripts stay.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, wraps
from typing import TypeVar

from anyascii import anyascii

# Of longer texts only the latest are kept in memory: a reply may have tens of thousands of characters.
_SHORT, _LATEST = 300, 16
_Result = TypeVar("_Result")


def cached_if_short(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Return a function of texts that keeps its results for short ones, such as accepted answers and claims."""
    cached, latest = lru_cache(maxsize=20_000)(function), lru_cache(maxsize=_LATEST)(function)

    @wraps(function)
    def remembering(*texts: str) -> _Result:
        return cached(*texts) if all(len(text) <= _SHORT for text in texts) else latest(*texts)

    return remembering


@dataclass(frozen=True)
class Folded:
    """A folded text.

    Attributes:
        text: The text, case kept.
        starts: Per character its first character in the original.
        ends: Per character the character after its last one in the original.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


# What NFKC makes of these is not what they mean, or it leaves them apart.
_MEANINGS = (
    dict.fromkeys("™℠®©", "") | dict.fromkeys("’‘`´ʻʼ′", "'") | {"º": "°", "˚": "°", "٬": ",", "٫": ".", "⁄": "/", "∕": "/"}
)
_MEANINGS |= {"♯": "#", "﹣": "-", "－": "-", "⁻": "-", "\u2028": "\n", "\u2029": "\n", "\u0085": "\n"}
# Their accents are left out. In other scripts a mark is a part of the letter.
_ACCENTED = ("LATIN", "GREEK", "CYRILLIC", "HEBREW", "ARABIC")


@cache
def mark_class() -> str:
    """Return the marks of all scripts, and the vowels of taken-apart Korean, as they are written in a character class."""
    points = (i for i in range(0x300, 0x10000) if unicodedata.category(chr(i))[0] == "M" or 0x1160 <= i <= 0x11FF)
    return "".join(map(chr, points))


@cache
def _clusters() -> re.Pattern[str]:
    """Pattern of a run of ASCII, or of one character with the marks that belong to it."""
    marks = mark_class()
    return re.compile(rf"[\x00-\x7f]+(?![{marks}])|.[{marks}]*", re.DOTALL)


@cached_if_short
def _folded(cluster: str) -> str:
    base = cluster[0]
    if unicodedata.category(base) == "Cf":  # invisible: direction, soft hyphens, joiners
        return _folded(cluster[1:]) if len(cluster) > 1 else ""
    if base in _MEANINGS:
        return _MEANINGS[base]
    if base.isspace():
        return base if base.isascii() else " "
    decomposition = unicodedata.decomposition(base)
    if decomposition.startswith("<fraction>"):
        return " " + unicodedata.normalize("NFKC", base).replace("⁄", "/")
    if decomposition.startswith("<super>") and base.isdigit():
        return "^" + unicodedata.normalize("NFKC", base)
    if unicodedata.name(base, "").startswith(_ACCENTED):
        letters = "".join(c for c in unicodedata.normalize("NFKD", cluster) if not unicodedata.combining(c))
        plain = unicodedata.normalize("NFKC", letters)
    else:
        plain = unicodedata.normalize("NFKC", cluster)
    return "".join(map(_plain_character, plain))


def _plain_character(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if not character.isascii() and unicodedata.name(character, "").startswith("LATIN"):
        plain = anyascii(character)
        return plain if plain.isalpha() else character
    return character


@cached_if_short
def fold(text: str) -> Folded:
    """Fold a text; every folded character keeps its place in the original."""
    if text.isascii():
        return Folded(text, range(len(text)), range(1, len(text) + 1))
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for match in _clusters().finditer(text):
        start, end = match.span()
        if match.group().isascii():
            parts.append(match.group())
            starts.extend(range(start, end))
            ends.extend(range(start + 1, end + 1))
        else:
            plain = _folded(match.group())
            parts.append(plain)
            starts.extend([start] * len(plain))
            ends.extend([end] * len(plain))
    return Folded("".join(parts), starts, ends)


def find_phrase(text: str, phrase: str) -> tuple[int, int] | None:
    """Return the characters [start, end) at which a phrase first occurs in a text, None if it does not.

    Letter by letter if it occurs so; else folded, with any white space between its words, and last in any case: tokenizers
    that normalise their input give back such other forms of it.

    Args:
        text: The text.
        phrase: The phrase; a blank one occurs nowhere.
    """
    if not phrase.strip():
        return None
    start = text.find(phrase)
    if start >= 0:
        return start, start + len(phrase)
    folded = fold(text)
    for flags in (0, re.IGNORECASE):
        # Some marks, such as "¯", are a space and a combining mark in NFKC.
        for form in (phrase, unicodedata.normalize("NFKC", phrase)):
            sought = r"\s+".join(map(re.escape, fold(form).text.split()))
            if sought and (match := re.search(sought, folded.text, flags)):
                return folded.starts[match.start()], folded.ends[match.end() - 1]
    return None
