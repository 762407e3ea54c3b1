"""What the measurements share: ways of doing one thing in turns, the machine, the demo's model, peak memory, a table."""

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
    facts: dict[str, Any] = {"cores": os.cpu_count(), "python": platform.python_version(), "machine": platform.platform()}
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            facts["processor"] = line.split(":", 1)[1].strip()
    if torch := sys.modules.get("torch"):
        facts |= {"torch": torch.__version__, "transformers": sys.modules["transformers"].__version__}
        facts["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return facts


def in_turns(ways: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every way, so many times each, in turns: a slow minute of the machine meets all of them. One more turn
    before them is not counted."""
    import torch

    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                found[name].append(time.perf_counter() - begun)
    return found


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Median over the turns of above / below, and the smallest and largest."""
    each = [a / b for a, b in zip(above, below, strict=True)]
    return {"median": statistics.median(each), "least": min(each), "most": max(each)}


class Peak:
    """The peak of memory within the block, in GB: of the GPU if there is one, else this process's anonymous memory."""

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
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return float(torch.cuda.memory_allocated() / 1e9)
    kb = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(kb[1]) / 1e6 if kb else 0.0


def own_process(script: str, *arguments: str) -> dict[str, Any]:
    """What a script prints as JSON, run with these arguments in a process of its own."""
    command = [sys.executable, script, *arguments]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def report(name: str, lines: Sequence[tuple[str, str]], found: Mapping[str, Any]) -> None:
    """Print the table and keep everything in results/perf/{name}.json."""
    width = max(len(what) for what, _ in lines)
    for what, value in lines:
        print(f"{what:<{width}}  {value}")
    store.write_json(OUT / f"{name}.json", {"machine": machine(), **found})


def of(found: Mapping[str, float]) -> str:
    return f"{found['median']:.2f} [{found['least']:.2f}, {found['most']:.2f}]"
