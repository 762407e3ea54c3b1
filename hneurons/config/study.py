"""The study and model configuration: every key, its type and its allowed values.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hneurons.config.base import HubSource, Settings, Slug
from hneurons.config.impact import TEST_QUESTIONS, BenchmarkName, BenchmarkSettings, ImpactSettings
from hneurons.config.judges import JudgesSettings

Share = Annotated[float, Field(gt=0, lt=1)]

DatasetName = Literal[
    "triviaqa",
    "nq-open",
    "bioasq",
    "truthfulqa",
    "nonexist",
    "cities",
    "us-cities",
    "elements",
    "invented-cities",
]


class Decoding(Settings):
    """How the next token is drawn: temperature 0 is greedy; otherwise top-k, then top-p on what top-k left."""

    max_new_tokens: int = Field(ge=1)
    temperature: float = Field(default=1.0, ge=0)
    top_k: int = Field(default=0, ge=0, description="0 keeps all tokens")
    top_p: float = Field(default=1.0, gt=0, le=1)


class DatasetSettings(Settings):
    """One set of questions. `in_domain` trains, selects and tests the probe; the others are test sets only."""

    role: Literal["in_domain", "transfer", "nonexist"]
    questions: int = Field(ge=1)
    part: Literal["train", "validation"] | None = Field(
        None, description="of the published files; null is train for the in-domain set and validation for the others"
    )
    file: str | None = Field(None, description="a file in the set's layout, to be read in place of the published one")
    faithful: Literal["declines", "correct_answers"] = Field(
        "declines", description="nonexist only: what a hallucination is paired with (METHOD.md §4)"
    )

    @model_validator(mode="after")
    def _faithful_of_nonexist(self) -> DatasetSettings:
        if self.faithful != "declines" and self.role != "nonexist":
            raise ValueError("faithful is for role nonexist only")
        return self


class SplitSettings(Settings):
    """Shares of the in-domain gold answers that go to training and selection; the rest is the test split."""

    train: Share = 0.5
    selection: Share = 0.2

    @model_validator(mode="after")
    def _leaves_a_test_split(self) -> SplitSettings:
        if self.train + self.selection >= 1:
            raise ValueError("train + selection must leave a share for the test split (sum below 1)")
        return self


class SamplingSettings(Settings):
    """Samples per training question (selection and test questions get one) and their decoding (METHOD.md §1)."""

    samples: int = Field(10, ge=1)
    decoding: Decoding = Decoding(max_new_tokens=50, temperature=1.0, top_k=50, top_p=0.9)
    questions_per_shard: int = Field(500, ge=1)


class ExampleSettings(Settings):
    """Balanced sets: at most per_class responses of each class, and no study below min_per_class in any split."""

    per_class: int = Field(1000, ge=1)
    min_per_class: int = Field(40, ge=1)


class CettSettings(Settings):
    """Which tokens are the "other" tokens of eq. 3 (METHOD.md §4)."""

    other_tokens: Literal["all", "no_bos", "response"] = "all"


class ProbeSettings(Settings):
    """The sparse classifier of eq. 4, and how its C is chosen (METHOD.md §1)."""

    C: list[Annotated[float, Field(gt=0)]] = Field([0.1, 0.3, 1, 3, 10, 30, 100], min_length=1)
    penalty: Literal["l1", "l2"] = "l1"
    labels: Literal["3-vs-1", "1-vs-1"] = "3-vs-1"
    intercept: Literal["free", "penalised"] = "free"
    suppressed_questions: int = Field(
        500,
        ge=0,
        description="selection questions asked with the H-Neurons of each C at α = 0; 0: not asked, not weighed",
    )
    resamples: int = Field(20, ge=0, description="bootstraps, and as many draws of halves: how stable are neurons?")
    random_seeds: int = Field(10, ge=10, description="random baselines per classifier")
    bootstrap: int = Field(2000, ge=100)


class OriginSettings(Settings):
    """Where H-Neurons come from (METHOD.md §3): each model and the one that it was tuned from, or one tuned from it.

    Transfer: the probe, unchanged, on the partner's answers. Drift: the partner's weights against the model's.
    """

    datasets: list[DatasetName] = Field(min_length=1, description="of the study's; asked of the partners once each")
    tuned: list[Slug] = Field(
        [],
        description="models whose base is one of the study's: compared forward, in place of the study's model's own base",
    )


class ReplyEstimate(Settings):
    """What one item of a benchmark is expected to cost at each α: tokens read and sampled, all turns together."""

    read: float = Field(gt=0)
    new: float = Field(gt=0)


_GEOGRAPHY = ReplyEstimate(read=60, new=20)


class Estimates(Settings):
    """What a plan assumes of a study until finished jobs tell it better."""

    prompt_tokens: float = Field(60, gt=0, description="of a question with its chat template")
    response_tokens: float = Field(10, gt=0, description="new tokens of a sampled answer")
    consistent: float = Field(
        0.15, gt=0, le=0.5, description="of all training questions: always right or always wrong, whichever are fewer"
    )
    decided: float = Field(
        0.3, gt=0, le=0.5, description="the same of questions that are asked once: right or wrong, whichever are fewer"
    )
    replies: dict[BenchmarkName, ReplyEstimate] = Field(
        {
            "falseqa": ReplyEstimate(read=60, new=100),
            "faitheval": ReplyEstimate(read=400, new=60),
            "sycophancy": ReplyEstimate(read=1500, new=350),
            "jailbreak": ReplyEstimate(read=700, new=200),
            "false-premise": _GEOGRAPHY,
            "misleading-context": _GEOGRAPHY,
            "are-you-sure": ReplyEstimate(read=240, new=50),
            "mild-requests": _GEOGRAPHY,
        }
    )


class HubFile(HubSource):
    """A file of a dataset repository."""

    path: str


class RuntimeSettings(Settings):
    """How jobs use the machine; changes no result beyond floating-point noise."""

    threads: int = Field(2, ge=1)
    token_budget: int = Field(8192, ge=1, description="tokens per batch: rows x longest row")
    probe_memory_gb: float = Field(4.0, gt=0, description="for features, in jobs that fit probes, however large the model")


class Study(Settings):
    """One study: everything under results/{study}/."""

    study: Slug
    seed: int = Field(0, ge=0)
    models_file: str = "config/models.yaml"
    cluster_file: str = "config/cluster.yaml"
    models: list[Slug] = Field(min_length=1)
    datasets: dict[DatasetName, DatasetSettings]
    splits: SplitSettings = SplitSettings()
    sampling: SamplingSettings = SamplingSettings()
    examples: ExampleSettings = ExampleSettings()
    cett: CettSettings = CettSettings()
    probe: ProbeSettings = ProbeSettings()
    impact: ImpactSettings
    origin: OriginSettings | None = None
    judges: JudgesSettings = JudgesSettings()
    mirror: str | None = Field(None, description="folder that holds the published files: nothing is downloaded then")
    sources: dict[str, HubFile] = Field(
        {}, description="where to take a published file from, in place of its pinned source"
    )
    prompt_date: datetime.date = Field(
        datetime.date(2024, 7, 26), description="what a chat template prints for today: a prompt is the same on any day"
    )
    runtime: RuntimeSettings = RuntimeSettings()
    estimates: Estimates = Estimates()

    @model_validator(mode="after")
    def _one_in_domain(self) -> Study:
        if sum(d.role == "in_domain" for d in self.datasets.values()) != 1:
            raise ValueError("datasets: exactly one must have role in_domain")
        if len(set(self.models)) < len(self.models):
            raise ValueError("models: each model may stand once")
        for name in self.origin.datasets if self.origin else ():
            if name not in self.datasets or self.datasets[name].role == "nonexist":
                raise ValueError(f"origin.datasets: {name} is no in-domain or transfer set of the study")
        return self

    @property
    def in_domain(self) -> str:
        return next(str(name) for name, d in self.datasets.items() if d.role == "in_domain")

    def dataset(self, name: str) -> DatasetSettings:
        return {str(key): settings for key, settings in self.datasets.items()}[name]

    def part(self, name: str) -> str:
        """Which of a set's published files is read."""
        return self.dataset(name).part or ("train" if name == self.in_domain else "validation")

    def shards(self, dataset: str) -> list[str]:
        """Names of the dataset's shards, from its number of questions alone."""
        per_shard = self.sampling.questions_per_shard
        return [f"{i:04d}" for i in range(-(-self.dataset(dataset).questions // per_shard))]

    def shard_rows(self, shard: str) -> slice:
        """Rows of questions/{dataset}.parquet that a shard holds."""
        start = int(shard) * self.sampling.questions_per_shard
        return slice(start, start + self.sampling.questions_per_shard)

    @property
    def neuron_sets(self) -> list[str]:
        negative = ["negative"] if self.impact.negative else []
        return ["hneurons", *negative, *(f"random-{seed}" for seed in range(1, self.impact.random_seeds + 1))]

    @property
    def benchmarks(self) -> dict[str, BenchmarkSettings]:
        """Everything that is asked at every α: the behaviours, and test questions for utility."""
        found = {str(name): settings for name, settings in self.impact.benchmarks.items()}
        if asked := self.impact.utility.questions:
            found[TEST_QUESTIONS] = BenchmarkSettings(items=asked)
        return found

    @property
    def scaled_alphas(self) -> list[float]:
        """All α but 1, which needs no scaling."""
        return [a for a in self.impact.alphas if a != 1]


def default_prompt_date() -> datetime.date:
    """What prompts outside of a study take for today, as a study that names no `prompt_date` does."""
    date: datetime.date = Study.model_fields["prompt_date"].default
    return date
