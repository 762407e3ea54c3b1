"""Fit to the training answers of a study, as labelled pairs of text, finds the study's neurons."""

from __future__ import annotations

import numpy as np

import hneurons as hn
from hneurons import store
from hneurons.detection import folds
from hneurons.detection.study_pairs import study_pairs
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.records import RESPONSES
from tests.small_demo import MODEL


def test_the_neurons_of_a_study_are_found_from_its_training_answers(small_demo, tmp_path, monkeypatch):
    monkeypatch.setattr(folds, "SWEEP", {10: 1})
    study = NeuronSet.load(MODEL / "probe/neurons.parquet")
    pairs = list(study_pairs(MODEL, "cities", "train"))
    found = hn.fit(hn.load_model(MODEL / "checkpoint"), pairs, tmp_path, C=[study.made_by["C"]], random_sets=10)
    shards = sorted((MODEL / "responses/cities").glob("*.parquet"))
    sampled = {row["question_id"]: row for path in shards for row in store.read_table(path, RESPONSES).to_pylist()}
    for row in store.read_table(tmp_path / "work/responses.parquet", RESPONSES).to_pylist():
        assert row["prompt_ids"] == sampled[row["question_id"]]["prompt_ids"]
    places = [sorted(zip(s.layers.tolist(), s.neurons.tolist(), s.weights, strict=True)) for s in (found, study)]
    assert [place[:2] for place in places[0]] == [place[:2] for place in places[1]]
    np.testing.assert_allclose([p[2] for p in places[0]], [p[2] for p in places[1]], rtol=1e-3)
    (scores,) = found.made_by["published"]["detection"].values()
    assert scores["n_hallucinated"] + scores["n_faithful"] == len(pairs)
