"""What a SLURM cluster can do to a run: jobs of an earlier run that still work here, nodes that run another Python.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hneurons.errors import HNeuronsError

# Set where snakemake was started, and carried to every node with the job's environment.
_SAID = "HNEURONS_STARTED_WITH"
_PYTHON = "HNEURONS_PYTHON"
_PACKAGES = ("hneurons", "snakemake", "torch", "transformers")


def earlier_jobs(folder: Path) -> list[str] | None:
    """SLURM ids of this user's jobs that a workflow in this folder submitted and that are not over; none without SLURM.

    None if the controller does not answer: nothing is known then.
    """
    if shutil.which("squeue") is None:
        return []
    wanted = ["squeue", "--me", "--noheader", "--format", "%i|%Z|%k"]
    asked = subprocess.run(wanted, capture_output=True, text=True)
    if asked.returncode:
        return None
    rows = [line.strip().split("|", 2) for line in asked.stdout.splitlines()]
    # The workflow engine's comment: a job that runs snakemake itself has none.
    ours = [row for row in rows if len(row) == 3 and row[2].startswith(("rule_", "group_"))]
    return [job for job, at, _ in ours if Path(at) == folder]


def wait_for_earlier_jobs(seconds: float = 10) -> None:
    """Wait until no job of an earlier run works in this folder, so that two never write the same file.

    A snakemake that was killed leaves its jobs running; what they sample and measure is used.
    """
    folder = Path.cwd()
    jobs = earlier_jobs(folder)
    if jobs is None:
        print("squeue does not answer: whether jobs of an earlier run are still at work is not known", file=sys.stderr)
    elif jobs:
        given_up = f"scancel {' '.join(jobs)}"
        said = f"waiting for {len(jobs)} jobs of an earlier run in this folder; to give them up: {given_up}"
        print(said, file=sys.stderr, flush=True)
        # Once there were some, a controller that does not answer is waited for as well.
        while earlier_jobs(folder) != []:
            time.sleep(seconds)


def _python() -> str:
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"no {package}")
    return f"Python {platform.python_version()} ({', '.join(versions)})"


def check_same_python(is_main: bool) -> None:
    """Note what the workflow is run with; raises HNeuronsError, one line, in a job whose node runs anything else."""
    here = _python()
    if is_main:
        os.environ |= {_SAID: here, _PYTHON: sys.executable}
    elif (said := os.environ.get(_SAID, here)) != here:
        raise HNeuronsError(
            f"{socket.gethostname()} runs {here} at {sys.executable}, the workflow was started with {said} at "
            f"{os.environ.get(_PYTHON)}: install it once, on a disk that all nodes share, and start it from there"
        )


def stay_offline() -> None:
    """On a node: downloads are local rules, so what runs here finds everything on the shared disk."""
    os.environ["HF_HUB_OFFLINE"] = "1"
