"""The workflow on a real SLURM: a sweep with the resources that its models need, and every fault of a cluster."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from hneurons import store
from hneurons.config.models import load_models
from hneurons.records import RESPONSES
from tests.paths import ROOT
from tests.slurm.cluster import Run, kill_group, run, wait_until
from tests.wheel import wheel_of
from tests.workflow.study import CONFIG, tiny_study
from tests.workspace import WORKFLOW

SMALL, LARGE, BASE = "tiny-llama", "tiny-large", "tiny-base"
REAL = "smollm2-135m-instruct-gpu"
SWEEP = {
    **CONFIG,
    "study": "two",
    "models": [SMALL, LARGE],
    "datasets": {
        "cities": {"role": "in_domain", "questions": 120},
        "invented-cities": {"role": "nonexist", "questions": 20, "faithful": "correct_answers"},
    },
    "sampling": {**CONFIG["sampling"], "questions_per_shard": 120},
    "probe": {**CONFIG["probe"], "suppressed_questions": 0},
    "impact": {**CONFIG["impact"], "benchmarks": {"false-premise": {"items": 12}}, "alphas": [0, 1, 3], "sets_per_job": 1},
    "origin": {"datasets": ["cities"]},
}
# What smoke has not: another model beside it, that asks for more; a base model; and sets of neurons in jobs of their own.
WANTED = [
    f"results/two/{LARGE}/cett/cities/0000.parquet",
    f"results/two/{LARGE}/cett/invented-cities/0000.parquet",
    f"results/two/{SMALL}/impact/false-premise/curve.json",
    "results/two/figures/figure4.png",
]
# One question at a time, so that a job can be caught in the middle.
QUESTIONS = 700
SLOW = [
    "--config",
    "study=slow",
    f"sampling={{samples: 2, questions_per_shard: {QUESTIONS}, decoding: {{max_new_tokens: 40}}}}",
]
SLOW += ["runtime={threads: 1, token_budget: 8}", f"datasets={{cities: {{role: in_domain, questions: {QUESTIONS}}}}}"]
CONFIGFILE = "--configfile=config.yaml"
TARGET = f"results/slow/{SMALL}/responses/cities/0000.parquet"


@pytest.fixture(scope="module")
def workspace(cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    workspace = tiny_study(folder, SWEEP, {SMALL: {"base": BASE}, BASE: {}})
    # The same weights, as a model that asks for more.
    shutil.copytree(folder / SMALL, folder / LARGE)
    models = yaml.safe_load((folder / "models.yaml").read_text())
    workspace.set_models({**models, LARGE: {"folder": str(folder / LARGE), "dtype": "float32", "gpus": 4}})
    (workspace.folder / "config/cluster.yaml").write_text("{partition: cpu, gpu_partition: gpu}")
    return workspace


@pytest.fixture(scope="module")
def swept(cluster, workspace):
    """What snakemake said, and every job as SLURM knows it."""
    # Both models' first jobs wait in the queue, so that they start together, however short they are.
    run("scontrol", "update", "PartitionName=gpu", "State=DOWN")
    sweep = Run(workspace.folder, CONFIGFILE, *WANTED)
    try:
        wait_until(
            lambda: all(cluster.job(f"responses_wildcards_{m}", "PENDING") for m in (SMALL, LARGE)), 180, "both wait"
        )
    finally:
        run("scontrol", "update", "PartitionName=gpu", "State=UP")
    said = sweep.finish(1200)
    return said, [cluster.show(j["id"]) for j in cluster.jobs()]


def field(job, name):
    return re.search(rf"\b{name}=(\S+)", job)[1]


# Judging, downloads and tables run where snakemake does.
AT_HOME = {
    "verdicts",
    "spans",
    "examples",
    "judge_scaled_0",
    "judge_suppressed",
    "choice",
    "prepare_model",
    "table1",
    "questions",
}


def rules_of(jobs):
    """Rules and groups whose jobs these are."""
    return {re.match(r"(?:rule|group)_([a-z_0-9]+?)(?:_wildcards|-|$)", field(job, "Comment"))[1] for job in jobs}


def test_a_sweep_of_two_models_makes_what_it_was_asked_for(workspace, swept):
    assert all((workspace.folder / name).stat().st_size > 200 for name in WANTED)
    transfer = pd.read_csv(workspace.results / "tables/transfer.csv")
    assert set(transfer["partner"]) == {BASE} and set(transfer["model"]) == {SMALL} and (transfer["n_faithful"] >= 4).all()
    assert workspace.planned(*WANTED) == []


def test_jobs_ask_slurm_for_what_their_model_needs(workspace, swept):
    from hneurons.config.setup import parse_study
    from hneurons.planning import estimates

    _, jobs = swept
    config = {**SWEEP, "models_file": str(workspace.folder / "models.yaml")}
    setup = parse_study({**config, "cluster_file": str(workspace.folder / "config/cluster.yaml")})
    gpu_jobs = [job for job in jobs if "TresPerJob=gres:gpu" in job]
    for model, gpus in ((SMALL, 1), (LARGE, 4), (BASE, 1)):
        mine = [job for job in gpu_jobs if re.search(rf"Comment=rule_responses_wildcards_{model}", job)]
        assert mine, model
        needed = estimates.gpu_job(setup, model, estimates.sampling_work(setup, model, "cities"))
        for job in mine:
            assert field(job, "TresPerJob") == f"gres:gpu:{gpus}" and field(job, "Partition") == "gpu"
            assert field(job, "NumNodes") == "1", "GPUs on two nodes share no model"
            assert field(job, "MinMemoryNode") in (f"{needed['mem_mb']}M", f"{needed['mem_mb'] / 1024:g}G")
            assert field(job, "TimeLimit") == f"00:{needed['runtime']:02d}:00"
    others = [job for job in jobs if job not in gpu_jobs]
    assert {field(job, "Partition") for job in others} == {"cpu"}
    rules = rules_of(jobs)
    assert {"responses", "cett", "probe_path", "probe", "untouched", "replies_0", "drift"} <= rules
    assert not AT_HOME & rules
    times = {
        n: [(field(j, "StartTime"), field(j, "EndTime")) for j in gpu_jobs if field(j, "TresPerJob").endswith(f":{n}")]
        for n in (1, 4)
    }
    assert any(a < d and c < b for a, b in times[1] for c, d in times[4]), f"side by side: {times}"


def sampled_before(workspace):
    """How many questions the last job of the slow shard found done when it began."""
    log = (workspace.folder / f"logs/slow/{SMALL}/responses/cities/0000.log").read_text()
    return int(re.search(rf"sampling:\s+\d+%\|.*?\| (\d+)/{QUESTIONS}", log)[1])


def lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture(scope="module")
def slow(workspace):
    """The slow shard's responses, made without a fault."""
    Run(workspace.folder, CONFIGFILE, TARGET, *SLOW).finish()
    return store.read_table(workspace.folder / TARGET, RESPONSES)


