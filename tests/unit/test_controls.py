"""The probe's controls get the same chance, and the numbers are those of an independent computation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import t
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from hneurons.cett.columns import ShardColumns
from hneurons.config.study import ProbeSettings
from hneurons.detection import folds
from hneurons.detection.compare import score_methods
from hneurons.detection.folds import score_in_folds
from hneurons.detection.results import DatasetScores
from hneurons.detection.scores import score_dataset
from hneurons.probe.choice import compare_C
from hneurons.probe.confidence import Combined
from hneurons.probe.controls import L2_GRID, rows_of_products, tuned_l1, tuned_l2, tuned_l2_as_is
from hneurons.probe.design import Design
from hneurons.probe.path import fit_probe_path
from hneurons.probe.stage import finish_probe
from tests.planted import D_FF, planted

pytestmark = pytest.mark.slow

SETTINGS = ProbeSettings(C=[0.3, 1, 3, 10], resamples=0, random_seeds=10)


def study(data, settings=SETTINGS):
    """The probe of planted data, its scores in folds, and on the test split."""
    gold_of = dict(zip(data.frame["question_id"], data.frame["gold"], strict=True))
    path = fit_probe_path(data.shards, settings, seed=0, memory_gb=1.0, gold_of=gold_of)
    probe = finish_probe(data.shards, path, compare_C(path, None), settings, 0, {}, data.frame)
    with pytest.MonkeyPatch.context() as patch:
        # Fewer sets of fewer numbers than a study has: most of the time.
        patch.setattr(folds, "SWEEP", {10: 3, 100: 3})
        methods, sweep = score_in_folds(data.frame, probe.classifiers, data.shards, settings, 0, 1.0)
    about = {"judge": "rules", "verdicts": {"correct": 1}}
    in_folds = DatasetScores("m", "folds", faithful_are="", methods=methods, sweep=sweep, **about)
    combined = Combined.from_dict(probe.neurons.made_by["combined"])
    test = score_dataset(
        data.frame,
        data.frame,
        "",
        probe.classifiers,
        combined,
        data.shards,
        settings.C,
        0,
        in_domain="d",
        model="m",
        dataset="d",
        **about,
    )
    return probe, in_folds, test


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("planted"), neurons=1.5)


@pytest.fixture(scope="module")
def results(data):
    return study(data)


def test_where_only_planted_neurons_carry_the_signal_the_lead_is_shown(results):
    _, in_folds, test = results
    for scores in (in_folds, test):
        assert scores.of_method("hneurons").auroc > 0.9
        for control in ("random-l1", "random-l2"):
            assert scores.of_method(control).auroc < 0.65 and scores.of_method(control).beaten
        assert {"answer-logprob", "length"} & set(scores.not_beaten) == set()
    # All neurons contain the planted ones; no smaller number does.
    assert in_folds.matching_number in (None, in_folds.sweep[-1].neurons)


def test_where_all_neurons_carry_the_signal_no_lead_is_shown(tmp_path):
    _, in_folds, _ = study(planted(tmp_path, neurons=0.2, everywhere=0.2))
    assert in_folds.control.method == "random-l2" and in_folds.control.auroc > 0.6
    assert abs(in_folds.control.lead) < 0.1 and not in_folds.control.beaten
    assert in_folds.control.method in in_folds.not_beaten
    assert in_folds.sweep[-1].lead < 0 and in_folds.matching_number is not None, "all neurons together detect better"


def test_where_confidence_alone_carries_the_signal_it_wins_and_the_combination_follows(tmp_path):
    _, in_folds, test = study(planted(tmp_path, neurons=0.3, confidence=1.0))
    for scores in (in_folds, test):
        confidence, combined = scores.of_method("answer-logprob"), scores.of_method("combined")
        assert confidence.auroc > 0.85 and confidence.difference == "probe worse"
        assert "answer-logprob" in scores.not_beaten and "combined" not in scores.not_beaten
        assert combined.auroc > confidence.auroc - 0.03


def test_a_random_set_that_drops_most_neurons_is_marked(results):
    _, in_folds, _ = results
    l1, l2 = in_folds.of_method("random-l1"), in_folds.of_method("random-l2")
    assert l1.neurons_used == l2.neurons_used == in_folds.of_method("hneurons").neurons_used
    assert l2.share_used == 1 and not l2.marked
    assert l1.share_used < 1 and l1.marked == (l1.share_used < 0.9)
    assert l1.seeds == l2.seeds == 10 and l1.rank is None, "ten sets are too few for a rank"


@pytest.mark.parametrize(("sets", "better", "rank"), [(19, 0, 1), (19, 3, 4), (40, 1, 2), (18, 0, None)])
def test_the_rank_of_the_probe_among_nineteen_sets_or_more(sets, better, rank):
    rng = np.random.default_rng(0)
    labels, gold = np.arange(80) % 2, [f"answer {i // 4}" for i in range(80)]

    def logits(signal):
        return signal * labels + rng.normal(size=80)

    by_name = {"hneurons": logits(3.0), "answer-logprob": logits(0.5)}
    by_name |= {f"random-l2-{i}": logits(9.0 if i <= better else 0.5) for i in range(1, sets + 1)}
    scores = {score.method: score for score in score_methods(labels, by_name, gold)}
    assert scores["random-l2"].rank == rank and scores["answer-logprob"].rank is None


def test_an_l2_fit_of_standardised_columns_is_scikit_learns(data):
    columns = ShardColumns(data.shards)
    design = Design.from_rows(columns, "3-vs-1", dict(zip(data.frame["question_id"], data.frame["gold"], strict=True)))
    trained = design.problem.weight > 0
    X = data.X[:, :50].astype(float)
    fit = tuned_l2(X, design)
    scaled = X / X[trained].std(axis=0)
    reference = LogisticRegression(C=fit.C, tol=1e-8, max_iter=5000).fit(scaled[trained], design.problem.y[trained])
    np.testing.assert_allclose(fit.logits(X), reference.decision_function(scaled), atol=1e-3)
    # In coordinates of the rows the fit is the same.
    coordinates = rows_of_products(scaled @ scaled.T)
    np.testing.assert_allclose(tuned_l2_as_is(coordinates, design).logits(coordinates), fit.logits(X), atol=1e-2)


def test_an_l1_control_is_tuned_by_answers_that_no_fit_saw(data):
    columns = ShardColumns(data.shards)
    design = Design.from_rows(columns, "3-vs-1", dict(zip(data.frame["question_id"], data.frame["gold"], strict=True)))
    fit = tuned_l1(data.X[:, :50], design, SETTINGS)
    assert fit.C in SETTINGS.C
    scored = (design.problem.weight > 0) & design.scored
    assert np.isfinite(fit.held_out[scored]).all() and np.isnan(fit.held_out[~scored]).all()


def penalised(penalty, C):
    if penalty == "l1":
        # liblinear penalises the intercept; scaled, it hardly does.
        return LogisticRegression(penalty="l1", solver="liblinear", intercept_scaling=1e3, C=C, tol=1e-7, max_iter=5000)
    return LogisticRegression(C=C, tol=1e-8, max_iter=5000)


def tuned_by_hand(X, y, gold, answers, penalty, grid):
    """Fit at the C with the largest accuracy + AUROC on answers of four inner folds."""
    held_out = {C: np.full(len(y), np.nan) for C in grid}
    for fit_on, left_out in GroupKFold(4).split(X, y, gold):
        for C in grid:
            model = penalised(penalty, C).fit(X[fit_on], y[fit_on])
            held_out[C][left_out] = model.decision_function(X[left_out])

    def merit(C):
        values = held_out[C][answers]
        return (((values > 0) == y[answers]).mean() + roc_auc_score(y[answers], values), -C)

    # A fit without weights is a constant.
    usable = [C for C in grid if penalised(penalty, C).fit(X, y).coef_.any()]
    return penalised(penalty, max(usable, key=merit)).fit(X, y)


@pytest.fixture(scope="module")
def by_hand(data):
    """Labels, folds, gold answers, and log-odds of the probe and of a random set of each kind, without the package."""
    train = [i for i, row in enumerate(data.rows) if row["split"] == "train"]
    X = data.X[train].astype(float)
    rows = [data.rows[i] for i in train]
    gold_of = dict(zip(data.frame["question_id"], data.frame["gold"], strict=True))
    gold = np.array([gold_of[row["question_id"]] for row in rows])
    answers = np.array([row["region"] == "answer" for row in rows])
    y = np.array([row["region"] == "answer" and row["label"] == 1 for row in rows]).astype(int)
    logits = {name: np.full(len(y), np.nan) for name in ("hneurons", "random-l1-1", "random-l2-1")}
    folds = np.zeros(len(y), dtype=int)
    for k, (fit_on, left_out) in enumerate(GroupKFold(5).split(X, y, gold)):
        folds[left_out] = k
        part = (y[fit_on], gold[fit_on], answers[fit_on])
        probe = tuned_by_hand(X[fit_on], *part, "l1", SETTINGS.C)
        logits["hneurons"][left_out] = probe.decision_function(X[left_out])
        used = np.flatnonzero(np.abs(probe.coef_[0]) > 1e-6)
        free = np.setdiff1d(np.arange(X.shape[1]), used)
        drawn = np.sort(np.random.default_rng([0, k, 1]).choice(free, size=len(used), replace=False))
        few = X[:, drawn]
        l1 = tuned_by_hand(few[fit_on], *part, "l1", SETTINGS.C)
        logits["random-l1-1"][left_out] = l1.decision_function(few[left_out])
        scaled = few / few[fit_on].std(axis=0)
        l2 = tuned_by_hand(scaled[fit_on], *part, "l2", L2_GRID)
        logits["random-l2-1"][left_out] = l2.decision_function(scaled[left_out])
    labels = np.array([row["label"] for row in rows])
    return labels[answers], folds[answers], gold[answers], {name: values[answers] for name, values in logits.items()}


def within_folds(labels, folds, scores):
    """AUROC over pairs of one fold."""
    wins = pairs = 0.0
    for k in set(folds):
        positive, negative = (scores[(folds == k) & (labels == label)] for label in (1, 0))
        wins += (positive[:, None] > negative).sum() + 0.5 * (positive[:, None] == negative).sum()
        pairs += len(positive) * len(negative)
    return wins / pairs


@pytest.mark.parametrize("name", ["hneurons", "random-l1-1", "random-l2-1"])
def test_aurocs_in_folds_are_those_of_an_independent_computation(results, by_hand, name):
    labels, folds, _, logits = by_hand
    score = results[1].of_method(name.removesuffix("-1"))
    assert score.auroc_of_seeds[0] == pytest.approx(within_folds(labels, folds, logits[name]), abs=0.01)


def test_an_interval_is_that_of_an_independent_computation(results, by_hand):
    """A jackknife over gold answers, Student's t with the effective number of answers, on the logit scale."""
    labels, folds, gold, logits = by_hand
    values = []
    for answer in np.unique(gold):
        kept = gold != answer
        values.append(within_folds(labels[kept], folds[kept], logits["hneurons"][kept]))
    G, value = len(values), within_folds(labels, folds, logits["hneurons"])
    error = np.sqrt((G - 1) / G * ((np.array(values) - np.mean(values)) ** 2).sum())
    sizes = np.unique(gold, return_counts=True)[1]
    half = t.ppf(0.975, sizes.sum() ** 2 / (sizes**2).sum() - 1) * error / (value * (1 - value))
    expected = expit(logit(value) - half), expit(logit(value) + half)
    assert results[1].of_method("hneurons").auroc_interval == pytest.approx(expected, abs=0.01)


