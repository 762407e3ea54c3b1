"""Settings of a study: every key, its type and its allowed values.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hneurons.config.base import Settings, Slug
from hneurons.config.behaviours import TEST_QUESTIONS, BenchmarkSettings
from hneurons.config.datasets import DatasetSettings, HubFile, check_set
from hneurons.config.impact import (
    H_NEURONS,
    NEGATIVE,
    RANDOM,
    ImpactSettings,
    is_untouched,
    sweep,
)
from hneurons.config.judges import LLM, JudgeKind, JudgesSettings

Share = Annotated[float, Field(gt=0, lt=1)]


class Decoding(Settings):
    """How the next token is drawn: temperature 0 is greedy; otherwise top-k, then top-p on the remaining tokens."""

    max_new_tokens: int = Field(ge=1)
    temperature: float = Field(default=1.0, ge=0)
    top_k: int = Field(default=0, ge=0, description="0 keeps all tokens")
    top_p: float = Field(default=1.0, gt=0, le=1)


class SplitSettings(Settings):
    """Shares of the in-domain gold answers in the training and selection splits; the rest is the test split."""

    train: Share = 0.5
    selection: Share = 0.2

    @model_validator(mode="after")
    def _leaves_a_test_split(self) -> Self:
        if self.train + self.selection >= 1:
            raise ValueError("train + selection must leave a share for the test split (sum below 1)")
        return self


class SamplingSettings(Settings):
    """Samples per training question (selection and test questions get one) and their decoding."""

    samples: int = Field(10, ge=1)
    decoding: Decoding = Decoding(max_new_tokens=50, temperature=1.0, top_k=50, top_p=0.9)
    questions_per_shard: int = Field(500, ge=1)


class ExampleSettings(Settings):
    """Sizes of the balanced sets: at most per_class examples of each class.

    Below min_per_class the study stops; a set that is only tested is left out of the tables, with a note.
    """

    per_class: int = Field(1000, ge=1)
    min_per_class: int = Field(40, ge=1)
    example: Literal["most_frequent", "first"] = Field(
        "most_frequent", description="which of a question's samples is its example; ties go to the earlier one"
    )


class CettSettings(Settings):
    """Which tokens are the "other" tokens of eq. 3 (docs/method.md)."""

    other_tokens: Literal["all", "no_bos", "response"] = "all"


class ProbeSettings(Settings):
    """The sparse classifier of eq. 4, and how its C is chosen (docs/probe.md)."""

    C: list[Annotated[float, Field(gt=0)]] = Field([0.1, 0.3, 1, 3, 10, 30, 100], min_length=1)
    penalty: Literal["l1", "l2"] = "l1"
    labels: Literal["3-vs-1", "1-vs-1"] = "3-vs-1"
    intercept: Literal["free", "penalised"] = "free"
    suppressed_questions: int = Field(
        500,
        ge=0,
        description="number of selection questions answered with each C's H-Neurons at α = 0; 0 ignores this criterion",
    )
    resamples: int = Field(20, ge=0, description="bootstraps, and draws of halves, for the stability of neurons")
    random_seeds: int = Field(
        20, ge=10, description="sets of random neurons of each kind and number that the probe is compared with"
    )


class OriginSettings(Settings):
    """Origin of H-Neurons (Figure 4): each model is compared with its base or with a model tuned from it, its partner.

    Transfer applies the unchanged probe to the partner's answers. Drift compares the weights of both.
    """

    datasets: list[Slug] = Field(min_length=1, description="data sets that partners answer, once per question")
    tuned: list[Slug] = Field(
        [], description="models tuned from one of the study's: compared (forward) in place of that model's base"
    )


class ReplyEstimate(Settings):
    """Expected tokens of one item of a benchmark at each α: read and sampled, over all turns."""

    read: float = Field(gt=0)
    new: float = Field(gt=0)


_GEOGRAPHY = ReplyEstimate(read=60, new=20)
REPLY_ESTIMATES = {
    "falseqa": ReplyEstimate(read=60, new=100),
    "faitheval": ReplyEstimate(read=400, new=60),
    "sycophancy": ReplyEstimate(read=1500, new=350),
    "jailbreak": ReplyEstimate(read=700, new=200),
    "false-premise": _GEOGRAPHY,
    "misleading-context": _GEOGRAPHY,
    "are-you-sure": ReplyEstimate(read=240, new=50),
    "mild-requests": _GEOGRAPHY,
}


class Estimates(Settings):
    """Assumptions of a plan, corrected by the measured times of finished jobs."""

    prompt_tokens: float = Field(60, gt=0, description="tokens of a question with its chat template")
    response_tokens: float = Field(10, gt=0, description="new tokens of a sampled answer")
    consistent: float = Field(
        0.15, gt=0, le=0.5, description="share of training questions always right, or always wrong, whichever is smaller"
    )
    decided: float = Field(
        0.3, gt=0, le=0.5, description="share of right, or of wrong, answers to questions asked once, whichever is smaller"
    )
    replies: dict[Slug, ReplyEstimate] = REPLY_ESTIMATES


class RuntimeSettings(Settings):
    """How jobs use the machine; results change only by floating-point noise."""

    threads: int = Field(2, ge=1)
    token_budget: int = Field(8192, ge=1, description="tokens per batch: rows x longest row")
    steps_per_look: int = Field(
        1,
        ge=1,
        description="tokens drawn between two looks of the host; 1 shares rows between samples that agree, more lets a GPU "
        "run ahead (not measured on one)",
    )
    probe_memory_gb: float = Field(4.0, gt=0, description="for features in jobs that fit probes, for any size of model")


class Study(Settings):
    """One study, with its results under results/{study}/."""

    study: Slug
    seed: int = Field(0, ge=0)
    models_file: str = "config/models.yaml"
    cluster_file: str = "config/cluster.yaml"
    models: list[Slug] = Field(min_length=1)
    datasets: dict[Slug, DatasetSettings]
    main_set: Slug | None = Field(
        None, description="the in-domain set whose H-Neurons are scaled and published; needed if there are several"
    )
    splits: SplitSettings = SplitSettings()
    sampling: SamplingSettings = SamplingSettings()
    examples: ExampleSettings = ExampleSettings()
    cett: CettSettings = CettSettings()
    probe: ProbeSettings = ProbeSettings()
    impact: ImpactSettings
    origin: OriginSettings | None = None
    judges: JudgesSettings = JudgesSettings()
    mirror: str | None = Field(None, description="folder with the published files; nothing is downloaded then")
    sources: dict[str, HubFile] = Field(
        {}, description="alternative location of a published file, in place of its pinned source"
    )
    prompt_date: datetime.date = Field(
        datetime.date(2024, 7, 26), description="date that chat templates print as today, for reproducible prompts"
    )
    control_tokens: Literal["text", "parse"] = Field(
        "text", description="control tokens of the model in a question, such as </s>: text, or parse them as what they are"
    )
    runtime: RuntimeSettings = RuntimeSettings()
    estimates: Estimates = Estimates()

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not self.in_domain_sets:
            raise ValueError("datasets: at least one must have role in_domain")
        if self.main_set is None and len(self.in_domain_sets) > 1:
            raise ValueError(f"main_set: name one of {', '.join(self.in_domain_sets)}, whose H-Neurons are to be scaled")
        if self.main_set is not None and self.main_set not in self.in_domain_sets:
            raise ValueError(f"main_set: {self.main_set} is not a set with role in_domain")
        for name, dataset in self.datasets.items():
            check_set(name, dataset)
            if dataset.judge == LLM and self.judges.llm is None:
                raise ValueError(f"datasets.{name}.judge needs the LLM judge: describe it under judges.llm")
        if len(set(self.models)) < len(self.models):
            raise ValueError("models: each model may occur only once")
        for name, behaviour in self.impact.benchmarks.items():
            if behaviour.judge and behaviour.judge.kind == LLM and self.judges.llm is None:
                raise ValueError(f"impact.benchmarks.{name}.judge needs the LLM judge: describe it under judges.llm")
        for name in self.origin.datasets if self.origin else ():
            if name not in self.datasets or self.datasets[name].role == "nonexist":
                raise ValueError(f"origin.datasets: {name} is not an in-domain or transfer set of the study")
        return self

    @property
    def in_domain(self) -> str:
        """Name of the main in-domain set, whose H-Neurons are scaled and published."""
        return self.main_set or self.in_domain_sets[0]

    @property
    def in_domain_sets(self) -> list[str]:
        """Names of all sets that train a probe."""
        return [name for name, d in self.datasets.items() if d.role == "in_domain"]

    def dataset(self, name: str) -> DatasetSettings:
        """Return the settings of a data set."""
        return self.datasets[name]

    def part(self, name: str) -> str:
        """Return the part of a data set's published files that is read: train or validation."""
        return self.dataset(name).part or ("train" if name in self.in_domain_sets else "validation")

    def judge_of(self, dataset: str) -> JudgeKind:
        """Return the judge of correctness of a data set's answers."""
        chosen = self.dataset(dataset).judge
        if chosen is None:
            return self.judges.correctness
        return "llm" if chosen == LLM else "rules"

    def shards(self, dataset: str) -> list[str]:
        """Return the names of a data set's shards, which follow from its number of questions."""
        per_shard = self.sampling.questions_per_shard
        return [f"{i:04d}" for i in range(-(-self.dataset(dataset).questions // per_shard))]

    def shard_rows(self, shard: str) -> slice:
        """Return the rows of questions/{dataset}.parquet that are in a shard."""
        start = int(shard) * self.sampling.questions_per_shard
        return slice(start, start + self.sampling.questions_per_shard)

    @property
    def neuron_sets(self) -> list[str]:
        """Names of the neuron sets that are scaled, as in file names."""
        negative = [NEGATIVE] if self.impact.negative else []
        return [H_NEURONS, *negative, *(f"{RANDOM}-{seed}" for seed in range(1, self.impact.random_seeds + 1))]

    @property
    def benchmarks(self) -> dict[str, BenchmarkSettings]:
        """All benchmarks run at every α: the behaviours, and test questions for utility."""
        benchmarks = dict(self.impact.benchmarks)
        if questions := self.impact.utility.questions:
            benchmarks[TEST_QUESTIONS] = BenchmarkSettings(items=questions)
        return benchmarks

    @property
    def scaled_alphas(self) -> list[float]:
        """All α other than 1."""
        return [alpha for alpha in self.impact.alphas if not is_untouched(alpha)]

    @property
    def runs(self) -> list[tuple[str, float]]:
        """Every (set, α) of the sweep; the untouched model once, first."""
        return sweep(self.neuron_sets, self.impact.alphas)


def default_prompt_date() -> datetime.date:
    """Return the date that prompts outside of a study print as today: the default of `prompt_date`."""
    date: datetime.date = Study.model_fields["prompt_date"].default
    return date
