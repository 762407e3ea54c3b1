"""The paper's kind of study on a tiny model: TriviaQA's layout trains, NonExist tests, and an LLM judges everything."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter

import pandas as pd
import pytest

from hneurons import store
from hneurons.data.geography import known_cities
from hneurons.judges import llm_prompts
from hneurons.records import RUNS, SPANS
from tests.judge_server import JudgeServer, completion
from tests.paths import FIXTURES, shared
from tests.workflow.study import MODEL, tiny_study

NAME = "trivia.jsonl"
# All that an LLM judges.
WANTED = [
    *(f"results/paper/tables/{name}.csv" for name in ("table1", "figure3", "agreement")),
    f"results/paper/{MODEL}/impact/test-questions/curve.json",
]


def judge(text, count, system):
    """A judge that goes by the accepted answers, and cannot be reached the first time now and then."""
    if count == 1 and overloaded(text):
        return "429 slow down"
    asked = json.loads(text)
    response = asked["response"]
    if system == llm_prompts.SPAN:
        return completion(json.dumps({"span": response.removeprefix("It is ").rstrip(".")}))
    if system == llm_prompts.PREMISE:
        return completion(json.dumps({"verdict": "accepted" if len(response) % 2 else "rejected"}))
    right = any(alias in response for alias in asked["accepted_answers"])
    verdict = "refused" if "know" in response else "correct" if right else "incorrect"
    return completion(json.dumps({"verdict": verdict}))


def overloaded(text):
    return len(text) % 50 == 0


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    mirror = folder / "mirror"
    mirror.mkdir()
    rows = [
        {"question_id": f"t{i}", "question": f"Where is the city of {c.name}?", "aliases": list(c.country)}
        for i, c in enumerate(known_cities()[:120])
    ]
    (mirror / NAME).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (mirror / "faitheval_counterfactual.jsonl").symlink_to(FIXTURES / "published/faitheval_counterfactual.jsonl")
    (mirror / "falseqa_test.csv").symlink_to(shared("datasets/falseqa_test.csv"))
    with JudgeServer(judge) as server:
        llm = {"model": "judge", "base_url": server.url, "api_key_env": None, "max_judge_calls": 3000, "concurrency": 8}
        config = {
            "study": "paper",
            "models_file": "models.yaml",
            "models": [MODEL],
            "mirror": str(mirror),
            "datasets": {
                "triviaqa": {"role": "in_domain", "questions": 120, "file": NAME},
                "nonexist": {"role": "nonexist", "questions": 30},
            },
            "sampling": {"samples": 3, "decoding": {"max_new_tokens": 12, "temperature": 0.7}, "questions_per_shard": 120},
            "examples": {"min_per_class": 4},
            "probe": {"C": [10, 100, 1000], "random_seeds": 10},
            "impact": {
                "benchmarks": {
                    "falseqa": {"items": 8, "max_new_tokens": 8},
                    "faitheval": {"items": 5, "max_new_tokens": 8},
                },
                "alphas": [0, 1, 3],
                "random_seeds": 1,
                "sets_per_job": 2,
                # The LLM judges the answers to test questions as well.
                "utility": {"questions": 4, "text": None, "responses": 0},
            },
            "judges": {"correctness": "llm", "spans": "llm", "falseqa": "llm", "agreement": {"sample": 20}, "llm": llm},
        }
        workspace = tiny_study(folder, config)
        workspace.run(*WANTED)
        workspace.server = server
        yield workspace


def test_table_1_says_who_judged_and_who_placed_the_spans(study):
    table = pd.read_csv(study.results / "tables/table1.csv")
    assert {"triviaqa", "nonexist"} <= set(table["dataset"])
    assert set(table["judge"]) == {"llm:judge"} and set(table["spans_by"]) == {"llm:judge"}
    assert (table["n_faithful"] == table["n_hallucinated"]).all()
    faithful = table[table["dataset"] == "nonexist"]["faithful_are"].iloc[0]
    assert faithful == "answers that decline"
    spans = pd.concat([store.read_table(p, SPANS).to_pandas() for p in study.results.rglob("spans/*/*.parquet")])
    assert set(spans["method"]) == {"llm"} and spans["token_mask"].map(any).all()


def test_falseqa_is_judged_by_the_llm_and_faitheval_by_the_parser(study):
    points = pd.read_csv(study.results / "tables/figure3.csv").set_index("benchmark")
    assert set(points.loc["falseqa", "judge"]) == {"llm:judge"} and set(points.loc["faitheval", "judge"]) == {"rules"}
    run = store.read_table(study.results / MODEL / "impact/falseqa/untouched/alpha=1.parquet", RUNS).to_pandas()
    assert len(run) == 8 and set(run["state"]) <= {"parsed", "unparsed", "refused", "error"}


def test_every_call_is_counted_once_and_a_second_run_has_nothing_to_do(study):
    calls = sqlite3.connect(study.folder / "results/judge-cache.sqlite").execute("SELECT key FROM calls").fetchall()
    assert max(Counter(calls).values()) == 1
    answered = Counter(json.dumps(r["messages"]) for r in study.server.requests)
    assert len(calls) == len(answered)
    assert all(n == 1 or overloaded(json.loads(m)[-1]["content"]) for m, n in answered.items())
    assert study.planned(*WANTED) == []


def test_agreement_of_both_judges_stands_in_a_table(study):
    table = pd.read_csv(study.results / "tables/agreement.csv")
    assert set(table["task"]) == {"correctness", "falseqa"} and set(table["second"]) == {"llm:judge"}
    correctness = table[table["task"] == "correctness"]
    assert correctness["count"].sum() == 20 == correctness["n"].iloc[0]
