"""A question, its split, its prompt, and the questions that a model gets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hneurons.config.datasets import QUESTION_PLACE
from hneurons.config.study import SplitSettings
from hneurons.seeds import seed_of

# Options are named by letter in the order of their positions, not by the labels that a question gives them.
LETTERS = "ABCDEFGHIJ"
# Types of answers of a user's own sets, beside open ones.
NUMERIC, MULTIPLE_CHOICE = "number", "option"


@dataclass(frozen=True)
class Question:
    """A question of a set.

    Attributes:
        key: Identifier, unique in its set and unchanged when the set grows.
        kind: Kind of question; questions of a kind share their wording.
        question: Text of the question.
        aliases: Accepted spellings of the gold answer; empty for a question without one.
        answer_type: Name of the vocabulary of possible answers, "open", "number" or "option".
        instruction: How to answer; follows the question in the prompt, or is the whole prompt, with {question} in it.
        popularity: Population of the place in question, where available.
    """

    key: str
    kind: str
    question: str
    aliases: tuple[str, ...]
    answer_type: str
    instruction: str = ""
    popularity: float | None = None


def prompt_of(question: Mapping[str, Any]) -> str:
    """Return the prompt of a row of `QUESTIONS`: the question and its instruction."""
    text, instruction = question["question"], question["instruction"]
    return instruction.replace(QUESTION_PLACE, text) if QUESTION_PLACE in instruction else f"{text} {instruction}".strip()


def split_of(answer: str, seed: int, splits: SplitSettings) -> str:
    """Assign a gold answer to a split.

    All questions with the same answer share a split, so that no answer occurs in two.

    Args:
        answer: The gold answer: the name of a connected set of accepted answers.
        seed: The study's seed.
        splits: Shares of the splits.

    Returns:
        "train", "selection" or "test".
    """
    share = seed_of(seed, "split", answer) / 2**63
    if share < splits.train:
        return "train"
    return "selection" if share < splits.train + splits.selection else "test"


def questions_for(questions: list[dict[str, Any]], prompting: str) -> list[dict[str, Any]]:
    """Select the questions that a model gets.

    Args:
        questions: Rows of `QUESTIONS`.
        prompting: "chat" for all questions; "base" or "chat-test" for the test split alone, for scoring only.
    """
    return questions if prompting == "chat" else [q for q in questions if q["split"] == "test"]
