"""What of a run's output a person sees: one line of progress, warnings at the start, errors."""

from __future__ import annotations

import logging
import sys

import pytest

from hneurons.errors import HNeuronsError
from hneurons.joblog import ERRORS_ONLY, job
from hneurons.planning.jobs import Job
from hneurons.planning.progress import Progress


def a_job(rule, subject, expected_s=None, model="m"):
    resources = {} if expected_s is None else {"expected_s": expected_s}
    return Job(rule, {"model": model, "dataset": subject}, resources, f"logs/{rule}/{model}/{subject}.log")


SAMPLING = [a_job("responses", name, 100) for name in ("a", "b", "c", "d")]
JUDGING = [a_job("verdicts", name) for name in ("a", "b")]
HEADER = ["Building DAG of jobs...", "Job stats:", "responses      4"]


def began(jobs=(*SAMPLING, *JUDGING)):
    return Progress(jobs, HEADER, 0.0)


def read(progress, lines, now):
    return [shown for line in lines for shown in progress.read(line, now)]


def start(progress, job, jobid, now):
    head = ["", "[Tue Nov 24 21:39:50 2026]", f"localrule {job.rule}:", "    input: x.parquet", f"    log: {job.log}"]
    assert read(progress, [*head, f"    jobid: {jobid}", "    resources: mem_mb=100"], now) == []


def finish(progress, jobid, now):
    lines = ["[Tue Nov  4 21:39:50 2026]", f"Finished jobid: {jobid} (Rule: r)", "3 of 7 steps (43%) done"]
    assert read(progress, [*lines, "Select jobs to execute...", "Execute 1 jobs..."], now) == []


def test_time_left_is_weighted_by_what_jobs_are_expected_to_take():
    progress = began()
    assert progress.seconds_left(0) == 4 * 100 + 2 * 5
    start(progress, SAMPLING[0], 7, 0)
    assert progress.seconds_left(30) == pytest.approx(380)
    assert progress.line(30) == "0 of 6 jobs done in 30 s, about 6 min left: responses a"
    finish(progress, 7, 100)
    assert (progress.done, progress.seconds_left(100)) == (1, pytest.approx(310))


def test_time_left_is_corrected_by_the_measured_speed():
    progress = began()
    start(progress, SAMPLING[0], 7, 0)
    finish(progress, 7, 200)
    assert progress.seconds_left(200) == pytest.approx(3 * 200 + 2 * 5), "light jobs are not measured yet"
    start(progress, JUDGING[0], 8, 200)
    finish(progress, 8, 204)
    assert progress.seconds_left(204) == pytest.approx(3 * 200 + 4)


def test_time_left_is_corrected_by_the_jobs_that_run_at_a_time():
    progress = began()
    for jobid in (0, 1):
        start(progress, SAMPLING[jobid], jobid, 5)
    for jobid in (0, 1):
        finish(progress, jobid, 105)
    assert progress.seconds_left(105) == pytest.approx((2 * 100 + 2 * 5) / 2)


def test_a_job_that_takes_longer_than_expected_leaves_no_negative_time():
    progress = began(SAMPLING[:1])
    start(progress, SAMPLING[0], 0, 0)
    assert progress.seconds_left(500) == 0
    assert progress.line(500) == "0 of 1 jobs done in 8 min, less than a minute left: responses a"


def test_the_model_is_named_where_there_are_several():
    jobs = [a_job("cett", "a", 3000, model="m"), a_job("cett", "a", 5000, model="n")]
    progress = began(jobs)
    for jobid, one_job in enumerate(jobs):
        start(progress, one_job, jobid, 1)
    assert progress.line(1) == "0 of 2 jobs done in 1 s, about 2 h 13 min left: cett m/a, cett n/a"


def test_warnings_at_the_start_are_shown_and_the_header_is_not():
    budget = "LLM judge judge: at most 70 calls, about $0.10"
    missing = "missing, so not planned: falseqa: put falseqa.csv into the mirror"
    header = [*HEADER, "  Date: 2026-11-24 21:39:50", "Using shell: /usr/bin/bash", "Provided cores: 2"]
    assert read(began(), [missing, *header, budget], 1) == [missing, budget]


def test_an_empty_run_says_that_there_is_nothing_to_be_done():
    line = "Nothing to be done (all requested files are present and up to date)."
    assert read(Progress([], [*HEADER, line], 0), [*HEADER, line], 1) == [line]


FAILED = [
    "RuleException:",
    'CalledProcessError in file "/x/rules/judges.smk", line 85:',
    "Command 'set -euo pipefail;  python x.py' returned non-zero exit status 1.",
    "[Tue Nov 24 21:39:50 2026]",
    "Error in rule verdicts:",
    "    message: None",
    "    jobid: 3",
    "    input: a very long list of files",
    "    log: logs/verdicts/m/a.log (check log file(s) for error details)",
    "Exiting because a job execution failed. Look above for error messages",
]
SHOWN = [FAILED[4], FAILED[8], FAILED[9]]


@pytest.mark.parametrize(
    "printed",
    [["error: x.parquet: not a Parquet file"], ["Traceback (most recent call last):", "    f()", "KeyError: 'x'"]],
)
def test_a_failure_is_shown_with_its_error_its_rule_and_its_log(printed):
    progress = began()
    start(progress, JUDGING[0], 3, 1)
    start(progress, SAMPLING[0], 4, 1)
    assert read(progress, printed, 2) == []
    assert read(progress, FAILED, 3) == [*printed, *SHOWN]
    assert progress.line(4) == "0 of 6 jobs done in 4 s, waiting for the last jobs: responses a"
    finish(progress, 4, 90)
    assert progress.summary(90) == "1 of 6 jobs done in 2 min"


@pytest.mark.parametrize("errors_only", [False, True])
def test_a_job_prints_errors_only_where_progress_is_one_line(errors_only, tmp_path, monkeypatch, capsys):
    if errors_only:
        monkeypatch.setenv(ERRORS_ONLY, "1")
    log = tmp_path / "j.log"
    with pytest.raises(SystemExit), job(log):
        logging.getLogger("hneurons").info("40 calls")
        print("sampling: 100%", file=sys.stderr)
        raise HNeuronsError("x.csv: line 3: no question")
    lines = ["40 calls", "sampling: 100%", "error: x.csv: line 3: no question"]
    assert log.read_text().splitlines() == lines
    assert capsys.readouterr().err.splitlines() == (lines[-1:] if errors_only else lines)
