"""Shared by the measurements: alternating timing, facts of the machine, the demo's model, peak memory, and reports."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hneurons import store

OUT = Path("results/perf")
MODEL = Path("results/demo/smollm2-135m-instruct/checkpoint/manifest.json")
THREADS = os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Describe the machine and, once loaded, torch and transformers."""
    facts: dict[str, Any] = {"cores": os.cpu_count(), "python": platform.python_version(), "machine": platform.platform()}
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            facts["processor"] = line.split(":", 1)[1].strip()
    if torch := sys.modules.get("torch"):
        facts |= {"torch": torch.__version__, "transformers": sys.modules["transformers"].__version__}
        facts["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return facts


def in_turns(ways: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Time several methods, alternating between them so that a slow phase of the machine affects all of them.

    Args:
        ways: functions by name.
        repeats: number of measurements of each, after one warm-up that is not counted.

    Returns:
        Seconds of each measurement, by name.
    """
    import torch

    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                times[name].append(time.perf_counter() - begun)
    return times


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Return median, smallest and largest of above / below, over the repeats."""
    each = [a / b for a, b in zip(above, below, strict=True)]
    return {"median": statistics.median(each), "least": min(each), "most": max(each)}


class Peak:
    """Peak memory within a block: of the GPU if one exists, else anonymous memory of this process.

    Attributes:
        gb: the peak, in GB.
    """

    def __enter__(self) -> Peak:
        self.gb, self._done = 0.0, threading.Event()
        torch = sys.modules.get("torch")
        self._cuda = torch.cuda if torch is not None and torch.cuda.is_available() else None
        if self._cuda is not None:
            self._cuda.reset_peak_memory_stats()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.gb = max(self.gb, anonymous_gb())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if self._cuda is not None:
            self.gb = self._cuda.max_memory_allocated() / 1e9


def anonymous_gb() -> float:
    """Return the memory in use, in GB: of the GPU if one exists, else anonymous memory of this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return float(torch.cuda.memory_allocated() / 1e9)
    kb = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(kb[1]) / 1e6 if kb else 0.0


def own_process(script: str, *arguments: str) -> dict[str, Any]:
    """Run a script with arguments in a separate process, and return the JSON that it prints."""
    command = [sys.executable, script, *arguments]
    result: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return result


def report(name: str, lines: Sequence[tuple[str, str]], results: Mapping[str, Any]) -> None:
    """Print a table of labels and values, and write all results to results/perf/{name}.json."""
    width = max(len(label) for label, _ in lines)
    for label, value in lines:
        print(f"{label:<{width}}  {value}")
    store.write_json(OUT / f"{name}.json", {"machine": machine(), **results})


def format_ratio(result: Mapping[str, float]) -> str:
    """Format a result of `ratio`."""
    return f"{result['median']:.2f} [{result['least']:.2f}, {result['most']:.2f}]"
