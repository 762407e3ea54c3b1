"""TriviaQA, NQ-Open, BioASQ and TruthfulQA: published questions with their accepted answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from hneurons.data.questions import Question
from hneurons.data.reading import PublishedRow, read_rows
from hneurons.errors import HNeuronsError

OPEN = "open"

# METHOD.md §1, word for word.
ANSWER_ONLY = "Respond with the answer only, without any explanation."

# A longer "alias" of BioASQ is a sentence, which no answer repeats word for word.
_LONGEST_ALIAS = 12

Text = Annotated[str, Field(min_length=1)]


def flatten_answers(answers: Any) -> Any:
    """An answer given as a string, a list, or a list of lists of synonyms, as one list; anything else stays as it is."""
    if isinstance(answers, str):
        return [answers]
    if isinstance(answers, list) and any(isinstance(a, list) for a in answers):
        return [alias for group in answers for alias in (group if isinstance(group, list) else [group])]
    return answers


Answers = Annotated[list[str], BeforeValidator(flatten_answers)]


class _TriviaAnswer(PublishedRow):
    value: str
    aliases: list[str]


class _TriviaQA(PublishedRow):
    question_id: Text
    question: Text
    answer: _TriviaAnswer


class _WithAliases(PublishedRow):
    """The layout of a file of one's own: {question_id, question, aliases[]}."""

    question_id: Text
    question: Text
    aliases: list[str]


class _NQOpen(PublishedRow):
    question: Text
    answer: list[str]


class _BioASQ(PublishedRow):
    question: Text
    golden_answers: Answers | None = None
    exact_answer: Answers | None = None

    @model_validator(mode="after")
    def _has_answers(self) -> _BioASQ:
        if self.golden_answers is None and self.exact_answer is None:
            raise ValueError("neither golden_answers nor exact_answer")
        return self


class _TruthfulQA(PublishedRow):
    question: Annotated[str, Field(min_length=1, alias="Question")]
    correct: Annotated[str, Field(alias="Correct Answers")]


def unique_texts(texts: Iterable[str]) -> tuple[str, ...]:
    """Texts stripped, without empty ones and without repetitions, in their order."""
    return tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))


def text_key(text: str) -> str:
    """A key for a row that has no id."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _question(kind: str, key: str, question: str, aliases: Iterable[str]) -> Question:
    return Question(key, kind, f"{question.strip()} {ANSWER_ONLY}", unique_texts(aliases), OPEN)


def _answerable(questions: Iterable[Question]) -> list[Question]:
    """Questions with an answer, each once: TriviaQA repeats its ids and its texts across web and wiki."""
    found: dict[str, Question] = {}
    ids = set()
    for q in questions:
        text = " ".join(q.question.casefold().split())
        if q.aliases and text not in found and q.key not in ids:
            found[text] = q
            ids.add(q.key)
    return list(found.values())


def triviaqa(path: Path) -> list[Question]:
    """TriviaQA rc.nocontext (Parquet of the hub), or {question_id, question, aliases[]} lines.

    Raises HNeuronsError for the test part, whose answers are hidden.
    """
    if path.suffix == ".jsonl":
        own = read_rows(path, _WithAliases)
        return _answerable(_question("triviaqa", r.question_id, r.question, r.aliases) for r in own)
    rows = read_rows(path, _TriviaQA)
    if rows[0].answer.value == "<unk>":
        raise HNeuronsError(f"{path}: the answers are hidden (TriviaQA's test part); use train or validation")
    given = ((r, [r.answer.value, *r.answer.aliases]) for r in rows)
    return _answerable(_question("triviaqa", r.question_id, r.question, aliases) for r, aliases in given)


def nq_open(path: Path) -> list[Question]:
    """NQ-Open: lower-case questions without a question mark, which they get."""
    rows = read_rows(path, _NQOpen)
    return _answerable(
        _question("nq-open", text_key(r.question), r.question.strip().rstrip("?") + "?", r.answer) for r in rows
    )


def bioasq(path: Path) -> list[Question]:
    """BioASQ factoid questions: empty aliases and sentences among them are dropped, and questions left without one."""
    found = []
    for r in read_rows(path, _BioASQ):
        aliases = [a for a in [*(r.golden_answers or []), *(r.exact_answer or [])] if len(a.split()) < _LONGEST_ALIAS]
        found.append(_question("bioasq", text_key(r.question), r.question, aliases))
    return _answerable(found)


def truthfulqa(path: Path) -> list[Question]:
    """TruthfulQA: misconceptions, its true answers separated by semicolons."""
    rows = read_rows(path, _TruthfulQA)
    return _answerable(_question("truthfulqa", text_key(r.question), r.question, r.correct.split(";")) for r in rows)
