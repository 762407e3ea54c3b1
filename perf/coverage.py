"""Simulate studies, and count how often their 95 % intervals cover the truth.

Writes hneurons/stats/coverage.csv, which decides what tables show, and docs/coverage.md.

Scores are normal, with a part of 0.3 of the variance that rows of one gold answer share; answers have unequal numbers of
rows. Random sets differ from each other besides, as the demo's do.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from hneurons.stats.auroc import auroc_estimate
from hneurons.stats.coverage import TABLE
from hneurons.stats.estimates import Estimate, Groups, Interval, mean_estimate, minus_sets, slope_estimate

# The demo has 35 to 300 answers of a class and 4 per gold answer (cities), the paper 1,000 and hardly more than one.
SIZES = (10, 20, 35, 50, 100, 300, 1000)
ROWS_PER_ANSWER = (1, 4, 10)
ALPHAS = np.array([0.0, 1.0, 2.0, 3.0])
_SHARED = 0.3
# Random sets of scaled neurons, and of neurons that detect.
_SETS, _SETS_DETECTION = 5, 20
# Standard deviations between random sets: of their AUROC, and of their slope in points per unit α.
_SETS_AUROC, _SETS_SLOPE = 0.03, 0.02

Result = tuple[Interval | None, float]


def _answers(rng: np.random.Generator, n: int, rows_per_answer: int) -> Groups:
    """Gold answers of n rows: all different, or of unequal numbers of rows."""
    if rows_per_answer == 1:
        return Groups.from_names(np.arange(n))
    share = rng.gamma(1.0, size=max(2, round(n / rows_per_answer)))
    return Groups.from_names(rng.choice(len(share), size=n, p=share / share.sum()))


def _noise(rng: np.random.Generator, groups: Groups) -> np.ndarray:
    """Standard normal, correlated within each answer."""
    shared = rng.normal(size=groups.count)[groups.codes] * _SHARED**0.5
    return np.asarray(shared + rng.normal(size=len(groups.codes)) * (1 - _SHARED) ** 0.5)


def _distance(area: float) -> float:
    """Distance of two normal classes with this AUROC."""
    return float(2**0.5 * norm.ppf(area))


def _area(rng: np.random.Generator, n: int, rows_per_answer: int, value: float) -> Result:
    groups, labels = _answers(rng, 2 * n, rows_per_answer), rng.permutation(2 * n) % 2
    scores = _distance(value) * labels + _noise(rng, groups)
    return auroc_estimate(labels, scores, groups).share_interval(), value


def _difference(rng: np.random.Generator, n: int, rows_per_answer: int, value: float) -> Result:
    """A probe 0.1 better in AUROC than the average of random sets, which agree in part with it and with each other."""
    groups, labels = _answers(rng, 2 * n, rows_per_answer), rng.permutation(2 * n) % 2
    common = _noise(rng, groups)

    def area(level: float) -> Estimate:
        scores = _distance(level) * labels + 0.7 * common + (1 - 0.7**2) ** 0.5 * _noise(rng, groups)
        return auroc_estimate(labels, scores, groups)

    return minus_sets(area(0.8), [area(0.7 + rng.normal() * _SETS_AUROC) for _ in range(_SETS_DETECTION)]).interval(), 0.1


def _rate(rng: np.random.Generator, n: int, rows_per_answer: int, value: float) -> Result:
    groups = _answers(rng, n, rows_per_answer)
    return mean_estimate((_noise(rng, groups) < norm.ppf(value)).astype(float), groups).share_interval(), value


def _rates(rng: np.random.Generator, groups: Groups, common: np.ndarray, start: float, slope: float) -> Estimate:
    """Slope over α of rates whose items are paired: half of an item's tendency is the same at every α."""
    rates = []
    for alpha in ALPHAS:
        tendency = 0.5**0.5 * common + 0.5**0.5 * rng.normal(size=len(common))
        rates.append(mean_estimate((tendency < norm.ppf(start + slope * alpha)).astype(float), groups))
    return slope_estimate(ALPHAS.tolist(), rates)


def _slope(rng: np.random.Generator, n: int, rows_per_answer: int, value: float) -> Result:
    groups = _answers(rng, n, rows_per_answer)
    return _rates(rng, groups, _noise(rng, groups), 0.4, 0.05).interval(), 0.05


