"""What a workflow job says: to the terminal and to its log file, and bad input in one line instead of a traceback."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hneurons import store
from hneurons.errors import HNeuronsError


class _Tee(io.TextIOBase):
    def __init__(self, *streams: TextIO) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()

    def isatty(self) -> bool:
        return self._streams[0].isatty()


@contextmanager
def job(log: str | Path, threads: int = 1) -> Iterator[dict[str, float]]:
    """Run a job: stderr, progress bars included, goes to the terminal and the log.

    threads: CPU threads for torch. Yields a place for what the job says of itself, kept beside the log as JSON: `share`, of
    its work, that was not there already. An HNeuronsError ends the process with status 1 and its one line; any other
    exception leaves its traceback in the log and goes on.
    """
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    stderr = sys.stderr
    # Cancelled or out of time: what a job has started is stopped, and what lies about is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with open(log, "w", encoding="utf-8") as file:
        sys.stderr = _Tee(stderr, file)
        try:
            _limit_threads(threads)
            record: dict[str, float] = {}
            yield record
            if record:
                store.write_json(Path(log).with_suffix(".json"), record)
        except HNeuronsError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            raise SystemExit(1) from None
        except Exception:
            traceback.print_exc(file=file)
            raise
        finally:
            sys.stderr = stderr


def _limit_threads(threads: int) -> None:
    # torch may be imported later, or was before it could read this.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
