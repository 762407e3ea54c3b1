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
from pathlib import Path
from threading import Lock
from typing import Any

from hneurons.errors import HNeuronsError

_PR_SET_PDEATHSIG = 1
_STOPPING_S = 30.0


def _dies_with_its_parent() -> None:
    # A job that is killed with -9 cannot stop anything: the kernel does.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class ModelServer:
    """A server on a free port of this machine.

    command: what starts it; {port} stands for its port, and each name in braces for a value. Its program is looked for
    beside this Python first. Raises HNeuronsError, with the end of what it said, if it ends or is not ready in time.
    """

    def __init__(self, command: str, timeout_s: float, **values: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        try:
            words = [w.format(port=self.port, **values) for w in shlex.split(command)]
        except (ValueError, KeyError, IndexError) as error:
            named = ", ".join(f"{{{name}}}" for name in ("port", *values))
            raise HNeuronsError(f"engine.command: {error!r}: it may name {named}; write other braces twice") from None
        beside = Path(sys.executable).parent / words[0]
        # Open as long as the server runs.
        self._asked_once, self._told = Lock(), False
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

    def failed(self, what: str) -> HNeuronsError:
        """What failed, or that the server has ended, with its last lines; all that it said goes to stderr."""
        status = self._process.poll()
        with self._asked_once:
            self._said.seek(0)
            lines = [line.rstrip() for line in self._said if line.strip()]
            if not self._told:
                print("\n".join(f"server: {line}" for line in lines), file=sys.stderr, flush=True)
            self._told = True
        what = what if status is None else f"the server ended with status {status}"
        return HNeuronsError(f"engine: {what}: {' | '.join(lines[-3:]) or 'it said nothing'}")

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
        # It is on this machine, whatever proxy leads out of it.
        local = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with local.open(f"{self.url}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise self.failed(f"no answer from {self.url}/health within {timeout_s:g} s")
