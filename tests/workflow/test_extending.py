"""What docs/extending.md shows works when it is done as shown."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from hneurons import store
from tests.paths import ROOT
from tests.workspace import WORKFLOW

_PAGE = (ROOT / "docs/extending.md").read_text()
_PIECE = re.compile(r"^# ([\w/.]+)(?:: in (\w+))?\n(.*?)(?=^# [\w/.]+\.(?:py|smk)|\Z)", re.MULTILINE | re.DOTALL)


def pieces(section):
    """File, the table in it, and the code, of all that a section shows."""
    text = _PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [piece for block in re.findall(r"^```\w+\n(.*?)^```", text, re.M | re.S) for piece in _PIECE.findall(block)]


@pytest.fixture
def project(tmp_path):
    for name in (*WORKFLOW, "config", "hneurons"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, tmp_path / name)
    return tmp_path


def extend(project, section):
    shown = pieces(section)
    assert len(shown) == {"A data set": 4, "A stage": 4}[section]
    for file, table, code in shown:
        path = project / file
        text = path.read_text() if path.exists() else ""
        if table:
            text, n = re.subn(rf"^({table}\b.*[\[{{])$", lambda m: f"{m[0]}\n{code}", text, flags=re.MULTILINE)  # noqa: B023
            assert n == 1, f"{file} has no table {table}"
        else:
            text = code + text if code.startswith("from hneurons") and text else f"{text}\n\n{code}"
        path.write_text(text)


def run(project, *arguments):
    env = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run([sys.executable, *arguments], cwd=project, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_stage_is_planned_with_its_gpu_hours(project):
    extend(project, "A stage")
    plan = json.loads(run(project, "-m", "hneurons.cli", "plan", "--configfile", "config/config.yaml", "--json"))
    lines = [line for line in plan["lines"] if line["stage"] == "entropy"]
    assert len(lines) == 6 and all(line["gpu_hours_left"] > 0 for line in lines)
    targets = run(project, "-m", "snakemake", "--dry-run", "--quiet", "rules", "--configfile", "config/demo.yaml")
    assert "entropy" in targets


def test_a_data_set_is_accepted_and_its_questions_are_written(project):
    extend(project, "A data set")
    config = (project / "config/demo.yaml").read_text()
    (project / "study.yaml").write_text(
        config.replace("datasets:\n", "datasets:\n  capitals: {role: transfer, questions: 3}\n", 1)
    )
    target = "results/demo/questions/capitals.parquet"
    run(project, "-m", "snakemake", target, "--cores", "1", "--configfile", "study.yaml")
    rows = store.read_table(project / "results/demo/questions/capitals.parquet").to_pylist()
    assert {row["aliases"][0] for row in rows} == {"Paris", "Tokyo", "Lima"}
