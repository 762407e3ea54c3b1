"""What a study will cost before it is paid for: jobs, GPU hours, memory, disk, judge calls and their price.

Jobs and what is left of them come from a dry run of the workflow. Hours are estimates (config: `estimates`, cluster file:
`speeds`), each corrected by what the finished jobs of the same model and stage took.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hneurons import store
from hneurons.config.impact import TEST_QUESTIONS
from hneurons.config.judges import LLM, TASKS
from hneurons.config.setup import Setup
from hneurons.planning import estimates
from hneurons.planning.budget import expected_calls
from hneurons.planning.estimates import Work
from hneurons.planning.jobs import SHARED, STAGES, Job, share_file, timing_of, timing_rows
from hneurons.records import EXAMPLES

# Roughly, in a compressed file: a row of responses, and an item's replies with each of their tokens.
_RESPONSE_BYTES, _ITEM_BYTES, _REPLY_TOKEN_BYTES = 120, 50, 1.5


@dataclass
class PlanLine:
    """A model's stage in the plan. Hours, calls and dollars are of what is left; disk is of all when done."""

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
    """Lines by model and stage, their totals, and what they assume."""

    study: str
    lines: list[PlanLine]
    totals: dict[str, float]
    assumptions: dict[str, Any]
    weights_gb: float
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_plan(setup: Setup, all_jobs: Sequence[Job], left: Iterable[Job], results: Path, notes: Sequence[str] = ()) -> Plan:
    """The plan of a study. all_jobs: of the whole study. left: those still to run. results: results/{study}."""
    remaining = {job.key for job in left}
    measured = _measured(setup, all_jobs, results)
    lines: dict[tuple[str, str], PlanLine] = {}
    for job in all_jobs:
        line = lines.setdefault((job.model, job.stage), PlanLine(job.model, job.stage))
        open_ = job.key in remaining
        line.jobs += 1
        line.jobs_left += open_
        line.host_memory_gb = max(line.host_memory_gb, job.resources.get("mem_mb", 0) / 1e3)
        if job.loads_model:
            line.gpus_per_job = estimates.gpus(setup, job.model)
            if line.gpus_per_job:
                line.gpu_memory_gb = estimates.peak_gpu_bytes(setup, job.model) / 1e9
            hours = open_ * measured.factor(job) * expected_seconds(setup, job, results) / 3600
            line.hours_left += hours
            line.gpu_hours_left += hours * line.gpus_per_job
            line.measured_jobs = measured.jobs[job.model, job.stage]
    for line in lines.values():
        line.disk_gb = _disk_bytes(setup, line, results) / 1e9
    _add_judging(setup, all_jobs, remaining, lines)
    order = [SHARED, *setup.models]
    chosen = sorted(lines.values(), key=lambda line: (order.index(line.model), list(STAGES).index(line.stage)))
    summed = ("jobs", "jobs_left", "hours_left", "gpu_hours_left", "disk_gb", "judge_calls_left", "dollars_left")
    totals: dict[str, float] = {name: sum(getattr(line, name) for line in chosen) for name in summed}
    for name in ("gpu_memory_gb", "host_memory_gb"):
        totals[name] = max((getattr(line, name) for line in chosen), default=0)
    assumptions = {
        **setup.study.estimates.model_dump(mode="json", exclude={"replies"}),
        "tokens_per_reply": ", ".join(
            f"{name} {reply.read:g} read {reply.new:g} new"
            for name, reply in ((name, estimates.reply_estimate(setup.study, name)) for name in setup.study.benchmarks)
        ),
        "gpu": setup.cluster.speed,
        "gpu_memory_gb": setup.cluster.gpu_memory_gb,
        **{
            f"tokens_per_s_on_{kind}_per_billion_weights": f"{rate.new_tokens_per_s:g} new {rate.read_tokens_per_s:g} read"
            for kind, rate in setup.cluster.speeds.items()
            if kind in {setup.cluster.speed if estimates.gpus(setup, model) else "cpu" for model in setup.models}
        },
        "load_gb_per_s": setup.cluster.load_gb_per_s,
    }
    weights = sum(estimates.weights_bytes(setup, model) for model in setup.models) / 1e9
    return Plan(setup.study.study, chosen, totals, assumptions, weights, list(notes))


def expected_seconds(setup: Setup, job: Job, results: Path) -> float:
    """Run time of a job that loads its model; the examples of a set are counted where they are there."""
    model, of = job.model, job.subject
    if job.rule == "cett" and (counted := _examples(results, model, of)):
        e = setup.study.estimates
        tokens = sum(counted.values()) * (e.prompt_tokens + e.response_tokens) / len(setup.study.shards(of))
        return estimates.seconds(setup, model, Work(tokens))
    stage = "replies" if job.stage == "replies" else job.rule
    return estimates.seconds(setup, model, estimates.expected_work(setup, model, stage, of, _alphas(setup, job.rule)))


