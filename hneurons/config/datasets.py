"""Settings of a set of questions: one that comes with the package, or the user's own.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from hneurons.config.base import Settings

# Sets of questions that come with the package; a set of any other name is read from the user's file.
PUBLISHED_SETS = {
    "triviaqa",
    "nq-open",
    "bioasq",
    "truthfulqa",
}
GENERATED_SETS = {
    "cities",
    "elements",
    "invented-cities",
    "nonexist",
    "us-cities",
}
# Stands for the question in a prompt.
QUESTION_PLACE = "{question}"


class DatasetSettings(Settings):
    """One data set. The set with role `in_domain` trains, selects and tests the probe; all other sets only test it."""

    role: Literal["in_domain", "transfer", "nonexist"]
    questions: int = Field(ge=1)
    part: Literal["train", "validation"] | None = Field(
        None, description="part of the published files; null is train for the in-domain set, validation otherwise"
    )
    file: str | None = Field(
        None, description="file in the layout of a published set, read instead of it; or your own questions, under any name"
    )
    prompt: str | None = Field(
        None,
        description="your own questions only: the user's message, with {question} in it; null asks for an answer only",
    )
    faithful: Literal["declines", "correct_answers"] = Field(
        "declines", description="nonexist only: the answers that hallucinations are paired with"
    )

    @model_validator(mode="after")
    def _faithful_of_nonexist(self) -> Self:
        if self.faithful != "declines" and self.role != "nonexist":
            raise ValueError("faithful is for role nonexist only")
        if self.prompt is not None and QUESTION_PLACE not in self.prompt:
            raise ValueError("prompt must contain {question}")
        return self


def is_own_set(name: str) -> bool:
    """Whether a set of questions does not come with the package, so that it is the user's own."""
    return name not in PUBLISHED_SETS | GENERATED_SETS


def check_set(name: str, dataset: DatasetSettings) -> None:
    """Raise ValueError if a set of the user's own has no file, or one that comes with the package has a prompt."""
    if is_own_set(name) and dataset.file is None:
        names = ", ".join(map(repr, sorted(PUBLISHED_SETS | GENERATED_SETS)))
        raise ValueError(f"datasets.{name}: not one of {names}; a set of your own needs `file`")
    if not is_own_set(name) and dataset.prompt is not None:
        raise ValueError(f"datasets.{name}.prompt is for your own questions only")
