"""Whether two short answers are equal, different, or too close to decide."""

import re
from collections.abc import Sequence
from fractions import Fraction

from hneurons.data.clock import clock_readings
from hneurons.data.dates import date_readings
from hneurons.data.digits import Word, readings, value_of
from hneurons.data.folding import cached_if_short, fold
from hneurons.data.units import compare_quantities, percent_of, quantity, unit_named
from hneurons.data.words import answer_words, same_word, singular, split_words

EQUAL, DIFFERENT, UNDECIDED = "equal", "different", "undecided"

_SIGNED = re.compile(r"([^\W\d_]+)([+#♯♭*-]+)")
# Scripts without spaces, and Korean, whose particles are written onto the word.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
# "It is …" in Japanese and Korean, after the answer.
_COPULA = re.compile(r"(?:です|でした|だ|である|입니다|이다|이에요|예요)?[。.!！]?$")
_ROUGHLY = set("about approximately approx around roughly nearly almost circa c ca some over under in the on at by".split())
# Characters of a long number in words.
_LONG = 300
_AROUND = " \t\r\n\"'“”„«»"
_MINUS = str.maketrans("−–‒", "---")
_NOTHING = {"none", "nil", "nought", "naught", "nothing"}
# "0.33" is a third, rounded.
_ROUNDED_FRACTION = Fraction(1, 50)
_THOUSANDS = {Fraction(1000) ** k for k in (1, 2, 3, 4, -1, -2, -3, -4)}


@cached_if_short
def compare_answers(gold: str, answer: str) -> str:
    """Compare an accepted answer with another one.

    Args:
        gold: The accepted answer.
        answer: The other one, without the words around it.

    Returns:
        EQUAL: they differ in spelling only. UNDECIDED: they may be equal, such as a date whose day and month may be
        swapped, or a number with a unit and one without. DIFFERENT: otherwise.
    """
    # No other spelling of an answer is so much longer.
    if len(answer) > max(_LONG, 4 * len(gold)):
        return DIFFERENT
    first, second = answer_words(gold), answer_words(answer)
    (spaceless, folded), (other_spaceless, other) = _bare(gold), _bare(answer)
    if folded == other or spaceless == other_spaceless or (first and _forms(first) == _forms(second)):
        return EQUAL
    if _UNSPACED.search(folded):
        if _COPULA.sub("", folded) == _COPULA.sub("", other):
            return EQUAL
        if folded in other or (other and other in folded):
            return UNDECIDED
    if not first or not second:
        return DIFFERENT
    if len(first) == len(second):
        pairs = [compare_words(a, b, within_name=i > 0) for i, (a, b) in enumerate(zip(first, second, strict=True))]
        if DIFFERENT not in pairs:
            # "60 Minutes" is a name and not one hour.
            converted = any(_unit(a) != _unit(b) for a, b in zip(first, second, strict=True))
            named = len(first) > 1 or any(re.search(r"[ -][A-Z][a-z]", spelling) for spelling in (gold, answer))
            return UNDECIDED if UNDECIDED in pairs or (converted and named) else EQUAL
    # A number within more words: "5 goals" for 5 km, "14" for Louis XIV.
    for alone, several in ((_exact(first), _exact(second)), (_exact(second), _exact(first))):
        if len(alone) == 1 and _is_numeric(alone[0]):
            results = {compare_words(alone[0], word, within_name=True) for word in several if _is_numeric(word)}
            if results - {DIFFERENT}:
                return UNDECIDED
    if _same_numbers(first, second) or "".join(_forms(first)) == "".join(_forms(second)):
        return UNDECIDED
    if len(first) == 1 and len(first[0].form) == 1 and first[0].form.isalpha():
        return UNDECIDED if _has_letter(split_words(answer), answer, first[0].form) else DIFFERENT
    return DIFFERENT


def compare_words(word: Word, other: Word, *, within_name: bool = False) -> str:
    """Compare a word of an accepted answer with one of another answer, as `compare_answers` does.

    Args:
        word: The word of the accepted answer.
        other: The other word.
        within_name: As in `same_word`.
    """
    if same_word(word, other, within_name=within_name):
        return EQUAL
    for form, pair in ((word.form, quantity(other.form)), (other.form, quantity(word.form))):
        if pair and pair[0] == 1 and unit_named(form) == pair[1]:  # "an hour"
            return UNDECIDED
    if quantity(word.form) and quantity(other.form):
        equal = compare_quantities(word.form, other.form)
        return UNDECIDED if equal is None else EQUAL if equal else DIFFERENT
    signs, others = _SIGNED.fullmatch(word.form), _SIGNED.fullmatch(other.form)
    if (signs and signs[1] == other.form) or (others and others[1] == word.form):
        return UNDECIDED
    return UNDECIDED if _may_be_one_number(word, other) else DIFFERENT


