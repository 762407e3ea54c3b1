"""The plan's arithmetic on jobs written down by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from hneurons import store
from hneurons.cli import app
from hneurons.errors import HNeuronsError
from hneurons.planning import estimates
from hneurons.planning.budget import budget_line, expected_calls
from hneurons.planning.jobs import Job, dry_run, read_jobs
from hneurons.planning.plan import make_plan
from tests.paths import ROOT
from tests.unit.test_estimates import setup_of

SAID = """
[Tue Nov 24 21:39:50 2026]
rule responses:
    input: results/paper/questions/triviaqa.parquet
    output: results/paper/gemma-3-4b-it/responses/triviaqa/0001.parquet (update)
    log: logs/paper/gemma-3-4b-it/responses/triviaqa/0001.log
    benchmark: results/paper/timings/gemma-3-4b-it/responses/triviaqa/0001.tsv
    wildcards: model=gemma-3-4b-it, dataset=triviaqa, shard=0001
    threads: 8
    resources: tmpdir=/tmp, token_budget=16384, expected_s=48, mem_mb=12601, runtime=21, gpu=1, slurm_partition=gpu
[Tue Nov 24 21:39:51 2026] Group job scores-gemma-3-4b-it (jobs in lexicogr. order):

    [Tue Nov 24 21:39:51 2026]
    rule detection:
        output: results/paper/gemma-3-4b-it/detection/triviaqa.json
        wildcards: model=gemma-3-4b-it, dataset=triviaqa
        resources: tmpdir=/tmp, mem_mb=4000
localrule table1:
    output: results/paper/tables/table1.csv
rule all:
    input: results/paper/tables/table1.csv
"""

GEMMA = "gemma-3-4b-it"


def test_a_dry_run_is_read_job_by_job():
    jobs = read_jobs(SAID)
    assert [(j.rule, j.line, j.model, j.subject) for j in jobs] == [
        ("responses", "responses", GEMMA, "triviaqa"),
        ("detection", "detection", GEMMA, "triviaqa"),
        ("table1", "tables", "(all models)", ""),
    ]
    assert jobs[0].resources == {"token_budget": 16384, "expected_s": 48, "mem_mb": 12601, "runtime": 21, "gpu": 1}
    assert [job.loads_model for job in jobs] == [True, False, False]
    assert jobs[0].timing == "results/paper/timings/gemma-3-4b-it/responses/triviaqa/0001.tsv"
    assert str(jobs[0].share_file) == "logs/paper/gemma-3-4b-it/responses/triviaqa/0001.json"
    assert jobs[0].wildcards["shard"] == "0001"


@pytest.fixture
def paper():
    return setup_of("config")


WORK = {"responses": estimates.sampling_work, "cett": estimates.cett_work}


def shard(i, rule="responses", folder=""):
    """A shard's job as a dry run prints it; verdicts and spans load no model."""
    resources = {"mem_mb": 12_000}
    if rule in WORK:
        setup = setup_of("config")
        resources |= estimates.gpu_job(setup, GEMMA, WORK[rule](setup, GEMMA, "triviaqa")) | {"mem_mb": 12_000}
    name = f"{rule}-{i:04d}"
    wildcards = {"model": GEMMA, "dataset": "triviaqa", "shard": f"{i:04d}"}
    return Job(rule, wildcards, resources, f"{folder}/{name}.log", f"{folder}/{name}.tsv")


def line(found, stage):
    return next(x for x in found.lines if (x.model, x.stage) == (GEMMA, stage))


def test_what_is_left_is_counted_in_gpu_hours(paper, tmp_path):
    jobs = [shard(i) for i in range(6)]
    responses = line(make_plan(paper, jobs, jobs[2:], tmp_path), "responses")
    # A sixth of 12,000 questions and of 76,800 responses a shard, by a model of 4.3 billion parameters on an H100.
    hours = (20 + 8.600 / 0.5 + 4.300 * (2000 * 60 / 200_000 + 12_800 * 10 / 20_000)) / 3600
    assert (responses.jobs, responses.jobs_left, responses.gpus_per_job) == (6, 4, 1)
    assert responses.gpu_hours_left == responses.hours_left == pytest.approx(4 * hours, rel=0.02)
    assert responses.host_memory_gb == 12 and responses.measured_jobs == 0


