"""Output of a workflow job, to the terminal and its log file; errors of the user in one line instead of a traceback."""

import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import TextIO, cast

from tqdm.contrib.logging import logging_redirect_tqdm

from hneurons import store
from hneurons.errors import HNeuronsError, machine_failure

# Set in the environment where progress is shown in one line: jobs then print errors only, and the rest is in their logs.
ERRORS_ONLY = "HNEURONS_ERRORS_ONLY"


class _Tee(io.TextIOBase):
    """A stream that writes to a terminal and a log file, and does without one that fails, such as a log on a full disk."""

    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            with suppress(OSError):
                stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            with suppress(OSError):
                stream.flush()

    def isatty(self) -> bool:
        return self._streams[0].isatty()


@contextmanager
def _log_file(path: Path) -> Iterator[TextIO]:
    """Open a log file whose last lines may be lost on a full disk without an error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name on the command line may hold bytes that are not UTF-8.
        file = open(path, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - closed below
    except OSError as error:
        sys.exit(f"error: {machine_failure(error, path) or error}")
    try:
        yield file
    finally:
        with suppress(OSError):
            file.close()


@contextmanager
def job(log: str | Path, threads: int = 1) -> Iterator[dict[str, float]]:
    """Run a job whose stderr, progress bars and log messages go both to the terminal and to a log file.

    With ERRORS_ONLY in the environment, they go to the log file, and errors of the user also to the terminal.

    An HNeuronsError, a full disk or a missing permission ends the process with status 1 and one line on stderr. The
    traceback of any other exception is written to the log, and the exception is raised again.

    Args:
        log: the log file.
        threads: CPU threads of torch.

    Yields:
        A dictionary of facts about the job, to be filled by it and then written next to the log as JSON: `share` is the
        share of its work that was left to do.
    """
    logger = logging.getLogger("hneurons")
    level, terminal, errors_only = logger.level, sys.stderr, ERRORS_ONLY in os.environ
    logger.setLevel(logging.INFO)
    # When the job is cancelled or out of time, exit through the context managers that stop servers and remove files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with (
        _log_file(Path(log)) as file,
        redirect_stderr(cast(TextIO, _Tee(file) if errors_only else _Tee(terminal, file))),
        # One handler, which writes messages to sys.stderr above any progress bar.
        logging_redirect_tqdm([logger]),
    ):
        try:
            _limit_threads(threads)
            record: dict[str, float] = {}
            yield record
            if record:
                store.write_json(Path(log).with_suffix(".json"), record)
        except Exception as error:
            if line := str(error) if isinstance(error, HNeuronsError) else machine_failure(error):
                logger.error("error: %s", line)
                if errors_only:
                    print(f"error: {line}", file=terminal, flush=True)
                raise SystemExit(1) from None
            traceback.print_exc(file=file)
            raise
        finally:
            logger.setLevel(level)


def _limit_threads(threads: int) -> None:
    # torch reads the variable when it is imported, which may have happened already.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
