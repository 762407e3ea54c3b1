"""The published rows behind the behaviour benchmarks: FalseQA, FaithEval, are-you-sure, forbidden questions, jailbreaks."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from hneurons.data.opendomain import Answers, Text, text_key, unique_texts
from hneurons.data.reading import PublishedRow, read_rows
from hneurons.errors import HNeuronsError


def _printed_list(text: Any) -> Any:
    """A list as Python prints it, read as Python reads it: swapping quotes would lose every answer with an apostrophe."""
    if isinstance(text, str) and text.startswith("["):
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError):
            raise ValueError("no list of strings as Python prints it") from None
    return [text]


class FalseQA(PublishedRow):
    """A question; label 1: it rests on a false premise, and the answers rebut that."""

    question: Text
    answers: Annotated[list[str], BeforeValidator(_printed_list), Field(alias="answer")]
    label: Literal["0", "1"]


class Choices(PublishedRow):
    label: Annotated[list[str], Field(min_length=2)]
    text: list[str]

    @model_validator(mode="after")
    def _as_many(self) -> Choices:
        if len(self.label) != len(self.text):
            raise ValueError(f"{len(self.label)} labels, {len(self.text)} texts")
        return self


class FaithEval(PublishedRow):
    """A question with a context that supports a wrong option, the one of answerKey.

    The key is a letter by position, also where the labels are 1-4: `counterfactual` is its index.
    """

    id: Text
    question: Text
    key: Annotated[str, Field(alias="answerKey")]
    choices: Choices
    context: Text

    @model_validator(mode="after")
    def _key_is_an_option(self) -> FaithEval:
        if not 0 <= self.counterfactual < len(self.choices.text):
            raise ValueError(f"answerKey {self.key!r} names none of {len(self.choices.text)} options")
        return self

    @property
    def counterfactual(self) -> int:
        if self.key in self.choices.label:
            return self.choices.label.index(self.key)
        return ord(self.key) - ord("A") if re.fullmatch("[A-E]", self.key) else -1


class _Message(PublishedRow):
    type: Literal["human", "ai", "system"]
    content: str


class _Base(PublishedRow):
    dataset: Literal["aqua_mc", "math_mc_cot", "mmlu_mc_cot", "trivia_qa", "truthful_qa_mc", "truthful_qa"]
    question: Text
    correct_letter: str | None = None
    answers: str | None = None
    answer: Answers | None = None
    correct_answer: Answers | None = None


class AreYouSure(PublishedRow):
    """An item of are_you_sure.jsonl: multiple choice, or open with its accepted answers."""

    prompt: Annotated[list[_Message], Field(min_length=1)]
    base: _Base

    @model_validator(mode="after")
    def _correct_letter_is_an_option(self) -> AreYouSure:
        if self.multiple_choice and not (self.options and self.right is not None):
            raise ValueError(f"base.correct_letter {self.base.correct_letter!r} names none of the options in base.answers")
        return self

    @property
    def multiple_choice(self) -> bool:
        return "_mc" in self.base.dataset

    @property
    def options(self) -> tuple[str, ...]:
        """Texts of the options, in the order of their letters, from "\\n(A) …\\n(B) …"."""
        found = re.findall(r"^\(([A-Z])\)[ \t]*(.*?)\s*(?=^\([A-Z]\)|\Z)", self.base.answers or "", re.M | re.S)
        return tuple(text for _, text in found)

    @property
    def right(self) -> int | None:
        index = ord(self.base.correct_letter or "@") - ord("A")
        return index if 0 <= index < len(self.options) else None

    @property
    def aliases(self) -> tuple[str, ...]:
        return unique_texts([*(self.base.answer or []), *(self.base.correct_answer or [])])

    @property
    def first_prompt(self) -> str:
        """What the user says first. An opening of the assistant's reply ("Let's think step by step:") becomes its "
        "last line."""
        return "\n\n".join(m.content.strip() for m in self.prompt)

    @property
    def key(self) -> str:
        return f"{self.base.dataset}-{text_key(self.first_prompt)}"


class Forbidden(PublishedRow):
    """A question that a model should decline; q_id counts within a policy."""

    content_policy_id: Text
    q_id: Text
    question: Text


class Template(PublishedRow):
    """A jailbreak prompt, put before the question."""

    prompt: Text


def falseqa(path: Path) -> list[FalseQA]:
    """Rows of FalseQA, each question once."""
    return list({row.question: row for row in reversed(read_rows(path, FalseQA))}.values())[::-1]


def faitheval(path: Path) -> list[FaithEval]:
    """Rows of FaithEval counterfactual, each id once. Raises HNeuronsError if two rows of an id differ."""
    found: dict[str, FaithEval] = {}
    for row in read_rows(path, FaithEval):
        if found.setdefault(row.id, row) != row:
            raise HNeuronsError(f"{path}: field 'id': {row.id} stands on two rows that differ")
    return list(found.values())


def are_you_sure(path: Path) -> list[AreYouSure]:
    """Items of are_you_sure.jsonl, each once; open ones without an accepted answer cannot be judged and are left out."""
    rows = {row.key: row for row in read_rows(path, AreYouSure)}
    return [row for row in rows.values() if row.multiple_choice or row.aliases]


def forbidden(path: Path) -> list[Forbidden]:
    return read_rows(path, Forbidden)


def templates(path: Path) -> Sequence[str]:
    """Distinct jailbreak prompts: some were posted twice."""
    return tuple(dict.fromkeys(row.prompt for row in read_rows(path, Template)))
