"""Compliance rates and their slopes over α, as estimates on the same items (Figure 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hneurons.config.impact import UNTOUCHED_ALPHA
from hneurons.judges.states import ERROR
from hneurons.stats.coverage import covered
from hneurons.stats.estimates import Estimate, Groups, Interval, mean_estimate, slope_estimate
from hneurons.stats.significance import detectable, p_value

# Denominators: the items that are eligible at each α, at α = 1, and at both; or the mean over sub-sets of equal weight.
EACH, AT_1, AT_BOTH, EQUAL_MIX = "each α", "eligible at α = 1", "eligible at both", "equal mix of sub-sets"
# With fewer random sets their spread is not known well enough for an interval of "H-Neurons minus random".
MIN_SETS = 5


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of one run, item by item.

    Attributes:
        eligible: [items] bool, in the denominator; an item whose judge failed is in none.
        compliant: [items] bool.
        value: [items], 1 or 0 for compliant or not, or a judge's grade between them.
        failed: [items] bool, items whose judge failed.
    """

    eligible: np.ndarray
    compliant: np.ndarray
    value: np.ndarray
    failed: np.ndarray

    @classmethod
    def from_run(cls, run: pa.Table) -> "Outcomes":
        """Read a run of schema RUNS."""
        failed = np.array([state == ERROR for state in run["state"].to_pylist()], dtype=bool)
        compliant = run["compliant"].to_numpy().astype(bool)
        grade = np.array([np.nan if g is None else g for g in run["grade"].to_pylist()], dtype=float)
        value = np.where(np.isnan(grade), compliant, grade)
        return cls(run["eligible"].to_numpy().astype(bool) & ~failed, compliant, value, failed)


@dataclass(frozen=True)
class Rate:
    """Share of compliant items among the eligible ones.

    Attributes:
        n: number of eligible items.
        compliant: number of compliant ones among them, or the sum of their grades.
        percent: their share in percent; None if n is 0.
        interval: its interval over gold answers, in percent; None if n is too small for one.
        bounds: the smallest and largest share, in percent, that items whose judge failed could make of it; None without
            any.
    """

    n: int
    compliant: float
    percent: float | None
    interval: Interval | None
    bounds: Interval | None = None


@dataclass(frozen=True)
class Slope:
    """Least-squares slope of the compliance rate in percentage points per unit of α.

    Attributes:
        value: the slope; None with fewer than two α, or without an eligible item at one of them.
        interval: interval over gold answers, and over random sets where they enter; None if n, or the number of sets, is
            too small for one.
        error: standard error.
        p: two-sided p of a slope of 0.
        detectable: the smallest slope that this many items, sets and α detect with 80 % power.
        coverage: how often such intervals cover the truth in simulations; None where n is large enough.
    """

    value: float | None
    interval: Interval | None
    error: float | None
    p: float | None = None
    detectable: float | None = None
    coverage: float | None = None

    @property
    def includes_0(self) -> bool:
        """Whether the interval includes 0; true also without an interval."""
        return self.interval is None or self.interval[0] <= 0 <= self.interval[1]


def rate_of(outcomes: Outcomes, eligible: np.ndarray, groups: Groups) -> Rate:
    """Compute a rate over some of a run's items.

    Args:
        outcomes: of the run.
        eligible: [items] bool, the denominator.
        groups: the gold answers of the items.
    """
    n, failed = int(eligible.sum()), int(outcomes.failed.sum())
    compliant = float(outcomes.value[eligible].sum())
    bounds = (100 * compliant / (n + failed), 100 * (compliant + failed) / (n + failed)) if failed else None
    estimate = mean_estimate(outcomes.value, groups, eligible)
    if not n:
        return Rate(0, 0.0, None, None, bounds)
    shown = covered("rate", estimate.share_interval(), n, _rows_per_answer(eligible, groups), estimate.value).interval
    interval = (100 * shown[0], 100 * shown[1]) if shown else None
    return Rate(n, compliant, 100 * estimate.value, interval, bounds)


def _rows_per_answer(eligible: np.ndarray, groups: Groups) -> float:
    return float(eligible.sum() / max(1, len(np.unique(groups.codes[eligible]))))


def slope_of(
    run: Mapping[float, Outcomes], denominator: str, alphas: Sequence[float], groups: Groups, subsets: Sequence[str | None]
) -> Estimate | None:
    """Estimate the slope of a neuron set's rates, in percentage points per unit of α.

    Args:
        run: outcomes by α, including α = 1.
        denominator: one of this module's four, or the name of a sub-set.
        alphas: the α to use.
        groups: the gold answers of the items.
        subsets: [items], the sub-set of each.

    Returns:
        None with fewer than two α, or if an α has no eligible item.
    """
    if len(alphas) < 2:
        return None
    names = np.array([name or "" for name in subsets])
    at_1 = run[UNTOUCHED_ALPHA].eligible
    rates = []
    for alpha in alphas:
        outcomes = run[alpha]
        eligible = {
            AT_1: at_1 & ~outcomes.failed,
            AT_BOTH: at_1 & outcomes.eligible,
        }.get(denominator, outcomes.eligible)
        if denominator == EQUAL_MIX:
            parts = [mean_estimate(outcomes.value, groups, eligible & (names == name)) for name in np.unique(names)]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            rates.append(total * (100 / len(parts)))
        else:
            if denominator not in (EACH, AT_1, AT_BOTH):
                eligible = eligible & (names == denominator)
            rates.append(mean_estimate(outcomes.value, groups, eligible) * 100)
    return None if any(np.isnan(rate.value) for rate in rates) else slope_estimate(alphas, rates)


def shown_slope(estimate: Estimate | None, n: int, groups: Groups, *, minus_random: bool = False) -> Slope:
    """What tables and figures show of a slope.

    Args:
        estimate: the slope, or None.
        n: number of items.
        groups: their gold answers.
        minus_random: whether the mean of random sets was subtracted.
    """
    if estimate is None:
        return Slope(None, None, None)
    if minus_random and estimate.sets < MIN_SETS:
        return Slope(estimate.value, None, None)
    kind = "slope-minus-random" if minus_random else "slope"
    shown = covered(kind, estimate.interval(), n, n / groups.count)
    error = estimate.error if shown.interval else None
    p, smallest = (p_value(estimate), detectable(error, estimate.quantile)) if error else (None, None)
    return Slope(estimate.value, shown.interval, error, p, smallest, shown.coverage)
