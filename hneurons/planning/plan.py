"""Cost of a study before it runs: jobs, GPU hours, memory, disk, judge calls and their price.

The jobs, and which of them are left, come from dry runs of the workflow. Hours are estimates (config: `estimates`, cluster
file: `speeds`), corrected by the measured times of finished jobs of the same model and stage.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hneurons import store
from hneurons.config.behaviours import TEST_QUESTIONS
from hneurons.config.judges import LLM_KINDS, TASKS
from hneurons.config.models import ADAPTER_RANKS
from hneurons.config.setup import Setup
from hneurons.planning import estimates
from hneurons.planning.budget import expected_calls
from hneurons.planning.jobs import SHARED, Job, timing_rows
from hneurons.planning.power import detectable_slopes
from hneurons.records import EXAMPLES
from hneurons.stages import STAGES

# Approximate compressed bytes: a row of responses; an item's replies, plus each of their tokens.
_RESPONSE_BYTES, _ITEM_BYTES, _REPLY_TOKEN_BYTES = 120, 50, 1.5


@dataclass
class PlanLine:
    """One model's stage in a plan.

    Attributes:
        model, stage: the model, and the stage's line.
        jobs, jobs_left: number of jobs, and of those still to run.
        gpus_per_job: GPUs of each job.
        hours_left, gpu_hours_left: expected hours of the jobs left.
        gpu_memory_gb, host_memory_gb: peak memory of a job.
        disk_gb: size of the stage's files when all jobs are done.
        judge_calls_left, dollars_left: calls of the LLM judge in the jobs left, and their price.
        measured_jobs: finished jobs whose times correct the estimate.
    """

    model: str
    stage: str
    jobs: int = 0
    jobs_left: int = 0
    gpus_per_job: int = 0
    hours_left: float = 0.0
    gpu_hours_left: float = 0.0
    gpu_memory_gb: float = 0.0
    host_memory_gb: float = 0.0
    disk_gb: float = 0.0
    judge_calls_left: int = 0
    dollars_left: float = 0.0
    measured_jobs: int = 0


@dataclass(frozen=True)
class Plan:
    """The plan of a study.

    Attributes:
        study: name of the study.
        lines: one per model and stage.
        totals: sums of the lines, and maxima of memory.
        assumptions: the settings that the estimates are based on.
        weights_gb: size of all models' weights.
        notes: lines to print beneath the plan.
        detectable_slopes: smallest slope of each behaviour that the study detects (power.py).
    """

    study: str
    lines: list[PlanLine]
    totals: dict[str, float]
    assumptions: dict[str, Any]
    weights_gb: float
    notes: list[str]
    detectable_slopes: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Convert to nested dictionaries, for JSON."""
        return asdict(self)


