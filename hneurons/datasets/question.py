"""One generated question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """key: unique in its set, stable when the set grows. aliases: spellings of the gold answer, none if there is none."""

    key: str
    kind: str
    question: str
    aliases: tuple[str, ...]
    answer_type: str
    popularity: float | None = None
