"""Units as they are compared, joined to their number: "5 km" for 5 kilometres, "50 %" for fifty per cent."""

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Any

from hneurons.data.digits import CURRENCIES, Word, decimal, is_negative, value_of

# Unit → its spellings, without the s of the plural. Those that Pint can convert have its names.
_SPELLINGS = {
    "km": "km kilometre kilometer kms kilo-metre",
    "m": "m metre meter",
    "cm": "cm centimetre centimeter",
    "mm": "mm millimetre millimeter",
    "µm": "µm μm micrometre micrometer micron",
    "nm": "nm nanometre nanometer",
    "mile": "mile mi",
    "yard": "yard yd",
    "foot": "foot feet ft",
    "inch": "inch inches",
    "light_year": "light-year lightyear ly",
    "kg": "kg kilogram kilogramme kilo kgs",
    "g": "g gram gramme",
    "mg": "mg milligram milligramme",
    "lb": "lb lbs",
    "ounce": "ounce oz",
    "stone": "stone",
    "tonne": "tonne",
    "ton": "ton",
    "litre": "litre liter l",
    "ml": "ml millilitre milliliter",
    "gallon": "gallon",
    "pint": "pint",
    "hectare": "hectare ha",
    "acre": "acre",
    "second": "second sec",
    "minute": "minute min",
    "hour": "hour hr",
    "day": "day",
    "week": "week",
    "month": "month",
    "year": "year yr",
    "century": "century centuries",
    "degC": "°c celsius centigrade",
    "degF": "°f fahrenheit",
    "kelvin": "kelvin k",
    "degree": "° degree deg",
    "%": "% percent pct",
    "watt": "watt w",
    "kW": "kw kilowatt",
    "MW": "mw megawatt",
    "volt": "volt v",
    "Hz": "hz hertz",
    "kHz": "khz kilohertz",
    "MHz": "mhz megahertz",
    "GHz": "ghz gigahertz",
    "kB": "kb kilobyte",
    "MB": "mb megabyte",
    "GB": "gb gigabyte",
    "TB": "tb terabyte",
    "knot": "knot kt",
    "mph": "mph",
    "km/h": "kph kmh kmph",
    "$": "$ dollar usd",
    "€": "€ euro eur",
    "£": "£ gbp",
    "¥": "¥ yen jpy",
    "pound": "pound",
    "cent": "cent",
    "bc": "bc bce",
    "ad": "ad ce",
}
_UNIT_OF = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_DEGREES = {"celsius": "degC", "centigrade": "degC", "c": "degC", "fahrenheit": "degF", "f": "degF", "kelvin": "kelvin"}
# One letter may mean something else: "5 m" is five metres or five million, "5 k" five thousand.
_AMBIGUOUS = {"m", "g", "litre", "kelvin", "degree", "pound", "ton", "watt", "volt", "knot", "cent"}
# Units of time after "per", "an" or a slash; "second" was read as an ordinal.
_TIMES = {"h": "hour", "s": "second", "2th": "second"}
_RATES = {("mile", "hour"): "mph", ("km", "hour"): "km/h"}
SYMBOLS = r"[%°$€£¥]"
# Markdown and brackets may be around the number or the unit.
_GAP = re.compile(r"[*_)]{0,2}[ -]?[*_(]{0,2}")


def join_units(words: Sequence[Word], text: str) -> list[Word]:
    """Join numbers with their units.

    Args:
        words: The words of a text, symbols of units among them; those without a number are left out.
        text: The folded text.
    """
    joined: list[Word] = []
    i = 0
    while i < len(words):
        word = words[i]
        number = value_of(word.form)
        half = _and_a_half(joined, word)
        if number is None or half:
            joined.append(half or word)
            i += 1
            continue
        form, start = word.form, word.start
        prefix = ""
        if joined and _touches(text, joined[-1], word):
            prefix, start = joined[-1].form, joined.pop().start
            if text[start - 1 : start] and is_negative(text, start + 1) and not form.startswith("-"):
                form, start = "-" + form, start - 1
        elif (
            joined
            and joined[-1].form == "ad"
            and text[joined[-1].end : word.start] == " "
            and text[joined[-1].start] == "A"
        ):
            prefix, start = "ad", joined.pop().start
        unit, j = (prefix, i + 1) if prefix else _unit_after(words, i, text)
        if prefix and j < len(words) and _UNIT_OF.get(_singular(words[j].form)) == prefix and _gap(text, words, j):
            j += 1
        if prefix and (time := _time_after(words, j, text)):
            unit, j = f"{prefix}/{time[0]}", time[1]
        if not form.startswith("-") and j + 1 < len(words) and _below_zero(words, j):
            form, j = "-" + form, j + 2
        joined.append(Word(f"{form} {unit}" if unit else form, start, words[j - 1].end, "" if unit else word.numeral))
        i = j
    return [word for word in joined if word.form not in {*CURRENCIES, "%", "°"}]


def _and_a_half(joined: list[Word], word: Word) -> Word | None:
    """Return the quantity that ends with a half, its words taken from those before: "an hour and a half"."""
    if word.form != "0.5" or len(joined) < 2 or joined[-1].form != "and":
        return None
    pair, unit, length = quantity(joined[-2].form), unit_named(joined[-2].form), 2
    if not pair and unit and len(joined) > 2 and joined[-3].form in ("a", "an"):
        pair, length = (Fraction(1), unit), 3
    if not pair:
        return None
    start = joined[-length].start
    del joined[-length:]
    return Word(f"{decimal(pair[0] + Fraction(1, 2))} {pair[1]}", start, word.end)


