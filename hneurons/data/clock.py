"""Times of day as they are compared: "15:00", and "3:00~" if morning or afternoon is not given."""

import re
from collections.abc import Sequence

from hneurons.data.digits import Word

_HOURS, _HALF_DAYS = re.compile(r"\d{1,2}"), {"am": 0, "pm": 12}
# "10.30", which is a time before am or pm only.
_POINTED = re.compile(r"(\d{1,2})\.([0-5]\d)")
_MINUTES = re.compile(r"[0-5]\d")


def join_clock(words: Sequence[Word], text: str) -> list[Word]:
    """Join the words of a time of day: "3:30 p.m.", "15:30", "three o'clock".

    Args:
        words: The words of a text.
        text: The folded text.
    """
    joined: list[Word] = []
    i = 0
    while i < len(words):
        form, end = _time_at(words, i, text)
        joined.append(Word(form, words[i].start, words[end - 1].end) if form else words[i])
        i = end
    return joined


def _time_at(words: Sequence[Word], i: int, text: str) -> tuple[str, int]:
    """Return the form of the time that begins at the i-th word, empty without one, and the index of the word after it."""
    word, j = words[i], i + 1
    written = text[word.start : word.end]
    pointed = _POINTED.fullmatch(written)
    if not (_HOURS.fullmatch(word.form) or pointed) or text[word.start - 1 : word.start] == ":":
        return "", i + 1
    hour, minutes, colon = (int(pointed[1]), pointed[2], False) if pointed else (int(word.form), "00", False)
    if not pointed and j < len(words) and text[word.end : words[j].start] == ":" and _MINUTES.fullmatch(words[j].form):
        minutes, colon, j = words[j].form, True, j + 1
    half = words[j].form if j < len(words) and text[words[j - 1].end : words[j].start] in ("", " ") else ""
    if half in _HALF_DAYS and 1 <= hour <= 12:
        return f"{hour % 12 + _HALF_DAYS[half]:02}:{minutes}", j + 1
    if half == "oclock" and 1 <= hour <= 12:
        return f"{hour}:{minutes}~", j + 1
    ends = colon and text[words[j - 1].end : words[j - 1].end + 1] != ":"
    if not ends or hour > 23:
        return "", i + 1
    either = 1 <= hour <= 12 and not written.startswith("0")
    return (f"{hour}:{minutes}~" if either else f"{hour:02}:{minutes}"), j


def clock_readings(form: str) -> set[tuple[int, int]]:
    """Return the (hour, minute) that a compared form may be; empty for another form."""
    match = re.fullmatch(r"(\d{1,2}):([0-5]\d)(~?)", form)
    if not match:
        return set()
    hour, minute = int(match[1]), int(match[2])
    return {(hour % 12, minute), (hour % 12 + 12, minute)} if match[3] else {(hour, minute)}
