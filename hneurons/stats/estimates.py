"""Estimates with 95 % intervals, where rows that share a gold answer are not independent.

Every statistic here is an average, a ratio of averages, or an AUROC, so it has an influence function: the change of the
statistic when a row is given more weight. Summed over the rows of a gold answer and corrected for that answer's share, as
in a jackknife that leaves one answer out, the influences give the variance:

    Var = (G - 1) / G Σ_g (Σ_{i in g} influence_i / (1 - share_g))²

For an AUROC without groups this is DeLong's variance. Sums, differences and slopes of estimates of the same rows add
their influences, so they are paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import expit, logit, stdtrit

CONFIDENCE = 0.95
# With this many random sets, being ahead of them all is significant at 5 %.
SETS_FOR_RANK = 19
Interval = tuple[float, float]


def wilson(successes: float, total: float) -> Interval:
    """Compute the Wilson interval of a proportion of independent rows; (0, 1) if the total is 0."""
    if total == 0:
        return 0.0, 1.0
    # Slow to import, and every job that loads neurons imports this module.
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, total, alpha=1 - CONFIDENCE, method="wilson")
    return float(low), float(high)


@dataclass(frozen=True)
class Groups:
    """Which rows share a gold answer, and are independent only as a group.

    Attributes:
        codes: [rows] int, the group of each row.
        count: number of groups, G.
    """

    codes: np.ndarray
    count: int

    @classmethod
    def from_names(cls, names: Sequence[str] | np.ndarray) -> "Groups":
        """Group the rows by the name of each."""
        distinct, codes = np.unique(np.asarray(names), return_inverse=True)
        return cls(codes.ravel(), len(distinct))

    @cached_property
    def effective(self) -> float:
        """Number of groups of equal size that would give the same precision: n² / Σ n_g²."""
        sizes = np.bincount(self.codes, minlength=self.count)
        return float(sizes.sum() ** 2 / (sizes**2).sum()) if self.count else 0.0

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum of the rows' values in each group, [groups]."""
        sums: np.ndarray = np.bincount(self.codes, values, minlength=self.count)
        return sums

    def summed_influence(self, influence: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Influence of each group [groups], as if the group were left out.

        Args:
            influence: [rows], summing to 0 over all rows.
            weight: [rows], weight of each row in the average; a group's share is its part of all weight.
        """
        left = 1 - self.sums(weight) / weight.sum()
        # A group that has all of the weight cannot be left out.
        alone: np.ndarray = np.divide(self.sums(influence), left, out=np.full(self.count, np.nan), where=left > 1e-12)
        return alone


@dataclass(frozen=True)
class Estimate:
    """A statistic with what its variance needs.

    Attributes:
        value: the statistic; NaN if it is undefined.
        influence: [groups], of every group of rows.
        groups: the groups.
        between: variance of a mean over random neuron sets that is due to the choice of the sets.
        spread: variance of a difference from random sets if the compared set were one more of them.
        sets: number of random sets; 1 without.
    """

    value: float
    influence: np.ndarray
    groups: Groups
    between: float = 0.0
    spread: float = 0.0
    sets: int = 1

    def __add__(self, other: "Estimate") -> "Estimate":
        value, influence = self.value + other.value, self.influence + other.influence
        between, spread = self.between + other.between, self.spread + other.spread
        return Estimate(value, influence, self.groups, between, spread, max(self.sets, other.sets))

    def __sub__(self, other: "Estimate") -> "Estimate":
        return self + other * -1.0

    def __mul__(self, factor: float) -> "Estimate":
        between, spread = self.between * factor**2, self.spread * factor**2
        return Estimate(self.value * factor, self.influence * factor, self.groups, between, spread, self.sets)

    @property
    def _of_rows(self) -> float:
        """Variance over the groups of rows; NaN with fewer than two, or if the statistic is undefined without one."""
        G = self.groups.count
        return float((G - 1) / G * (self.influence**2).sum()) if G > 1 else float("nan")

    @property
    def error(self) -> float | None:
        """Standard error; None with fewer than two groups, or if the statistic is undefined without one of them."""
        variance = max(self._of_rows + self.between, self.spread)
        return None if np.isnan(self.value) or np.isnan(self._of_rows) else float(np.sqrt(variance))

    @property
    def freedom(self) -> float:
        """Degrees of freedom of Student's t, by Satterthwaite where the choice of sets adds to the variance."""
        rows, of_rows = max(1.0, self.groups.effective - 1), self._of_rows
        sets = max(1, self.sets - 1)
        if self.spread > of_rows + self.between:
            return sets
        if not self.between:
            return rows
        return (of_rows + self.between) ** 2 / (of_rows**2 / rows + self.between**2 / sets)

    @property
    def quantile(self) -> float:
        """The quantile of Student's t that an interval is made with, times the standard error."""
        return float(stdtrit(self.freedom, (1 + CONFIDENCE) / 2))

    def interval(self) -> Interval | None:
        """Interval of a difference or slope; None without a standard error, or where it is 0: no row differs."""
        error = self.error
        if not error:
            return None
        half = self.quantile * error
        return self.value - half, self.value + half

    def share_interval(self) -> Interval | None:
        """Interval of a rate or AUROC, on the logit scale; at 0 or 1 Wilson's, with a row per answer."""
        error = self.error
        if error is None:
            return None
        if error == 0 or not 0 < self.value < 1:
            return wilson(self.value * self.groups.effective, self.groups.effective)
        centre, half = logit(self.value), self.quantile * error / (self.value * (1 - self.value))
        return float(expit(centre - half)), float(expit(centre + half))


def mean_estimate(values: np.ndarray, groups: Groups, weight: np.ndarray | None = None) -> Estimate:
    """Estimate a weighted mean, or a ratio of two sums: Σ weight · values / Σ weight.

    Args:
        values: [rows].
        groups: the groups of these rows.
        weight: [rows], not negative, such as 1 for the rows in the denominator of a rate; None weighs all rows equally.
    """
    weight = np.ones(len(values)) if weight is None else np.asarray(weight, dtype=float)
    total = float(weight.sum())
    if total == 0:
        return Estimate(float("nan"), np.full(groups.count, np.nan), groups)
    mean = float(weight @ values / total)
    return Estimate(mean, groups.summed_influence(weight * (values - mean) / total, weight), groups)


def kappa_estimate(first: np.ndarray, second: np.ndarray, groups: Groups) -> Estimate:
    """Estimate Cohen's κ of two judges.

    Args:
        first, second: [rows], the verdicts of each.
        groups: the groups of these rows.

    Returns:
        NaN if both judges give a single verdict throughout.
    """
    verdicts = np.unique(np.concatenate([first, second]))
    a, b = (side[:, None] == verdicts for side in (first, second))
    p, q = a.mean(axis=0), b.mean(axis=0)
    observed, expected = float((first == second).mean()), float(p @ q)
    if expected == 1:
        return Estimate(float("nan"), np.full(groups.count, np.nan), groups)
    of_observed = (first == second) - observed
    of_expected = a @ q + b @ p - 2 * expected
    influence = (of_observed * (1 - expected) - of_expected * (1 - observed)) / (1 - expected) ** 2 / len(first)
    value = (observed - expected) / (1 - expected)
    return Estimate(value, groups.summed_influence(influence, np.ones(len(first))), groups)


def mean_of_sets(estimates: Sequence[Estimate]) -> Estimate:
    """Average estimates of several random neuron sets on the same rows.

    The variance has a part for the choice of the sets: the variance of their values over the number of sets. It contains
    what the rows alone cause, which is counted already; without it intervals cover too little (docs/method.md).

    Args:
        estimates: one per set; at least one.
    """
    values = np.array([estimate.value for estimate in estimates])
    influences = np.stack([estimate.influence for estimate in estimates])
    K = len(estimates)
    between = float(values.var(ddof=1)) / K if K > 1 else 0.0
    return Estimate(float(values.mean()), influences.mean(axis=0), estimates[0].groups, between, sets=K)


def minus_sets(estimate: Estimate, sets: Sequence[Estimate]) -> Estimate:
    """Subtract the mean of random neuron sets from the estimate of another set on the same rows.

    Any set of neurons differs from the next one, so a difference from the mean alone does not show that the compared set is
    no random one. With SETS_FOR_RANK sets or more its rank among them tests this, and the interval is that of the mean
    difference. With fewer, the interval tests it: were the compared set one more random set, the difference would vary by
    (1 + 1 / K) S², with S² the variance between the K sets. Its variance is this, or that over the rows with these sets,
    the larger of the two.

    Args:
        estimate: of the set that is compared.
        sets: one estimate per random set; at least one.
    """
    mean, K = mean_of_sets(sets), len(sets)
    if K >= SETS_FOR_RANK:
        return estimate - mean
    return replace(estimate - replace(mean, between=0.0), spread=mean.between * (K + 1))


def slope_estimate(x: Sequence[float], estimates: Sequence[Estimate]) -> Estimate:
    """Estimate the least-squares slope of several estimates of the same rows against x.

    Args:
        x: at least two different values.
        estimates: one for each.
    """
    centred = np.asarray(x, dtype=float) - np.mean(x)
    weights = centred / (centred @ centred)
    total = estimates[0] * float(weights[0])
    for weight, estimate in zip(weights[1:], estimates[1:], strict=True):
        total = total + estimate * float(weight)
    return total


def format_interval(value: float, low: float | None, high: float | None, *, digits: int = 2, sign: str = "") -> str:
    """Format a value with its interval, such as 0.64 [0.51, 0.83]; without an interval, 0.64 (n too small).

    Args:
        value, low, high: the numbers; low and high may be None or NaN.
        digits: digits after the decimal point.
        sign: "+" to write the sign of positive numbers too.
    """
    if low is None or high is None or np.isnan(low) or np.isnan(high):
        return f"{value:{sign}.{digits}f} (n too small for an interval)"
    return f"{value:{sign}.{digits}f} [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
