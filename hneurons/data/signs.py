"""Signs that make another word of a letter: C++, C#, O−, A*, B♭, and their names: "O negative", "C sharp"."""

import re

_AFTER = re.compile(
    r"\+\+(?!\w)|#(?!\w)|♭(?!\w)|\+(?![\w+])|\*(?![\w*])|[-–−](?![\w\s>-]|$)|[-–−](?=\s*(?:[.,;:!?)\"'*_]|$|\n))"
)
_BLOOD = re.compile(
    r"[ -](positive|negative|pos|neg)\b(?!\s+[a-z])|[ -](positive|negative)(?= (?:blood|type))", re.IGNORECASE
)
_NOTE = re.compile(r"[ -](sharp|flat)\b(?!\s+(?!major\b|minor\b|key\b)[a-z])", re.IGNORECASE)
_GRADE = re.compile(r"[ -](plus|minus)\b(?!\s*\w)", re.IGNORECASE)
_PLUS_PLUS = re.compile(r" plus plus\b", re.IGNORECASE)
_GROUPS, _NOTES = {"A", "B", "AB", "O", "Rh", "RH"}, set("ABCDEFG")
_SIGNS = {"positive": "+", "pos": "+", "negative": "-", "neg": "-", "plus": "+", "minus": "-", "sharp": "#", "flat": "♭"}
# Words of a small letter too that a minus belongs to: the Rhesus factor and two ions.
_WITH_MINUS = {"Rh", "Cl", "Br"}
_CHARGE = re.compile(r"[+](?![\w+])|[-–−](?=\s*(?:[.,;:!?)\"'*_]|$))")
# A sharp belongs to a letter or to an abbreviation.
_LETTERS = 3


def sign_after(text: str, start: int, end: int) -> tuple[str, int]:
    """Return the sign of the word [start, end) of a folded text, empty without one, and where the sign ends."""
    word = text[start:end]
    if word in _GROUPS and (match := _BLOOD.match(text, end)):
        return _SIGNS[(match[1] or match[2]).lower()], match.end()
    if word in _NOTES and (match := _NOTE.match(text, end)):
        return _SIGNS[match[1].lower()], match.end()
    if len(word) == 1 and word.isupper() and (match := _GRADE.match(text, end)):
        return _SIGNS[match[1].lower()], match.end()
    if len(word) == 1 and (match := _PLUS_PLUS.match(text, end)):
        return "++", match.end()
    match = _AFTER.match(text, end)
    if not match:
        return "", end
    sign = match.group()
    if sign == "*":
        # A star may end what Markdown emphasises.
        emphasised = text.count("*", text.rfind("\n", 0, start) + 1, start) % 2
        return ("", end) if emphasised or len(word) > 1 or not word.isupper() else (sign, match.end())
    if sign in "-–−":
        return ("-", match.end()) if (len(word) <= 2 and word.isupper()) or word in _WITH_MINUS else ("", end)
    return (sign, match.end()) if len(word) <= _LETTERS or "+" in sign else ("", end)


def charge_after(text: str, start: int, end: int) -> tuple[str, int]:
    """Return the charge of an ion whose formula ends with the figures [start, end), and where it ends: Ca2+, NO3-."""
    # Raised figures are folded to "^2".
    before = start - (text[start - 1 : start] == "^")
    match = _CHARGE.match(text, end) if before and text[before - 1].isalpha() else None
    return ("+" if match.group() == "+" else "-", match.end()) if match else ("", end)
