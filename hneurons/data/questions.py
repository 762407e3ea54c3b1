"""One question, its split, and which questions a model is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hneurons.config.study import SplitSettings
from hneurons.seeds import seed_of


@dataclass(frozen=True)
class Question:
    """key: unique in its set, stable when the set grows. aliases: spellings of the gold answer, none if there is none."""

    key: str
    kind: str
    question: str
    aliases: tuple[str, ...]
    answer_type: str
    popularity: float | None = None


def split_of(answer: str, seed: int, splits: SplitSettings) -> str:
    """The split of a gold answer: the same for all of its questions, so that no answer stands in two splits."""
    share = seed_of(seed, "split", answer) / 2**63
    if share < splits.train:
        return "train"
    return "selection" if share < splits.train + splits.selection else "test"


def questions_for(questions: list[dict[str, Any]], prompting: str) -> list[dict[str, Any]]:
    """What a model is asked: all questions by "chat"; by "base" or "chat-test" those of test splits, to be scored alone."""
    return questions if prompting == "chat" else [q for q in questions if q["split"] == "test"]
