"""Answers with the H-Neurons of each C at α = 0: each set once, decoded as scaling decodes, nothing sampled twice."""

from __future__ import annotations

import datetime
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from hneurons import store
from hneurons.config.study import Decoding
from hneurons.generation.engine import LocalEngine
from hneurons.generation.prompts import chat_ids
from hneurons.judges.rule_judge import RuleJudge
from hneurons.neurons.scaling import scaled
from hneurons.probe.classifiers import Classifier
from hneurons.probe.path import ProbePath, neuron_set_mark
from hneurons.probe.suppressed import judge_suppressed, sample_suppressed, verdicts_by_set
from hneurons.records import QUESTIONS, SUPPRESSED, VERDICTS

GREEDY = Decoding(max_new_tokens=6, temperature=0)
MADE_BY = {"prompting": "chat", "prompt_date": "2024-07-26", "seed": 0}


def classifier(C, *neurons):
    layers, places, weights = (np.array(column) for column in zip(*neurons, strict=True))
    return Classifier(layers, places, weights, 0.0, C)


A = classifier(1.0, (0, 3, 1.0), (1, 5, 2.0), (1, 7, -1.0))
SAME = classifier(2.0, (0, 3, 0.5), (1, 5, 0.1))
OTHER = classifier(3.0, *((0, j, 1.0) for j in range(8)))
NONE = classifier(0.5, (0, 1, -1.0))


def save_path(path, *classifiers):
    nan = {c.C: dict.fromkeys(("over_C", "bootstrap", "halves"), np.full(len(c.weights), np.nan)) for c in classifiers}
    ProbePath({c.C: c for c in classifiers}, {c.C: {} for c in classifiers}, nan).save(path, {})


@pytest.fixture
def run(tmp_path, llama, tokenizer):
    rows = [
        {
            "question_id": f"q{i}",
            "question": f"Where is Lyon, {i}?",
            "instruction": "",
            "split": "selection" if i % 2 else "train",
            "aliases": ["France"],
            "answer_type": "country",
        }
        for i in range(10)
    ]
    store.write_table(tmp_path / "questions.parquet", pa.Table.from_pylist(rows, schema=QUESTIONS), {})
    engine = LocalEngine(SimpleNamespace(model=llama, tokenizer=tokenizer, identity={"model": "tiny"}), 200)

    def run(*classifiers, most=3):
        save_path(tmp_path / "path.parquet", *classifiers)
        out = tmp_path / "suppressed.parquet"
        files = tmp_path / "path.parquet", tmp_path / "questions.parquet", out
        share = sample_suppressed(engine, *files, GREEDY, most, MADE_BY)
        return share, store.read_table(out, SUPPRESSED).to_pylist()

    return run


def test_each_distinct_set_answers_the_first_selection_questions(run, llama, tokenizer):
    share, rows = run(NONE, A, SAME, OTHER)
    assert (
        share == 1 and neuron_set_mark(A) == neuron_set_mark(SAME) != neuron_set_mark(OTHER) and neuron_set_mark(NONE) == ""
    )
    assert [(r["neurons"], r["question_id"]) for r in rows] == [
        (mark, q) for mark in (neuron_set_mark(A), neuron_set_mark(OTHER)) for q in ("q1", "q3", "q5")
    ]
    ids = torch.tensor([chat_ids(tokenizer, ["Where is Lyon, 3?"], datetime.date(2024, 7, 26))])
    with scaled(llama, {0: [3], 1: [5]}, 0.0):
        said = llama.generate(ids, max_new_tokens=6, do_sample=False)[0, ids.shape[1] :].tolist()
    assert rows[1]["response_ids"] == said[: len(rows[1]["response_ids"])]


def test_a_new_set_or_more_questions_sample_what_is_missing(run, sampled_prompts):
    _, before = run(A)
    assert len(sampled_prompts) == 3
    share, rows = run(A, OTHER)
    assert share == 0.5 and len(sampled_prompts) == 6 and rows[:3] == before
    share, _ = run(A, OTHER, most=4)
    assert share == 2 / 8 and len(sampled_prompts) == 8
    assert run(A, OTHER, most=4)[0] == 0 and len(sampled_prompts) == 8
    assert run(OTHER, most=2)[0] == 0 and len(sampled_prompts) == 8


def test_verdicts_are_by_set_and_those_of_the_untouched_model_on_the_same_questions(run, tmp_path):
    _, rows = run(A, OTHER)
    questions = store.read_table(tmp_path / "questions.parquet").to_pylist()
    judged = judge_suppressed(questions, rows, RuleJudge())
    untouched = [
        {"question_id": f"q{i}", "sample": 0, "verdict": "correct", "why": "", "judge": "rules"} for i in range(10)
    ]
    found = verdicts_by_set(questions, 3, judged, [pa.Table.from_pylist(untouched, schema=VERDICTS)])
    assert set(found) == {"", neuron_set_mark(A), neuron_set_mark(OTHER)}
    assert all(list(of["question_id"]) == ["q1", "q3", "q5"] for of in found.values())
