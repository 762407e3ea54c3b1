"""Run snakemake and show its progress in one line: `python -m hneurons.planning.watch snakemake [argument …]`.

A terminal rewrites the line in place; elsewhere it is printed again every half minute. Errors and warnings are printed as
they are, and the exit code is snakemake's. The output of jobs is in their logs.
"""

import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TextIO

from hneurons.joblog import ERRORS_ONLY
from hneurons.planning.jobs import read_jobs
from hneurons.planning.progress import Progress

# Seconds between two lines, on a terminal and elsewhere.
_REWRITE_EVERY, _PRINT_EVERY = 1.0, 30.0
_CLEAR = "\r\x1b[K"


class _Screen:
    """Prints lines and the progress, which a terminal has as its last line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._next_at = -math.inf

    def show(self, lines: Sequence[str]) -> None:
        """Print lines; on a terminal they replace the progress until it is shown again."""
        if lines:
            self._stream.write((_CLEAR if self._is_terminal else "") + "".join(f"{line}\n" for line in lines))
            self._stream.flush()

    def is_due(self, now: float) -> bool:
        """Whether to show the progress now: it was not shown a short time ago."""
        return now >= self._next_at

    def show_progress(self, line: str, now: float) -> None:
        """Show the progress."""
        self._next_at = now + (_REWRITE_EVERY if self._is_terminal else _PRINT_EVERY)
        if self._is_terminal:
            # A line that is wider than the terminal cannot be rewritten.
            width = (os.get_terminal_size(self._stream.fileno()).columns or 80) - 1
            self._stream.write(_CLEAR + (line if len(line) <= width else f"{line[: width - 3]}..."))
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str | None]:
    """Yield the lines that a process prints, and None when a second has passed without any.

    Ends with the process, even if its jobs survive it and keep its output open.
    """
    assert process.stdout is not None
    descriptor, unfinished = process.stdout.fileno(), b""
    while True:
        if not select.select([descriptor], [], [], _REWRITE_EVERY)[0]:
            if process.poll() is not None:
                break
            yield None
        elif chunk := os.read(descriptor, 1 << 16):
            *lines, unfinished = (unfinished + chunk).split(b"\n")
            yield from map(_text, lines)
        else:
            break
    yield _text(unfinished)


def _text(line: bytes) -> str:
    # Of a progress bar only the last state counts.
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")


def watch(command: Sequence[str]) -> int:
    """Run snakemake and show its progress on stderr.

    Args:
        command: the program and its arguments.

    Returns:
        Its exit code.
    """
    planned = subprocess.run([*command, "--dry-run", "--nocolor"], capture_output=True, encoding="utf-8", errors="replace")
    if planned.returncode:
        # Snakemake says why it cannot start.
        return subprocess.run(command).returncode
    progress = Progress(read_jobs(planned.stdout), planned.stdout.splitlines(), time.monotonic())
    screen, received, interrupted = _Screen(sys.stderr), list[int](), False
    # A terminal interrupts snakemake and its jobs too; SIGTERM comes to this process alone.
    signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, ERRORS_ONLY: "1"}
    ) as process:

        def forward(number: int, _frame: FrameType | None) -> None:
            received.append(number)
            process.send_signal(number)

        signal.signal(signal.SIGTERM, forward)
        for line in _lines(process):
            now = time.monotonic()
            lines = progress.read(line, now) if line is not None else []
            if received and not interrupted:
                interrupted = True
                progress.stop()
                screen.show(["interrupted: what is finished is kept"])
            # Every job that is interrupted prints a traceback.
            screen.show([] if interrupted else lines)
            if progress.total and screen.is_due(now):
                screen.show_progress(progress.line(now), now)
        process.wait()
        if progress.total:
            screen.show([progress.summary(time.monotonic())])
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    try:
        sys.exit(watch(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
