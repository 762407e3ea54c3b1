"""Fit to the training answers of a study, as labelled pairs of text, finds the study's neurons."""

from __future__ import annotations

import numpy as np

import hneurons as hn
from hneurons import store
from hneurons.data.gold_answers import answer_groups
from hneurons.data.questions import prompt_of
from hneurons.detection import folds
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.records import EXAMPLES, QUESTIONS, RESPONSES, SPANS
from tests.small_demo import MODEL, RESULTS


def by_example(stage, schema):
    tables = [store.read_table(path, schema) for path in sorted((MODEL / stage / "cities").glob("*.parquet"))]
    return {(row["question_id"], row["sample"]): row for table in tables for row in table.to_pylist()}


def training_pairs():
    questions = {q["question_id"]: q for q in store.read_table(RESULTS / "questions/cities.parquet", QUESTIONS).to_pylist()}
    gold_of = answer_groups(questions.values())
    responses, spans = by_example("responses", RESPONSES), by_example("spans", SPANS)
    for example in store.read_table(MODEL / "examples/cities.parquet", EXAMPLES).to_pylist():
        key = example["question_id"], example["sample"]
        if example["split"] == "train":
            yield {
                "id": key[0],
                "question": prompt_of(questions[key[0]]),
                "response": responses[key]["text"],
                "label": example["label"],
                "answer_start": spans[key]["start"],
                "answer_end": spans[key]["end"],
                "group": gold_of[key[0]],
            }


def test_the_neurons_of_a_study_are_found_from_its_training_answers(small_demo, tmp_path, monkeypatch):
    monkeypatch.setattr(folds, "SWEEP", {10: 1})
    study = NeuronSet.load(MODEL / "probe/neurons.parquet")
    pairs = list(training_pairs())
    found = hn.fit(hn.load_model(MODEL / "checkpoint"), pairs, tmp_path, C=[study.made_by["C"]], random_sets=10)
    responses = by_example("responses", RESPONSES)
    for row in store.read_table(tmp_path / "work/responses.parquet", RESPONSES).to_pylist():
        sampled = next(r for (question, _), r in responses.items() if question == row["question_id"])
        assert row["prompt_ids"] == sampled["prompt_ids"]
    places = [sorted(zip(s.layers.tolist(), s.neurons.tolist(), s.weights, strict=True)) for s in (found, study)]
    assert [place[:2] for place in places[0]] == [place[:2] for place in places[1]]
    np.testing.assert_allclose([p[2] for p in places[0]], [p[2] for p in places[1]], rtol=1e-3)
    (scores,) = found.made_by["published"]["detection"].values()
    assert scores["n_hallucinated"] + scores["n_faithful"] == len(pairs)
