"""Intervals: exact identities first, then how often they cover the truth, then what happens where n is too small."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from hneurons.detection.compare import score_methods
from hneurons.planning.power import detectable_slopes
from hneurons.stats.auroc import auroc, auroc_estimate, stratified_auroc
from hneurons.stats.coverage import TABLE, covered, measured_coverage
from hneurons.stats.estimates import (
    Estimate,
    Groups,
    kappa_estimate,
    mean_estimate,
    mean_of_sets,
    minus_sets,
    slope_estimate,
    wilson,
)
from hneurons.stats.significance import detectable, holm, mcnemar_test, p_value
from tests.paths import ROOT


def alone(n):
    return Groups.from_names(np.arange(n))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels, answers = rng.integers(0, 2, 120), rng.integers(0, 30, 120)
    return labels, labels + rng.normal(size=120), Groups.from_names(answers)


@pytest.fixture
def coverage_script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "perf")
    return importlib.import_module("coverage")


def jackknife_error(statistic, groups):
    values = np.array([statistic(groups.codes != g) for g in range(groups.count)])
    return np.sqrt((groups.count - 1) / groups.count * ((values - values.mean()) ** 2).sum())


def test_a_mean_of_independent_rows_has_students_interval():
    values = np.random.default_rng(0).normal(size=50)
    low, high = mean_estimate(values, alone(50)).interval()
    half = t.ppf(0.975, 49) * values.std(ddof=1) / 50**0.5
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half))


def test_errors_over_groups_are_those_of_a_jackknife_that_leaves_one_group_out(data):
    labels, scores, groups = data
    verdicts = np.array(list("abc"))[np.random.default_rng(1).integers(0, 3, (2, 120))]
    for estimate, statistic, tolerance in [
        (mean_estimate(scores, groups), lambda rows: scores[rows].mean(), 1e-4),
        (mean_estimate(scores, groups, labels), lambda rows: scores[rows] @ labels[rows] / labels[rows].sum(), 1e-4),
        (auroc_estimate(labels, scores, groups), lambda rows: auroc(labels[rows], scores[rows]), 1e-2),
        (
            kappa_estimate(verdicts[0], verdicts[1], groups),
            lambda rows: cohen_kappa_score(verdicts[0][rows], verdicts[1][rows]),
            1e-2,
        ),
    ]:
        assert estimate.value == pytest.approx(statistic(np.ones(120, dtype=bool)))
        assert estimate.error == pytest.approx(jackknife_error(statistic, groups), rel=tolerance)


def test_an_auroc_counts_ties_half_and_is_scikit_learns(data):
    labels, scores, groups = data
    rounded = np.round(scores)
    assert auroc_estimate(labels, rounded, groups).value == pytest.approx(roc_auc_score(labels, rounded))
    assert np.isnan(auroc(np.ones(3), np.arange(3)))


def test_independent_rows_have_delongs_variance():
    """DeLong, DeLong and Clarke-Pearson 1988, computed from all pairs."""
    rng = np.random.default_rng(2)
    labels = np.repeat([1, 0], [40, 60])
    scores = labels + rng.normal(size=100)
    above = (scores[:40, None] > scores[None, 40:]).astype(float)
    variance = above.mean(axis=1).var(ddof=1) / 40 + above.mean(axis=0).var(ddof=1) / 60
    assert auroc_estimate(labels, scores, alone(100)).error ** 2 == pytest.approx(variance, rel=0.02)


def test_a_difference_is_paired(data):
    labels, scores, groups = data
    first = auroc_estimate(labels, scores, groups)
    nothing = first - auroc_estimate(labels, 2 * scores + 1, groups)
    assert nothing.value == nothing.error == 0 and nothing.interval() is None, "no row tells the two apart"
    other = auroc_estimate(labels, scores + np.random.default_rng(3).normal(0, 0.1, 120), groups)
    assert (first - other).error < 0.3 * first.error


def test_a_slope_is_that_of_least_squares():
    values = np.random.default_rng(0).random((4, 50))
    slope = slope_estimate([0, 1, 2, 3], [mean_estimate(row, alone(50)) for row in values])
    assert slope.value == pytest.approx(np.polyfit([0, 1, 2, 3], values.mean(axis=1), 1)[0])
    of_items = np.polyfit([0, 1, 2, 3], values, 1)[0]
    assert slope.error == pytest.approx(of_items.std(ddof=1) / 50**0.5)


def test_strata_compare_their_own_rows_only():
    """Each fold ranks perfectly on a scale of its own; pooled, the scales would mix."""
    labels, folds = np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.repeat([0, 1], 4)
    scores = np.array([1, 2, 3, 4, 101, 102, 103, 104])
    assert stratified_auroc(labels, scores, alone(8), folds).value == 1 > auroc(labels, scores)
    equal = stratified_auroc(labels, scores, alone(8), np.zeros(8))
    assert equal.value == auroc(labels, scores)


def test_rates_of_nought_and_one_have_wilsons_interval():
    assert mean_estimate(np.ones(40), alone(40)).share_interval() == pytest.approx(wilson(40, 40))
    ten_answers = Groups.from_names(np.repeat(range(10), 4))
    assert mean_estimate(np.zeros(40), ten_answers).share_interval() == pytest.approx(wilson(0, 10))
    assert wilson(0, 0) == (0.0, 1.0) and wilson(64, 100) == pytest.approx((0.5424, 0.7272), abs=1e-4)


def test_the_spread_of_random_sets_is_in_their_interval():
    """Sets that differ by more than their rows explain."""
    rng = np.random.default_rng(0)
    rates = [0.3, 0.4, 0.5, 0.6, 0.7]
    sets = [mean_estimate((rng.random(2000) < rate).astype(float), alone(2000)) for rate in rates]
    mean = mean_of_sets(sets)
    assert mean.error == pytest.approx(np.std([s.value for s in sets], ddof=1) / 5**0.5, rel=0.02)
    assert mean.quantile == pytest.approx(t.ppf(0.975, 4), rel=0.02), "five sets have four degrees of freedom"
    assert mean_of_sets(sets[:1]).error == sets[0].error


@pytest.mark.parametrize("between", [0.01, 0.02, 0.04])
def test_one_more_random_set_is_not_called_different_from_five(between):
    """Were the sets taken as fixed, it would be in up to half of the studies."""
    rng = np.random.default_rng(int(1000 * between))
    excluded = np.zeros(2)
    for _ in range(800):
        rates = 0.4 + rng.normal(0, between, 6)
        sets = [mean_estimate((rng.random(600) < rate).astype(float), alone(600)) for rate in rates]
        low, high = minus_sets(sets[0], sets[1:]).interval()
        fixed = replace(minus_sets(sets[0], sets[1:]), spread=0.0)
        half = 1.96 * fixed.error
        excluded += not low <= 0 <= high, not fixed.value - half <= 0 <= fixed.value + half
    ours, of_fixed_sets = excluded / 800
    assert ours <= 0.07
    assert of_fixed_sets > (0.05 if between < 0.02 else 0.1)


def test_with_nineteen_sets_the_interval_is_that_of_the_mean_difference():
    rng = np.random.default_rng(0)
    sets = [mean_estimate((rng.random(500) < 0.4 + s).astype(float), alone(500)) for s in rng.normal(0, 0.05, 19)]
    other = mean_estimate((rng.random(500) < 0.5).astype(float), alone(500))
    many, few = minus_sets(other, sets), minus_sets(other, sets[:18])
    assert many.error < 0.6 * few.error and many.error == pytest.approx((other - mean_of_sets(sets)).error)


def test_the_table_of_coverage_is_what_simulations_give(coverage_script):
    """A few cells again, with fewer studies; and every interval of 100 or more per class covers 93 % or more."""
    for kind, n, rows, value in [("auroc", 35, 4, 0.95), ("rate", 100, 1, 0.8), ("slope-minus-random", 100, 4, 0.5)]:
        again = coverage_script.simulate(kind, n, rows, value, 400)["coverage"]
        assert again == pytest.approx(measured_coverage(kind, n, rows, value), abs=0.035)


def test_the_page_of_coverage_is_made_from_the_table(coverage_script):
    assert (ROOT / "docs/coverage.md").read_text() == coverage_script.coverage_page(pd.read_csv(TABLE), 4000)


@pytest.mark.parametrize("kind", ["auroc", "difference", "rate", "slope", "slope-minus-random"])
def test_large_samples_cover_93_percent_or_more(kind):
    for n in (100, 300, 1000):
        for rows in (1, 4, 10):
            for value in (0.5, 0.8, 0.95):
                assert measured_coverage(kind, n, rows, value) >= 0.93


def test_what_is_shown_of_an_interval():
    assert covered("auroc", (0.6, 0.9), 300, 1) == covered("auroc", (0.6, 0.9), 100, 4)
    assert covered("auroc", (0.6, 0.9), 300, 1).coverage is None, "n is large"
    small = covered("auroc", (0.6, 0.9), 40, 4, 0.8)
    assert small.interval == (0.6, 0.9) and small.coverage == measured_coverage("auroc", 35, 4, 0.8)
    assert covered("auroc", (0.6, 0.9), 10, 10, 0.8).interval is None, "two gold answers are too few"
    assert covered("auroc", (0.6, 0.9), 7, 1).interval is None, "fewer than were simulated"
    assert covered("slope", None, 1000, 1).interval is None


def test_one_gold_answer_is_too_few_for_any_interval():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    logits = {"hneurons": labels + rng.normal(size=60), "length": rng.normal(size=60)}
    for score in score_methods(labels, logits, ["Peru"] * 60):
        assert score.auroc_interval is None and score.accuracy_interval is None and score.lead_interval is None
        assert score.difference in (None, "n too small")


def test_tests_and_their_correction():
    assert holm([0.01, None, 0.04, 0.03]) == [0.03, None, 0.06, 0.06]
    mean = mean_estimate(np.random.default_rng(0).normal(0.3, 1, 60), alone(60))
    low, high = mean.interval()
    assert (p_value(mean) < 0.05) == (not low <= 0 <= high)
    first, second = np.array([True] * 5 + [False] * 15), np.array([False] * 20)
    assert mcnemar_test(first, second).p == pytest.approx(2 * 0.5**5)
    assert p_value(Estimate(0.0, np.zeros(3), alone(3))) is None


def test_an_effect_of_the_detectable_size_is_found_in_four_of_five_studies():
    rng = np.random.default_rng(0)
    effect = detectable(1 / 200**0.5)
    hits = 0
    for _ in range(500):
        low, _ = mean_estimate(rng.normal(effect, 1, 200), alone(200)).interval()
        hits += low > 0
    assert hits / 500 == pytest.approx(0.8, abs=0.06)
    assert detectable(None) is None


def test_a_plan_names_the_smallest_slope_of_each_behaviour(demo_study):
    slopes = detectable_slopes(demo_study)
    assert set(slopes) == set(demo_study.impact.benchmarks)
    larger = demo_study.impact.model_copy(update={"alphas": [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]})
    more_alphas = detectable_slopes(demo_study.model_copy(update={"impact": larger}))
    assert all(more_alphas[name] < slope for name, slope in slopes.items())


@pytest.fixture
def demo_study():
    from hneurons.config.base import read_yaml
    from hneurons.config.study import Study

    return Study.model_validate(read_yaml(ROOT / "config/demo.yaml"))