def make_plan(
    setup: Setup, all_jobs: Sequence[Job], jobs_left: Iterable[Job], results: Path, notes: Sequence[str] = ()
) -> Plan:
    """Make the plan of a study.

    Args:
        setup: the checked study.
        all_jobs: all jobs of the study, from a dry run.
        jobs_left: those of them that are still to run.
        results: results/{study}; examples are counted there once they exist.
        notes: lines to print beneath the plan.
    """
    remaining = {job.key for job in jobs_left}
    measured = _measured(setup, all_jobs, results)
    lines: dict[tuple[str, str], PlanLine] = {}
    for job in all_jobs:
        line = lines.setdefault((job.model, job.line), PlanLine(job.model, job.line))
        is_left = job.key in remaining
        line.jobs += 1
        line.jobs_left += is_left
        line.host_memory_gb = max(line.host_memory_gb, job.resources.get("mem_mb", 0) / 1e3)
        if job.loads_model:
            line.gpus_per_job = estimates.gpus(setup, job.model)
            if line.gpus_per_job:
                line.gpu_memory_gb = estimates.peak_gpu_bytes(setup, job.model) / 1e9
            hours = is_left * measured.factor(job) * expected_seconds(setup, job, results) / 3600
            line.hours_left += hours
            line.gpu_hours_left += hours * line.gpus_per_job
            line.measured_jobs = measured.jobs[job.model, job.line]
    for line in lines.values():
        line.disk_gb = _disk_bytes(setup, line, results) / 1e9
    _add_judging(setup, all_jobs, remaining, lines)
    models, order = [SHARED, *setup.models], list(dict.fromkeys(stage.line for stage in STAGES.values()))
    ordered = sorted(lines.values(), key=lambda line: (models.index(line.model), order.index(line.stage)))
    summed = ("jobs", "jobs_left", "hours_left", "gpu_hours_left", "disk_gb", "judge_calls_left", "dollars_left")
    totals: dict[str, float] = {name: sum(getattr(line, name) for line in ordered) for name in summed}
    for name in ("gpu_memory_gb", "host_memory_gb"):
        totals[name] = max((getattr(line, name) for line in ordered), default=0)
    weights = sum(estimates.weights_bytes(setup, model) for model in setup.models) / 1e9
    slopes = detectable_slopes(setup.study)
    notes = [*notes, *_engine_notes(setup)]
    return Plan(setup.study.study, ordered, totals, _assumptions(setup), weights, notes, slopes)


def _engine_notes(setup: Setup) -> list[str]:
    """How neurons are scaled where a server generates."""
    lines = []
    for model in setup.study.models:
        engine = setup.models[model].engine
        if engine is None:
            continue
        how = (
            "LoRA adapters scale neurons, on one server per job; a set with neurons of experts, or with more than "
            f"{ADAPTER_RANKS[-1]} in a layer, needs an exported checkpoint and a server start for every alpha"
            if engine.takes_adapters
            else "every set of neurons at every alpha needs an exported checkpoint and a server start, which are not "
            "counted; vLLM with --max-lora-rank {lora_rank} needs neither"
        )
        lines.append(f"{model}: {how}.")
    return lines


def _assumptions(setup: Setup) -> dict[str, Any]:
    study, cluster = setup.study, setup.cluster
    replies = ((name, estimates.reply_estimate(study, name)) for name in study.benchmarks)
    kinds = {cluster.speed if estimates.gpus(setup, model) else "cpu" for model in setup.models}
    return {
        **study.estimates.model_dump(mode="json", exclude={"replies"}),
        "tokens_per_reply": ", ".join(f"{name} {reply.read:g} read {reply.new:g} new" for name, reply in replies),
        "gpu": cluster.speed,
        "gpu_memory_gb": cluster.gpu_memory_gb,
        **{
            f"tokens_per_s_on_{kind}_per_billion_weights": f"{rate.new_tokens_per_s:g} new {rate.read_tokens_per_s:g} read"
            for kind, rate in cluster.speeds.items()
            if kind in kinds
        },
        "load_gb_per_s": cluster.load_gb_per_s,
    }


def expected_seconds(setup: Setup, job: Job, results: Path) -> float:
    """Estimate the run time of a job that loads a model, in seconds.

    Args:
        setup: the checked study.
        job: the job.
        results: results/{study}; the examples to measure are counted there once they exist.
    """
    expected, loading = job.resources["expected_s"], estimates.load_seconds(setup, job.model)
    if job.rule == "cett" and (counted := _examples(results, job.model, job.subject)):
        foreseen = estimates.expected_examples(setup, job.model, job.subject)
        return loading + (expected - loading) * sum(counted.values()) / sum(foreseen.values())
    return expected


@dataclass(frozen=True)
class _Measured:
    """Measured and expected seconds of finished jobs, by model and line, and by model, line and subject."""

    actual: dict[tuple[str, ...], float]
    expected: dict[tuple[str, ...], float]
    jobs: dict[tuple[str, ...], int]

    def factor(self, job: Job) -> float:
        """Measured over expected time of the most similar finished jobs; 1 if none have finished."""
        for key in ((job.model, job.line, job.subject), (job.model, job.line)):
            if self.expected.get(key):
                return self.actual[key] / self.expected[key]
        return 1.0


