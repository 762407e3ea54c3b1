"""A workspace where snakemake runs the project's workflow."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.paths import ROOT

# What of the project a workflow needs, besides its configuration and the package.
WORKFLOW = ("Snakefile", "rules", "workflow_scripts", "report", "environment.yml", "slurm")

# As in the Makefile and in the cluster's profile: an edited script reruns nothing.
TRIGGERS = ("--rerun-triggers", "mtime", "params", "input", "software-env")


class Workspace:
    """A folder with the project's workflow and a study, where snakemake runs."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        for name in WORKFLOW:
            if not (folder / name).exists():
                (folder / name).symlink_to(ROOT / name)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / "config").mkdir(exist_ok=True)
        (folder / "config/cluster.yaml").touch()
        if not (folder / "config/paper.yaml").exists():
            (folder / "config/paper.yaml").symlink_to(ROOT / "config/paper.yaml")
        self.config = config
        self.results = folder / "results" / config["study"]

    def copied_to(self, folder: Path) -> Workspace:
        """The same study, as far as it has come, where a test may change it."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Workspace(folder, self.config)

    def set_models(self, models: dict[str, Any]) -> None:
        (self.folder / "models.yaml").write_text(yaml.safe_dump(models))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", "--configfile", "config.yaml", *TRIGGERS, "--cores", "2", *arguments]

    def run(self, *arguments: str) -> str:
        """Run snakemake to its end; its output. Fails the test if it fails."""
        done = subprocess.run(self.command(*arguments), cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def refused(self, *arguments: str) -> str:
        """Run snakemake, which must fail; what it says."""
        done = subprocess.run(self.command(*arguments), cwd=self.folder, capture_output=True, text=True)
        assert done.returncode != 0, done.stdout + done.stderr
        return done.stderr

    def planned(self, *arguments: str) -> list[str]:
        """Rules of the jobs that a dry run plans, `all` aside."""
        said = self.run("--dry-run", *arguments)
        # The jobs of a group are indented.
        lines = [line.strip() for line in said.splitlines()]
        rules = [line.split()[-1].rstrip(":") for line in lines if line.startswith(("rule ", "localrule "))]
        assert rules or "Nothing to be done" in said, said
        return sorted(rule for rule in rules if rule != "all")

    def kill_during(self, target: str, begun: Callable[[], bool]) -> None:
        """Start making a target and kill snakemake and its job with SIGKILL as soon as the job has begun."""
        process = subprocess.Popen(
            self.command(target),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while not begun():
            assert process.poll() is None, f"{target} was made before it could be killed"
            assert time.monotonic() < deadline, f"{target} was not begun in time"
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
