"""TriviaQA, NQ-Open, BioASQ and TruthfulQA: published questions with their accepted answers."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from hneurons.data.questions import Question
from hneurons.data.reading import PublishedRow, Text, read_rows
from hneurons.errors import HNeuronsError

OPEN = "open"

# The instruction in the paper's prompt, verbatim.
ANSWER_ONLY = "Respond with the answer only, without any explanation."

# A BioASQ "alias" of this many words or more is a sentence, which no answer repeats verbatim.
_SENTENCE_WORDS = 12


def flatten_answers(answers: Any) -> Any:
    """Flatten a string, a list, or a list of lists of synonyms to one list of answers; return anything else unchanged."""
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
    """A row of a user's file: {question_id, question, aliases[]}."""

    question_id: Text
    question: Text
    aliases: Annotated[list[Text], Field(min_length=1)]


class _NQOpen(PublishedRow):
    question: Text
    answer: list[str]


class _BioASQ(PublishedRow):
    question: Text
    golden_answers: Answers | None = None
    exact_answer: Answers | None = None

    @model_validator(mode="after")
    def _has_answers(self) -> Self:
        if self.golden_answers is None and self.exact_answer is None:
            raise ValueError("neither golden_answers nor exact_answer")
        return self


class _TruthfulQA(PublishedRow):
    question: Annotated[Text, Field(alias="Question")]
    correct: Annotated[str, Field(alias="Correct Answers")]


def unique_texts(texts: Iterable[str]) -> tuple[str, ...]:
    """Strip texts and drop empty and repeated ones, keeping the order."""
    return tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))


def text_key(text: str) -> str:
    """Return a key for a row without an id: the first 12 hex digits of the text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _question(kind: str, key: str, question: str, aliases: Iterable[str]) -> Question:
    return Question(key, kind, question.strip(), unique_texts(aliases), OPEN, ANSWER_ONLY)


def _answerable(questions: Iterable[Question]) -> list[Question]:
    """Questions with an answer, each once: TriviaQA repeats ids and texts across its web and Wikipedia parts."""
    by_text: dict[str, Question] = {}
    ids = set()
    for q in questions:
        if q.aliases and q.key not in ids:
            by_text.setdefault(spoken(q.question), q)
            ids.add(q.key)
    return list(by_text.values())


def spoken(question: str) -> str:
    """A question without its case and spacing."""
    return " ".join(question.casefold().split())


def _id_and_question(row: _TriviaQA | _WithAliases) -> tuple[str, str]:
    return row.question_id, spoken(row.question)


def triviaqa(path: Path) -> list[Question]:
    """Read TriviaQA.

    Args:
        path: rc.nocontext as the hub's Parquet, or JSON lines {question_id, question, aliases[]}.

    Raises:
        HNeuronsError: For the test part, whose answers are hidden.
    """
    if path.suffix == ".jsonl":
        return _answerable(
            _question("triviaqa", r.question_id, r.question, r.aliases)
            for r in read_rows(path, _WithAliases, unique=_id_and_question)
        )
    rows = read_rows(path, _TriviaQA, unique=_id_and_question)
    if rows[0].answer.value == "<unk>":
        raise HNeuronsError(f"{path}: the answers are hidden (TriviaQA's test part); use train or validation")
    return _answerable(_question("triviaqa", r.question_id, r.question, [r.answer.value, *r.answer.aliases]) for r in rows)


def nq_open(path: Path) -> list[Question]:
    """Read NQ-Open, whose questions are in lower case; the missing question mark is added."""
    rows = read_rows(path, _NQOpen)
    return _answerable(
        _question("nq-open", text_key(r.question), r.question.strip().rstrip("?") + "?", r.answer) for r in rows
    )


def bioasq(path: Path) -> list[Question]:
    """Read BioASQ's factoid questions, without empty aliases, aliases that are sentences, and questions left with none."""
    questions = []
    for r in read_rows(path, _BioASQ):
        aliases = [a for a in [*(r.golden_answers or []), *(r.exact_answer or [])] if len(a.split()) < _SENTENCE_WORDS]
        questions.append(_question("bioasq", text_key(r.question), r.question, aliases))
    return _answerable(questions)


def truthfulqa(path: Path) -> list[Question]:
    """Read TruthfulQA: questions about misconceptions, with true answers separated by semicolons."""
    rows = read_rows(path, _TruthfulQA)
    return _answerable(_question("truthfulqa", text_key(r.question), r.question, r.correct.split(";")) for r in rows)
