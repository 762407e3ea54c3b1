"""The paper's sweep as it is planned: six models and their bases, before anything is there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest
import yaml

from hneurons.planning.jobs import read_jobs
from tests.paths import ROOT
from tests.workspace import Workspace

BIOASQ = {
    "bioasq": {"id": "PaperSearchQA/BioASQ_factoid", "revision": "0" * 40, "path": "data/test-00000-of-00001.parquet"}
}
ONCE = (
    "front",
    "neurons_figure",
    "check_access",
    "table1",
    "k_sweep",
    "choice",
    "figure3",
    "utility",
    "transfer_table",
    "figure4",
    "agreement_table",
)
CONFIG = {**yaml.safe_load((ROOT / "config/config.yaml").read_text()), "sources": BIOASQ}


@pytest.fixture
def workspace(tmp_path):
    workspace = Workspace(tmp_path, CONFIG)
    for name in ("models.yaml", "cluster.yaml"):
        (tmp_path / "config" / name).write_text((ROOT / "config" / name).read_text())
    return workspace


def test_jobs_per_rule(workspace):
    jobs = read_jobs(workspace.run("--dry-run"))
    # Shards of 2,000: six of TriviaQA, one each of the others; the six bases answer all but NonExist.
    shards = 6 * (6 + 1 + 1 + 1) + 6 * (6 + 1 + 1)
    sets = 6 * 4 + 6 * 3
    assert Counter(job.rule for job in jobs) == {
        **dict.fromkeys(ONCE, 1),
        "fetch_source": 3 + 5 + 1,
        "questions": 6 + 1 + 1 + 1,
        "question_set": 4,
        "items": 4 + 1,
        "prepare_model": 12,
        **dict.fromkeys(("responses", "verdicts", "spans", "cett"), shards),
        "examples": sets,
        **dict.fromkeys(("probe_path", "suppressed", "judge_suppressed", "probe", "folds"), 6),
        "detection": 6 * 4,
        "transfer": 6 * 3,
        **dict.fromkeys(("drift", "perplexity", "scaled_cett", "publish", "answers"), 6),
        # Four behaviours and the test questions.
        **dict.fromkeys(("untouched", "judge_untouched", "impact_curve"), 6 * 5),
        # H-Neurons and five random sets, six scaled α in one job.
        **dict.fromkeys(("replies_0", "judge_scaled_0"), 6 * 5 * 6),
        "agreement": 6 * 3,
    }
    gpus = {job.model: job.resources["gpu"] for job in jobs if job.loads_model}
    assert Counter(gpus.values()) == {1: 10, 4: 2}
    assert {model for model, n in gpus.items() if n == 4} == {"llama-3.3-70b-instruct", "llama-3.1-70b"}
    assert not any(job.resources.get("gpu") for job in jobs if not job.loads_model)


def test_one_target_plans_its_model_alone(workspace):
    jobs = read_jobs(workspace.run("--dry-run", "results/paper/gemma-3-4b-it/probe/neurons.parquet"))
    assert {job.model for job in jobs} == {"gemma-3-4b-it", "(all models)"}
    assert Counter(job.rule for job in jobs)["responses"] == 6


def test_the_cluster_file_outlives_default_resources(workspace):
    (workspace.folder / "config/cluster.yaml").write_text(
        "{account: lab, partition: cpu, gpu_partition: gpu, gpu_type: a100, qos: long, gpu_memory_gb: 40}"
    )
    said = workspace.run("--dry-run", "--default-resources", "mem_mb=1", "slurm_partition=theirs")
    asked = Counter()
    for line in said.splitlines():
        if line.strip().startswith("resources:") and "slurm_account" in line:
            words = dict(pair.split("=", 1) for pair in line.split("resources:")[1].strip().split(", ") if "=" in pair)
            asked[words["slurm_account"], words["slurm_partition"], words.get("gpu_model", ""), words["qos"]] += 1
            assert int(words["mem_mb"]) > 900
    assert set(asked) == {("lab", "gpu", "a100", "long"), ("lab", "cpu", "", "long")}
    gpus = {job.model: job.resources["gpu"] for job in read_jobs(said) if job.loads_model}
    assert gpus["llama-3.3-70b-instruct"] == 8 and gpus["gemma-3-27b-it"] == 2, "40 GB GPUs hold less"


def test_the_plan_says_it_all(workspace):
    command = [sys.executable, "-m", "hneurons.cli", "plan", "--configfile", "config.yaml", "--json"]
    done = subprocess.run(command, cwd=workspace.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["totals"]["jobs"] == found["totals"]["jobs_left"] == len(read_jobs(workspace.run("--dry-run")))
    assert found["weights_gb"] == pytest.approx(566, abs=1)
    by = {(line["model"], line["stage"]): line for line in found["lines"]}
    llama = by["llama-3.3-70b-instruct", "replies"]
    assert llama["gpus_per_job"] == 4 and llama["gpu_hours_left"] == pytest.approx(4 * llama["hours_left"])
    assert 141 < llama["gpu_memory_gb"] < 4 * 80 * 0.92
    assert found["totals"]["gpu_hours_left"] == pytest.approx(sum(line["gpu_hours_left"] for line in found["lines"]))
    assert found["totals"]["judge_calls_left"] > 900_000 and found["totals"]["dollars_left"] > 1000
    assert found["assumptions"]["gpu"] == "h100"


def test_parsing_imports_nothing_heavy(workspace):
    code = (
        "import sys, importlib.util\n"
        "class Heavy:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name in {'torch', 'transformers', 'sklearn', 'scipy', 'pyarrow', 'openai', 'matplotlib'}:\n"
        "            raise ImportError(f'{name} is too heavy for planning')\n"
        "sys.meta_path.insert(0, Heavy())\n"
        "from snakemake.cli import main\n"
        "main(['--configfile', 'config.yaml', '--list-rules'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=workspace.folder, capture_output=True, text=True)
    assert done.returncode == 0 and "replies_0" in done.stdout + done.stderr, done.stderr[-2000:]
