"""The probe finds what is planted, C is chosen as said, and a detector is compared with its baselines honestly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hneurons import store
from hneurons.cett.columns import ShardColumns
from hneurons.cett.shards import shard_table
from hneurons.config.study import ProbeSettings
from hneurons.detection.compare import score_methods
from hneurons.detection.folds import score_in_folds
from hneurons.detection.scores import baseline_logits
from hneurons.errors import HNeuronsError
from hneurons.models.widths import Widths
from hneurons.probe.choice import chosen_C, compare_C
from hneurons.probe.classifiers import classifiers_from_table, classifiers_table, features_of
from hneurons.probe.examples import example_frame
from hneurons.probe.path import ProbePath, distinct_neuron_sets, fit_probe_path, neuron_set_mark
from hneurons.probe.stage import finish_probe
from hneurons.stats.auroc import auroc

LAYERS, D_FF = 3, 40
PLANTED = [(0, 5), (2, 33)]
SETTINGS = ProbeSettings(C=[100, 0.01, 1, 10], resamples=3, random_seeds=10)


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
        store.write_table(paths[-1], shard_table(rows, features, Widths.of_layers(LAYERS, D_FF)), {})
    return paths


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("cett"))


def examples_of(shards):
    """The frame of the shards' examples, each with a gold answer that few others share."""
    rows = [row for row in ShardColumns(shards).rows if row["region"] == "answer"]
    confidence = dict.fromkeys(("logprob", "answer_logprob", "answer_logprob_min"), -1.0)
    return pd.DataFrame(rows).assign(
        gold=[f"answer {i % 23}" for i in range(len(rows))], answer="Peru", length=5, population=np.nan, **confidence
    )


def gold_of(shards):
    frame = examples_of(shards)
    return dict(zip(frame["question_id"], frame["gold"], strict=True))


def probed(shards, settings=SETTINGS, judged=None, made_by=None):
    path = fit_probe_path(shards, settings, seed=0, memory_gb=1.0, gold_of=gold_of(shards))
    return finish_probe(shards, path, compare_C(path, judged), settings, 0, made_by or {}, examples_of(shards))


@pytest.fixture(scope="module")
def path(shards):
    return fit_probe_path(shards, SETTINGS, seed=0, memory_gb=1.0, gold_of=gold_of(shards))


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


ASKED = {f"q{i}": f"answer {i // 2}" for i in range(50)}


def verdicts(correct, n=50):
    given = ["correct"] * correct + ["incorrect"] * (n - correct - 1) + ["error"]
    return pd.DataFrame({"question_id": list(ASKED), "verdict": given})


def test_C_is_chosen_by_both_terms(path):
    by_probe_alone = compare_C(path, None)
    first = chosen_C(by_probe_alone)
    sets = distinct_neuron_sets(path)
    assert len(sets) == 3 and "suppressed_accuracy" not in by_probe_alone
    # Where suppression takes the answers away, another C is better.
    judged = {mark: verdicts(5 if mark == neuron_set_mark(path.classifiers[first]) else 45) for mark in sets}
    both = compare_C(path, {**judged, "": verdicts(40)}, ASKED)
    assert chosen_C(both) != first
    row = both[both["C"] == first].iloc[0]
    assert row["suppressed_accuracy"] == 5 / 49 and row["suppressed_n"] == 49 and row["untouched_accuracy"] == 40 / 49
    assert row["sum"] == row["selection_accuracy"] + row["suppressed_accuracy"]
    assert row["suppressed_low"] < row["suppressed_accuracy"] < row["suppressed_high"]
    # Of the same questions, 35 more are answered untouched.
    assert row["suppressed_minus_untouched"] == pytest.approx(-35 / 49)
    assert row["difference_low"] < -35 / 49 < row["difference_high"] < 0


