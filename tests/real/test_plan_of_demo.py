"""The plan against what a finished run of the demo left: its jobs and its bytes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from tests.paths import ROOT
from tests.workspace import Workspace

MODEL = "smollm2-135m-instruct"


@pytest.fixture(params=["demo", "demo-small"])
def finished(request):
    results = ROOT / "results" / request.param
    if not (results / "figures/figure3.png").exists():
        pytest.skip(f"needs a finished run: make demo CONFIG=config/{request.param}.yaml")
    return request.param, results


def planned(folder, config):
    command = [sys.executable, "-m", "hneurons.cli", "plan", "--configfile", config, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return found, {(line["model"], line["stage"]): line for line in found["lines"]}


def stage_bytes(results, stage, models=MODEL):
    files = results.glob(f"{models}/{stage}/**/*")
    return sum(path.stat().st_size for path in files if path.suffix in (".parquet", ".safetensors"))


def test_before_the_run_it_foretells_jobs_and_bytes(finished, tmp_path):
    name, results = finished
    workspace = Workspace(tmp_path, yaml.safe_load((ROOT / f"config/{name}.yaml").read_text()))
    for file in ("models.yaml", "cluster.yaml"):
        (tmp_path / "config" / file).write_text((ROOT / "config" / file).read_text())
    found, lines = planned(workspace.folder, "config.yaml")
    ran = len(list((results / "timings").rglob("*.tsv"))) + 1  # the wheel's lies with the downloads
    assert found["totals"]["jobs_left"] == found["totals"]["jobs"] == pytest.approx(ran, rel=0.1)
    assert lines[MODEL, "fetch"]["disk_gb"] == pytest.approx(stage_bytes(results, "checkpoint") / 1e9, rel=0.1)
    if name == "demo-small":
        return  # how many of a few questions are answered alike is not foretold within a tenth
    assert lines[MODEL, "cett"]["disk_gb"] == pytest.approx(stage_bytes(results, "cett") / 1e9, rel=0.1)
    measured = sum(stage_bytes(results, stage, "*") for stage in ("checkpoint", "responses", "cett", "replies")) / 1e9
    assert found["totals"]["disk_gb"] == pytest.approx(measured, rel=0.1)


def test_after_the_run_nothing_is_left_and_the_bytes_are_those_that_are_there(finished):
    name, results = finished
    found, lines = planned(ROOT, f"config/{name}.yaml")
    assert found["totals"]["jobs_left"] == found["totals"]["hours_left"] == 0
    assert lines[MODEL, "cett"]["disk_gb"] == pytest.approx(stage_bytes(results, "cett") / 1e9, rel=0.1)
    assert lines[MODEL, "responses"]["measured_jobs"] == lines[MODEL, "responses"]["jobs"]