def _alphas(setup: Setup, rule: str) -> int:
    """How many α a job of a rule runs."""
    if not rule.startswith("replies_"):
        return 1
    first = int(rule.removeprefix("replies_")) * setup.study.impact.alphas_per_job
    return len(setup.study.scaled_alphas[first : first + setup.study.impact.alphas_per_job])


@dataclass(frozen=True)
class _Measured:
    """How long finished jobs took against what was expected, by model and stage and, closer, by what they worked on."""

    taken: dict[tuple[str, ...], float]
    expected: dict[tuple[str, ...], float]
    jobs: dict[tuple[str, ...], int]

    def factor(self, job: Job) -> float:
        for key in ((job.model, job.stage, job.subject), (job.model, job.stage)):
            if self.expected.get(key):
                return self.taken[key] / self.expected[key]
        return 1.0


def _measured(setup: Setup, jobs: Iterable[Job], results: Path) -> _Measured:
    found = _Measured(defaultdict(float), defaultdict(float), defaultdict(int))
    for job in jobs:
        if not job.loads_model or not (path := timing_of(job, results)).is_file():
            continue
        # A job that went on where another was, or that found everything there, took time for its share of the work.
        said = share_file(job, results)
        share = store.read_json(said)["share"] if said.is_file() else 1.0
        if share == 0:
            continue
        seconds = sum(float(row["s"]) for row in timing_rows(path))
        loading = estimates.load_seconds(setup, job.model)
        for key in ((job.model, job.stage), (job.model, job.stage, job.subject)):
            found.taken[key] += seconds
            found.expected[key] += loading + share * (expected_seconds(setup, job, results) - loading)
            found.jobs[key] += 1
    return found


def _examples(results: Path, model: str, dataset: str) -> dict[str, int]:
    """Examples by split of a set that has been drawn; empty if it has not."""
    path = results / model / f"examples/{dataset}.parquet"
    return _counted(path, path.stat().st_mtime_ns) if path.is_file() else {}


@cache
def _counted(path: Path, _changed: int) -> dict[str, int]:
    splits = store.read_table(path, EXAMPLES)["split"].to_pylist()
    return {split: splits.count(split) for split in set(splits)}


def _disk_bytes(setup: Setup, line: PlanLine, results: Path) -> float:
    """Bytes of a stage's files when it is done."""
    model, study = line.model, setup.study
    if model == SHARED:
        return 0.0
    if line.stage in ("fetch", "tune"):
        return estimates.weights_bytes(setup, model)
    if line.stage == "responses":
        return _RESPONSE_BYTES * sum(estimates.expected_responses(setup, model, d) for d in setup.datasets_of(model))
    if line.stage == "replies":
        runs = 1 + len(study.neuron_sets) * len(study.scaled_alphas)
        per_item = {
            name: _ITEM_BYTES + _REPLY_TOKEN_BYTES * estimates.reply_estimate(study, name).new for name in study.benchmarks
        }
        return runs * sum(b.items * per_item[name] for name, b in study.benchmarks.items())
    if line.stage != "cett":
        return 0.0
    rows = 0.0
    for dataset in setup.datasets_of(model):
        counted = _examples(results, model, dataset) or estimates.expected_examples(setup, model, dataset)
        rows += estimates.cett_rows(counted)
    return estimates.cett_bytes(setup, model, rows)


def _task(setup: Setup, job: Job) -> str | None:
    """The judges' task whose calls a job makes; None if it makes none."""
    by_rule = {"verdicts": "correctness", "judge_suppressed": "correctness", "spans": "spans"}
    judged = by_rule.get(job.rule) or job.subject
    if job.stage not in ("judging", "judge replies") or judged not in (*TASKS, TEST_QUESTIONS):
        return None
    by = setup.study.judges.correctness if judged == TEST_QUESTIONS else getattr(setup.study.judges, judged)
    # Agreement asks what the LLM does not judge anyway.
    return judged if (by == LLM) == (job.rule != "agreement") else None


def _add_judging(
    setup: Setup, jobs: Iterable[Job], remaining: set[tuple[str, ...]], lines: dict[tuple[str, str], PlanLine]
) -> None:
    """Calls and dollars of what is left: of each model and task the share of its jobs that is."""
    of_task: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        if task := _task(setup, job):
            of_task[job.model, task].append(job)
    for calls in expected_calls(setup):
        if found := of_task[calls.model, calls.task]:
            share = sum(job.key in remaining for job in found) / len(found)
            line = lines[calls.model, found[0].stage]
            line.judge_calls_left += round(calls.calls * share)
            line.dollars_left += calls.price * share
