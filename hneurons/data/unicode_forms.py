"""Places of a phrase in a text that may write it in another Unicode form: composed, full-width, or with other spaces."""

import unicodedata
from itertools import pairwise


def find_phrase(text: str, phrase: str) -> tuple[int, int] | None:
    """Return the characters [start, end) at which a phrase first occurs in a text, None if it does not.

    Letter by letter if it occurs so; else in another form of the same letters, as tokenizers that normalise their input
    give back: compatibility forms (NFKD), any white space, and last in another case.

    Args:
        text: The text.
        phrase: The phrase; a blank one occurs nowhere.
    """
    if not phrase.strip():
        return None
    start = text.find(phrase)
    if start >= 0:
        return start, start + len(phrase)
    for ignore_case in (False, True):
        if place := _find_folded(text, phrase.strip(), ignore_case):
            return place
    return None


def _find_folded(text: str, phrase: str, ignore_case: bool) -> tuple[int, int] | None:
    """As `find_phrase`, in folded forms; a match must begin and end between characters with their combining marks."""
    folded, starts = _folded(text, ignore_case)
    sought = _folded(phrase, ignore_case)[0].strip()
    position = folded.find(sought)
    while position >= 0 and sought:
        end = position + len(sought)
        if position in starts and end in starts:
            start = starts[position]
            return start, start + len(text[start : starts[end]].rstrip())
        position = folded.find(sought, position + 1)
    return None


def _folded(text: str, ignore_case: bool) -> tuple[str, dict[int, int]]:
    """A text in its folded form with single spaces, and where in the text its positions are; only of whole characters."""
    parts: list[str] = []
    starts: dict[int, int] = {}
    length = 0
    for start, end in _clusters(text):
        part = _fold(text[start:end], ignore_case)
        if parts and parts[-1].endswith(" "):
            part = part.removeprefix(" ")
        if part:
            starts[length] = start
            parts.append(part)
            length += len(part)
    return "".join(parts), {**starts, length: len(text)}


def _clusters(text: str) -> list[tuple[int, int]]:
    """Ranges of the characters with the combining marks that follow them."""
    starts = [i for i, character in enumerate(text) if i == 0 or not unicodedata.combining(character)]
    return list(pairwise([*starts, len(text)])) if text else []


def _fold(cluster: str, ignore_case: bool) -> str:
    form = unicodedata.normalize("NFKD", cluster)
    if ignore_case:
        form = unicodedata.normalize("NFKD", form.casefold())
    return " " if not form.strip() else form
