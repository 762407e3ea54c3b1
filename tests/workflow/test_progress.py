"""`make demo` as a person sees it: the workflow's progress in one line, its failures, and its exit code."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time

from tests.workflow.study import MODEL

QUESTIONS = "questions/elements.parquet"
DETECTION = f"{MODEL}/detection/elements.json"


def command(workspace, *arguments):
    return [sys.executable, "-m", "hneurons.planning.watch", *workspace.command(*arguments)]


def watched(workspace, *arguments):
    """Exit code and lines; without a terminal."""
    done = subprocess.run(command(workspace, *arguments), cwd=workspace.folder, capture_output=True, text=True)
    assert done.stdout == ""
    # Where there is SLURM's squeue without its controller.
    return done.returncode, [line for line in done.stderr.splitlines() if not line.startswith("squeue does not answer")]


def test_a_finished_study_says_so_in_one_line(workspace):
    code, lines = watched(workspace)
    assert code == 0 and len(lines) == 1 and lines[0].startswith("Nothing to be done")


def test_a_run_is_its_progress_and_nothing_else(workspace):
    (workspace.results / DETECTION).unlink()
    code, lines = watched(workspace)
    assert code == 0 and re.fullmatch(r"0 of \d+ jobs done in 1 s, (about|less than) .* left", lines[0])
    # A line every half minute.
    assert all(re.fullmatch(r"\d+ of \d+ jobs done in .* left: \w+.*", line) for line in lines[1:-1]) and len(lines) < 9
    total = lines[0].split()[2]
    assert re.fullmatch(rf"{total} of {total} jobs done in .*", lines[-1])
    assert workspace.planned() == []
    ending = (workspace.results / "ending.txt").read_text()
    assert f"{MODEL}: " in ending


def test_a_terminal_has_one_line_that_is_rewritten(workspace):
    (workspace.results / DETECTION).unlink()
    target = str((workspace.results / DETECTION).relative_to(workspace.folder))
    above, below = pty.openpty()
    process = subprocess.Popen(command(workspace, target), cwd=workspace.folder, stderr=below)
    os.close(below)
    printed = b""
    try:
        while chunk := os.read(above, 4096):
            printed += chunk
    except OSError:
        # The other end was closed.
        pass
    finally:
        os.close(above)
    assert process.wait() == 0
    states = [state for state in printed.decode().split("\r\x1b[K") if not state.startswith("squeue does not answer")]
    assert states[0] == "" and states[-1].startswith("1 of 1 jobs done in ")
    assert [state for state in states[1:-1] if state.endswith(": detection elements")]
    assert all("\n" not in state and len(state) < 80 for state in states[:-1])


def test_a_failure_is_shown_and_the_exit_code_is_snakemakes(workspace):
    path = workspace.results / QUESTIONS
    before = path.read_bytes(), path.stat()
    path.write_text("junk")
    target = f"results/tiny/{MODEL}/examples/elements.parquet"
    try:
        code, lines = watched(workspace, target)
        raw = subprocess.run(workspace.command(target), cwd=workspace.folder, capture_output=True, text=True)
    finally:
        path.write_bytes(before[0])
        os.utime(path, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))
    assert code == raw.returncode == 1
    i = next(i for i, line in enumerate(lines) if line.startswith(f"error: results/tiny/{QUESTIONS}: not a Parquet file"))
    assert lines[i + 1] == "Error in rule examples:"
    log = re.match(r" +log: (\S+) ", lines[i + 2])[1]
    assert lines[i] in (workspace.folder / log).read_text()
    assert re.match(r"0 of 1 jobs done in ", lines[-1])
    assert not [line for line in lines if "Traceback" in line or "resources:" in line]
    # What the failed job made was removed.
    workspace.run()
    assert workspace.planned() == []


def test_a_study_that_cannot_start_says_why_once(workspace):
    code, lines = watched(workspace, "--config", "colour=red")
    assert code == 1 and len(lines) == 1 and lines[0].startswith("error: config: colour: unknown key")


def test_an_interrupt_ends_the_run_and_its_jobs(workspace):
    target = workspace.results / DETECTION
    target.unlink()
    log = workspace.folder / f"logs/tiny/{MODEL}/detection/elements.log"
    log.unlink()
    name = str(target.relative_to(workspace.folder))
    # As a terminal does it: to the whole group.
    process = subprocess.Popen(
        command(workspace, name), cwd=workspace.folder, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not log.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    printed = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and not target.exists()
    assert "interrupted: what is finished is kept\n" in printed and "Traceback" not in printed
    assert printed.splitlines()[-1].startswith("0 of 1 jobs done in ")
    workspace.run("--rerun-incomplete")
    assert workspace.planned() == []
