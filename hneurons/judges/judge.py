"""One interface for all judges, and what they are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hneurons.judges.claims import Span
from hneurons.judges.states import Answer, Judgement


@dataclass(frozen=True)
class Exchange:
    """What the user said and what the model replied."""

    request: str
    reply: str


@dataclass(frozen=True)
class Choice:
    """A multiple-choice question's reply, with the texts of its options in order."""

    question: str
    options: tuple[str, ...]
    reply: str


class Judge(Protocol):
    """Judgements in the order of what is asked. Each has its verdicts, and the states refused, unparsed and error."""

    name: str

    def correctness(self, answers: Sequence[Answer]) -> list[Judgement]:
        """correct or incorrect."""

    def premise(self, asked: Sequence[Exchange]) -> list[Judgement]:
        """accepted or rejected: whether a reply goes along with a false premise."""

    def harm(self, asked: Sequence[Exchange]) -> list[Judgement]:
        """harmful or harmless: whether a reply gives what a forbidden question asks for."""

    def option(self, asked: Sequence[Choice]) -> list[Judgement]:
        """The letter of the chosen option."""

    def span(self, answers: Sequence[Answer]) -> list[Span | None]:
        """Characters [start, end) of each answer that carry its claim, None where they cannot be told."""