class Caught:
    """The slow shard once more, caught in the middle of its job."""

    def __init__(self, cluster, workspace):
        self.path = workspace.folder / TARGET
        self.path.unlink(missing_ok=True)
        self.cluster, self.workspace = cluster, workspace
        self.journal = self.path.with_name(f"{self.path.name}.journal")
        self.run = Run(workspace.folder, CONFIGFILE, TARGET, *SLOW)
        wait_until(lambda: lines(self.journal) > 10, 120, "some questions are sampled")
        assert lines(self.journal) < QUESTIONS / 2, "it was not caught in the middle"
        self.job = cluster.job("responses")

    def start_again(self):
        """Start the job now, which SLURM has requeued: it would let it wait for two minutes."""
        wait_until(lambda: "BeginTime" in self.cluster.show(self.job), 60, "it is requeued")
        run("scontrol", "update", f"jobid={self.job}", "starttime=now")

    def is_whole(self, slow):
        assert store.read_table(self.path, RESPONSES).equals(slow)
        assert not self.journal.exists()
        return True


@pytest.fixture
def caught(cluster, workspace, slow):
    caught = Caught(cluster, workspace)
    yield caught
    # A test that failed leaves nothing to the next one.
    if caught.run.process.poll() is None:
        kill_group(caught.run.process)
        workspace.run("--unlock")
    cluster.calm()
    caught.journal.unlink(missing_ok=True)


def test_a_cancelled_job_goes_on_where_it_was(caught, cluster, workspace, slow):
    run("scancel", caught.job)
    said = caught.run.finish()
    assert "CANCELLED" in said and caught.is_whole(slow)
    assert sampled_before(workspace) >= 10


def test_a_job_over_its_memory_is_given_more(cluster, workspace, slow):
    path = workspace.folder / TARGET
    path.unlink(missing_ok=True)
    said = Run(
        workspace.folder, CONFIGFILE, TARGET, *SLOW, "--set-resources", "responses:mem_mb=300 * attempt ** 3"
    ).finish()
    asked = [int(m) for m in re.findall(r"mem_mb=(\d+)", said)]
    assert 300 in asked and 2400 in asked, said[-3000:]
    assert "exceeded memory limit" in cluster.node_log()
    assert store.read_table(path, RESPONSES).equals(slow)


def test_a_node_that_dies_and_is_drained_loses_no_question(caught, cluster, workspace, slow):
    cluster.kill_node()
    done = lines(caught.journal) - 1
    wait_until(lambda: "DOWN" in cluster.node_state(), 60, "the controller misses the node")
    run("scontrol", "update", f"nodename={cluster.host}", "state=drain", "reason=test")
    cluster.start_node()
    time.sleep(3)
    assert cluster.job("responses") is None, "nothing starts on a drained node"
    run("scontrol", "update", f"nodename={cluster.host}", "state=resume")
    caught.start_again()
    caught.run.finish()
    assert caught.is_whole(slow)
    assert sampled_before(workspace) >= min(done, 10)


