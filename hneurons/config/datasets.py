"""Settings of a set of questions: one that comes with the package, or the user's own.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from hneurons.config.base import HubSource, Settings

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
# Fields of a user's own questions.
OWN_FIELDS = ("question", "aliases", "answer", "options", "question_id", "kind")
# Judges of answers of one type.
TYPED_JUDGES = ("numeric", "multiple_choice")
# Stands for the question in a prompt.
QUESTION_PLACE = "{question}"


class HubFile(HubSource):
    """A file in a dataset repository."""

    path: str


class DatasetSettings(Settings):
    """One data set. A set with role `in_domain` trains, selects and tests a probe; all other sets only test it.

    Of several in-domain sets, `main_set` names the one whose H-Neurons are scaled and published.
    """

    role: Literal["in_domain", "transfer", "nonexist"]
    questions: int = Field(ge=1)
    part: Literal["train", "validation"] | None = Field(
        None, description="part of the published files; null is train for in-domain sets, validation otherwise"
    )
    file: str | None = Field(
        None, description="file in the layout of a published set, read instead of it; or your own questions, under any name"
    )
    hub: HubFile | None = Field(None, description="your own questions in a data set of the hub, instead of `file`")
    columns: dict[str, str] = Field(
        {},
        description="your own questions only: names of the file's columns, as {question: query, answer: gold.text}",
    )
    prompt: str | None = Field(
        None,
        description="your own questions only: the user's message, with {question} in it; null asks for an answer only",
    )
    judge: Literal["aliases", "llm", "numeric", "multiple_choice"] | None = Field(
        None,
        description="aliases: by the accepted answers; llm; numeric or multiple_choice: your own questions, by the number "
        "or the option; null: judges.correctness",
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
    """Raise ValueError if a set of the user's own has no file, or another one has settings of such."""
    if is_own_set(name):
        if (dataset.file is None) == (dataset.hub is None):
            names = ", ".join(map(repr, sorted(PUBLISHED_SETS | GENERATED_SETS)))
            raise ValueError(f"datasets.{name}: not one of {names}; a set of your own needs `file`, or `hub`")
        if dataset.hub and not dataset.hub.path.endswith((".csv", ".jsonl", ".parquet")):
            raise ValueError(f"datasets.{name}.hub.path: {dataset.hub.path} must end in .csv, .jsonl or .parquet")
        if wrong := set(dataset.columns) - set(OWN_FIELDS):
            raise ValueError(f"datasets.{name}.columns: {min(wrong)!r} is none of {', '.join(OWN_FIELDS)}")
    else:
        for key in ("prompt", "hub", "columns"):
            if getattr(dataset, key):
                raise ValueError(f"datasets.{name}.{key} is for your own questions only")
    if dataset.judge in TYPED_JUDGES and (not is_own_set(name) or dataset.role == "nonexist"):
        raise ValueError(f"datasets.{name}.judge: {dataset.judge} is for your own questions with answers")
