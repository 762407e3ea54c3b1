"""The jobs of a study, read from a dry run of its workflow: subject, requested resources and output files."""

import csv
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hneurons.errors import HNeuronsError
from hneurons.stages import stage_of

SHARED = "(all models)"
_TARGET_RULES = ("all", "fetch", "smoke")


@dataclass(frozen=True)
class Job:
    """A job of a dry run.

    Attributes:
        rule: name of its rule.
        wildcards: values of its wildcards.
        resources: its numeric resources: runtime in minutes; expected_s only for jobs that load a model.
        log, timing: its log and its benchmark file, relative to where snakemake was run; empty if its rule lacks one.
    """

    rule: str
    wildcards: dict[str, str]
    resources: dict[str, float]
    log: str = ""
    timing: str = ""

    @property
    def line(self) -> str:
        """The line of the plan in which it is counted."""
        return stage_of(self.rule).line

    @property
    def model(self) -> str:
        """Its model, or SHARED."""
        return self.wildcards.get("model", SHARED)

    @property
    def subject(self) -> str:
        """The data set, benchmark or judging task that it works on; empty if none."""
        return self.wildcards.get("dataset") or self.wildcards.get("benchmark") or self.wildcards.get("task") or ""

    @property
    def loads_model(self) -> bool:
        """Whether it loads a model."""
        return "expected_s" in self.resources

    @property
    def key(self) -> tuple[str, ...]:
        """Rule and wildcards, which identify the job."""
        return (self.rule, *(f"{k}={v}" for k, v in sorted(self.wildcards.items())))

    @property
    def share_file(self) -> Path:
        """The file next to its log in which a job that loads a model records the share of its work that was left to do."""
        return Path(self.log).with_suffix(".json")


def read_jobs(output: str) -> list[Job]:
    """Parse the output of a dry run into jobs, without the target itself."""
    jobs = []
    # Jobs in a group are indented.
    for block in re.split(r"^(?= *(?:local)?rule \w+:$)", output, flags=re.MULTILINE):
        if head := re.match(r" *(?:local)?rule (\w+):\n", block):
            lines = dict(re.findall(r"^ +(wildcards|resources|log|benchmark): (.*)$", block, flags=re.MULTILINE))
            wildcards = dict(pair.split("=", 1) for pair in lines.get("wildcards", "").split(", ") if "=" in pair)
            numbers = re.findall(r"(\w+)=(\d+(?:\.\d+)?)(?=,|$)", lines.get("resources", ""))
            resources = {name: float(value) for name, value in numbers}
            jobs.append(Job(head[1], wildcards, resources, lines.get("log", ""), lines.get("benchmark", "")))
    return [job for job in jobs if job.rule not in _TARGET_RULES]


def dry_run(configfile: str, *arguments: str) -> tuple[list[Job], list[str]]:
    """List the jobs that snakemake would run now.

    Args:
        configfile: configuration file of the study.
        arguments: further arguments of snakemake.

    Returns:
        The jobs, and a line for each missing file, whose jobs are not planned.

    Raises:
        HNeuronsError: with snakemake's message, if the dry run fails; or if the checkout cannot be written.
    """
    if not Path("Snakefile").is_file():
        raise HNeuronsError("this folder has no Snakefile: run `hneurons plan` in the checkout in which the study runs")
    # Snakemake records the state of jobs there, and creates the folder even for a dry run.
    state = Path(".snakemake") if Path(".snakemake").exists() else Path()
    if not os.access(state, os.W_OK | os.X_OK):
        raise HNeuronsError(
            f"{state.absolute()} cannot be written, but the workflow keeps its state there; "
            "clone the project to a folder of yours"
        )
    command = [sys.executable, "-m", "snakemake", "--configfile", configfile, "--dry-run", "--nocolor", "--cores", "1"]
    command += ["--rerun-triggers", "mtime", "params", "input", "software-env", "--rerun-incomplete", *arguments]
    # A home folder may be missing or read-only, and the locale's encoding may be another.
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache, "PYTHONIOENCODING": "utf-8:replace"}
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", env=environment)
    if done.returncode:
        raise HNeuronsError(_reason(done.stdout, done.stderr) or f"the dry run ended with status {done.returncode}")
    missing = [line for line in done.stderr.splitlines() if line.startswith("missing, so not planned: ")]
    return read_jobs(done.stdout + done.stderr), missing


def _reason(stdout: str, stderr: str) -> str:
    """The error of a failed dry run: the workflow's own line, else the last exception, else the last lines."""
    lines = [line.strip() for line in (stdout + "\n" + stderr).splitlines() if line.strip()]
    for line in lines:
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    # Snakemake prints a traceback to stdout, and explains an error of its own in the lines that follow its name.
    named = [i for i, line in enumerate(lines) if re.match(r"[\w.]*(?:Error|Exception|Interrupt)\b", line)]
    words = " ".join(lines[named[-1] :] if named else lines[-3:])
    return f"the dry run failed: {words[:300]}" if words else ""


def timing_rows(path: Path) -> list[dict[str, str]]:
    """Read the measurements in a job's benchmark file: one row per run, by column."""
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))
