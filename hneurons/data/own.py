"""A user's own questions: JSON lines, CSV or Parquet with questions and their accepted answers."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hneurons.data.opendomain import ANSWER_ONLY, OPEN, Answers, spoken, text_key, unique_texts
from hneurons.data.questions import LETTERS, MULTIPLE_CHOICE, NUMERIC, Question
from hneurons.data.reading import PublishedRow, Text, read_rows
from hneurons.errors import HNeuronsError

_LETTER_ONLY = "Respond with the letter of the right option only, without any explanation."
# Numbers may be reasoned about; what the response announces, or ends on, is its answer.
_NUMBER = 'End your response with "The answer is" and the number.'
_TYPES = {"numeric": (NUMERIC, _NUMBER), "multiple_choice": (MULTIPLE_CHOICE, _LETTER_ONLY), None: (OPEN, ANSWER_ONLY)}


class _Row(PublishedRow):
    """{question, aliases[] or answer, options[]?, question_id?, kind?}; a CSV cell has several texts with semicolons."""

    question: Text
    question_id: Text | None = None
    aliases: Answers | None = None
    answer: Answers | None = None
    options: Answers | None = None
    kind: Text | None = None

    @property
    def key(self) -> str:
        return self.question_id or text_key(self.question)

    def answers(self, separated: bool) -> tuple[str, ...]:
        return cell_texts([*(self.aliases or []), *(self.answer or [])], separated)


def cell_texts(texts: Sequence[str], separated: bool) -> tuple[str, ...]:
    """Return the texts of a field; those of a CSV cell are separated by semicolons."""
    return unique_texts(part for text in texts for part in (text.split(";") if separated else [text]))


def own_questions(
    name: str,
    path: Path,
    prompt: str | None,
    answerable: bool,
    judge: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[Question]:
    """Read a user's own set of questions.

    Args:
        name: Name of the set.
        path: The file; its ending tells the format.
        prompt: The user's message, with {question} in it; None asks for the answer only.
        answerable: Whether every question has an answer; if not, none has.
        judge: "numeric" if answers are numbers, "multiple_choice" if they are options, else None.
        columns: Names of the file's columns by those of the fields, where they differ.

    Returns:
        The questions, each text once. A multiple-choice question ends in its lettered options.

    Raises:
        HNeuronsError: If a row breaks the schema, if an id stands for two questions, or if a question lacks an answer, or
            has one although none should; the message names file and row.
    """
    rows = read_rows(path, _Row, unique=lambda row: (row.key, spoken(row.question)), columns=columns)
    answer_type, instruction = _TYPES[judge]
    questions: dict[str, Question] = {}
    for number, row in enumerate(rows, 1):
        place, separated = f"{path}: question {number} ({row.key})", path.suffix == ".csv"
        aliases = row.answers(separated)
        if bool(aliases) != answerable:
            problem = "no answer (aliases or answer)" if answerable else "an answer, which no question of role nonexist has"
            raise HNeuronsError(f"{place}: {problem}")
        text = row.question.strip()
        if answer_type == MULTIPLE_CHOICE:
            options = [" ".join(option.split()) for option in cell_texts(row.options or [], separated)]
            places = option_places(place, options, "answer", [" ".join(alias.split()) for alias in aliases])
            aliases = tuple(options[i] for i in places)
            text = "\n".join([text, *(f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))])
        if answer_type == NUMERIC and not all(re.search(r"\d", alias) for alias in aliases):
            raise HNeuronsError(f"{place}: answer {aliases[0]!r} is not a number in figures")
        question = Question(row.key, row.kind or name, text, aliases, answer_type, prompt or instruction)
        questions.setdefault(spoken(text), question)
    return list(questions.values())


def option_places(place: str, options: Sequence[str], field: str, named: Sequence[str]) -> list[int]:
    """Find the options that a field of a row names, by their texts or their letters.

    Args:
        place: The row, for errors.
        options: Texts of the options.
        field: Name of the field, for errors.
        named: What it names.

    Returns:
        Their indices.

    Raises:
        HNeuronsError: If there are too few or too many options, or if something else is named.
    """
    if not 2 <= len(options) <= len(LETTERS):
        raise HNeuronsError(f"{place}: {len(options)} options; multiple choice needs 2 to {len(LETTERS)}")
    letters = LETTERS[: len(options)]
    for text in named:
        if text not in options and text not in [*letters]:
            raise HNeuronsError(f"{place}: {field} {text!r} is neither an option's text nor its letter")
    return [options.index(text) if text in options else letters.index(text) for text in named]


def options_of(question: str) -> tuple[str, ...]:
    """Return the options that a multiple-choice question ends in, as `own_questions` writes them."""
    lines = question.split("\n")
    options: list[str] = []
    for place, line in enumerate(lines):
        if line.startswith(f"{LETTERS[len(options) % len(LETTERS)]}) ") and (options or place):
            options.append(line[3:])
        elif options:
            options = []
    return tuple(options)
