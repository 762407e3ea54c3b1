"""Curves of a benchmark: compliance rate per α, its slope, and H-Neurons compared with random neurons (Figure 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hneurons.config.impact import H_NEURONS, RANDOM, UNTOUCHED_ALPHA, is_untouched
from hneurons.errors import HNeuronsError
from hneurons.stats import Interval, McNemar, bootstrap_intervals, mcnemar_test, slope, wilson

# Suppression and amplification may have different effects, so each side of α = 1 gets a slope.
PARTS = {"all": (0.0, np.inf), "suppression": (0.0, UNTOUCHED_ALPHA), "amplification": (UNTOUCHED_ALPHA, np.inf)}
FIXED = "fixed"
DIFFERENCE = "difference"
_SLOPES = (H_NEURONS, RANDOM, DIFFERENCE)

Runs = Mapping[float, pa.Table]


@dataclass(frozen=True)
class Rate:
    """Share of compliant items among the eligible ones.

    Attributes:
        n: number of eligible items.
        compliant: number of compliant ones among them.
        percent: their share in percent; None if n is 0.
        interval: Wilson interval, in percent.
    """

    n: int
    compliant: int
    percent: float | None
    interval: Interval


@dataclass(frozen=True)
class CurvePoint:
    """One run at one α. Shares are in percent of all items.

    A reply that is a refusal, or that could not be parsed or judged, is not compliant and stays in the denominator.

    Attributes:
        alpha: the scaling factor.
        items: number of items in the run.
        rate: compliance over the items that are eligible at this α.
        fixed: compliance over the items that are eligible at α = 1: this denominator does not change with α.
        unparsed, refused, judge_error: share of the replies in each of these states.
        truncated: share of last replies that ended at the limit of new tokens; None if imported runs do not record it.
        tokens: mean length of the last replies; None if imported runs do not record it.
        mcnemar: test against α = 1, on the items that are eligible at both; None at α = 1.
    """

    alpha: float
    items: int
    rate: Rate
    fixed: Rate
    unparsed: float
    refused: float
    judge_error: float
    truncated: float | None
    tokens: float | None
    mcnemar: McNemar | None


@dataclass(frozen=True)
class Slope:
    """Least-squares slope of the compliance rate in percentage points per unit of α.

    Attributes:
        value: the slope; None with fewer than two α, or without an eligible item at one of them.
        interval: bootstrap interval over items.
        error: standard error.
    """

    value: float | None
    interval: Interval | None
    error: float | None

    @property
    def includes_0(self) -> bool:
        """Whether the interval includes 0; true also without an interval."""
        return self.interval is None or self.interval[0] <= 0 <= self.interval[1]


@dataclass(frozen=True)
class Curve:
    """Figure 3 for one model and benchmark, from the runs that exist.

    Attributes:
        model, benchmark, judge: names of the model, the benchmark and the judge.
        alphas: all α that were requested or run, including 1.
        missing: the α without a run, by neuron set; nothing is interpolated.
        points: one point per α, ascending, by neuron set.
        slopes: by part of the α (all, suppression, amplification, and fixed: all α over the items eligible at α = 1) and
            then by neuron set; "random" is the mean over the random sets, "difference" is H-Neurons minus random.
        random_sets: number of random sets.
    """

    model: str
    benchmark: str
    judge: str
    alphas: list[float]
    missing: dict[str, list[float]]
    points: dict[str, list[CurvePoint]]
    slopes: dict[str, dict[str, Slope]]
    random_sets: int


def curve_point(alpha: float, run: pa.Table, untouched: pa.Table) -> CurvePoint:
    """Summarise one run.

    Args:
        alpha: the α of the run.
        run: its rows, of schema RUNS.
        untouched: the run at α = 1, with the same items in the same order.
    """
    eligible, complied = run["eligible"].to_numpy(), run["compliant"].to_numpy()
    at_1 = untouched["eligible"].to_numpy()
    shared = at_1 & eligible
    states = run["state"].to_pylist()
    unparsed, refused, failed = (100 * states.count(state) / run.num_rows for state in ("unparsed", "refused", "error"))
    return CurvePoint(
        alpha=alpha,
        items=run.num_rows,
        rate=_rate(complied, eligible),
        fixed=_rate(complied, at_1),
        unparsed=unparsed,
        refused=refused,
        judge_error=failed,
        truncated=_mean(run["truncated"], 100),
        tokens=_mean(run["tokens"]),
        mcnemar=None if is_untouched(alpha) else mcnemar_test(untouched["compliant"].to_numpy()[shared], complied[shared]),
    )


def _mean(column: pa.ChunkedArray, times: float = 1.0) -> float | None:
    values = column.drop_null().to_numpy()
    return times * float(values.mean()) if len(values) else None


def _rate(complied: np.ndarray, eligible: np.ndarray) -> Rate:
    compliant, n = int((complied & eligible).sum()), int(eligible.sum())
    low, high = wilson(compliant, n)
    return Rate(n, compliant, 100 * compliant / n if n else None, (100 * low, 100 * high))


def _rates(eligible: np.ndarray, compliant: np.ndarray) -> np.ndarray:
    """Rates in percent from [items, …] booleans; NaN where no item is eligible."""
    n = eligible.sum(axis=0)
    rates: np.ndarray = 100 * np.divide((eligible & compliant).sum(axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)
    return rates


def _aligned(run: pa.Table, ids: Sequence[str]) -> pa.Table:
    """Rows of a run in the order of ids. Raises HNeuronsError if the run has other items."""
    order = {item: i for i, item in enumerate(run["item_id"].to_pylist())}
    if set(order) != set(ids):
        raise HNeuronsError(f"runs of one benchmark have different items: {sorted(set(order) ^ set(ids))[0]} is not in all")
    return run.take([order[item] for item in ids])


def make_curve(
    untouched: pa.Table,
    scaled: Mapping[str, Runs],
    *,
    alphas: Sequence[float] = (),
    resamples: int = 2000,
    seed: int = 0,
    model: str = "",
    benchmark: str = "",
    judge: str = "",
) -> Curve:
    """Make the curve of a benchmark from the runs that exist.

    Args:
        untouched: the run at α = 1, rows of schema RUNS.
        scaled: runs at other α, by neuron set.
        alphas: the α that were requested. Those of them, and of the other sets' α, that a set lacks are listed as missing.
        resamples: number of bootstrap resamples over items. Items that differ only in wording share the part of their id
            before "/" and are drawn together. H-Neurons minus random uses the same items, and the α that all sets have.
        seed: seed of the bootstrap.
        model, benchmark, judge: names, for the result.

    Raises:
        HNeuronsError: if the runs have different items.
    """
    ids = untouched["item_id"].to_pylist()
    sets = {
        name: {alpha: _aligned(run, ids) for alpha, run in sorted({**runs, UNTOUCHED_ALPHA: untouched}.items())}
        for name, runs in scaled.items()
    }
    every_alpha = sorted({UNTOUCHED_ALPHA, *map(float, alphas), *(alpha for runs in sets.values() for alpha in runs)})
    missing = {name: [alpha for alpha in every_alpha if alpha not in runs] for name, runs in sets.items()}
    return Curve(
        model=model,
        benchmark=benchmark,
        judge=judge,
        alphas=every_alpha,
        missing={name: lacking for name, lacking in missing.items() if lacking},
        points={name: [curve_point(alpha, run, untouched) for alpha, run in runs.items()] for name, runs in sets.items()},
        slopes=_slopes(sets, ids, resamples, seed),
        random_sets=len(_random(sets)),
    )


def _random(sets: Mapping[str, Runs]) -> list[str]:
    return [name for name in sets if name.startswith(RANDOM)]


def _slopes(sets: Mapping[str, Runs], ids: Sequence[str], resamples: int, seed: int) -> dict[str, dict[str, Slope]]:
    """Slopes with intervals, by part and set."""
    # 1. Build columns [items, α] of each set, and choose the α that enter the difference.
    randoms = _random(sets)
    compared = [name for name in sets if name == H_NEURONS or name in randoms]
    single = [name for name in sets if name not in compared]
    alphas = {name: np.array(list(runs)) for name, runs in sets.items()}
    common = set.intersection(*(set(sets[name]) for name in compared)) if compared else set()
    shared = {name: np.isin(x, list(common)) for name, x in alphas.items()}
    columns = [
        np.stack([run[column].to_numpy() for run in runs.values()], axis=1)
        for runs in sets.values()
        for column in ("eligible", "compliant")
    ]
    rows = [(part, name) for part in (*PARTS, FIXED) for name in (*_SLOPES, *single)]

    def sloped(name: str, rates: np.ndarray, used: np.ndarray) -> float:
        ok = used.sum() > 1 and not np.isnan(rates[used]).any()
        return slope(alphas[name][used], rates[used]) if ok else np.nan

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values)) if values else np.nan

    # 2. Define all slopes of one resample of the items.
    def slopes_of(*drawn: np.ndarray) -> np.ndarray:
        moving, fixed = {}, {}
        for name, eligible, compliant in zip(sets, drawn[::2], drawn[1::2], strict=True):
            moving[name] = _rates(eligible, compliant)
            at_1 = eligible[:, alphas[name] == UNTOUCHED_ALPHA]
            fixed[name] = _rates(np.broadcast_to(at_1, compliant.shape), compliant)
        values: list[float] = []
        for part in (*PARTS, FIXED):
            low, high = PARTS.get(part, PARTS["all"])
            rates = fixed if part == FIXED else moving
            within = {name: (x >= low) & (x <= high) for name, x in alphas.items()}
            each = {name: sloped(name, rates[name], within[name]) for name in sets}
            paired = {name: sloped(name, rates[name], within[name] & shared[name]) for name in compared}
            difference = paired.get(H_NEURONS, np.nan) - mean([paired[name] for name in randoms])
            # In the order of `rows`.
            values += [each.get(H_NEURONS, np.nan), mean([each[name] for name in randoms]), difference]
            values += [each[name] for name in single]
        return np.array(values)

    # 3. Compute the slopes over all items, with intervals over resamples.
    groups = [item.split("/")[0] for item in ids]
    intervals = bootstrap_intervals(slopes_of, columns, resamples=resamples, seed=seed, groups=groups)
    slopes: dict[str, dict[str, Slope]] = {}
    for (part, name), value, (low, high, error) in zip(rows, slopes_of(*columns), intervals, strict=True):
        estimate = Slope(None, None, None) if np.isnan(value) else Slope(float(value), (low, high), error)
        slopes.setdefault(part, {})[name] = estimate
    return slopes