def _unit(word: Word) -> str:
    pair = quantity(word.form)
    return pair[1] if pair else ""


def _may_be_one_number(word: Word, other: Word) -> bool:
    if same_word(other, word, within_name=True):
        return True
    dates, other_dates = date_readings(word.form), date_readings(other.form)
    # "2/6" may be a date or a third.
    fractions = value_of(word.form) is not None and value_of(other.form) is not None
    if dates and other_dates and not fractions:
        return any(_compatible(a, b) for a in dates for b in other_dates)
    times, other_times = clock_readings(word.form), clock_readings(other.form)
    if times and other_times:
        return bool(times & other_times)
    values, others = _values(word), _values(other)
    if values & others:
        return True
    if "/" in word.form + other.form and any(abs(x - y) <= _ROUNDED_FRACTION * abs(x) for x in values for y in others):
        return True
    if any(x and y and x / y in _THOUSANDS for x in values for y in others):
        return True
    return _same_decade(word.form, other.form) or _same_decade(other.form, word.form)


def _values(word: Word) -> set[Fraction]:
    if word.form in _NOTHING:
        return {Fraction(0)}
    if times := clock_readings(word.form):
        return {Fraction(hour) for hour, _ in times} | {Fraction((hour - 1) % 12 + 1) for hour, _ in times}
    values = readings(word.form) | {Fraction(year) for year, _, _ in date_readings(word.form) if year}
    share = percent_of(word.form)
    if share and (value := value_of(share)) is not None:
        values = {*values, value}
    return {*values, Fraction(word.numeral)} if word.numeral else values


def _compatible(first: tuple[int, int, int], second: tuple[int, int, int]) -> bool:
    """Return whether two dates agree in what is given in each."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a and b]
    return bool(pairs) and all(a == b for a, b in pairs)


def _same_decade(decade: str, other: str) -> bool:
    """Return whether a decade may be another one of an unnamed century, or contains a year."""
    if not re.fullmatch(r"\d{3}0s", decade):
        return False
    return other[2:] == decade[2:] or bool(re.fullmatch(r"\d{4}", other) and other[:3] == decade[:3])


def _exact(words: Sequence[Word]) -> Sequence[Word]:
    """Return words without those that say that a number is rounded, or leave it to its context."""
    kept = [word for word in words if word.form not in _ROUGHLY]
    return kept or words


def _same_numbers(first: Sequence[Word], second: Sequence[Word]) -> bool:
    """Return whether two answers have the same numbers, and one has no word but those of the other: 5-6, "five to six"."""
    numbers, others = ([word for word in words if _is_numeric(word)] for words in (first, second))
    if len(numbers) != len(others) or not numbers:
        return False
    if DIFFERENT in (compare_words(a, b) for a, b in zip(numbers, others, strict=True)):
        return False
    names, other_names = ({word.form for word in words if not _is_numeric(word)} for words in (first, second))
    return names <= other_names or other_names <= names


def _is_numeric(word: Word) -> bool:
    return bool(word.numeral) or word.form in _NOTHING or word.form[0].isdigit() or word.form[:2].lstrip("-<>≤≥±").isdigit()


def _has_letter(words: Sequence[Word], text: str, letter: str) -> bool:
    return any(word.form == letter and (text[word.start].isupper() or letter not in "ai") for word in words)


def _forms(words: Sequence[Word]) -> list[str]:
    return [singular(word.form) for word in words]


@cached_if_short
def _bare(text: str) -> tuple[str, str]:
    """Return a text without case, white space and the quotation marks around it, with a leading article and without."""
    plain = fold(text).text.casefold().translate(_MINUS).strip(_AROUND).rstrip(".").rstrip(_AROUND)
    return _spaceless(plain), _spaceless(re.sub(r"^(?:an?|the)\s", "", plain))


def _spaceless(text: str) -> str:
    """Return a text without white space but that between digits: "2 1" is not 21."""
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", text)


def answer_keys(text: str) -> list[tuple[str, ...]]:
    """Return the keys of an answer: two answers with a key in common are one, in other words or figures."""
    words = answer_words(text)
    if not words:
        return [(text,)]
    forms = tuple(word.form for word in words)
    return [forms, (forms[0], *(word.numeral or word.form for word in words[1:]))]
