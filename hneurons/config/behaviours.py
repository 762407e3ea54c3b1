"""Settings of a behaviour of Figure 3: one that comes with the package, or the user's own.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from hneurons.config.base import Settings

# Behaviours that come with the package; one of any other name is described by the user.
PUBLISHED_BEHAVIOURS = {"faitheval", "falseqa", "jailbreak", "sycophancy"}
GENERATED_BEHAVIOURS = {"are-you-sure", "false-premise", "mild-requests", "misleading-context"}

# Named wordings of the prompts of benchmarks that have several; the first is the default.
WORDINGS: dict[str, tuple[str, ...]] = {"faitheval": ("supported-option", "published", "counterfactual-resistant")}

# Raised when the items of a single benchmark change, so that only they are drawn again; 1 where not listed.
ITEM_VERSIONS = {"sycophancy": 2, "jailbreak": 2}

# The in-domain test questions at every α, which run like a behaviour benchmark.
TEST_QUESTIONS = "test-questions"


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, StringConstraints(min_length=1), AfterValidator(_compiles)]


class RegexJudging(Settings):
    """Judging by regular expressions, searched for in the last reply."""

    kind: Literal["regex"]
    pattern: Pattern = Field(description="found where the model complied")
    resisting: Pattern | None = Field(
        None, description="found where it did not; a reply with neither is then unparsed. null: all without `pattern`"
    )


class OptionsJudging(Settings):
    """Judging by the option that the last reply chooses; items need `options` and `compliant`."""

    kind: Literal["options"]


class LLMJudging(Settings):
    """Judging by the model under judges.llm."""

    kind: Literal["llm"]
    prompt: str = Field(min_length=1, description="what is judged, and when a reply is compliant and when it is not")


Judging = Annotated[RegexJudging | OptionsJudging | LLMJudging, Field(discriminator="kind")]


class BenchmarkSettings(Settings):
    """Size and prompts of a benchmark; a behaviour of your own names its items and judge, or a plugin."""

    items: int = Field(ge=1)
    max_new_tokens: int | None = Field(None, ge=1, description="limit of new tokens; null takes the benchmark's own")
    wording: str | None = Field(None, description="wording of the prompts, where a benchmark has several; null: its first")
    file: str | None = Field(None, description="your own only: items in JSON lines, CSV or Parquet")
    judge: Judging | None = Field(None, description="your own only: who judges the replies")
    compliance: str | None = Field(None, min_length=1, description="your own only: what the rate counts, for the figure")
    title: str | None = Field(None, min_length=1, description="your own only: its title in the figure; null: its name")
    plugin: str | None = Field(None, description="your own only: Python file that defines BENCHMARK")

    def as_param(self) -> dict[str, Any]:
        """What the items depend on, as a param. Unset entries are left out, as they were before they existed."""
        settings = self.model_dump(mode="json", include={"items", "max_new_tokens"})
        optional = {"wording": self.wording, "kind": self.judge and self.judge.kind, "plugin": self.plugin}
        return settings | {name: value for name, value in optional.items() if value is not None}


def is_own_behaviour(name: str) -> bool:
    """Whether a behaviour does not come with the package, so that it is the user's own."""
    return name not in PUBLISHED_BEHAVIOURS | GENERATED_BEHAVIOURS | {TEST_QUESTIONS}


def check_behaviour(name: str, settings: BenchmarkSettings) -> None:
    """Raise ValueError if a behaviour of the user's own is not described, or another one has settings of such."""
    wordings = WORDINGS.get(name, ())
    if settings.wording is not None and settings.wording not in wordings:
        allowed = f"use one of {', '.join(wordings)}" if wordings else "this benchmark has one wording only"
        raise ValueError(f"{name}.wording: {settings.wording!r} is unknown; {allowed}")
    described = [key for key in ("file", "judge", "compliance", "title", "plugin") if getattr(settings, key) is not None]
    if name in ("correctness", "spans", TEST_QUESTIONS):
        raise ValueError(f"{name} is the name of a task of the judges; give the behaviour another one")
    if not is_own_behaviour(name):
        if described:
            raise ValueError(f"{name}.{described[0]} is for behaviours of your own only")
    elif settings.plugin is not None:
        if wrong := set(described) - {"plugin", "file"}:
            raise ValueError(f"{name}.{min(wrong)}: the plugin says that itself")
    elif missing := [key for key in ("file", "judge", "compliance") if key not in described]:
        names = ", ".join(map(repr, sorted(PUBLISHED_BEHAVIOURS | GENERATED_BEHAVIOURS)))
        raise ValueError(f"{name}: not one of {names}; one of your own needs `{missing[0]}`, or a `plugin`")