def unit_named(form: str) -> str:
    """Return the unit that a compared form is the name of: "hour"; empty for another word."""
    return _UNIT_OF.get(_singular(form), "") if len(form) > 2 else ""


def _singular(form: str) -> str:
    return form[:-1] if len(form) > 2 and form.endswith("s") and form not in ("celsius", "inches", "feet") else form


def _touches(text: str, symbol: Word, word: Word) -> bool:
    """Return whether a word is a prefix's symbol right before a number, with its sign between them at most."""
    return (
        symbol.form in CURRENCIES and len(text[symbol.end : word.start].strip("-–−‒ ")) == 0 and symbol.end + 2 > word.start
    )


def _gap(text: str, words: Sequence[Word], i: int) -> bool:
    return bool(_GAP.fullmatch(text[words[i - 1].end : words[i].start]))


def _below_zero(words: Sequence[Word], i: int) -> bool:
    return words[i].form == "below" and words[i + 1].form in ("0", "freezing")


def _unit_after(words: Sequence[Word], i: int, text: str) -> tuple[str, int]:
    """Return the unit after the i-th word, empty without one, and the index of the word after it."""
    if i + 1 == len(words) or not _gap(text, words, i + 1):
        return "", i + 1
    word, j = words[i + 1], i + 2
    written = text[word.start : word.end].casefold()
    following = words[j].form if j < len(words) and _gap(text, words, j) else ""
    if written == "per" and following == "cent":
        return "%", j + 1
    if written == "light" and _singular(following) == "year":
        return "light_year", j + 1
    unit = _UNIT_OF.get(written) or _UNIT_OF.get(_singular(written)) or _UNIT_OF.get(word.form, "")
    if unit == "degree" and following in _DEGREES:
        return _DEGREES[following], j + 1
    if written in ("us", "u.s.") and following in ("dollar", "dollars"):
        return "$", j + 1
    capital = text[word.start].isupper()
    # "20 C" and "20 F" are temperatures; a single capital may be a letter.
    if written in ("c", "f") and capital:
        return _DEGREES[written], j
    if len(written) == 1 and written in "kvw" and not capital:
        return "", i + 1
    if unit and (time := _time_after(words, j, text)):
        return _RATES.get((unit, time[0]), f"{unit}/{time[0]}"), time[1]
    if text[word.end : word.end + 1] == "/" or (unit in ("bc", "ad") and not capital):
        return "", i + 1
    return unit, (j if unit else i + 1)


def _time_after(words: Sequence[Word], i: int, text: str) -> tuple[str, int] | None:
    """Return the unit of time of a rate that continues with the i-th word, and the index of the word after it."""
    if i >= len(words):
        return None
    between, j = text[words[i - 1].end : words[i].start], i
    if between == " " and words[i].form in ("per", "a", "an") and i + 1 < len(words) and _gap(text, words, i + 1):
        j = i + 1
    elif between != "/":
        return None
    form = words[j].form
    time = _TIMES.get(form) or _UNIT_OF.get(_singular(form), "")
    return (time, j + 1) if time in ("second", "minute", "hour", "day", "week", "month", "year") else None


@cache
def _registry() -> Any:
    import pint  # takes a third of a second

    return pint.UnitRegistry()


# Within this share of each other two quantities may be one, rounded: 26.2 miles and 42 km.
_ROUNDED = 0.02


def quantity(form: str) -> tuple[Fraction, str] | None:
    """Return the number and the unit of a compared form, None if it has no unit."""
    number, _, unit = form.partition(" ")
    value = value_of(number) if unit else None
    return None if value is None else (value, unit)


def compare_quantities(gold: str, form: str) -> bool | None:
    """Return whether two quantities are equal, None if it cannot be decided.

    Args:
        gold: A compared form with a unit.
        form: Another one.
    """
    first, second = quantity(gold), quantity(form)
    if first is None or second is None:
        return None
    (x, unit), (y, other) = first, second
    if unit == other:
        return x == y
    if (x == y or x == -y) and not _AMBIGUOUS.isdisjoint((unit, other)) and not _convertible(unit, other):
        return None
    if not _convertible(unit, other):
        return False
    converted = _registry().Quantity(float(y), other).to(unit).magnitude
    if abs(converted - float(x)) <= 1e-9 * max(abs(converted), abs(float(x))):
        return True
    close = abs(converted - float(x)) <= _ROUNDED * max(abs(converted), abs(float(x)), 1)
    return None if close or (x == y and not _AMBIGUOUS.isdisjoint((unit, other))) else False


@cache
def _convertible(unit: str, other: str) -> bool:
    if not {*unit.split("/"), *other.split("/")}.isdisjoint({*CURRENCIES, "bc", "ad", "%", "cent", "pound", "degree"}):
        return False
    return bool(_registry().Quantity(1, unit).is_compatible_with(other))


def percent_of(form: str) -> str:
    """Return a percentage as a plain number: "0.5" for "50 %"; empty for another form."""
    pair = quantity(form)
    return decimal(pair[0] / 100) if pair and pair[1] == "%" else ""
