"""Rates, AUROC, slopes and their intervals. 95 % throughout."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import DegenerateDataWarning, bootstrap, rankdata
from sklearn.metrics import brier_score_loss
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

CONFIDENCE = 0.95


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half (Mann-Whitney); NaN where only one class is there."""
    positive = labels == 1
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if n_pos == 0 or n_neg == 0:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def wilson(successes: int, total: int) -> tuple[float, float]:
    """Wilson interval of a proportion; (0, 1) where there is nothing to count."""
    if total == 0:
        return 0.0, 1.0
    low, high = proportion_confint(successes, total, alpha=1 - CONFIDENCE, method="wilson")
    return float(low), float(high)


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> dict[str, Any]:
    """How far predicted probabilities of label 1 can be believed: in bins of equal count, what was predicted and what came.

    Also the Brier score, and the mean difference in the bins weighted by their counts (expected calibration error).
    """
    order = np.array_split(np.argsort(probabilities, kind="stable"), min(bins, len(labels)))
    rows: list[dict[str, Any]] = [
        {
            "n": len(part),
            "predicted": float(probabilities[part].mean()),
            "observed": float(labels[part].mean()),
            "interval": wilson(int(labels[part].sum()), len(part)),
        }
        for part in order
    ]
    error = sum(row["n"] * abs(row["predicted"] - row["observed"]) for row in rows) / len(labels)
    return {"n": len(labels), "brier": float(brier_score_loss(labels, probabilities)), "error": error, "bins": rows}


def format_interval(value: float, low: float, high: float, *, digits: int = 2, sign: str = "") -> str:
    """A value and its interval, to read: 0.64 [0.51, 0.83]. sign: "+" writes it for positive numbers too."""
    return f"{value:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"


def slope(x: np.ndarray, y: np.ndarray) -> float:
    """Least-squares slope of y against x."""
    centred = x - x.mean()
    return float(centred @ (y - y.mean()) / (centred @ centred))


def bootstrap_interval(
    statistic: Callable[..., float],
    columns: Sequence[np.ndarray],
    *,
    resamples: int,
    seed: int,
    groups: Sequence[str] | None = None,
) -> tuple[float, float]:
    """Percentile interval of a statistic over rows drawn with replacement, the same rows of every column.

    columns: arrays of equal length along axis 0. groups: one name per row; rows of a group are drawn together (they share a
    gold answer, or a request), so that rows which are alike do not count as independent. A resample in which the statistic
    is not defined is left out.
    """

    def one(*drawn: np.ndarray) -> np.ndarray:
        return np.array([statistic(*drawn)])

    ((low, high, _),) = bootstrap_intervals(one, columns, resamples=resamples, seed=seed, groups=groups)
    return low, high


def bootstrap_intervals(
    statistics: Callable[..., np.ndarray],
    columns: Sequence[np.ndarray],
    *,
    resamples: int,
    seed: int,
    groups: Sequence[str] | None = None,
) -> list[tuple[float, float, float]]:
    """As bootstrap_interval, for several statistics of the same resamples: low, high and standard error of each."""
    names = np.arange(len(columns[0])) if groups is None else np.unique(np.array(groups), return_inverse=True)[1]
    members = [np.flatnonzero(names == name) for name in range(names.max() + 1)]

    def of_groups(drawn: np.ndarray) -> np.ndarray:
        rows = np.concatenate([members[i] for i in drawn])
        return statistics(*(column[rows] for column in columns))

    options: Any = {"vectorized": False, "method": "percentile", "rng": np.random.default_rng(seed)}
    with warnings.catch_warnings():
        # A statistic that is not defined, or the same in every resample, is no fault here.
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap((np.arange(len(members)),), of_groups, n_resamples=resamples, **options).bootstrap_distribution
    tail = 100 * (1 - CONFIDENCE) / 2
    intervals = []
    for values in found:
        known = values[~np.isnan(values)]
        low, high = np.percentile(known, [tail, 100 - tail]) if len(known) else (np.nan, np.nan)
        intervals.append((float(low), float(high), float(known.std(ddof=1)) if len(known) > 1 else np.nan))
    return intervals


def mcnemar_test(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """McNemar's exact test of two outcomes of the same items (bool): how many changed to and fro, and p."""
    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    p = float(mcnemar(table, exact=True).pvalue)
    return {"n": len(first), "lost": table[0][1], "gained": table[1][0], "p": min(1.0, p)}
