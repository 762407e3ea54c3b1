"""The probe finds what is planted, C is chosen as said, and a detector is compared with its baselines honestly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from hneurons import store
from hneurons.cett.columns import ShardColumns
from hneurons.cett.shards import shard_table
from hneurons.config.study import ProbeSettings
from hneurons.detection.folds import score_in_folds
from hneurons.detection.scores import baseline_logits, example_frame, score_methods
from hneurons.errors import HNeuronsError
from hneurons.probe.choice import chosen_C, compare_C
from hneurons.probe.classifiers import classifiers_from_table, classifiers_table, features_of
from hneurons.probe.path import ProbePath, distinct_neuron_sets, fit_probe_path, neuron_set_mark
from hneurons.probe.stage import finish_probe
from hneurons.stats import auroc, bootstrap_interval, wilson

LAYERS, D_FF = 3, 40
PLANTED = [(0, 5), (2, 33)]
SETTINGS = ProbeSettings(C=[100, 0.01, 1, 10], resamples=3, bootstrap=300)


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


def probed(shards, settings=SETTINGS, judged=None, made_by=None):
    path = fit_probe_path(shards, settings, seed=0, memory_gb=1.0)
    return finish_probe(shards, path, compare_C(path, judged), settings, 0, made_by or {})


@pytest.fixture(scope="module")
def path(shards):
    return fit_probe_path(shards, SETTINGS, seed=0, memory_gb=1.0)


def test_features_of_neurons_come_in_the_order_asked_for(shards):
    layers, neurons = np.array([2, 0, 2]), np.array([33, 5, 0])
    some, rows = features_of(shards, layers, neurons)
    everything, _ = features_of(shards, np.repeat(range(LAYERS), D_FF), np.tile(range(D_FF), LAYERS))
    np.testing.assert_array_equal(some, everything[:, layers * D_FF + neurons])
    assert len(rows) == len(some)
    with pytest.raises(HNeuronsError, match="no layer 0, neuron 40"):
        features_of(shards, np.array([0]), np.array([40]))


def test_a_path_reads_as_it_was_saved(path, tmp_path):
    path.save(tmp_path / "path.parquet", {"seed": 0})
    again = ProbePath.load(tmp_path / "path.parquet")
    assert list(again.classifiers) == sorted(SETTINGS.C) and again.facts == path.facts
    for C, c in path.classifiers.items():
        assert neuron_set_mark(again.classifiers[C]) == neuron_set_mark(c) and again.classifiers[C].intercept == c.intercept
        np.testing.assert_array_equal(again.classifiers[C].weights, c.weights)
        np.testing.assert_array_equal(again.stability[C]["halves"], path.stability[C]["halves"])


def test_planted_neurons_are_stable_and_noise_is_not(path):
    c, stability = path.classifiers[10], path.stability[10]
    planted = np.array([at in PLANTED for at in zip(c.layers, c.neurons, strict=True)])
    for name in ("bootstrap", "halves"):
        assert (stability[name][planted] == 1).all()
        assert stability[name][~planted].mean() < 0.7
    assert (stability["over_C"][planted] >= 0.75).all() and path.facts[10]["converged"]


def verdicts(correct, n=50):
    return pd.DataFrame({"verdict": ["correct"] * correct + ["incorrect"] * (n - correct - 1) + ["error"]})


def test_C_is_chosen_by_both_terms(path):
    by_probe_alone = compare_C(path, None)
    first = chosen_C(by_probe_alone)
    sets = distinct_neuron_sets(path)
    assert len(sets) == 3 and "suppressed_accuracy" not in by_probe_alone
    # Where suppression takes the answers away, another C is better.
    judged = {mark: verdicts(5 if mark == neuron_set_mark(path.classifiers[first]) else 45) for mark in sets}
    both = compare_C(path, {**judged, "": verdicts(40)})
    assert chosen_C(both) != first
    row = both[both["C"] == first].iloc[0]
    assert row["suppressed_accuracy"] == 5 / 49 and row["suppressed_n"] == 49 and row["untouched_accuracy"] == 40 / 49
    assert row["sum"] == row["selection_accuracy"] + row["suppressed_accuracy"]
    assert row["suppressed_low"] < row["suppressed_accuracy"] < row["suppressed_high"]


def test_the_probe_finds_the_planted_neurons(shards):
    probe = probed(shards, made_by={"model": "synthetic"})
    assert set(PLANTED) <= {(layer, n) for layer, found in probe.neurons.by_layer().items() for n in found}
    assert probe.neurons.made_by["d_ff"] == D_FF and probe.neurons.made_by["model"] == "synthetic"
    assert np.abs(probe.neurons.weights).argmax() in [
        i for i, at in enumerate(zip(probe.neurons.layers, probe.neurons.neurons, strict=True)) if at in PLANTED
    ]
    probes = probe.classifiers
    assert len(probes) == 2 + 2 * SETTINGS.random_seeds
    for i in range(1, 11):
        assert len(probes[f"random-{i}"].weights) == len(probes["hneurons"].weights)
        assert len(probes[f"random-refit-{i}"].weights) == len(probes["hneurons-refit"].weights)
    again = classifiers_from_table(*classifiers_table(probes))
    X, _ = features_of(shards, probes["random-1"].layers, probes["random-1"].neurons)
    np.testing.assert_allclose(again["random-1"].logits(X), probes["random-1"].logits(X))
    calibration = probe.summary()["calibration"]
    assert calibration["n"] == sum(row["n"] for row in calibration["bins"]) == 60
    assert calibration["brier"] < 0.1 and calibration["bins"][-1]["observed"] == 1
    assert np.isfinite(probe.neurons.stability).all() and probe.summary()["stable_half"] >= len(PLANTED)


def test_l2_and_answers_alone_are_options(shards):
    settings = SETTINGS.model_copy(update={"penalty": "l2", "labels": "1-vs-1", "C": [10.0]})
    probe = probed(shards, settings)
    assert len(probe.neurons.weights) == LAYERS * D_FF and probe.summary()["stable_half"] is None
    assert probe.summary()["converged"] and 0 < probe.neurons.selected.sum() < LAYERS * D_FF


def test_no_effect_gives_no_detection(tmp_path):
    paths = write_shards(tmp_path, effect=0)
    c = probed(paths).classifiers["hneurons"]
    X, rows = features_of(paths, c.layers, c.neurons)
    test = [i for i, row in enumerate(rows) if row["split"] == "test"]
    labels, groups = np.array([rows[i]["label"] for i in test]), [rows[i]["question_id"] for i in test]
    found = score_methods(labels, {"hneurons": c.logits(X[test])}, groups, SETTINGS, 0)[0]
    low, high = found.auroc_interval
    assert low < 0.5 < high


def test_of_equal_C_the_better_ranking_wins_and_then_the_smaller(path):
    def with_facts(**areas):
        facts = {
            C: {**f, "selection_accuracy": 0.8, "selection_auroc": areas.get(f"C{C:g}", 0.5)} for C, f in path.facts.items()
        }
        return ProbePath(path.classifiers, facts, path.stability)

    # At 0.01 there is no positive weight, so no H-Neurons.
    assert chosen_C(compare_C(with_facts(), None)) == 1
    assert chosen_C(compare_C(with_facts(C10=0.6, C100=0.6), None)) == 10


def test_too_strong_a_penalty_and_missing_examples_are_told(shards, tmp_path):
    with pytest.raises(HNeuronsError, match=r"no C of \[1e-06\] leaves a positive weight.*add larger values"):
        probed(shards, SETTINGS.model_copy(update={"C": [1e-6]}))
    with pytest.raises(HNeuronsError, match="one class only"):
        probed(write_shards(tmp_path, label=lambda i: 0))


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
    found = {score.method: score for score in score_methods(labels, logits, [str(i) for i in range(120)], SETTINGS, 0)}
    assert list(found) == ["hneurons", "random", "hneurons-refit"]
    assert found["hneurons-refit"].lead == 0 and found["hneurons-refit"].difference.startswith("no difference shown")
    assert found["random"].seeds == 5 and found["random"].difference == "probe better"
    assert found["random"].lead_interval[0] > 0.2
    assert found["hneurons"].n_hallucinated == 60


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
    told = pd.DataFrame({"question_id": ["q"], "sample": [0], "text": ["It is Rome."], "start": [6], "end": [10]})
    told["response_ids"], told["logprobs"], told["popularity"] = [[5, 6]], [np.array([])], np.nan
    untold = example_frame(pd.DataFrame({"question_id": ["q"], "sample": [0], "label": [1], "split": ["test"]}), told)
    assert "logprob" not in baseline_logits(examples, untold, [1]), "a server that tells no log-probabilities"
    unknown = frame(30, 4, "test").assign(answer="Utopia")
    assert "bag-of-words" not in baseline_logits(examples, unknown, [1])


def test_folds_score_every_training_example_by_fits_that_never_saw_its_answer(shards):
    probe = probed(shards)
    rows = [row for row in ShardColumns(shards).rows if row["region"] == "answer"]
    examples = pd.DataFrame(rows).assign(
        gold=[f"answer {i % 7}" for i in range(len(rows))],
        answer="Peru",
        length=5,
        logprob=-1.0,
        population=np.nan,
    )
    found = {score.method: score for score in score_in_folds(examples, probe.classifiers, shards, SETTINGS, 0, 1.0)}
    n = int((examples["split"] == "train").sum())
    assert found["hneurons"].n_hallucinated + found["hneurons"].n_faithful == n
    assert found["hneurons"].auroc > 0.95 > 0.7 > found["random"].auroc
    assert found["length"].auroc == pytest.approx(0.5, abs=0.1)
    with pytest.raises(HNeuronsError, match="1 gold answers in the training split, 5 needed"):
        score_in_folds(examples.assign(gold="Peru"), probe.classifiers, shards, SETTINGS, 0, 1.0)