def _measured(setup: Setup, jobs: Iterable[Job], results: Path) -> _Measured:
    measured = _Measured(defaultdict(float), defaultdict(float), defaultdict(int))
    for job in jobs:
        if not job.loads_model or not Path(job.timing).is_file():
            continue
        # A job that resumed earlier work, or had nothing left to do, spent time only on its share of the work.
        share = store.read_json(job.share_file)["share"] if job.share_file.is_file() else 1.0
        if share == 0:
            continue
        seconds = sum(float(row["s"]) for row in timing_rows(Path(job.timing)))
        loading = estimates.load_seconds(setup, job.model)
        for key in ((job.model, job.line), (job.model, job.line, job.subject)):
            measured.actual[key] += seconds
            measured.expected[key] += loading + share * (expected_seconds(setup, job, results) - loading)
            measured.jobs[key] += 1
    return measured


def _examples(results: Path, model: str, dataset: str) -> dict[str, int]:
    """Number of examples by split of a data set; empty if they have not been drawn yet."""
    path = results / model / f"examples/{dataset}.parquet"
    return _counted(path, path.stat().st_mtime_ns) if path.is_file() else {}


@cache
def _counted(path: Path, _changed: int) -> dict[str, int]:
    return Counter(store.read_table(path, EXAMPLES)["split"].to_pylist())


def _disk_bytes(setup: Setup, line: PlanLine, results: Path) -> float:
    """Bytes of a line's files when all its jobs are done, without small files."""
    model, study = line.model, setup.study
    if model == SHARED:
        return 0.0
    if line.stage in ("fetch", "tune"):
        return estimates.weights_bytes(setup, model)
    if line.stage == "responses":
        return _RESPONSE_BYTES * sum(estimates.expected_responses(setup, model, d) for d in setup.datasets_of(model))
    if line.stage == "replies":
        per_item = {
            name: _ITEM_BYTES + _REPLY_TOKEN_BYTES * estimates.reply_estimate(study, name).new for name in study.benchmarks
        }
        return len(study.runs) * sum(b.items * per_item[name] for name, b in study.benchmarks.items())
    if line.stage != "cett":
        return 0.0
    sets = [_examples(results, model, d) or estimates.expected_examples(setup, model, d) for d in setup.datasets_of(model)]
    return estimates.cett_bytes(setup, model, sum(map(estimates.cett_rows, sets)))


def _task(setup: Setup, job: Job) -> str | None:
    """Task of the LLM judge calls that a job makes; None if it makes no calls."""
    by_rule = {"verdicts": "correctness", "judge_suppressed": "correctness", "spans": "spans"}
    task = by_rule.get(job.rule) or job.subject
    if job.line not in ("judging", "judge replies") or task not in (*TASKS, TEST_QUESTIONS):
        return None
    judge = setup.study.judges.correctness if task == TEST_QUESTIONS else getattr(setup.study.judges, task)
    # Agreement needs calls only for tasks that the LLM does not judge anyway.
    return task if (judge in LLM_KINDS) == (job.rule != "agreement") else None


def _add_judging(
    setup: Setup, jobs: Iterable[Job], remaining: set[tuple[str, ...]], lines: dict[tuple[str, str], PlanLine]
) -> None:
    """Add the calls and dollars left: of each model and task, in proportion to its jobs left."""
    jobs_of_task: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        if task := _task(setup, job):
            jobs_of_task[job.model, task].append(job)
    for calls in expected_calls(setup):
        if judging := jobs_of_task[calls.model, calls.task]:
            share = sum(job.key in remaining for job in judging) / len(judging)
            line = lines[calls.model, judging[0].line]
            line.judge_calls_left += round(calls.calls * share)
            line.dollars_left += calls.price * share
