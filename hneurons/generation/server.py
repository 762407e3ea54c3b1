"""A model server that a job starts from a command, waits for, and stops, even if the job is killed."""

import ctypes
import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from threading import Lock
from typing import Any

from hneurons.errors import HNeuronsError

_PR_SET_PDEATHSIG = 1
_STOP_TIMEOUT_S = 30.0
# Ports that are tried, as another program may take one before the server does.
_PORTS, _TAKEN = 3, "address already in use"
logger = logging.getLogger(__name__)


def _terminate_with_parent() -> None:
    # A job that is killed with SIGKILL cannot stop the server: the kernel does.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class ModelServer:
    """A server on a free port of this machine, running and ready once constructed.

    Args:
        command: starts the server; {port} is replaced by its port, and {name} by each of `values`. A program in the folder
            of this Python takes precedence over one on PATH.
        timeout_s: seconds to wait until /health answers.
        **values: the values of the other placeholders.

    Attributes:
        port: the server's port.

    Raises:
        HNeuronsError: with the last lines of output, if the server ends or is not ready in time.
    """

    def __init__(self, command: str, timeout_s: float, **values: Any) -> None:
        for ports_left in reversed(range(_PORTS)):
            self._launch(command, values)
            try:
                self._wait(timeout_s)
                return
            except BaseException as error:
                self.stop()
                port_in_use = isinstance(error, HNeuronsError) and _TAKEN in " ".join(self._lines()).lower()
                if not (port_in_use and ports_left):
                    raise
                logger.warning("engine: port %d was taken before the server had it: another one is tried", self.port)

    def _launch(self, command: str, values: dict[str, Any]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        try:
            words = [w.format(port=self.port, **values) for w in shlex.split(command)]
        except (ValueError, KeyError, IndexError) as error:
            names = ", ".join(f"{{{name}}}" for name in ("port", *values))
            raise HNeuronsError(f"engine.command: {error!r}: placeholders are {names}; double other braces") from None
        program = Path(sys.executable).parent / words[0]
        self._output_lock, self._output_logged = Lock(), False
        self._folder = tempfile.TemporaryDirectory(prefix="hneurons-")  # deleted when the server has stopped
        self._output = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - open as long as the server runs
        try:
            self._process = subprocess.Popen(
                [str(program) if program.is_file() else words[0], *words[1:]],
                stdout=self._output,
                stderr=subprocess.STDOUT,
                # vLLM accepts adapters while it runs, and leaves sockets behind when it is killed.
                env={**os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "TMPDIR": self._folder.name},
                start_new_session=True,
                preexec_fn=_terminate_with_parent,
            )
        except OSError as error:
            raise HNeuronsError(f"engine.command: {words[0]} cannot be started: {error.strerror}") from None

    @property
    def url(self) -> str:
        """The server's address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def failed(self, problem: str) -> HNeuronsError:
        """Make an error of a problem or, if the server has ended, of its exit status, with its last three lines of output.

        The first call logs all of the server's output.
        """
        status = self._process.poll()
        with self._output_lock:
            lines = self._lines()
            if lines and not self._output_logged:
                logger.warning("%s", "\n".join(f"server: {line}" for line in lines))
            self._output_logged = True
        problem = problem if status is None else f"the server ended with status {status}"
        return HNeuronsError(f"engine: {problem}: {' | '.join(lines[-3:]) or 'no output'}")

    def stop(self) -> None:
        """Terminate the server and all processes that it started; kill what still runs after 30 seconds."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(_STOP_TIMEOUT_S)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()
        self._folder.cleanup()

    def _lines(self) -> list[str]:
        """What the server has printed."""
        self._output.seek(0)
        return [line.rstrip() for line in self._output if line.strip()]

    def _wait(self, timeout_s: float) -> None:
        # The server is on this machine: ignore configured proxies.
        local = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with local.open(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        raise self.failed(f"no answer from {self.url}/health within {timeout_s:g} s")