def _minus_random(rng: np.random.Generator, n: int, rows_per_answer: int, value: float) -> Result:
    """H-Neurons whose slope is 5 points above that of random sets, and varies as theirs do."""
    groups = _answers(rng, n, rows_per_answer)
    common = _noise(rng, groups)
    neurons, *random = [
        _rates(rng, groups, common, 0.4, mean + rng.normal() * _SETS_SLOPE) for mean in (0.05, *[0.0] * _SETS)
    ]
    return minus_sets(neurons, random).interval(), 0.05


KINDS: dict[str, tuple[Callable[..., Result], tuple[float, ...]]] = {
    "auroc": (_area, (0.6, 0.8, 0.95)),
    "difference": (_difference, (0.5,)),
    "rate": (_rate, (0.5, 0.8, 0.95)),
    "slope": (_slope, (0.5,)),
    "slope-minus-random": (_minus_random, (0.5,)),
}


def simulate(kind: str, n: int, rows_per_answer: int, value: float, studies: int) -> dict[str, object]:
    """Simulate studies of one size.

    Returns:
        The size with the share of intervals that cover the truth; a study without an interval does not.
    """
    rng = np.random.default_rng([n, rows_per_answer, round(100 * value), list(KINDS).index(kind)])
    hits = 0
    for _ in range(studies):
        interval, truth = KINDS[kind][0](rng, n, rows_per_answer, value)
        hits += interval is not None and interval[0] <= truth <= interval[1]
    return {"kind": kind, "n": n, "rows_per_answer": rows_per_answer, "value": value, "coverage": round(hits / studies, 4)}


PAGE = Path(__file__).resolve().parent.parent / "docs/coverage.md"
_NAMES = {
    "auroc": "AUROC",
    "difference": "probe's AUROC minus that of 20 random sets",
    "rate": "rate, accuracy",
    "slope": "slope over α",
    "slope-minus-random": "slope minus that of 5 random sets",
}
_INTRODUCTION = """# Coverage of the intervals

How often a 95 % interval covers the truth, in {studies:,} simulated studies of each size (`make coverage`).
Scores are normal, and rows of one gold answer share 0.3 of their variance; answers have unequal numbers of rows.
n is the number of answers per class for AUROC, and the number of items for rates and slopes.
The demo has 47 to 300 answers per class and about 3 per gold answer (`cities`); the paper has 1,000, and nearly one each.

A table shows an interval without comment from n = 100 on, where it covers the truth in 93 % of the studies or more.
Below that, the measured coverage is in the column `coverage`.
Under 90 %, it says "n too small" instead.
Intervals of rates near 1 and of few gold answers cover more than 97 %: they are wider than they need to be.

"""


def coverage_page(table: pd.DataFrame, studies: int) -> str:
    """Write the page of the documentation.

    Args:
        table: rows of coverage.csv.
        studies: simulated per row.
    """
    sizes = " | ".join(f"n = {n:,}" for n in SIZES)
    lines = [f"| interval of | true value | rows per gold answer | {sizes} |"]
    lines.append("|" + "---|" * (3 + len(SIZES)))
    for (kind, value, rows), cells in table.groupby(["kind", "value", "rows_per_answer"], sort=False):
        shares = cells.set_index("n")["coverage"]
        truth = f"{value:g}" if len(KINDS[str(kind)][1]) > 1 else ""
        lines.append(f"| {_NAMES[str(kind)]} | {truth} | {rows} | {' | '.join(f'{shares[n]:.3f}' for n in SIZES)} |")
    return _INTRODUCTION.format(studies=studies) + "\n".join(lines) + "\n"


def main() -> None:
    """Simulate all sizes and write the table and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=4000)
    studies = parser.parse_args().studies
    cells = [
        (kind, n, rows, value)
        for kind, (_, values) in KINDS.items()
        for n, rows, value in product(SIZES, ROWS_PER_ANSWER, values)
    ]
    with ProcessPoolExecutor() as workers:
        rows = list(workers.map(simulate, *zip(*cells, strict=True), [studies] * len(cells)))
    table = pd.DataFrame(rows)
    table.to_csv(TABLE, index=False)
    PAGE.write_text(coverage_page(table, studies), encoding="utf-8")
    print(table.pivot_table(index=["kind", "value", "rows_per_answer"], columns="n", values="coverage").to_string())


if __name__ == "__main__":
    main()