def test_the_combined_detector_is_stored_with_the_neurons(results):
    probe, _, _ = results
    combined = Combined.from_dict(probe.neurons.made_by["combined"])
    assert combined.probe > 0, "higher log-odds of the probe are more suspicious"
    by_hand = combined.intercept + combined.probe * 2 + combined.mean * -0.3 + combined.minimum * -0.9
    assert combined.logits(np.array([2.0]), np.array([[-0.3, -0.9]]))[0] == pytest.approx(by_hand)
    assert probe.neurons.made_by["d_ff"] == D_FF


def test_without_log_probabilities_there_is_no_combined_detector(data, monkeypatch):
    monkeypatch.setattr(folds, "SWEEP", {10: 1})
    frame = data.frame.assign(answer_logprob=np.nan, answer_logprob_min=np.nan, logprob=np.nan)
    gold_of = dict(zip(frame["question_id"], frame["gold"], strict=True))
    path = fit_probe_path(data.shards, SETTINGS, seed=0, memory_gb=1.0, gold_of=gold_of)
    probe = finish_probe(data.shards, path, compare_C(path, None), SETTINGS, 0, {}, frame)
    assert probe.neurons.made_by["combined"] is None
    methods, _ = score_in_folds(frame, probe.classifiers, data.shards, SETTINGS, 0, 1.0)
    assert not {"combined", "answer-logprob", "logprob"} & {score.method for score in methods}
