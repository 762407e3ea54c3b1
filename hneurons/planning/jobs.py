"""The jobs of a study, read from a dry run of its workflow: what each works on, asks for, and leaves behind."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hneurons.errors import HNeuronsError

SHARED = "(all models)"
# Rules whose jobs load a model, besides the several of stage "replies".
LOADING = ("responses", "cett", "suppressed", "perplexity", "scaled_cett", "tune_model")

# Rules by stage, in the order in which a study goes; replies are several rules, one per bundle of α.
STAGES = {
    "fetch": ("check_access", "fetch_source", "fetch_wheel", "questions", "question_set", "items", "prepare_model"),
    "tune": ("tune_model",),
    "responses": ("responses",),
    "judging": ("verdicts", "spans", "judge_suppressed", "agreement"),
    "cett": ("examples", "cett"),
    "suppressed": ("suppressed",),
    "probe": ("probe_path", "probe", "folds"),
    "detection": ("detection",),
    "replies": ("untouched",),
    "utility": ("perplexity", "scaled_cett"),
    "origin": ("transfer", "drift"),
    "judge replies": ("judge_untouched", "judge_scaled"),
    "tables": (),
}
_STAGE_OF = {rule: stage for stage, rules in STAGES.items() for rule in rules}


@dataclass(frozen=True)
class Job:
    """A job of a dry run. runtime in minutes."""

    rule: str
    wildcards: dict[str, str]
    resources: dict[str, float]

    @property
    def stage(self) -> str:
        return "replies" if self.rule.startswith("replies_") else _STAGE_OF.get(self.rule, "tables")

    @property
    def model(self) -> str:
        return self.wildcards.get("model", SHARED)

    @property
    def subject(self) -> str:
        """The data set or benchmark that the job works on."""
        return self.wildcards.get("dataset") or self.wildcards.get("benchmark") or self.wildcards.get("task") or ""

    @property
    def loads_model(self) -> bool:
        return self.rule in LOADING or self.stage == "replies"

    @property
    def key(self) -> tuple[str, ...]:
        return (self.rule, *(f"{k}={v}" for k, v in sorted(self.wildcards.items())))


def read_jobs(said: str) -> list[Job]:
    """The jobs of a dry run's output, without the target itself."""
    found = []
    # The jobs of a group are indented.
    for block in re.split(r"^(?= *(?:local)?rule \w+:$)", said, flags=re.MULTILINE):
        if head := re.match(r" *(?:local)?rule (\w+):\n", block):
            lines = dict(re.findall(r"^ +(wildcards|resources): (.*)$", block, flags=re.MULTILINE))
            wildcards = dict(pair.split("=", 1) for pair in lines.get("wildcards", "").split(", ") if "=" in pair)
            resources = re.findall(r"(\w+)=(\d+(?:\.\d+)?)(?=,|$)", lines.get("resources", ""))
            found.append(Job(head[1], wildcards, {k: float(v) for k, v in resources}))
    return [job for job in found if job.rule not in ("all", "fetch", "smoke")]


def dry_run(configfile: str, *arguments: str) -> tuple[list[Job], list[str]]:
    """The jobs that snakemake would run now, and what is missing so that it was not planned.

    Raises HNeuronsError with what snakemake says if it refuses.
    """
    if not Path("Snakefile").is_file():
        raise HNeuronsError("no Snakefile here: run `hneurons plan` in the checkout that the study runs in")
    command = [sys.executable, "-m", "snakemake", "--configfile", configfile, "--dry-run", "--nocolor", "--cores", "1"]
    command += ["--rerun-triggers", "mtime", "params", "input", "software-env", "--rerun-incomplete", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in said if line.startswith("error: ")), f"the dry run failed: {' '.join(said)[-300:]}")
        raise HNeuronsError(reason.removeprefix("error: "))
    return read_jobs(done.stdout + done.stderr), [
        line for line in done.stderr.splitlines() if line.startswith("missing, so not planned: ")
    ]


def _trace(job: Job) -> str:
    """Where timings and logs of a job that loads its model lie, in their folders."""
    w = job.wildcards
    if job.rule == "untouched":
        return f"{job.model}/replies/{w['benchmark']}/untouched"
    if job.stage == "replies":
        return f"{job.model}/replies/{w['benchmark']}/{w['neurons']}-{job.rule.removeprefix('replies_')}"
    return f"{job.model}/{job.rule}/{w['dataset']}/{w['shard']}" if job.subject else f"{job.model}/{job.rule}"


def timing_rows(path: Path) -> list[dict[str, str]]:
    """What snakemake measured of a job: a row per run, by column."""
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def timing_of(job: Job, results: Path) -> Path:
    """The benchmark file of a job that loads its model. results: results/{study}."""
    return results / "timings" / f"{_trace(job)}.tsv"


def share_file(job: Job, results: Path) -> Path:
    """What such a job says of its share of the work, beside its log."""
    return results.parent.parent / "logs" / results.name / f"{_trace(job)}.json"