def test_a_job_on_four_gpus_costs_four_times_its_hours(paper, tmp_path):
    job = Job("cett", {"model": "llama-3.3-70b-instruct", "dataset": "nq-open", "shard": "0000"}, {"expected_s": 900})
    found = make_plan(paper, [job], [job], tmp_path).lines[0]
    assert found.gpu_hours_left == pytest.approx(4 * found.hours_left) and found.gpus_per_job == 4


def test_finished_jobs_correct_the_hours_of_the_others(paper, tmp_path):
    jobs = [shard(i, folder=tmp_path) for i in range(6)]
    expected = line(make_plan(paper, jobs, jobs[2:], tmp_path), "responses").hours_left
    per_job = expected / 4 * 3600
    for job, seconds in zip(jobs[:2], (3 * per_job, 5 * per_job), strict=True):
        Path(job.timing).write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:00\t9\n")
    corrected = line(make_plan(paper, jobs, jobs[2:], tmp_path), "responses")
    assert corrected.measured_jobs == 2 and corrected.hours_left == pytest.approx(4 * expected)
    other = make_plan(paper, [*jobs, shard(0, "cett")], [shard(0, "cett")], tmp_path)
    assert line(other, "cett").measured_jobs == 0, "another stage is not corrected by it"


def test_a_job_that_found_its_work_done_corrects_nothing(paper, tmp_path):
    jobs = [shard(i, folder=tmp_path) for i in range(6)]
    expected = line(make_plan(paper, jobs, jobs[2:], tmp_path), "responses").hours_left
    load = estimates.load_seconds(paper, GEMMA)
    rest = expected / 4 * 3600 - load
    # One that did a quarter of its work, as fast as expected, and one that had nothing to do.
    for job, seconds, share in zip(jobs[:2], (load + rest / 4, 3), (0.25, 0), strict=True):
        Path(job.timing).write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:00\t9\n")
        store.write_json(job.share_file, {"share": share})
    corrected = line(make_plan(paper, jobs, jobs[2:], tmp_path), "responses")
    assert corrected.measured_jobs == 1 and corrected.hours_left == pytest.approx(expected)


def test_replies_count_the_alphas_of_their_job(paper, tmp_path):
    wildcards = {"model": GEMMA, "benchmark": "faitheval", "neurons": "hneurons"}
    hours = {}
    for rule, runs in (("replies_0", 6), ("untouched", 1)):
        work = estimates.replies_work(paper, GEMMA, "faitheval", runs=runs)
        job = Job(rule, wildcards, estimates.gpu_job(paper, GEMMA, work))
        hours[rule] = make_plan(paper, [job], [job], tmp_path).totals["hours_left"]
        assert job.line == "replies"
    load = estimates.load_seconds(paper, GEMMA) / 3600
    assert hours["replies_0"] - load == pytest.approx(6 * (hours["untouched"] - load), rel=0.01)


def test_judge_calls_and_their_price_are_those_of_the_jobs_left(paper, tmp_path):
    jobs = [shard(i, "verdicts") for i in range(4)] + [shard(i, "spans") for i in range(4)]
    # Agreement on what the LLM judges anyway asks nothing.
    jobs.append(Job("agreement", {"model": GEMMA, "task": "correctness"}, {}))
    whole = line(make_plan(paper, jobs, jobs, tmp_path), "judging")
    # 16,500 questions once and, of training, up to 0.7 of 12,000 nine times more; as many spans as questions; 500 questions
    # with the neurons of each of nine C suppressed.
    assert whole.judge_calls_left == 16_500 + 9 * 8400 + 9 * 500 + 16_500
    tokens = 96_600 * 330, 16_500 * 220
    assert whole.dollars_left == pytest.approx((sum(tokens) * 2.5 + (96_600 + 16_500) * 15 * 10) / 1e6)
    assert line(make_plan(paper, jobs, jobs[4:], tmp_path), "judging").judge_calls_left == 16_500, (
        "the spans alone are left"
    )
    assert line(make_plan(paper, jobs, jobs[2:], tmp_path), "judging").judge_calls_left == 96_600 / 2 + 16_500
    assert line(make_plan(paper, jobs, jobs[8:], tmp_path), "judging").dollars_left == 0


