"""Judge answers that are numbers or options, as a set of the user's own may have them (`judge` of a data set)."""

import re

from hneurons.data.digits import value_of
from hneurons.data.own import options_of
from hneurons.data.questions import LETTERS
from hneurons.data.words import answer_words, split_words
from hneurons.judges.claims import Span
from hneurons.judges.options import parse_option
from hneurons.judges.refusals import declines
from hneurons.judges.states import CORRECT, CUT_OFF, INCORRECT, REFUSED, UNPARSED, Answer, Judgement

# What precedes the number that a response ends on.
_ANNOUNCED = re.compile(r"####|\\boxed\s*\{|\banswer\s*(?:is|:|=)\W*", re.IGNORECASE)


def judge_number(answer: Answer) -> tuple[Judgement, Span | None]:
    """Judge a response by its number: the announced one, or else the last one.

    Args:
        answer: The answer. Its aliases are numbers; what is not one, as 12 apples, is read by its first number.

    Returns:
        The judgement and the characters [start, end) of the number. correct: it equals an accepted one. incorrect: it does
        not. refused: the response has no number and declines. unparsed: it has no number, or was cut off before one was
        announced.
    """
    announced = [match.end() for match in _ANNOUNCED.finditer(answer.text)]
    start = announced[-1] if announced else 0
    figures = [word for word in split_words(answer.text) if value_of(word.form) is not None]
    after = [word for word in figures if word.start >= start]
    if not after or (answer.truncated and not announced):
        return _unread(answer), None
    word = after[0] if announced else after[-1]
    accepted = {value_of(form.form) for alias in answer.aliases for form in answer_words(alias)} - {None}
    return Judgement(CORRECT if value_of(word.form) in accepted else INCORRECT), (word.start, word.end)


def judge_option(answer: Answer) -> tuple[Judgement, Span | None]:
    """Judge a response to a multiple-choice question by the option that it chooses (`parse_option`).

    Args:
        answer: The answer. Its question ends in the lettered options, and its aliases are the texts of the right ones.

    Returns:
        The judgement and the characters [start, end) of the chosen option's text or letter, None if they cannot be found.
    """
    options = options_of(answer.question)
    chosen = parse_option(answer.text, options, answer.truncated)
    if chosen is None:
        return _unread(answer), None
    verdict = Judgement(CORRECT if options[chosen] in answer.aliases else INCORRECT)
    text, letter = re.escape(options[chosen]), LETTERS[chosen]
    place = re.search(rf"(?<!\w){text}(?!\w)", answer.text, re.IGNORECASE) or re.search(rf"\b{letter}\b", answer.text)
    return verdict, place.span() if place else None


def _unread(answer: Answer) -> Judgement:
    if declines(answer.text):
        return Judgement(REFUSED)
    return Judgement(UNPARSED, CUT_OFF if answer.truncated else "")
