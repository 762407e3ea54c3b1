"""What a judge returns. A reply that cannot be judged has a state for that, never a guessed verdict."""

from collections.abc import Sequence
from dataclasses import dataclass

# Verdicts on an answer, on a reply to a false premise, and on a reply to a forbidden request.
CORRECT, INCORRECT = "correct", "incorrect"
ACCEPTED, REJECTED = "accepted", "rejected"
HARMFUL, HARMLESS = "harmful", "harmless"
# On a reply to an item of the user's own.
COMPLIANT, NOT_COMPLIANT = "compliant", "not compliant"
# States in place of a verdict: the response declines; it cannot be judged; the judge itself failed.
REFUSED, UNPARSED, ERROR = "refused", "unparsed", "error"
# Why a reply is unparsed that reached the token limit before it gave an answer.
CUT_OFF = "cut off"
# Why a verdict of the LLM judge needs a second look: its JSON was read from inside other text.
REPAIRED = "repaired"


@dataclass(frozen=True)
class Answer:
    """A response to a factual question and what is needed to judge it.

    Attributes:
        question: The question.
        text: The response.
        aliases: Accepted spellings of the gold answer; empty if the question has no answer, so that the right reply is to
            say so.
        answer_type: Name of the vocabulary of possible answers, "open", "number" or "option".
        truncated: Whether the response ended at the token limit.
    """

    question: str
    text: str
    aliases: Sequence[str] = ()
    answer_type: str = "open"
    truncated: bool = False


@dataclass(frozen=True)
class Judgement:
    """A judge's decision on one response.

    Attributes:
        verdict: A verdict or a state (one of this module's constants), or the letter of an option.
        why: The reason in a few words; may be empty.
    """

    verdict: str
    why: str = ""