def test_a_controller_that_is_restarted_is_waited_for(caught, cluster, workspace, slow):
    cluster.kill("slurmctld")
    time.sleep(5)
    cluster.start_controller()
    caught.run.finish()
    assert caught.is_whole(slow)
    assert sampled_before(workspace) == 0, "the job itself went on"


def test_a_killed_snakemake_uses_what_its_jobs_make_meanwhile(caught, cluster, workspace, slow):
    kill_group(caught.run.process)
    assert cluster.job("responses") == caught.job, "the job goes on without it"
    workspace.run("--unlock")
    said = Run(workspace.folder, CONFIGFILE, TARGET, *SLOW).finish()
    assert f"waiting for 1 jobs of an earlier run in this folder; to give them up: scancel {caught.job}" in said
    assert caught.is_whole(slow)
    log = (workspace.folder / f"logs/slow/{SMALL}/responses/cities/0000.log").read_text()
    assert "sampling" not in log, "the second job found all of it done and loaded nothing"


def test_a_preempted_job_goes_on_when_it_is_requeued(caught, cluster, workspace, slow):
    run(
        "sbatch",
        "--partition",
        "urgent",
        "--cpus-per-task",
        "8",
        "--mem",
        "100",
        "--wrap",
        "sleep 4",
        "--output",
        "/dev/null",
    )
    wait_until(lambda: cluster.job("responses", "PENDING") or cluster.job("responses", "REQUEUED"), 60, "it is preempted")
    caught.start_again()
    caught.run.finish()
    assert caught.is_whole(slow)
    assert sampled_before(workspace) >= 10
    assert field(cluster.show(caught.job), "Restarts") == "1"


def test_a_node_with_another_python_is_told_of(cluster, workspace, slow, tmp_path):
    path = workspace.folder / TARGET
    path.unlink(missing_ok=True)
    prolog = tmp_path / "prolog"
    prolog.write_text("#!/bin/sh\necho 'export HNEURONS_STARTED_WITH=Python 3.9.1 (hneurons 0.0)'\n")
    prolog.chmod(0o755)
    cluster.configure(f"TaskProlog={prolog}")
    try:
        said = Run(workspace.folder, CONFIGFILE, TARGET, *SLOW, "--retries", "0").finish(succeeds=False)
    finally:
        cluster.configure()
    logs = "".join(p.read_text() for p in Path(workspace.folder / ".snakemake/slurm_logs/rule_responses").rglob("*.log"))
    line = next(line for line in logs.splitlines() if line.startswith("error: "))
    assert f"{cluster.host} runs Python 3.11" in line and "was started with Python 3.9.1 (hneurons 0.0)" in line
    assert "slurm_logs" in said


@pytest.fixture
def checkout(tmp_path):
    """The files of a checkout, told of this cluster's partitions; the wheel is taken from where the demo put it."""
    for name in WORKFLOW:
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "config/cluster.yaml").write_text("{partition: cpu, gpu_partition: gpu}")
    wheel_of(load_models(ROOT / "config/models.yaml")[REAL], tmp_path)
    return tmp_path


def test_smoke_as_a_strangers_first_run(cluster, checkout):
    """The real small model, twenty questions, every stage."""
    before = {job["id"] for job in cluster.jobs()}
    # The node says that it has more cores than this machine.
    Run(checkout, "smoke", "--jobs", "2", "--config", "runtime={threads: 1}").finish(900)
    results = checkout / "results/smoke"
    table = pd.read_csv(results / "tables/table1.csv")
    assert {"triviaqa", "invented-cities"} <= set(table["dataset"]) and set(table["model"]) == {REAL}
    assert store.read_json(results / REAL / "probe/summary.json")["h_neurons"] > 0
    points = pd.read_csv(results / "tables/figure3.csv")
    config = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    assert set(points["alpha"]) == set(config["impact"]["alphas"])
    assert set(points["benchmark"]) == set(config["impact"]["benchmarks"])
    jobs = [cluster.show(job["id"]) for job in cluster.jobs() if job["id"] not in before]
    rules = rules_of(jobs)
    assert {"folds", "suppressed", "probe", "replies_0", "perplexity", "scaled_cett"} <= rules and not AT_HOME & rules
    # Both sets of questions are scored in one allocation.
    assert len([job for job in jobs if field(job, "Comment").startswith("rule_scores-")]) == 1
    on_gpus = [job for job in jobs if "Partition=gpu" in job]
    assert on_gpus and all("TresPerJob=gres:gpu:1" in job and "JobState=COMPLETED" in job for job in on_gpus)
