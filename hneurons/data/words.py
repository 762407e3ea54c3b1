"""Words in the form in which answers are compared.

Case, accents, width, possessives and leading articles are dropped; numbers, dates and quantities have one form each, and
signs that distinguish answers (−40, C++, O−) are kept.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache

from hneurons.data.clock import join_clock
from hneurons.data.dates import FIGURE_DATES, date_parts, figure_date, join_dates
from hneurons.data.digits import FIGURES, Word, figures_word, roman_number
from hneurons.data.folding import cached_if_short, fold, mark_class
from hneurons.data.numbers import join_numbers
from hneurons.data.signs import charge_after, sign_after
from hneurons.data.units import SYMBOLS, join_units

_APOSTROPHES = re.compile(r"['’`´ʻ]")
ARTICLES = {"a", "an", "the"}


@cache
def _word_pattern() -> re.Pattern[str]:
    """Pattern of a word; initials ("J. R. R.", "U.S."), and words with an apostrophe, each count as one."""
    letter = rf"[^\W\d_][{mark_class()}]*"
    return re.compile(
        rf"(?P<initials>(?<!\w)(?:[^\W\d_]\.[ ]?){{2,}})|(?P<date>{FIGURE_DATES})|(?P<figures>{FIGURES})"
        rf"|(?P<letters>(?:{letter})+(?:'(?:{letter})+)*)|{SYMBOLS}"
    )


@cached_if_short
def _form(word: str) -> str:
    plain = word.casefold().replace(".", "").replace(" ", "")
    return _APOSTROPHES.sub("", re.sub(r"'s$", "", plain))


def _words_as_written(text: str) -> list[Word]:
    """Return the words of a folded text before any are joined."""
    words: list[Word] = []
    for match in _word_pattern().finditer(text):
        kind, (start, end) = match.lastgroup, match.span()
        if words and start < words[-1].end:
            continue
        if kind == "figures":
            word = figures_word(text, start, end)
            sign, end_of_sign = charge_after(text, word.start, word.end)
            words.append(Word(word.form + sign, word.start, end_of_sign) if sign else word)
        elif kind == "date":
            words.append(Word(figure_date(match.group()), start, end))
        elif kind == "letters":
            sign, end_of_sign = sign_after(text, start, end)
            numeral = roman_number(match.group()) if not sign else ""
            words.append(Word(_form(match.group()) + sign, start, end_of_sign, numeral))
        else:
            written = match.group().rstrip()
            words.append(Word(_form(written), start, start + len(written)))
    return words


@cached_if_short
def split_words(text: str) -> tuple[Word, ...]:
    """Split a text into its words, in order."""
    folded = fold(text)
    words: list[Word] = _words_as_written(folded.text)
    for join in (join_numbers, join_clock, join_dates, _join_the, join_units):
        words = join(words, folded.text)
    if text.isascii():
        return tuple(words)
    return tuple(replace(word, start=folded.starts[word.start], end=folded.ends[word.end - 1]) for word in words)


def _join_the(words: Sequence[Word], text: str) -> list[Word]:
    """Join the article of a name's ordinal to it: "Henry the Eighth"."""
    joined: list[Word] = []
    for word in words:
        if len(joined) > 1 and word.form.endswith("th") and word.numeral and joined[-1].form == "the":
            name = text[joined[-2].start].isupper() and text[joined[-2].end : joined[-1].start] == " "
            if name and text[joined[-1].start].islower() and text[joined[-1].end : word.start] == " ":
                word = replace(word, start=joined.pop().start)
        joined.append(word)
    return joined


@cached_if_short
def count_words(text: str) -> int:
    """Return the number of words as they are written: three in "twenty-one km"."""
    return len(_words_as_written(fold(text).text))


@cached_if_short
def answer_words(text: str) -> tuple[Word, ...]:
    """Return the words of an answer without a leading article."""
    words = split_words(text)
    return words[1:] if len(words) > 1 and words[0].form in ARTICLES else words


@cached_if_short
def word_forms(text: str) -> tuple[str, ...]:
    """Return the words of an answer as they are compared, without a leading article."""
    return tuple(word.form for word in answer_words(text))


def singular(form: str) -> str:
    """Return a word without the s of its plural."""
    plural = len(form) > 3 and form.endswith("s") and not form.endswith("ss") and not form[0].isdigit()
    return form[:-1] if plural else form


def stem(form: str) -> str:
    """Return the first letters of a word, which its inflections share ("octopuses", "octopus"; "released", "release")."""
    return singular(form)[:6]


def same_word(word: Word, other: Word, *, within_name: bool, plurals: bool = True) -> bool:
    """Return whether a word of an accepted answer and one of a reply are the same.

    Args:
        word: The word of the answer; without a unit or a year it is the same with one.
        other: The word of the reply.
        within_name: Whether another word comes before: "XIV" is 14 in "Louis XIV" only.
        plurals: Whether a plural is the same as its singular.
    """
    if not plurals and word.form != other.form and singular(word.form) == singular(other.form):
        return False
    if singular(word.form) in _spellings(other):
        return True
    return within_name and bool(word.numeral) and word.numeral == other.numeral


@lru_cache(maxsize=100_000)
def _spellings(word: Word) -> frozenset[str]:
    """Return the forms under which a word of a reply is the same as one of an answer."""
    forms = {singular(word.form)}
    if word.form[:1].isdigit() or word.form.startswith("-"):
        number, _, unit = word.form.partition(" ")
        forms |= {number} if unit and unit != "bc" else set()
        forms.update(date_parts(word.form))
    return frozenset(forms)


def index_words(words: Sequence[Word]) -> Mapping[str, Sequence[int]]:
    """Return the places of the words of a text by the forms under which they are the same as an answer's."""
    places = defaultdict(list)
    for i, word in enumerate(words):
        for form in _spellings(replace(word, start=0, end=0)):
            places[form].append(i)
    return places


def occurrences(
    phrase: Sequence[Word], words: Sequence[Word], places: Mapping[str, Sequence[int]], *, plurals: bool = True
) -> Iterator[tuple[int, int]]:
    """Find the word ranges [i, j) of a text at which a phrase occurs.

    Args:
        phrase: Its words; an empty phrase occurs nowhere.
        words: The words of the text.
        places: Their places (`index_words`).
        plurals: As in `same_word`.
    """
    for i in places.get(singular(phrase[0].form), ()) if phrase else ():
        words_here = words[i : i + len(phrase)]
        if len(words_here) == len(phrase) and all(
            same_word(word, other, within_name=k > 0, plurals=plurals)
            for k, (word, other) in enumerate(zip(phrase, words_here, strict=True))
        ):
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
