"""Tests of significance, their correction for several tests, and what a test can detect."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr

from hneurons.stats.estimates import CONFIDENCE, Estimate

# A study detects an effect of this size with this probability.
POWER = 0.8


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
    from statsmodels.stats.contingency_tables import mcnemar

    p = float(mcnemar(table, exact=True).pvalue)
    return McNemar(len(first), table[0][1], table[1][0], min(1.0, p))


def p_value(estimate: Estimate) -> float | None:
    """Two-sided p of a difference or slope of 0, consistent with its interval; None without a standard error."""
    error = estimate.error
    if not error:
        return None
    return float(2 * stdtr(estimate.freedom, -abs(estimate.value) / error))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for several tests by Holm's method; None stays None and does not count as a test."""
    tests = [p for p in values if p is not None and not np.isnan(p)]
    from statsmodels.stats.multitest import multipletests

    corrected = iter(multipletests(tests, method="holm")[1].tolist() if tests else [])
    return [None if p is None or np.isnan(p) else float(next(corrected)) for p in values]


def detectable(error: float | None, quantile: float = float(ndtri((1 + CONFIDENCE) / 2))) -> float | None:
    """Smallest effect that a two-sided test at 5 % detects with a probability of POWER.

    Args:
        error: standard error of the effect, or None.
        quantile: the quantile that its interval is made with.
    """
    return None if not error else float((quantile + ndtri(POWER)) * error)
