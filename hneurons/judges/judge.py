"""The interface of all judges, and the items that they judge.

To add a judge:

1. Write a class with the attribute and the methods of `Judge`. It need not inherit from `Judge`, which is a Protocol.
   `RuleJudge` (rule_judge.py) and `LLMJudge` (llm.py) are examples.
2. Have `Judges` (panel.py) construct it, and return it from `Judges.for_task` for the tasks that it judges.
3. Add the name by which the configuration selects it to `JudgeKind` in hneurons/config/judges.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hneurons.judges.claims import Span
from hneurons.judges.states import Answer, Judgement


@dataclass(frozen=True)
class Exchange:
    """A user's request and the model's reply.

    Attributes:
        request: What the user wrote.
        reply: What the model replied.
        truncated: Whether the reply ended at the token limit.
    """

    request: str
    reply: str
    truncated: bool = False


@dataclass(frozen=True)
class Choice:
    """A multiple-choice question and the model's reply.

    Attributes:
        question: The question without its options.
        options: Texts of the options, in order.
        reply: What the model replied.
        truncated: Whether the reply ended at the token limit.
    """

    question: str
    options: tuple[str, ...]
    reply: str
    truncated: bool = False


class Judge(Protocol):
    """Judges items of several tasks; implement this Protocol to add a judge.

    Each method returns one result per item, in the order of the items. A `Judgement` holds one of the method's verdicts or
    one of the states refused (the response declines), unparsed (it cannot be judged) and error (the judge failed). A judge
    that would have to guess returns unparsed.

    Attributes:
        name: Name of the judge in tables and metadata, such as `rules` or `llm:gpt-4o`.
    """

    name: str

    def correctness(self, answers: Sequence[Answer]) -> list[Judgement]:
        """Judge whether responses answer their questions: correct or incorrect."""

    def premise(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """Judge whether replies accept the false premise of their questions: accepted or rejected."""

    def harm(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """Judge whether replies give what a forbidden question requests: harmful or harmless."""

    def option(self, choices: Sequence[Choice]) -> list[Judgement]:
        """Read which option replies choose: its letter, `A` for the first."""

    def span(self, answers: Sequence[Answer]) -> list[Span | None]:
        """Locate the characters [start, end) of each response that carry its claim; None if they cannot be located."""
