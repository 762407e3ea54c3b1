"""Checks on a SLURM cluster: jobs of an earlier run that are still running, and nodes with a different Python.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

import logging
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

logger = logging.getLogger(__name__)

# Set where snakemake is started, and passed on to every node in the job's environment.
_VERSIONS = "HNEURONS_STARTED_WITH"
_PYTHON = "HNEURONS_PYTHON"
_PACKAGES = ("hneurons", "snakemake", "torch", "transformers")


def earlier_jobs(folder: Path) -> list[str] | None:
    """List this user's unfinished jobs that a workflow in a folder has submitted.

    Args:
        folder: working directory of the workflow.

    Returns:
        SLURM ids, empty without a cluster; None if the controller does not answer.
    """
    if shutil.which("squeue") is None:
        return []
    squeue = ["squeue", "--me", "--noheader", "--format", "%i|%Z|%k"]
    queue = subprocess.run(squeue, capture_output=True, text=True)
    if queue.returncode:
        # Programs of SLURM without a cluster, whose configuration would be a file or, for want of one, be in the DNS.
        return [] if "failed to fetch config" in queue.stderr else None
    rows = [line.strip().split("|", 2) for line in queue.stdout.splitlines()]
    # Snakemake sets this comment on the jobs it submits; a job that runs snakemake itself lacks it.
    submitted = [row for row in rows if len(row) == 3 and row[2].startswith(("rule_", "group_"))]
    return [job for job, workdir, _ in submitted if Path(workdir) == folder]


def wait_for_earlier_jobs(seconds: float = 10) -> None:
    """Wait until no job of an earlier run is left in this folder, so that two jobs never write the same file.

    When snakemake is killed, its jobs keep running; their results are used.

    Args:
        seconds: interval between checks.
    """
    folder = Path.cwd()
    jobs = earlier_jobs(folder)
    if jobs is None:
        logger.warning("squeue does not answer: jobs of an earlier run may still be running")
    elif jobs:
        cancel = f"scancel {' '.join(jobs)}"
        logger.warning("waiting for %d jobs of an earlier run in this folder; to give them up: %s", len(jobs), cancel)
        # From here on a controller that does not answer is waited for too.
        while earlier_jobs(folder) != []:
            time.sleep(seconds)


def _python() -> str:
    """Versions of Python and of the packages that results depend on."""
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"no {package}")
    return f"Python {platform.python_version()} ({', '.join(versions)})"


def check_same_python(is_main: bool) -> None:
    """Check that every node runs the same Python and packages as the main process.

    Args:
        is_main: whether this is the main process, which records its versions in the environment.

    Raises:
        HNeuronsError: one line, in a job whose node has other versions.
    """
    versions = _python()
    if is_main:
        # The profile puts the path into single quotes.
        os.environ |= {_VERSIONS: versions, _PYTHON: sys.executable.replace("'", r"'\''")}
    elif (expected := os.environ.get(_VERSIONS, versions)) != versions:
        raise HNeuronsError(
            f"{socket.gethostname()} runs {versions} at {sys.executable}, the workflow was started with {expected} at "
            f"{os.environ.get(_PYTHON)}: install it once, on a disk that all nodes share, and start it from there"
        )


def stay_offline() -> None:
    """Disable the model hub on a node: downloads are local rules, so jobs find everything on the shared disk."""
    os.environ["HF_HUB_OFFLINE"] = "1"
