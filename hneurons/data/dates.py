"""Dates as they are compared: "1776-7-4", with 0 for a year that is not given, and "1776-7" without a day."""

import datetime
import re
from collections.abc import Sequence

from hneurons.data.digits import Word

_MONTHS = "january february march april may june july august september october november december".split()
_NUMBER_OF = (
    {name[:3]: i for i, name in enumerate(_MONTHS, 1)} | {name: i for i, name in enumerate(_MONTHS, 1)} | {"sept": 9}
)
# In lower case they are other words.
_CAPITALS_ONLY = {"march", "may", "august", "mar", "dec", "jan", "sep", "oct", "jun", "jul", "apr", "feb", "nov", "aug"}
FIGURE_DATES = r"(?<![\w-])\d{4}-\d{1,2}-\d{1,2}(?![\w-])|(?<![\w./-])\d{1,2}(?P<mark>[./-])\d{1,2}(?P=mark)\d{4}(?![\w/-])"
# Markdown and brackets may be around the figures.
_GAP = re.compile(r"[*_)]{0,2}[.,]?\s?[*_(]{0,2}|-")
# A leap year, for a day whose year is not given.
_LEAP = 2000


def _form(year: int, month: int, day: int) -> str:
    """Return a date as it is compared; empty for a day that does not exist."""
    try:
        datetime.date(year or _LEAP, month, day or 1)
    except ValueError:
        return ""
    return f"{year}-{month}-{day}" if day else f"{year}-{month}"


def figure_date(text: str) -> str:
    """Return a date in figures as it is compared; as it is written if day and month cannot be distinguished."""
    first, second, third = map(int, re.split("[./-]", text))
    if first > 31:
        return _form(first, second, third) or text
    if first <= 12 and second <= 12 and first != second:
        return text
    return (_form(third, first, second) if first <= 12 else _form(third, second, first)) or text


def date_readings(form: str) -> set[tuple[int, int, int]]:
    """Return the (year, month, day) that a compared form may be, with 0 for what is not given."""
    if match := re.fullmatch(r"(\d{1,4})-(\d{1,2})(?:-(\d{1,2}))?", form):
        return {(int(match[1]), int(match[2]), int(match[3] or 0))}
    if match := re.fullmatch(r"(\d{1,2})/(\d{1,2})", form):
        return {(0, int(match[i]), int(match[j])) for i, j in ((1, 2), (2, 1))}
    if match := re.fullmatch(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})", form):
        return {(int(match[4]), int(match[i]), int(match[j])) for i, j in ((1, 3), (3, 1))}
    return set()


def date_parts(form: str) -> list[str]:
    """Return the parts of a date that may be an answer: its year, its month, its day, and two of them."""
    match = re.fullmatch(r"(\d{1,4})-(\d{1,2})(?:-(\d{1,2}))?", form)
    if not match:
        return []
    year, month, day = match.groups()
    parts = [_MONTHS[int(month) - 1]] if 1 <= int(month) <= 12 else []
    if year != "0":
        parts += [year, f"{year}-{month}"]
    return [*parts, f"0-{month}-{day}", day, f"{day}th"] if day else parts


def join_dates(words: Sequence[Word], text: str) -> list[Word]:
    """Join the words of a date: a month with its day, its year, or both, in any order.

    Args:
        words: The words of a text.
        text: The folded text.
    """
    joined: list[Word] = []
    i = 0
    while i < len(words):
        word = words[i]
        month = _NUMBER_OF.get(word.form)
        if not month or (word.form in _CAPITALS_ONLY and not text[word.start].isupper()):
            joined.append(word)
            i += 1
            continue
        # 1. The day before: "4", "4th of", "the fourth of".
        first = len(joined)
        if joined and joined[-1].form == "of" and len(joined) > 1 and joined[-2].numeral:
            first -= 2
        elif joined and joined[-1].numeral:
            first -= 1
        day = _day(joined[first]) if first < len(joined) else 0
        if day and not all(_adjacent(text, [*joined[first:], word], k) for k in range(1, len(joined) - first + 1)):
            day = 0
        first = first if day else len(joined)
        # 2. The day and the year after: "4, 1776".
        j = i + 1
        if not day and j < len(words) and _adjacent(text, words, j):
            j += words[j].form == "the" and j + 1 < len(words) and _adjacent(text, words, j + 1)
            day = _day(words[j])
            j = j + 1 if day else i + 1
        linked = j < len(words) and words[j].form in ("of", "in") and j + 1 < len(words)
        k = j + 1 if linked else j
        year = _year(words[k]) if k < len(words) and all(_adjacent(text, words, m) for m in range(j, k + 1)) else 0
        form = _form(year, month, day) if day or year else ""
        if form:
            end = k if year else j - 1
            start = joined[first].start if first < len(joined) else word.start
            del joined[first:]
            joined.append(Word(form, start, words[end].end))
            i = end + 1
        else:
            joined.append(word)
            i += 1
    return joined


def _adjacent(text: str, words: Sequence[Word], i: int) -> bool:
    return bool(_GAP.fullmatch(text[words[i - 1].end : words[i].start]))


def _day(word: Word) -> int:
    return int(word.numeral) if word.numeral and len(word.numeral) <= 2 and 1 <= int(word.numeral) <= 31 else 0


def _year(word: Word) -> int:
    return int(word.form) if len(word.form) == 4 and word.form.isdigit() else 0
