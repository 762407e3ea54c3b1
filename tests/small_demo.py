"""The reduced demo in this checkout, run to its end: made by CI beforehand, else here, in a few minutes."""

from __future__ import annotations

import subprocess
import sys

import yaml
from filelock import FileLock

from tests.paths import ROOT
from tests.workspace import TRIGGERS

CONFIG = "config/demo-small.yaml"
RESULTS = ROOT / "results" / yaml.safe_load((ROOT / CONFIG).read_text())["study"]
MODEL = RESULTS / "smollm2-135m-instruct"


def snakemake(*arguments: str) -> str:
    """Run snakemake on the reduced demo; its output. Fails the test if it fails."""
    command = [sys.executable, "-m", "snakemake", "--configfile", CONFIG, *TRIGGERS, "--rerun-incomplete"]
    command += ["--cores", "all", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def make_small_demo() -> None:
    """Once for all processes of a run; where it is finished nothing is done, and no lock of snakemake's is taken."""
    (ROOT / "results").mkdir(exist_ok=True)
    with FileLock(ROOT / "results/.small-demo.lock"):
        if "Nothing to be done" not in snakemake("--dry-run"):
            snakemake()
