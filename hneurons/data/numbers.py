"""Numbers in words as they are compared: in figures."""

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from text_to_num import text2num

from hneurons.data.digits import CURRENCIES, Word, decimal, is_negative, value_of

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
_UNITS += " eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ABBREVIATED = {"bn": 10**9, "mn": 10**6, "mln": 10**6}
_CARDINALS = frozenset(_UNITS.split() + _TENS + [*_SCALES])
_IRREGULAR = {"first": "one", "second": "two", "third": "three", "fifth": "five", "eighth": "eight", "ninth": "nine"}
_IRREGULAR["twelfth"] = "twelve"
_ORDINALS = {f"{word}th": word for word in _CARDINALS if not word.endswith("y")} | _IRREGULAR
_ORDINALS |= {f"{word[:-1]}ieth": word for word in _TENS}
# Parts of a fraction: "two thirds".
_PARTS = {"third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10}
# "a third", but not "a third man"
_PART_ENDS = re.compile(r"\W*(?:$|of\b|[.,;!?])")
_DECADES = {f"{word[:-1]}ies": f"19{i}0s" for i, word in enumerate(_TENS, 2)}
_SMALL_NUMBERS, _CENTURIES = 20, 30
_OH = {"oh", "o"}
# No number has more words.
_LONGEST = 30


@lru_cache(maxsize=10_000)
def _spelt(words: tuple[str, ...]) -> int | None:
    """Return the number that words spell, None if they spell none."""
    if not words or len(words) > _LONGEST:
        return None
    if "trillion" in words:
        i = words.index("trillion")
        head = _spelt(words[:i] or ("one",))
        tail = _spelt(words[i + 1 + (words[i + 1 : i + 2] == ("and",)) :]) if words[i + 1 :] else 0
        return None if head is None or tail is None else head * _SCALES["trillion"] + tail
    try:
        return int(text2num(" ".join(words), "en"))
    except ValueError:
        pass
    # "nineteen eighty-four", "nineteen oh five", "four fifty-one"
    for i in (1, 2):
        century, year = _spelt_small(words[:i]), _spelt_small(words[i:])
        if century and year and century < _CENTURIES and year >= 10:
            return 100 * century + year
    if len(words) in (3, 4) and words[-2] in _OH and (century := _spelt_small(words[:-2])) and century < _CENTURIES:
        return 100 * century + (_spelt_small(words[-1:]) or 0)
    return None


def _spelt_small(words: tuple[str, ...]) -> int | None:
    """Return a number below a hundred that one or two words spell."""
    small = [(_UNITS.split() + _TENS).index(word) for word in words if word in _UNITS.split() + _TENS]
    if len(small) != len(words) or not 1 <= len(words) <= 2:
        return None
    values = [i if i < _SMALL_NUMBERS else 10 * (i - 18) for i in small]
    return values[0] if len(values) == 1 else sum(values) if values[0] >= 20 > 10 > values[1] > 0 else None


def _joined(text: str, words: Sequence[Word], i: int) -> bool:
    """Return whether only a space or a hyphen separates the i-th word from the one before it."""
    return text[words[i - 1].end : words[i].start] in (" ", "-", "‐", "‑", "")


def _run_end(text: str, words: Sequence[Word], i: int) -> int:
    """Return the end of the run of number words that begins with the i-th word."""
    j = i + 1
    while j < len(words) and _joined(text, words, j):
        form = words[j].form
        following = words[j + 1].form if j + 1 < len(words) and _joined(text, words, j + 1) else ""
        if form in _OH and following in _UNITS.split():
            return j + 2
        if form == "and" and words[j - 1].form in _SCALES and following in _CARDINALS | _ORDINALS.keys():
            j += 1
        elif form in _ORDINALS:
            return j + 1
        elif form in _CARDINALS:
            j += 1
        else:
            break
    return j


@lru_cache(maxsize=10_000)
def _number_form(forms: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the form and the numeral of a run of number words, None if they are several numbers."""
    last = forms[-1]
    if last in _ORDINALS:
        count = _spelt(forms[:-1])
        if len(forms) == 2 and count and count < _SMALL_NUMBERS and last in _PARTS and (count == 1 or last == "quarter"):
            return decimal(Fraction(count, _PARTS[last])), ""
        spelt = _spelt((*forms[:-1], _ORDINALS[last]))
        return None if spelt is None else (f"{spelt}th", str(spelt))
    spelt = _spelt(forms)
    return None if spelt is None else (str(spelt), str(spelt))


def _parts_form(count: str, part: str) -> str:
    """Return a fraction of which the count and the parts are given: "2" and "thirds"; empty for other words."""
    value, size = value_of(count), _PARTS.get(part.removesuffix("s"))
    if value is None or size is None or not 0 < value < _SMALL_NUMBERS or value.denominator != 1:
        return ""
    return decimal(value / size) if part.endswith("s") or (value == 1 or size == 4) else ""


def join_numbers(words: Sequence[Word], text: str) -> list[Word]:
    """Join the words that are one number.

    Args:
        words: The words of a text.
        text: The folded text.
    """
    joined: list[Word] = []
    i = 0
    while i < len(words):
        word, j = words[i], i + 1
        if word.form in _CARDINALS or word.form in _ORDINALS:
            j = _run_end(text, words, i) if word.form in _CARDINALS else i + 1
            pair = _number_form(tuple(w.form for w in words[i:j])) if j - i <= _LONGEST else None
            if pair is None:  # "one two three" are three numbers
                for each in words[i:j]:
                    alone = _number_form((each.form,)) if each.form in _CARDINALS | _ORDINALS.keys() else None
                    joined.append(replace(each, form=alone[0], numeral=alone[1]) if alone else each)
                i = j
                continue
            word = Word(pair[0], word.start, words[j - 1].end, pair[1])
            if text[word.start - 1 : word.start] == "−" and is_negative(text, word.start):
                word = Word(f"-{word.form}", word.start - 1, word.end)
        elif word.form in _DECADES:
            word = _decade(word, joined, text)
        elif word.form == "half":
            word = replace(word, form="0.5")
        joined.append(word)
        i = j
    return _join_parts(joined, text)


def _decade(word: Word, joined: list[Word], text: str) -> Word:
    """Return the word of a decade, with the century that was joined before it: "nineteen sixties"."""
    form = _DECADES[word.form]
    if joined and re.fullmatch("1[0-9]|2[01]", joined[-1].form) and _joined(text, [joined[-1], word], 1):
        century = joined.pop()
        return Word(century.form + form[2:], century.start, word.end)
    return replace(word, form=form)


def _join_parts(words: Sequence[Word], text: str) -> list[Word]:
    """Join numbers with the scale, the fraction or the sign that belongs to them: "1.5 million", "two and a half"."""
    joined: list[Word] = []
    for word in words:
        if joined and _joined(text, [joined[-1], word], 1) and (form := _both(joined[-1], word, text)):
            start = joined.pop().start
            # "half a million", "two and a half"
            if joined and joined[-1].form == "0.5" and Fraction(form) in (12, *_SCALES.values()):
                form, start = decimal(Fraction(form) / 2), joined.pop().start
            elif form == "0.5" and len(joined) > 1 and joined[-1].form == "and" and _whole(joined[-2]):
                form, start = decimal(Fraction(joined[-2].form) + Fraction(1, 2)), joined[-2].start
                del joined[-2:]
            word = Word(form, start, word.end, form if form.isdigit() else "")
        elif joined and word.form.isdigit() and text[word.start].isalpha() and _joined(text, [joined[-1], word], 1):
            word = _decimal_word(word, joined, text)
        joined.append(word)
    return joined


def _decimal_word(word: Word, joined: list[Word], text: str) -> Word:
    """Return a word as the decimals of the number before it: "two point five", and each digit after that."""
    before = joined[-1]
    if before.form == "point" and len(joined) > 1 and _whole(joined[-2]) and _joined(text, joined, len(joined) - 1):
        before = joined[-2]
        del joined[-2:]
        return Word(f"{before.form}.{word.form}", before.start, word.end)
    spelt = "." in before.form and value_of(before.form) is not None and "point" in text[before.start : before.end].lower()
    if spelt and len(word.form) == 1:
        return Word(before.form + word.form, joined.pop().start, word.end)
    return word


def _whole(word: Word) -> bool:
    value = value_of(word.form)
    return value is not None and value.denominator == 1


def _both(before: Word, word: Word, text: str) -> str:
    """Return the form of a word and the one before it as one number; empty if they are not."""
    value, number = value_of(before.form), value_of(word.form)
    written = text[word.start : word.end].lower()
    scale = _SCALES.get(written) or _ABBREVIATED.get(written)
    if written == "m" and text[before.start - 1 : before.start] in CURRENCIES:
        scale = 10**6
    if value is not None and scale:
        return decimal(value * scale)
    if written == "dozen" and (before.form == "a" or (value is not None and value < _SMALL_NUMBERS)):
        return decimal(12 * (value or Fraction(1)))
    if part := _parts_form(before.form, written):
        return part
    if number is not None and before.form in ("minus", "negative"):
        return "-" + word.form.removeprefix("-")
    if before.form == "a" and number is not None and written.startswith(("half", *_SCALES)):
        return word.form
    if before.form == "a" and written in _PARTS and _PART_ENDS.match(text, word.end):
        return decimal(Fraction(1, _PARTS[written]))
    if number == Fraction(1, 2) and before.form == "1" and written == "half":
        return word.form
    if number is not None and _whole(before) and 0 < number < 1 and "/" in written:
        return decimal(Fraction(before.form) + number)
    return ""
