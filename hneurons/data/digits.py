"""Figures as they are compared: without separators and final zeros, with their sign, their fraction or their power of ten.

Ordinals become "14th", fractions decimals where those end, and decades "1960s". What can be read in two ways ("1.500.000",
"1,5") stays as it is written.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

import roman


@dataclass(frozen=True)
class Word:
    """A word of a text, or several that are compared as one: "twenty-one", "4 July 1776", "5 km".

    Attributes:
        form: The word as it is compared.
        start: Its first character in the text.
        end: The character after its last one.
        numeral: The number that it is within a name: "14" for the last word of "Louis XIV" and of "Louis the Fourteenth".
    """

    form: str
    start: int
    end: int
    numeral: str = ""


# Groups of three digits, then plain figures with their commas and points.
FIGURES = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]|\.\d)|(?<![\d.,])(?<!\d[ '])\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?(?![\d]|[ .,]\d)"
    r"|\d+(?:[.,]\d+)*|(?<![\w.])\.\d+"
)
# Longer figures are not read as a number.
_VALUE = re.compile(r"-?[0-9]{1,99}(?:\.[0-9]{1,99}|/[1-9][0-9]{0,99})?")
_GROUPS = re.compile(r"\d{1,3}(?:[, ']\d{3})+(?:\.\d+)?")
_BOUNDS = "<>≤≥±"
_CENTURY = re.compile(r"[12]\d{3}[-–/]")
_ANY_GROUPS = re.compile(r"-?\d{1,3}(?:[.,]\d{3})+")
_ORDINAL_END = re.compile(r"(?:st|nd|rd|th)(?!\w)", re.IGNORECASE)
_PLURAL_END = re.compile(r"'?s(?!\w)")
_FRACTION = re.compile(r"/(\d{1,9})(?![\d/]|[.,]\d)")
_EXPONENT = r"(?:\^|\*\*|(?=-\^))(-?)\^?(\d(?:\^?\d)?)(?![\d^])"
_POWER, _POWER_OF_TEN = re.compile(rf" ?[×x*·⋅] ?10{_EXPONENT}"), re.compile(_EXPONENT)
CURRENCIES = ("$", "£", "€", "¥")
_MINUSES, _BEFORE_SIGNS = "-–−‒", "([{\"'“„«*_=:~≈<>/,;"
# Below a hundred: C, D and M begin too many abbreviations (CD, DC, MC).
_ROMAN = re.compile(r"[IVXL]{1,8}")


def decimal(value: Fraction) -> str:
    """Return a number as it is compared: "0.5", "-40", or "1/3" where its decimals do not end."""
    denominator = value.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    if denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
    digits = str(abs(int(value * 10**places))).zfill(places + 1)
    return ("-" if value < 0 else "") + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


def value_of(form: str) -> Fraction | None:
    """Return the number that a compared form is, None if it is not a plain one."""
    return Fraction(form) if _VALUE.fullmatch(form) else None


def readings(form: str) -> set[Fraction]:
    """Return all numbers that a compared form may be: "1.500" is one and a half or fifteen hundred."""
    form = form.lstrip(_BOUNDS)
    figures = re.match(r"-?\d[\d.,]*(?:/\d+)?", form)
    if not figures or re.match(r"\d+[-/.]\d+[-/.]\d{4}|\d+-\d", form):
        return set()
    text = figures.group().rstrip(".,")
    texts = {text}
    if text.count(",") == 1:
        texts.add(text.replace(",", "."))
    if _ANY_GROUPS.fullmatch(text):
        texts.add(re.sub("[.,]", "", text))
    return {value for value in map(value_of, texts) if value is not None}


def roman_number(text: str) -> str:
    """Return the number of a Roman numeral in capitals; empty for another text."""
    if text == "L" or not _ROMAN.fullmatch(text):
        return ""
    try:
        return str(roman.fromRoman(text))
    except roman.InvalidRomanNumeralError:
        return ""


def _figures_form(figures: str) -> str:
    """Return figures as they are compared; a fraction of zeros is left out."""
    if _GROUPS.fullmatch(figures):
        figures = re.sub("[, ']", "", figures)
    if figures.startswith("."):
        figures = "0" + figures
    # "3.10" may be a version, which is not 3.1.
    return re.sub(r"(\d)\.0+", r"\1", figures) if re.fullmatch(r"\d+\.0+", figures) else figures


def figures_word(text: str, start: int, end: int) -> Word:
    """Return the word of figures [start, end) of a folded text and of what belongs to them: "-40", "21st", "3 × 10^8"."""
    word = _unsigned(text, start, end)
    # "1939-45"
    century = text[max(0, start - 5) : start]
    if len(word.form) == 2 and word.numeral and _CENTURY.fullmatch(century) and word.form > century[2:4]:
        return Word(century[:2] + word.form, start, word.end)
    if start and text[start - 1] in _BOUNDS and (start == 1 or text[start - 2].isspace()):
        return Word(text[start - 1] + word.form, start - 1, word.end)
    if value_of(word.form) is None or not is_negative(text, start) or text[start - 1] in CURRENCIES:
        return word
    return Word(f"-{word.form}", start - 1 - (text[start - 1] == " "), word.end)


def _unsigned(text: str, start: int, end: int) -> Word:
    figures = text[start:end]
    form = _figures_form(figures)
    if match := _ORDINAL_END.match(text, end):
        return Word(form + "th", start, match.end(), form)
    if match := _PLURAL_END.match(text, end):
        short = len(form) == 2 and form.endswith("0")
        decade = short or (len(form) == 4 and form.endswith("0"))
        # "iPhone 5s" is not iPhone 5.
        named = re.search(r"\w*[A-Z]\w*[ -]$", text[max(0, start - 20) : start])
        return Word(f"19{form}s" if short else f"{form}s" if decade or named else form, start, match.end())
    value = value_of(form)
    if value is None:
        return Word(form, start, end)
    match = _FRACTION.match(text, end)
    if match and 0 < value < int(match[1]) and value.denominator == 1 and text[start - 1 : start] != "/":
        # "6/8" may be a measure, which is not 3/4.
        reduced = gcd(int(value), int(match[1])) == 1
        written = f"{value}/{int(match[1])}"
        return Word(decimal(value / int(match[1])) if reduced else written, start, match.end())
    if match := _POWER.match(text, end) or (_POWER_OF_TEN.match(text, end) if value == 10 else None):
        power = Fraction(10) ** int(match[1] + match[2].replace("^", ""))
        return Word(decimal(power if match.re is _POWER_OF_TEN else value * power), start, match.end())
    return Word(form, start, end, form if form.isdigit() else "")


def is_negative(text: str, start: int) -> bool:
    """Return whether a minus before character `start` of a folded text is a sign: in "at -40" but not in "1939-45"."""
    i = start
    if text[i - 1 : i] in CURRENCIES or text[max(0, i - 2) : i] == "− ":
        i -= 1
    if not i or text[i - 1] not in _MINUSES:
        return False
    i -= 1
    if i and text[i - 1] in CURRENCIES:
        i -= 1
    if i and text[i - 1].isspace():
        return not text[max(0, i - 9) : i].rstrip()[-1:].isdigit()
    return not i or text[i - 1] in _BEFORE_SIGNS
