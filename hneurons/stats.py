"""Rates, AUROC, slopes, and their 95 % intervals."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import DegenerateDataWarning, bootstrap, rankdata
from sklearn.metrics import brier_score_loss
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

CONFIDENCE = 0.95
# Half the width of a 95 % normal interval, in standard errors.
CONFIDENCE_Z = 1.96
Interval = tuple[float, float]


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Compute the area under the ROC curve, with ties counted half (Mann-Whitney).

    Args:
        labels: [rows], 1 is positive.
        scores: [rows], larger is more positive.

    Returns:
        The area; NaN if the labels have only one class.
    """
    positive = labels == 1
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if n_pos == 0 or n_neg == 0:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def wilson(successes: int, total: int) -> Interval:
    """Compute the Wilson interval of a proportion; (0, 1) if the total is 0."""
    if total == 0:
        return 0.0, 1.0
    low, high = proportion_confint(successes, total, alpha=1 - CONFIDENCE, method="wilson")
    return float(low), float(high)


@dataclass(frozen=True)
class ReliabilityBin:
    """Examples of similar predicted probability.

    Attributes:
        n: number of examples.
        predicted: mean predicted probability of label 1.
        observed: share with label 1.
        interval: Wilson interval of that share.
    """

    n: int
    predicted: float
    observed: float
    interval: Interval


@dataclass(frozen=True)
class Reliability:
    """Agreement of predicted probabilities of label 1 with observed shares.

    Attributes:
        n: number of examples.
        brier: Brier score.
        error: expected calibration error: mean absolute difference of the bins, weighted by their counts.
        bins: bins of equal count, by ascending probability.
    """

    n: int
    brier: float
    error: float
    bins: list[ReliabilityBin]


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> Reliability:
    """Compare predicted probabilities of label 1 with observed shares, in bins of equal count.

    Args:
        labels: [rows], 0 or 1.
        probabilities: [rows], of label 1.
        bins: number of bins; at most the number of rows.
    """
    order = np.array_split(np.argsort(probabilities, kind="stable"), min(bins, len(labels)))
    rows = [
        ReliabilityBin(len(y), float(p.mean()), float(y.mean()), wilson(int(y.sum()), len(y)))
        for y, p in ((labels[part], probabilities[part]) for part in order)
    ]
    error = sum(row.n * abs(row.predicted - row.observed) for row in rows) / len(labels)
    return Reliability(len(labels), float(brier_score_loss(labels, probabilities)), error, rows)


def format_interval(value: float, low: float, high: float, *, digits: int = 2, sign: str = "") -> str:
    """Format a value with its interval, such as 0.64 [0.51, 0.83].

    Args:
        value, low, high: the numbers.
        digits: digits after the decimal point.
        sign: "+" to write the sign of positive numbers too.
    """
    return f"{value:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Compute the least-squares slope of y against x."""
    centred = x - x.mean()
    return float(centred @ (y - y.mean()) / (centred @ centred))


def bootstrap_interval(
    statistic: Callable[..., float],
    columns: Sequence[np.ndarray],
    *,
    resamples: int,
    seed: int,
    groups: Sequence[str] | None = None,
) -> Interval:
    """Compute a bootstrap percentile interval of a statistic over rows.

    Args:
        statistic: function of the columns, restricted to the drawn rows. Resamples in which it is NaN are left out.
        columns: arrays of equal length along axis 0, from which the same rows are drawn.
        resamples: number of resamples.
        seed: seed of the draws.
        groups: a name per row; rows of a group (with the same gold answer, or the same request) are drawn together, because
            similar rows are not independent.
    """
    options: dict[str, Any] = {"resamples": resamples, "seed": seed, "groups": groups}
    ((low, high, _),) = bootstrap_intervals(lambda *drawn: np.array([statistic(*drawn)]), columns, **options)
    return low, high


def bootstrap_intervals(
    statistics: Callable[..., np.ndarray],
    columns: Sequence[np.ndarray],
    *,
    resamples: int,
    seed: int,
    groups: Sequence[str] | None = None,
) -> list[tuple[float, float, float]]:
    """Compute intervals as bootstrap_interval does, for several statistics on the same resamples.

    Args:
        statistics: function of the columns that returns the statistics [k].
        columns, resamples, seed, groups: as in bootstrap_interval.

    Returns:
        Low, high and standard error of each statistic.
    """
    names = np.arange(len(columns[0])) if groups is None else np.unique(np.array(groups), return_inverse=True)[1]
    members = [np.flatnonzero(names == name) for name in range(names.max() + 1)]

    def of_groups(drawn: np.ndarray) -> np.ndarray:
        rows = np.concatenate([members[i] for i in drawn])
        return statistics(*(column[rows] for column in columns))

    options: Any = {"vectorized": False, "method": "percentile", "rng": np.random.default_rng(seed)}
    with warnings.catch_warnings():
        # A statistic that is undefined, or equal in all resamples, is not an error here.
        warnings.simplefilter("ignore", DegenerateDataWarning)
        values = bootstrap((np.arange(len(members)),), of_groups, n_resamples=resamples, **options).bootstrap_distribution
    tail = 100 * (1 - CONFIDENCE) / 2
    intervals = []
    for drawn in values:
        defined = drawn[~np.isnan(drawn)]
        low, high = np.percentile(defined, [tail, 100 - tail]) if len(defined) else (np.nan, np.nan)
        intervals.append((float(low), float(high), float(defined.std(ddof=1)) if len(defined) > 1 else np.nan))
    return intervals


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test of two outcomes of the same items.

    Attributes:
        n: number of items.
        lost: items that are true in the first outcome only.
        gained: items that are true in the second outcome only.
        p: two-sided p-value.
    """

    n: int
    lost: int
    gained: int
    p: float


def mcnemar_test(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Apply McNemar's exact test to two boolean outcomes [items] of the same items."""
    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    p = float(mcnemar(table, exact=True).pvalue)
    return McNemar(len(first), table[0][1], table[1][0], min(1.0, p))