def test_a_graded_jailbreak_costs_one_call_per_reply(paper, tmp_path):
    """390 items at 37 runs: the untouched model's, and six α of the H-Neurons and of five random sets."""
    job = Job("judge_untouched", {"model": GEMMA, "benchmark": "jailbreak"}, {})
    graded = paper.study.judges.model_copy(update={"jailbreak": "llm-graded"})
    setup = replace(paper, study=paper.study.model_copy(update={"judges": graded}))
    graded_line, verdict_line = (line(make_plan(s, [job], [job], tmp_path), "judge replies") for s in (setup, paper))
    assert graded_line.judge_calls_left == verdict_line.judge_calls_left == 390 * 37
    assert 0 < graded_line.dollars_left < verdict_line.dollars_left, "its prompt has no examples"
    # Both judges' agreement is measured on grades that are paid for.
    agreement = Job("agreement", {"model": GEMMA, "task": "jailbreak"}, {})
    assert line(make_plan(setup, [agreement], [agreement], tmp_path), "judging").judge_calls_left == 0


def test_the_papers_study_asks_the_llm_for_unread_replies_of_sycophancy_within_its_budget(paper):
    assert paper.study.judges.sycophancy == "llm"
    at_most = {(c.model, c.task): c.calls for c in expected_calls(paper)}
    assert at_most[GEMMA, "sycophancy"] == 2 * 4000 * 37
    assert "2900000 allowed" in budget_line(paper)


def test_disk_of_weights_and_cett(paper, tmp_path):
    name = "llama-3.3-70b-instruct"
    jobs = [
        Job("prepare_model", {"model": name}, {}),
        Job("cett", {"model": name, "dataset": "triviaqa", "shard": "0000"}, {"expected_s": 900}),
    ]
    found = {x.stage: x.disk_gb for x in make_plan(paper, jobs, jobs, tmp_path).lines}
    assert found["fetch"] == pytest.approx(141.107, abs=0.001)
    # Of TriviaQA 4,000 + 1,080 + 1,800 rows, of NQ-Open 1,200, of BioASQ 900, of NonExist 600; 4.59 MB each.
    assert found["cett"] == pytest.approx((6880 + 1200 + 900 + 600) * 2_293_760 * 2 / 1e9, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no.yaml does not exist"),
        ("study: x\n", "error: no.yaml: models: Field required"),
        ("a: b: c", "error: no.yaml: no valid YAML: mapping values"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(tmp_path)
    if text:
        (tmp_path / "no.yaml").write_text(text)
    done = CliRunner().invoke(app, ["plan", "--configfile", "no.yaml"])
    assert done.exit_code == 1 and says in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_without_a_workflow_there_is_nothing_to_plan(tmp_path, monkeypatch):
    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    config |= {"models_file": str(ROOT / "config/models.yaml"), "cluster_file": str(ROOT / "config/cluster.yaml")}
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["plan", "--configfile", "c.yaml"])
    assert done.exit_code == 1 and "this folder has no Snakefile" in done.stderr


@pytest.mark.parametrize(
    ("snakefile", "says"),
    [
        ("print('error: the study is odd')\nimport sys\nsys.exit(1)\n", "the study is odd"),
        ("raise KeyError('layers')\n", r"the dry run failed: KeyError .*'layers'"),
        ("rule a:\n    input: 'nowhere'\n", r"the dry run failed: MissingInputException .*nowhere"),
        ("import os\nos.kill(os.getpid(), 9)\n", "ended with status -9"),
    ],
)
def test_a_dry_run_that_fails_says_why(tmp_path, monkeypatch, snakefile, says):
    monkeypatch.chdir(tmp_path)
    # Snakemake itself needs a home for its cache.
    monkeypatch.setenv("HOME", "/proc/nowhere")
    (tmp_path / "Snakefile").write_text(snakefile)
    (tmp_path / "c.yaml").write_text("{}")
    with pytest.raises(HNeuronsError, match=says):
        dry_run("c.yaml")


def test_a_checkout_of_others_cannot_be_planned_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").touch()
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(HNeuronsError, match="cannot be written, but the workflow keeps its state there; clone the project"):
        dry_run("c.yaml")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("vllm serve {folder} --port {port}", "every alpha needs an exported checkpoint and a server start"),
        (
            "vllm serve {folder} --port {port} --max-lora-rank {lora_rank}",
            "LoRA adapters scale neurons, on one server per job",
        ),
    ],
)
def test_the_plan_says_how_a_server_scales(tmp_path, command, says):
    models = yaml.safe_load((ROOT / "config/models.yaml").read_text())
    models[GEMMA]["engine"] = {"command": command, "speaks": "vllm"}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(models))
    served = setup_of("config", models_file=str(tmp_path / "models.yaml"))
    plan = make_plan(served, [], [], tmp_path, ["a line of the dry run"])
    assert len(plan.notes) == 2 and plan.notes[1].startswith(f"{GEMMA}: ") and says in plan.notes[1]
