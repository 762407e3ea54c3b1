"""The probe finds what is planted, C is chosen as said, and a detector is compared with its baselines honestly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from hneurons import store
from hneurons.cett import shard_table
from hneurons.config import ProbeSettings
from hneurons.detection import baseline_logits, evaluate
from hneurons.errors import HNeuronsError
from hneurons.folds import detect_in_folds
from hneurons.metrics import auroc, bootstrap_interval, wilson
from hneurons.probe import (
    best_C,
    classifiers_from_table,
    classifiers_table,
    fit_probe,
    fit_weights,
    load_features,
    training_set,
)

LAYERS, D_FF = 3, 40
PLANTED = [(0, 5), (2, 33)]
SETTINGS = ProbeSettings(C=[0.01, 1, 10, 100], bootstrap=300)


def write_shards(folder, effect=0.5, n=120, label=lambda i: i % 2):
    """CETT-like shards in which hallucinated answers have larger values at the planted neurons."""
    rng = np.random.default_rng(0)
    paths = []
    for shard in range(2):
        rows, features = [], []
        for i in range(n):
            split = ("train", "train", "selection", "test")[i // 2 % 4]
            for region in ("answer", "other") if split == "train" else ("answer",):
                values = rng.gamma(2.0, 0.1, (LAYERS, D_FF)).astype(np.float32)
                for layer, neuron in PLANTED:
                    values[layer, neuron] += effect * (label(i) == 1 and region == "answer")
                who = {"question_id": f"q{shard}-{i}", "sample": 0, "split": split}
                rows.append({**who, "region": region, "label": label(i)})
                features.append(values)
        paths.append(folder / f"{shard:04d}.parquet")
        store.write_table(paths[-1], shard_table(rows, features, LAYERS, D_FF), {})
    return paths


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("cett"))


def test_features_of_some_neurons_are_columns_of_all(shards):
    everything = load_features(shards)
    layers, neurons = np.array([2, 0, 2]), np.array([33, 5, 0])
    some = load_features(shards, (layers, neurons))
    np.testing.assert_array_equal(some.X, everything.X[:, layers * D_FF + neurons])
    assert some.rows == everything.rows and len(some.rows) == len(some.X)


def test_three_against_one(shards):
    features = load_features(shards)
    X, y = training_set(features, "3-vs-1")
    answers, of_answers = training_set(features, "1-vs-1")
    assert y.mean() == 0.25 and of_answers.mean() == 0.5
    assert len(X) == 2 * len(answers) and y.sum() == of_answers.sum()


def test_the_probe_finds_the_planted_neurons(shards):
    probe = fit_probe(shards, SETTINGS, seed=0, made_by={"model": "synthetic"})
    assert set(PLANTED) <= {(layer, n) for layer, found in probe.neurons.by_layer().items() for n in found}
    assert probe.neurons.made_by["d_ff"] == D_FF and probe.neurons.made_by["model"] == "synthetic"
    assert np.abs(probe.neurons.weights).argmax() in [
        i for i, at in enumerate(zip(probe.neurons.layers, probe.neurons.neurons, strict=True)) if at in PLANTED
    ]
    probes = probe.classifiers
    assert len(probes) == 2 + 2 * SETTINGS.random_seeds
    for i in range(1, 6):
        assert len(probes[f"random-{i}"].weights) == len(probes["hneurons"].weights)
        assert len(probes[f"random-refit-{i}"].weights) == len(probes["hneurons-refit"].weights)
    again = classifiers_from_table(*classifiers_table(probes))
    X = load_features(shards, (probes["random-1"].layers, probes["random-1"].neurons)).X
    np.testing.assert_allclose(again["random-1"].logits(X), probes["random-1"].logits(X))


def groups_of(features):
    return [row["question_id"] for row in features.rows]


def test_no_effect_gives_no_detection(tmp_path):
    paths = write_shards(tmp_path, effect=0)
    probe = fit_probe(paths, SETTINGS, seed=0, made_by={})
    c = probe.classifiers["hneurons"]
    test = load_features(paths, (c.layers, c.neurons)).where(split="test", region="answer")
    found = evaluate(test.labels, {"hneurons": c.logits(test.X)}, groups_of(test), SETTINGS, 0)[0]
    low, high = found["auroc_interval"]
    assert low < 0.5 < high


def test_the_smallest_of_equally_good_C_wins():
    rows = [
        {"C": C, "non_zero": n, "selection_accuracy": a, "selection_auroc": r}
        for C, n, a, r in [(1, 0, 0.9, 0.9), (2, 3, 0.7, 0.9), (4, 5, 0.8, 0.6), (8, 9, 0.8, 0.6), (9, 9, 0.8, 0.5)]
    ]
    assert best_C(rows)["C"] == 4
    assert best_C([*rows, {**rows[3], "selection_auroc": 0.7}])["C"] == 8
    with pytest.raises(HNeuronsError, match=r"probe.C: every C of \[1\] leaves all weights zero"):
        best_C(rows[:1])


def test_too_strong_a_penalty_and_a_single_class_are_told(shards, tmp_path):
    with pytest.raises(HNeuronsError, match="leaves all weights zero; add larger values"):
        fit_probe(shards, ProbeSettings(C=[1e-6]), seed=0, made_by={})
    with pytest.raises(HNeuronsError, match="one class only"):
        fit_probe(write_shards(tmp_path, label=lambda i: 0), SETTINGS, seed=0, made_by={})


def test_the_free_intercept_is_not_penalised(shards):
    X, y = training_set(load_features(shards), "3-vs-1")
    weights, intercept, converged = fit_weights(X, y, SETTINGS, 1.0)
    saga = LogisticRegression(l1_ratio=1.0, solver="saga", C=1.0, max_iter=20000, tol=1e-7).fit(X, y)

    def objective(w, b):
        logits = X @ w + b
        return np.logaddexp(0, np.where(y == 1, -logits, logits)).sum() + np.abs(w).sum()

    best = objective(saga.coef_[0], saga.intercept_[0])
    assert converged
    assert objective(weights, intercept) <= best * (1 + 1e-3)
    penalised, shrunk, _ = fit_weights(X, y, SETTINGS.model_copy(update={"intercept": "penalised"}), 1.0)
    assert objective(penalised, shrunk) > best * (1 + 1e-3)


def test_auroc_counts_ties_half():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 200), rng.integers(0, 12, 200)
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert np.isnan(auroc(np.ones(3), np.arange(3)))


def test_intervals_of_known_cases():
    assert wilson(64, 100) == pytest.approx((0.5424, 0.7272), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    values = np.random.default_rng(0).normal(0, 1, 400)
    low, high = bootstrap_interval(lambda v: float(v.mean()), [values], resamples=2000, seed=0)
    assert (low, high) == pytest.approx((values.mean() - 0.098, values.mean() + 0.098), abs=0.01)


def test_rows_of_a_group_are_drawn_together():
    values = np.repeat(np.random.default_rng(0).normal(0, 1, 40), 10)
    groups = [str(i // 10) for i in range(400)]
    options = {"resamples": 1000, "seed": 0}
    low, high = bootstrap_interval(lambda v: float(v.mean()), [values], groups=groups, **options)
    naive_low, naive_high = bootstrap_interval(lambda v: float(v.mean()), [values], **options)
    assert (high - low) / (naive_high - naive_low) == pytest.approx(10**0.5, rel=0.15)


def test_methods_are_compared_on_the_same_rows():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    good = labels + rng.normal(0, 0.6, 120)
    logits = {"hneurons": good - 0.5, "hneurons-refit": 2 * good - 1}
    logits |= {f"random-{i}": rng.normal(0, 1, 120) for i in range(1, 6)}
    found = {row["method"]: row for row in evaluate(labels, logits, [str(i) for i in range(120)], SETTINGS, 0)}
    assert list(found) == ["hneurons", "random", "hneurons-refit"]
    assert found["hneurons-refit"]["lead"] == 0 and found["hneurons-refit"]["lead_includes_0"]
    assert found["random"]["seeds"] == 5 and not found["random"]["lead_includes_0"]
    assert found["random"]["lead_interval"][0] > 0.2
    assert found["hneurons"]["n_hallucinated"] == 60


def frame(n, seed, split="train", population=True):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    return pd.DataFrame(
        {
            "split": split,
            "label": labels,
            "length": rng.integers(3, 9, n),
            "logprob": -labels - rng.random(n),
            "population": np.log10(1e6) - labels + rng.normal(0, 0.1, n) if population else np.nan,
            "answer": np.where(labels == 1, "Peru", "Chile"),
        }
    )


def test_baselines_learn_what_is_there_and_are_left_out_where_they_cannot_be():
    examples = pd.concat([frame(60, 0), frame(30, 1, "selection")])
    scored = frame(30, 2, "test")
    found = baseline_logits(examples, scored, [0.1, 1])
    areas = {name: auroc(scored["label"].to_numpy(), values) for name, values in found.items()}
    assert areas["logprob"] == areas["population"] == areas["bag-of-words"] == 1
    assert 0.2 < areas["length"] < 0.8
    assert "population" not in baseline_logits(examples, frame(30, 3, "test", population=False), [1])
    unknown = frame(30, 4, "test").assign(answer="Utopia")
    assert "bag-of-words" not in baseline_logits(examples, unknown, [1])


def test_folds_score_every_training_example_by_fits_that_never_saw_its_answer(shards):
    probe = fit_probe(shards, SETTINGS, seed=0, made_by={})
    rows = [row for row in load_features(shards).rows if row["region"] == "answer"]
    examples = pd.DataFrame(rows).assign(
        gold=[f"answer {i % 7}" for i in range(len(rows))],
        answer="Peru",
        length=5,
        logprob=-1.0,
        population=np.nan,
    )
    found = {row["method"]: row for row in detect_in_folds(examples, probe.classifiers, shards, SETTINGS, 0)}
    n = int((examples["split"] == "train").sum())
    assert found["hneurons"]["n_hallucinated"] + found["hneurons"]["n_faithful"] == n
    assert found["hneurons"]["auroc"] > 0.95 > 0.7 > found["random"]["auroc"]
    assert found["length"]["auroc"] == pytest.approx(0.5, abs=0.1)
    with pytest.raises(HNeuronsError, match="1 gold answers in the training split, 5 needed"):
        detect_in_folds(examples.assign(gold="Peru"), probe.classifiers, shards, SETTINGS, 0)
