"""A model server that a job starts from a command, waits for, and stops, however the job ends."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import deque
from pathlib import Path

from hneurons.errors import HNeuronsError

_PR_SET_PDEATHSIG = 1
_STOPPING_S = 30.0


def _dies_with_its_parent() -> None:
    # A job that is killed with -9 cannot stop anything: the kernel does.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class ModelServer:
    """A server on a free port of this machine.

    command: what starts it; {folder}, {port} and {gpus} stand for the checkpoint, the port and how many GPUs the job has.
    Its program is looked for beside this Python first. Raises HNeuronsError, with the end of what it said, if it ends or is
    not ready in time.
    """

    def __init__(self, command: str, folder: str | Path, gpus: int, timeout_s: float) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        try:
            words = [w.format(folder=Path(folder).resolve(), port=self.port, gpus=gpus) for w in shlex.split(command)]
        except (ValueError, KeyError, IndexError) as error:
            raise HNeuronsError(f"engine.command: {error!r}: it may name {{folder}}, {{port}} and {{gpus}}") from None
        beside = Path(sys.executable).parent / words[0]
        # Open as long as the server runs.
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [str(beside) if beside.is_file() else words[0], *words[1:]],
                stdout=self._said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_dies_with_its_parent,
            )
        except OSError as error:
            raise HNeuronsError(f"engine.command: {words[0]} cannot be started: {error.strerror}") from None
        try:
            self._wait(timeout_s)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def check(self) -> None:
        """Raises HNeuronsError if the server has ended."""
        if (status := self._process.poll()) is not None:
            raise HNeuronsError(f"engine: the server ended with status {status}: {self._last_words()}")

    def stop(self) -> None:
        """Ask it to end, with all that it started; after half a minute, make it."""
        for number, patience in ((signal.SIGTERM, _STOPPING_S), (signal.SIGKILL, _STOPPING_S)):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(patience)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()

    def _wait(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.check()
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise HNeuronsError(f"engine: no answer from {self.url}/health within {timeout_s:g} s: {self._last_words()}")

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = deque((line.strip() for line in self._said if line.strip()), maxlen=3)
        return " | ".join(lines) or "it said nothing"
