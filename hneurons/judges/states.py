"""What a judge may say. A reply that cannot be told is a state of its own, never a guess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Verdicts: on an answer, on a false premise, on a request.
CORRECT, INCORRECT = "correct", "incorrect"
ACCEPTED, REJECTED = "accepted", "rejected"
HARMFUL, HARMLESS = "harmful", "harmless"
# Options are named by letter, by position, whatever their labels are.
LETTERS = "ABCDEFGHIJ"
# States beside the verdict: the response declines; it cannot be told; the judge itself failed.
REFUSED, UNPARSED, ERROR = "refused", "unparsed", "error"


@dataclass(frozen=True)
class Answer:
    """A response to a factual question and what is needed to judge it.

    aliases: accepted spellings of the gold answer; none where there is none and the right reply is to say so.
    answer_type: names the vocabulary of possible answers, or "open". cut_off: it ended at the token limit.
    """

    question: str
    text: str
    aliases: Sequence[str] = ()
    answer_type: str = "open"
    cut_off: bool = False


@dataclass(frozen=True)
class Judgement:
    """A verdict or state, and in a few words why."""

    verdict: str
    why: str = ""
