"""The whole DAG on a tiny model: what runs, what does not run again, and what a kill leaves behind."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from hneurons import store
from hneurons.detection.results import METHODS
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.records import RESPONSES
from tests.completions_server import COMMAND
from tests.judge_server import JudgeServer, completion
from tests.workflow.study import CONFIG, MODEL


def test_the_study_is_whole(workspace):
    table = pd.read_csv(workspace.results / "tables/table1.csv")
    folds = "cities: consistent questions, folds by answer"
    assert set(table["dataset"]) == {*CONFIG["datasets"], folds}
    per_set = table.groupby("dataset")["method"].nunique()
    assert per_set["cities"] == 12 and per_set["invented-cities"] == 11, "population is known for real cities only"
    # A fold of so few answers may share no word with the others: then there is no bag of words.
    in_folds = set(table["method"][table["dataset"] == folds]) - {METHODS["bag-of-words"]}
    left_out = ("hneurons-refit", "random-refit", "bag-of-words")
    assert in_folds == set(METHODS.values()) - {METHODS[method] for method in left_out}
    assert (table["n_hallucinated"] == table["n_faithful"]).all() and (table["n_faithful"] >= 4).all()
    for name in ("accuracy", "auroc"):
        shown = table.dropna(subset=f"{name}_low")
        assert (shown[f"{name}_low"] <= shown[name]).all() and (shown[name] <= shown[f"{name}_high"]).all()
    assert table[table["n_faithful"] < 10]["auroc_low"].isna().all(), "no interval where n is too small"
    sweep = pd.read_csv(workspace.results / "tables/k_sweep.csv")
    assert sweep["neurons"].tolist()[:3] == [10, 30, 100] and sweep["neurons"].iloc[-1] == 2 * 160
    neurons = NeuronSet.load(workspace.results / MODEL / "probe/neurons.parquet")
    assert table["h_neurons"].iloc[0] == neurons.selected.sum() > 0
    assert table["neurons"].iloc[0] == 2 * 160
    points = pd.read_csv(workspace.results / "tables/figure3.csv")
    assert len(points) == 2 * 2 * 4
    for picture in (
        "figure3.png",
        "figure3.svg",
        "table1.png",
        "table1.svg",
        "choice.png",
        "choice.svg",
        "k_sweep.svg",
        "neurons.svg",
    ):
        assert (workspace.results / "figures" / picture).stat().st_size > 10_000


def test_the_page_of_answers_counts_what_table_1_counts(workspace):
    table = pd.read_csv(workspace.results / "tables/table1.csv")
    page = (workspace.results / MODEL / "answers.html").read_text()
    for row in table[table["method"] == METHODS["hneurons"]].query("dataset in @CONFIG['datasets']").to_dict("records"):
        faithful = 0 if row["dataset"] == "invented-cities" else row["n_faithful"]
        counted = re.search(rf"<td>{row['dataset']}</td>.*?>(\d+) \+ (\d+)<.*?>(\d+) of (\d+) ", page)
        wrong, right, hits, n = map(int, counted.groups())
        assert (wrong, right, n) == (row["n_hallucinated"], faithful, wrong + faithful)
        if faithful:
            assert hits / n == pytest.approx(row["accuracy"], abs=1e-4)
    assert f"results/tiny/{MODEL}/published" in page


def test_a_finished_study_has_nothing_to_do(workspace):
    assert workspace.planned() == []


def test_every_job_has_a_log_and_a_timing(workspace):
    logs = {p.relative_to(workspace.folder / "logs/tiny") for p in (workspace.folder / "logs").rglob("*.log")}
    timings = {p.relative_to(workspace.results / "timings") for p in (workspace.results / "timings").rglob("*.tsv")}
    assert len(logs) == len(timings) > 40
    said = (workspace.folder / "logs/tiny" / MODEL / "responses/cities/0000.log").read_text()
    assert "sampling: 100%" in said


def test_examples_are_disjoint_and_the_token_ids_travel(workspace):
    examples = pq.read_table(workspace.results / MODEL / "examples/cities.parquet").to_pandas()
    questions = pq.read_table(workspace.results / "questions/cities.parquet").to_pandas().set_index("question_id")
    gold = {s: {questions["aliases"][q][0] for q in of["question_id"]} for s, of in examples.groupby("split")}
    assert not gold["train"] & gold["test"] and not gold["train"] & gold["selection"]
    assert examples["question_id"].is_unique
    assert (examples.groupby(["split", "label"]).size() >= 4).all()
    shard = store.read_table(workspace.results / MODEL / "responses/cities/0001.parquet", RESPONSES)
    assert store.made_by(workspace.results / MODEL / "responses/cities/0001.parquet")["layers"] == 2
    for row in shard.to_pylist():
        assert len(row["logprobs"]) == len(row["response_ids"])
        assert row["truncated"] == (row["response_ids"][-1] != 2)


def test_one_target_asks_for_its_ancestors_only(workspace):
    planned = workspace.planned("--forceall", f"results/tiny/{MODEL}/cett/elements/0000.parquet")
    assert planned == ["cett", "examples", "prepare_model", "question_set", "questions", "responses", "spans", "verdicts"]


# What a run of one α reaches.
SHOWN = ["impact_curve", "figure3", "publish", "neurons_figure", "front"]


def test_a_deleted_alpha_is_run_again_alone(workspace):
    folder = workspace.results / MODEL / "impact/are-you-sure/hneurons"
    before = {path.name: (path.stat().st_ino, store.read_table(path)) for path in folder.glob("alpha=*.parquet")}
    # Aside, not deleted: its inode must not be given to the file that is made anew.
    (folder / "alpha=2.parquet").rename(folder / "aside")
    assert workspace.planned() == sorted([*SHOWN, "judge_scaled_0"])
    (workspace.results / MODEL / "replies/are-you-sure/hneurons/alpha=2.parquet").unlink()
    assert workspace.planned() == sorted([*SHOWN, "judge_scaled_0", "replies_0"])
    workspace.run()
    after = {path.name: (path.stat().st_ino, store.read_table(path)) for path in folder.glob("alpha=*.parquet")}
    assert [name for name in before if before[name][0] != after[name][0]] == ["alpha=2.parquet"]
    assert after["alpha=2.parquet"][1].equals(before["alpha=2.parquet"][1])
    assert workspace.planned() == []


STAGES = {
    "responses": "responses/cities/0000",
    "verdicts": "verdicts/cities/0000",
    "spans": "spans/cities/0000",
    "examples": "examples/cities",
    "cett": "cett/cities/0000",
    "probe": "probe/neurons",
    "suppressed": "probe/suppressed",
    "replies": "replies/are-you-sure/random-1/alpha=3",
}
LOGS = {"probe": "probe", "suppressed": "suppressed", "replies": "replies/are-you-sure/sets-1"}


def same(table, other):
    """Equal; log-probabilities of responses as nearly as another batch around them computes them."""
    if "logprobs" in table.column_names:
        found, expected = (pc.list_flatten(t["logprobs"]).to_numpy() for t in (table, other))
        assert found == pytest.approx(expected, abs=1e-4)
        table, other = (t.drop_columns("logprobs") for t in (table, other))
    return table.equals(other)


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_leaves_nothing_that_a_rerun_would_read(workspace, stage):
    target = f"results/tiny/{MODEL}/{STAGES[stage]}.parquet"
    path = workspace.folder / target
    before = store.read_table(path)
    path.unlink()
    log = workspace.folder / f"logs/tiny/{MODEL}/{LOGS.get(stage, STAGES[stage])}.log"
    log.unlink()
    journal = path.with_name(path.name + ".journal")

    def begun():
        # The journal's first line names the settings: a second one is a finished question.
        if stage == "responses":
            return journal.exists() and journal.read_bytes().count(b"\n") >= 2
        return journal.exists() if stage in ("replies", "suppressed") else log.exists()

    workspace.kill_during(target, begun)
    assert not path.exists() or same(store.read_table(path), before)
    # As `snakemake --unlock` does.
    shutil.rmtree(workspace.folder / ".snakemake/locks")
    workspace.run("--rerun-incomplete", target)
    assert same(store.read_table(path), before)
    assert not list(workspace.results.rglob("*.journal"))


def test_after_the_kills_the_study_finishes(workspace):
    workspace.run("--rerun-incomplete")
    assert workspace.planned() == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("models=[gpt-5]", "error: config: models: unknown model 'gpt-5'; models.yaml has: tiny-llama"),
        ("probe={C: []}", "error: config: probe.C: List should have at least 1 item"),
        (
            "impact={alphas: [1, -2]}",
            "error: config: impact.alphas.1: Input should be greater than or equal to 0",
        ),
        ("colour=red", "error: config: colour: unknown key; allowed keys: study, seed,"),
        ("study=../../etc", "error: config: study: String should match pattern"),
    ],
)
def test_a_wrong_config_is_refused_before_any_job_runs(workspace, wrong, says):
    command = [*workspace.command("--dry-run"), "--config", wrong]
    done = subprocess.run(command, cwd=workspace.folder, capture_output=True, text=True)
    assert done.returncode == 1
    assert next(line for line in done.stderr.splitlines() if line.strip()).startswith(says)
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "target", ["results/tiny/../../x/cett/cities/0000.parquet", f"results/tiny/{MODEL}/cett/../0000.parquet"]
)
def test_no_path_comes_in_through_a_wildcard(workspace, target):
    done = subprocess.run(workspace.command("--dry-run", target), cwd=workspace.folder, capture_output=True, text=True)
    assert done.returncode != 0
    assert "MissingRuleException" in done.stdout + done.stderr


def test_too_few_consistent_questions_stop_the_run_with_counts(finished, tmp_path):
    workspace = finished.copied_to(tmp_path)
    target = f"results/tiny/{MODEL}/examples/cities.parquet"
    said = workspace.refused(target, "--config", "examples={min_per_class: 100}")
    line = next(line for line in said.splitlines() if "error: cities: too few" in line)
    assert "100 needed; raise datasets.cities.questions" in line
    assert not (workspace.folder / target).exists()


def test_the_report_is_written(workspace):
    workspace.run("--report", "results/tiny/report.html")
    text = (workspace.results / "report.html").read_text()
    assert "figure3.png" in text and "table1.csv" in text
    # It opens with the front page, whole.
    assert 'id=\\"front\\"' in text and "H-Neurons of tiny-llama" in text


def test_summary_says_how_many_of_how_many(workspace):
    summary = json.loads((workspace.results / MODEL / "probe/summary.json").read_text())
    assert summary["neurons"] == 320 and 0 < summary["h_neurons"] <= summary["non_zero"] < 320
    assert summary["converged"]


KEY = "sk-planted-in-the-workflow"


def verdict(text, count, system):
    asked = json.loads(text)
    right = any(alias in asked["response"] for alias in asked["accepted_answers"])
    return completion(json.dumps({"verdict": "correct" if right else "incorrect"}))


def with_llm(server, **changes):
    llm = {"model": "judge", "base_url": server.url, "api_key_env": "WORKFLOW_KEY", "max_judge_calls": 2000, **changes}
    judges = {"correctness": "llm", "agreement": {"sample": 30}, "llm": llm}
    return "--config", f"judges={json.dumps(judges)}"


def test_another_judge_reruns_no_generation_and_pays_for_nothing_twice(workspace, monkeypatch):
    monkeypatch.setenv("WORKFLOW_KEY", KEY)
    targets = [f"results/tiny/{MODEL}/verdicts/elements/0000.parquet", f"results/tiny/{MODEL}/agreement/correctness.json"]
    with JudgeServer(verdict) as server:
        planned = workspace.planned(*with_llm(server))
        assert {"verdicts", "spans", "agreement", "agreement_table"} <= set(planned)
        assert not {"responses", "untouched"} & set(planned)
        assert planned.count("judge_untouched") == 1, "of the test questions alone"
        said = workspace.run(*targets, *with_llm(server))
        # 40 verdicts on elements, of which agreement asks about none: its 30 are of the in-domain set.
        assert sum(server.asked.values()) == 70
        assert "LLM judge judge: at most" in said and "judging correctness: 40 calls to judge, about $" in said
        verdicts = store.read_table(workspace.folder / targets[0]).to_pandas()
        assert set(verdicts["judge"]) == {"llm:judge"}
        found = json.loads((workspace.folder / targets[1]).read_text())
        assert (found["n"], found["second"], found["kappa"]) == (30, "llm:judge", 1.0)
        for target in targets:
            (workspace.folder / target).unlink()
        monkeypatch.delenv("WORKFLOW_KEY")
        workspace.run(*targets, *with_llm(server))
        assert sum(server.asked.values()) == 70, "all of it was in the cache"
    for path in workspace.folder.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    assert (workspace.folder / "results/judge-cache.sqlite").exists()


def test_a_job_without_a_key_says_so_and_names_the_offline_judge(workspace, monkeypatch):
    monkeypatch.delenv("WORKFLOW_KEY", raising=False)
    with JudgeServer(verdict) as server:
        said = workspace.refused(f"results/tiny/{MODEL}/verdicts/invented-cities/0000.parquet", *with_llm(server))
        assert not server.asked
    assert (
        "error: judges.llm: the environment variable WORKFLOW_KEY holds no key: set it, or judge offline with `rules`"
        in said
    )


def test_a_budget_that_is_too_small_is_refused_before_any_job_runs(workspace):
    with JudgeServer(verdict) as server:
        said = workspace.refused("--dry-run", *with_llm(server, max_judge_calls=100))
    assert said.startswith("error: judges.llm.max_judge_calls is 100. LLM judge judge: at most ") and "about $" in said
    assert len(said.strip().splitlines()) == 1


def test_a_server_may_generate_in_place_of_the_job(workspace):
    models, left = yaml.safe_load((workspace.folder / "models.yaml").read_text()), workspace.planned()
    workspace.set_models({MODEL: {**models[MODEL], "engine": {"command": COMMAND, "speaks": "vllm"}}})
    asked, replied = "responses/elements/0000.parquet", "replies/false-premise/untouched/alpha=1.parquet"
    try:
        assert {"responses", "suppressed", "untouched", "replies_0", "cett"} <= set(workspace.planned()), "drawn anew"
        workspace.run(*(f"results/served/{MODEL}/{path}" for path in (asked, replied)), "--config", "study=served")
    finally:
        workspace.set_models(models)
    assert workspace.planned() == left
    served, here = (workspace.folder / "results" / study / MODEL for study in ("served", "tiny"))
    assert store.read_table(served / replied).equals(store.read_table(here / replied)), "greedy"
    assert store.made_by(served / replied)["engine"] == store.made_by(served / asked)["engine"] == "vllm"
    ours, theirs = (store.read_table(folder / asked, RESPONSES).to_pandas() for folder in (here, served))
    assert list(map(list, ours["prompt_ids"])) == list(map(list, theirs["prompt_ids"]))
    assert [len(p) for p in theirs["logprobs"]] == [len(ids) for ids in theirs["response_ids"]]
