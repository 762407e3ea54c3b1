"""The progress of a running workflow in one line, from what snakemake prints and what its dry run has planned."""

import re
from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from typing import NamedTuple

from hneurons.planning.jobs import SHARED, Job

# Expected seconds of a job that loads no model: mostly the start of Python and its packages.
_LIGHT_SECONDS = 5.0
# Lines to keep of what jobs print, in case one of them fails: a traceback.
_KEPT_LINES = 40
# What snakemake prints about jobs that run as they should, besides the lines that its dry run prints too.
_ROUTINE = re.compile(
    r"$|\[\w{3} \w{3} [ \d]\d [\d:]+ \d{4}\]$|  (Date|Workflow ID|Command): |Using shell: |Provided cores: "
    r"|Rules claiming more|Select jobs to execute|Execute \d+ jobs|\d+ of \d+ steps|Complete log\(s\): |Elapsed time: "
    r"|RuleException:$|CalledProcessError in file |Command '.*' (returned non-zero|died with) "
)


class _Started(NamedTuple):
    """A running job, and when it was started."""

    job: Job
    since: float


class Progress:
    """Jobs done and running, the time left, and the lines of output that a person needs to see.

    Times are seconds of any clock. Jobs are recognised by their log files.

    Attributes:
        total, done: number of jobs, and of those that are finished.
    """

    def __init__(self, jobs: Sequence[Job], routine: Collection[str], now: float) -> None:
        """Take what a dry run has planned.

        Args:
            jobs: its jobs.
            routine: the lines that it printed. They are not shown again.
            now: when snakemake is started.
        """
        self.total, self.done = len(jobs), 0
        self._waiting = {job.log: job for job in jobs}
        self._running: dict[str, _Started] = {}
        self._several_models = len({job.model for job in jobs} - {SHARED}) > 1
        self._routine = frozenset(routine)
        self._began = self._first_job_began = now
        self._shows_all, self._stops = True, False
        self._kept: deque[str] = deque(maxlen=_KEPT_LINES)
        self._block = self._log = ""
        # Of jobs that have ended, by rule and by whether they load a model.
        self._measured: dict[str | bool, float] = defaultdict(float)
        self._expected: dict[str | bool, float] = defaultdict(float)

    def read(self, line: str, now: float) -> list[str]:
        """Take a line that snakemake or a job has printed.

        Args:
            line: the line.
            now: when it was read.

        Returns:
            The lines to show: errors, and what is not routine before the first job and after a failure.
        """
        if head := re.match(r" *(?:local)?(rule) \w+:$|(Error) in rule \w+:$", line):
            self._block = head[1] or head[2]
            if head[2]:
                return [*self.stop(), line]
            if self._shows_all and not self._stops:
                self._shows_all, self._first_job_began = False, now
            return []
        if self._block and line.startswith("    "):
            return self._read_block(line, now)
        self._block = ""
        if finished := re.match(r"Finished jobid: (\d+) ", line):
            self.done += self._end(finished[1], now)
        elif line.startswith("Nothing to be done"):
            return [line]
        elif not _ROUTINE.match(line) and line not in self._routine:
            if self._shows_all:
                return [line]
            self._kept.append(line)
        return []

    def stop(self) -> list[str]:
        """Expect the end of the run, after a failure or an interrupt: no job will be started.

        Returns:
            The last lines that have not been shown.
        """
        self._shows_all = self._stops = True
        lines = list(self._kept)
        self._kept.clear()
        return lines

    def _read_block(self, line: str, now: float) -> list[str]:
        """Take an indented line of what snakemake prints about a job that starts or has failed."""
        name, _, value = line.strip().partition(": ")
        if self._block == "Error":
            if name == "jobid":
                self._end(value, now)
            return [line] if name == "log" else []
        if name == "log":
            self._log = value
        elif name == "jobid" and (job := self._waiting.pop(self._log, None)):
            self._running[value] = _Started(job, now)
        return []

    def _end(self, jobid: str, now: float) -> bool:
        """Count the time of a job that has ended; False for the target, which is not counted."""
        if (started := self._running.pop(jobid, None)) is None:
            return False
        for key in (started.job.rule, started.job.loads_model):
            self._measured[key] += now - started.since
            self._expected[key] += _expected_seconds(started.job)
        return True

    def seconds_left(self, now: float) -> float:
        """Estimate the time until all jobs are done.

        Expected seconds of the jobs left, corrected by the measured times of finished jobs (of the same rule, else of those
        that load a model or load none), divided by the mean number of jobs that have been running at a time.

        Args:
            now: the time.
        """
        running = self._running.values()
        work = sum(self._corrected_seconds(job) for job in self._waiting.values())
        work += sum(max(0.0, self._corrected_seconds(job) - (now - since)) for job, since in running)
        busy = sum(self._measured[key] for key in (True, False)) + sum(now - since for _, since in running)
        elapsed = now - self._first_job_began
        return work * elapsed / busy if busy and elapsed >= 1 else work

    def _corrected_seconds(self, job: Job) -> float:
        for key in (job.rule, job.loads_model):
            if self._expected.get(key):
                return _expected_seconds(job) * self._measured[key] / self._expected[key]
        return _expected_seconds(job)

    def summary(self, now: float) -> str:
        """Describe in one line how far the run has come.

        Args:
            now: the time.
        """
        return f"{self.done} of {self.total} jobs done in {_duration(now - self._began)}"

    def line(self, now: float) -> str:
        """Describe the progress in one line: jobs done, time elapsed, time left, and what is running.

        Args:
            now: the time.
        """
        seconds = self.seconds_left(now)
        left = f"about {_duration(seconds)} left" if seconds >= 60 else "less than a minute left"
        names = ", ".join(self._short(started.job) for started in self._running.values())
        parts = [f"{self.summary(now)}, {'waiting for the last jobs' if self._stops else left}", names]
        return ": ".join(filter(None, parts))

    def _short(self, job: Job) -> str:
        model = job.model if self._several_models and job.model != SHARED else ""
        return f"{job.rule} {'/'.join(filter(None, (model, job.subject)))}".strip()


def _expected_seconds(job: Job) -> float:
    return job.resources.get("expected_s", _LIGHT_SECONDS)


def _duration(seconds: float) -> str:
    """Write a time as seconds, minutes or hours and minutes.

    Args:
        seconds: the time.
    """
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
