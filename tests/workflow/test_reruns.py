"""What a change reruns, to the rule: nothing else may run, and nothing that depends on the change may be left out."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter

import pytest
import yaml

from hneurons import store
from hneurons.records import RESPONSES
from tests.judge_server import JudgeServer, completion
from tests.paths import ROOT
from tests.workflow.study import CONFIG, MODEL
from tests.workspace import WORKFLOW

TABLES = {"choice", "table1", "k_sweep", "figure3"}
SCORES = {"detection", "folds"}
# What the probe decides: with two α a job, three scaled α are two rules.
SWEEP = {"replies_0", "replies_1", "judge_scaled_0", "judge_scaled_1", "impact_curve"}
COST = {"perplexity", "scaled_cett", "utility"}
# What is made of scores and curves for others to see.
FACE = {"publish", "neurons_figure", "front"}
# A page of single answers, with the probe's probability of each; the front page links to it.
PAGE = {"answers", "front"}
AFTER_PROBE = SCORES | SWEEP | COST | TABLES | FACE | PAGE
# Test questions are asked at every α too: what changes them, or who judges answers, reaches the untouched model's replies.
ASKED_AGAIN = {"untouched", "judge_untouched"}
PROBING = {"probe_path", "suppressed", "judge_suppressed", "probe"}
BEFORE_PROBE = {"verdicts", "spans", "examples", "cett", *PROBING}


def counts(workspace, *arguments):
    return Counter(workspace.planned(*arguments))


def config(**changes):
    return ["--config", *(f"{key}={json.dumps(value)}" for key, value in changes.items())]


@pytest.fixture
def own(finished, tmp_path):
    """The finished study for one test alone, which need not leave it as it was."""
    return finished.copied_to(tmp_path)


@pytest.mark.parametrize(
    ("path", "rules"),
    [
        ("responses/cities/0001.parquet", {"responses", *BEFORE_PROBE, *AFTER_PROBE}),
        (
            "responses/elements/0000.parquet",
            {"responses", "verdicts", "spans", "examples", "cett", "detection", "table1", *FACE, *PAGE},
        ),
        ("cett/cities/0001.parquet", {"cett", *PROBING, *AFTER_PROBE}),
        (
            "verdicts/elements/0000.parquet",
            {"verdicts", "spans", "examples", "cett", "detection", "table1", *FACE, *PAGE},
        ),
        ("probe/neurons.parquet", {"probe", *AFTER_PROBE}),
        ("probe/choice.csv", {"probe", *AFTER_PROBE}),
        ("probe/path.parquet", {*PROBING, *AFTER_PROBE}),
        ("probe/suppressed.parquet", {*PROBING, *AFTER_PROBE} - {"probe_path"}),
        ("detection/elements.json", {"detection", "table1", *FACE}),
        ("answers.html", PAGE),
        ("impact/false-premise/curve.json", {"impact_curve", "figure3", *FACE}),
        (
            "replies/are-you-sure/hneurons/alpha=3.parquet",
            {"replies_1", "judge_scaled_1", "impact_curve", "figure3", *FACE},
        ),
        (
            "replies/are-you-sure/untouched/alpha=1.parquet",
            {"untouched", "judge_untouched", "impact_curve", "figure3", *FACE},
        ),
    ],
)
def test_a_deleted_file_is_missed_and_nothing_else_runs(workspace, path, rules):
    kept = workspace.results / MODEL / path
    aside = kept.with_suffix(".aside")
    kept.rename(aside)
    planned = counts(workspace)
    aside.rename(kept)
    assert set(planned) == rules
    # One shard, one α, one model: the others stay.
    assert planned["responses"] <= 1 and planned["untouched"] <= 1
    if "alpha=3" in path:
        assert planned == dict.fromkeys(rules, 1)


def test_one_more_alpha(own):
    more = config(impact={**CONFIG["impact"], "alphas": [0, 1, 1.5, 2, 3]})
    planned = counts(own, *more)
    # Two behaviours and the test questions; the α that are there are kept by their jobs.
    bundles = dict.fromkeys(("replies_0", "replies_1", "judge_scaled_0", "judge_scaled_1"), 3)
    assert planned == {**bundles, "impact_curve": 3, "figure3": 1, **dict.fromkeys(COST | FACE, 1)}
    folder = own.results / MODEL / "replies/false-premise/hneurons"
    before = {p.name: p.stat().st_ino for p in folder.glob("*.parquet")}
    targets = [str(folder.relative_to(own.folder) / f"alpha={a}.parquet") for a in ("1.5", "3")]
    own.run(*targets, *more)
    after = {p.name: p.stat().st_ino for p in folder.glob("*.parquet")}
    assert {n for n in after if before.get(n) != after[n]} == {"alpha=1.5.parquet"}


def test_one_more_model(workspace):
    models = yaml.safe_load((workspace.folder / "models.yaml").read_text())
    workspace.set_models({**models, "twin": models[MODEL]})
    planned = counts(workspace, *config(models=[MODEL, "twin"]))
    workspace.set_models(models)
    first = counts(workspace, "--forceall")
    # Everything of the new model and the tables; of the first model, its data and its curves nothing.
    once = dict.fromkeys({*TABLES, "utility", "neurons_figure", "front"}, 1)
    of_a_model = Counter(
        {rule: n for rule, n in first.items() if rule not in ("questions", "question_set", "items", *once)}
    )
    assert planned == of_a_model + Counter(once)


def test_more_questions_sample_new_shards_only(own):
    # From two full shards of 60 to a third that is half full, and on to a full one.
    def cities(count):
        return config(datasets={**CONFIG["datasets"], "cities": {"role": "in_domain", "questions": count}})

    planned = counts(own, *cities(150))
    by_shard = ("questions", "responses", "verdicts", "spans")
    assert {rule: planned[rule] for rule in by_shard} == dict.fromkeys(by_shard, 1)
    # The examples are drawn from more: every shard of the set is looked at, and measures only what came new.
    assert planned["cett"] == 3 and planned["examples"] == planned["question_set"] == planned["probe"] == 1
    assert set(planned) == {*by_shard, "question_set", "examples", "cett", *PROBING, *AFTER_PROBE, "items", *ASKED_AGAIN}
    assert planned["items"] == planned["untouched"] == 1, "of the test questions alone"
    first, third = (f"results/tiny/{MODEL}/cett/cities/000{i}.parquet" for i in (0, 2))
    before = store.made_by(own.folder / first)["rows"]
    own.run(first, third, *cities(150))
    after = store.made_by(own.folder / first)["rows"]
    log = (own.folder / "logs/tiny" / MODEL / "cett/cities/0000.log").read_text()
    kept = [key for key in after if before.get(key) == after[key]]
    assert kept and (f"{len(kept)}/{len(after)}" in log or len(kept) == len(after)), log
    responses = f"results/tiny/{MODEL}/responses/cities/0002.parquet"
    half = store.read_table(own.folder / responses, RESPONSES)
    assert counts(own, *cities(180))["responses"] == 1
    own.run(responses, *cities(180))
    whole = store.read_table(own.folder / responses, RESPONSES)
    assert whole.slice(0, len(half)).equals(half) and len(set(whole["question_id"].to_pylist())) == 60
    assert "30/60" in (own.folder / "logs/tiny" / MODEL / "responses/cities/0002.log").read_text()


def test_another_grid_of_C(workspace):
    planned = counts(workspace, *config(probe={**CONFIG["probe"], "C": [10, 100]}))
    assert set(planned) == {*PROBING, *AFTER_PROBE}
    assert planned["probe"] == planned["folds"] == 1 and planned["detection"] == 3


def test_another_judge_of_answers_samples_nothing(workspace):
    def verdict(text, count, system):
        return completion(json.dumps({"verdict": "correct"}))

    with JudgeServer(verdict) as server:
        llm = {"model": "judge", "base_url": server.url, "api_key_env": "NO_KEY", "max_judge_calls": 5000}
        planned = counts(workspace, *config(judges={"correctness": "llm", "llm": llm}))
    assert set(planned) == {*BEFORE_PROBE, *AFTER_PROBE, "judge_untouched"}
    assert planned["judge_untouched"] == 1, "of the test questions alone"
    assert planned["verdicts"] == planned["spans"] == planned["cett"] == 4


def test_another_place_in_the_cluster_reruns_nothing(workspace):
    path = workspace.folder / "config/cluster.yaml"
    path.write_text("{account: other, partition: long, max_runtime_h: 2, gpu_memory_gb: 40}")
    planned = workspace.planned(*config(runtime={"threads": 2, "token_budget": 4096}))
    path.write_text("")
    assert planned == []


def test_a_fresh_checkout_over_finished_results_reruns_nothing(workspace, tmp_path):
    for name in (*WORKFLOW, "config"):
        source = workspace.folder / name
        # As a clone: every file is new today.
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, tmp_path / name)
    for name in ("config.yaml", "models.yaml"):
        shutil.copyfile(workspace.folder / name, tmp_path / name)
    for name in ("results", ".snakemake"):
        shutil.copytree(workspace.folder / name, tmp_path / name, copy_function=shutil.copy2)
    for path in [*tmp_path.rglob("workflow_scripts/*"), *tmp_path.rglob("rules/*")]:
        os.utime(path)
    assert workspace.planned("--directory", str(tmp_path), "--snakefile", str(tmp_path / "Snakefile")) == []


def test_another_seed_makes_all_of_it_again(workspace):
    assert counts(workspace, "--config", "seed=2") == {
        rule: n for rule, n in counts(workspace, "--forceall").items() if rule != "prepare_model"
    }


def test_raising_the_version_of_a_stage_reruns_it_and_what_follows(workspace, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "hneurons", tmp_path / "hneurons", ignore=shutil.ignore_patterns("__pycache__"))
    stages = tmp_path / "hneurons/stages.py"
    text = stages.read_text()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sampled = {"responses", *BEFORE_PROBE, *AFTER_PROBE}
    expected = {
        "questions": {"questions", "question_set", *sampled, "items", *ASKED_AGAIN},
        "model": {"prepare_model", *sampled, *ASKED_AGAIN},
        "responses": sampled,
        "cett": {"cett", *PROBING, *AFTER_PROBE},
        "probe": {*PROBING, *AFTER_PROBE},
        "suppressed": {*PROBING, *AFTER_PROBE} - {"probe_path"},
        "detection": {*SCORES, "table1", "k_sweep", *FACE},
        "replies": {*ASKED_AGAIN, *SWEEP, "figure3", "utility", *FACE},
        "judged": {"judge_untouched", "judge_scaled_0", "judge_scaled_1", "impact_curve", "figure3", "utility", *FACE},
        "utility": COST | {"front"},
        "published": FACE | PAGE,
    }
    for stage, rules in expected.items():
        changed = re.sub(rf'("{stage}": Stage\(\s*)(?=\d)', r"\g<1>9", text)
        assert changed != text, stage
        stages.write_text(changed)
        assert set(counts(workspace)) == rules, stage
    stages.write_text(text)
    assert workspace.planned() == []


def test_what_was_sampled_stands_in_the_order_of_the_questions(workspace):
    rows = store.read_table(workspace.results / MODEL / "responses/cities/0000.parquet", RESPONSES)[
        "question_id"
    ].to_pylist()
    questions = store.read_table(workspace.results / "questions/cities.parquet")["question_id"].to_pylist()
    assert list(dict.fromkeys(rows)) == questions[:60]