def test_the_probe_finds_the_planted_neurons(shards):
    probe = probed(shards, made_by={"model": "synthetic"})
    assert set(PLANTED) <= {(layer, n) for layer, found in probe.neurons.by_layer().items() for n in found}
    assert probe.neurons.made_by["d_ff"] == D_FF and probe.neurons.made_by["model"] == "synthetic"
    assert np.abs(probe.neurons.weights).argmax() in [
        i for i, at in enumerate(zip(probe.neurons.layers, probe.neurons.neurons, strict=True)) if at in PLANTED
    ]
    probes = probe.classifiers
    assert len(probes) == 2 + 3 * SETTINGS.random_seeds
    for i in range(1, 11):
        for kind in ("l1", "l2"):
            assert len(probes[f"random-{kind}-{i}"].weights) == len(probes["hneurons"].weights)
        assert probes[f"random-l2-{i}"].share_used == 1
        assert len(probes[f"random-refit-{i}"].weights) == len(probes["hneurons-refit"].weights)
    again = classifiers_from_table(*classifiers_table(probes))
    X, _ = features_of(shards, probes["random-l1-1"].layers, probes["random-l1-1"].neurons)
    np.testing.assert_allclose(again["random-l1-1"].logits(X), probes["random-l1-1"].logits(X))
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
    found = score_methods(labels, {"hneurons": c.logits(X[test])}, groups)[0]
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


def test_methods_are_compared_on_the_same_rows():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    good = labels + rng.normal(0, 0.6, 120)
    logits = {"hneurons": good - 0.5, "hneurons-refit": 2 * good - 1}
    logits |= {f"random-l2-{i}": rng.normal(0, 1, 120) for i in range(1, 6)}
    found = {score.method: score for score in score_methods(labels, logits, [str(i) for i in range(120)])}
    assert list(found) == ["hneurons", "random-l2", "hneurons-refit"]
    assert found["hneurons-refit"].lead == 0 and found["hneurons-refit"].difference == "n too small", (
        "no row tells them apart"
    )
    assert found["random-l2"].seeds == 5 and found["random-l2"].difference == "probe better"
    assert found["random-l2"].lead_interval[0] > 0.2
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
            "answer_logprob": -labels - rng.random(n),
            "answer_logprob_min": -labels - rng.random(n),
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
    told["token_mask"], told["thought_tokens"] = [[False, True]], 0
    untold = example_frame(pd.DataFrame({"question_id": ["q"], "sample": [0], "label": [1], "split": ["test"]}), told)
    assert not [name for name in baseline_logits(examples, untold, [1]) if "logprob" in name], "the server has none"
    told["logprobs"] = [np.array([-0.5, -2.0])]
    confident = example_frame(pd.DataFrame({"question_id": ["q"], "sample": [0], "label": [1], "split": ["test"]}), told)
    assert confident[["logprob", "answer_logprob", "answer_logprob_min"]].to_numpy().tolist() == [[-1.25, -2.0, -2.0]]
    unknown = frame(30, 4, "test").assign(answer="Utopia")
    assert "bag-of-words" not in baseline_logits(examples, unknown, [1])


@pytest.mark.slow
def test_folds_score_every_training_example_by_fits_that_never_saw_its_answer(shards):
    probe = probed(shards)
    examples = examples_of(shards).assign(gold=[f"answer {i % 7}" for i in range(len(examples_of(shards)))])
    methods, sweep = score_in_folds(examples, probe.classifiers, shards, SETTINGS, 0, 1.0)
    found = {score.method: score for score in methods}
    n = int((examples["split"] == "train").sum())
    assert found["hneurons"].n_hallucinated + found["hneurons"].n_faithful == n
    assert found["hneurons"].auroc > 0.95 > 0.7 > found["random-l2"].auroc
    assert [point.neurons for point in sweep] == [10, 30, 100, LAYERS * D_FF] and sweep[0].sets == 10
    assert found["length"].auroc == pytest.approx(0.5, abs=0.1)
    with pytest.raises(HNeuronsError, match="1 gold answers in the training split, 5 needed"):
        score_in_folds(examples.assign(gold="Peru"), probe.classifiers, shards, SETTINGS, 0, 1.0)
