"""Curves of a benchmark: compliance rate per α, its slope, and H-Neurons compared with random neurons (Figure 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from hneurons.config.impact import H_NEURONS, RANDOM, UNTOUCHED_ALPHA, is_untouched
from hneurons.errors import HNeuronsError
from hneurons.impact.rates import AT_1, AT_BOTH, EACH, EQUAL_MIX, Outcomes, Rate, Slope, rate_of, shown_slope, slope_of
from hneurons.stats.estimates import Estimate, Groups, mean_of_sets, minus_sets
from hneurons.stats.significance import McNemar, mcnemar_test

# Suppression and amplification may have different effects, so each side of α = 1 gets a slope.
PARTS = {"all": (0.0, np.inf), "suppression": (0.0, UNTOUCHED_ALPHA), "amplification": (UNTOUCHED_ALPHA, np.inf)}
DIFFERENCE = "difference"
# Rates at different α are hard to compare where this many points more of the replies are lost at one of them.
_MOST_LOST = 5.0

Runs = Mapping[float, pa.Table]


@dataclass(frozen=True)
class CurvePoint:
    """One run at one α. Shares are in percent of all items.

    A reply that is a refusal, or that could not be parsed, is not compliant and stays in the denominator. One whose judge
    failed is in neither.

    Attributes:
        alpha: the scaling factor.
        items: number of items in the run.
        rate: compliance over the items that are eligible at this α.
        at_1: compliance over the items that are eligible at α = 1: this denominator does not change with α.
        at_both: compliance over the items that are eligible at α = 1 and at this α.
        unparsed, refused, judge_error: share of the replies in each of these states.
        truncated: share of deciding replies that ended at the limit of new tokens; None if imported runs do not record it.
        tokens: mean length of the deciding replies; None if imported runs do not record it.
        mcnemar: test against α = 1, on the items that are eligible at both; None at α = 1.
        subsets: compliance over the eligible items of each sub-set; empty without sub-sets.
    """

    alpha: float
    items: int
    rate: Rate
    at_1: Rate
    at_both: Rate
    unparsed: float
    refused: float
    judge_error: float
    truncated: float | None
    tokens: float | None
    mcnemar: McNemar | None
    subsets: dict[str, Rate] = field(default_factory=dict)


@dataclass(frozen=True)
class Curve:
    """Figure 3 for one model and benchmark, from the runs that exist.

    Attributes:
        model, benchmark, judge: names of the model, the benchmark and the judge.
        alphas: all α that were requested or run, including 1.
        missing: the α without a run, by neuron set; nothing is interpolated.
        points: one point per α, ascending, by neuron set.
        slopes: by part of the α (all, suppression, amplification), other denominator at all α (eligible at α = 1, eligible
            at both, equal mix of sub-sets) or sub-set, and then by neuron set; "random" is the mean over the random sets,
            "difference" is H-Neurons minus random.
        random_sets: number of random sets.
        warnings: states in which the shares of replies differ by more than 5 points between α.
        wording: name of the items' wording, where the benchmark has several; empty otherwise.
        title: title of its panel in two lines; empty for one that comes with the package and was judged before they had it.
    """

    model: str
    benchmark: str
    judge: str
    alphas: list[float]
    missing: dict[str, list[float]]
    points: dict[str, list[CurvePoint]]
    slopes: dict[str, dict[str, Slope]]
    random_sets: int
    warnings: list[str] = field(default_factory=list)
    wording: str = ""
    title: str = ""


def curve_point(alpha: float, run: pa.Table, untouched: pa.Table, groups: Groups) -> CurvePoint:
    """Summarise one run.

    Args:
        alpha: the α of the run.
        run: its rows, of schema RUNS.
        untouched: the run at α = 1, with the same items in the same order.
        groups: the gold answers of the items.
    """
    scaled, at_1 = Outcomes.from_run(run), Outcomes.from_run(untouched)
    shared = at_1.eligible & scaled.eligible
    states = run["state"].to_pylist()
    unparsed, refused, failed = (100 * states.count(state) / run.num_rows for state in ("unparsed", "refused", "error"))
    subsets = np.array([name or "" for name in run["subset"].to_pylist()])
    names = np.unique(subsets)
    return CurvePoint(
        alpha=alpha,
        items=run.num_rows,
        rate=rate_of(scaled, scaled.eligible, groups),
        at_1=rate_of(scaled, at_1.eligible & ~scaled.failed, groups),
        at_both=rate_of(scaled, shared, groups),
        unparsed=unparsed,
        refused=refused,
        judge_error=failed,
        truncated=_mean(run["truncated"], 100),
        tokens=_mean(run["tokens"]),
        mcnemar=None if is_untouched(alpha) else mcnemar_test(at_1.compliant[shared], scaled.compliant[shared]),
        subsets={str(name): rate_of(scaled, scaled.eligible & (subsets == name), groups) for name in names}
        if len(names) > 1
        else {},
    )


def _mean(column: pa.ChunkedArray, times: float = 1.0) -> float | None:
    values = column.drop_null().to_numpy()
    return times * float(values.mean()) if len(values) else None


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
    model: str = "",
    benchmark: str = "",
    judge: str = "",
    wording: str = "",
    title: str = "",
) -> Curve:
    """Make the curve of a benchmark from the runs that exist.

    Items that share a gold answer, or that differ only in wording (the part of their id before "/" is the same), count as
    one in every interval. H-Neurons minus random uses the same items, and the α that all sets have.

    Args:
        untouched: the run at α = 1, rows of schema RUNS.
        scaled: runs at other α, by neuron set.
        alphas: the α that were requested. Those of them, and of the other sets' α, that a set lacks are listed as missing.
        model, benchmark, judge, wording: names, for the result.

    Raises:
        HNeuronsError: if the runs have different items.
    """
    ids = untouched["item_id"].to_pylist()
    groups = Groups.from_names(
        [group or item.split("/")[0] for item, group in zip(ids, untouched["group"].to_pylist(), strict=True)]
    )
    sets = {
        name: {alpha: _aligned(run, ids) for alpha, run in sorted({**runs, UNTOUCHED_ALPHA: untouched}.items())}
        for name, runs in scaled.items()
    }
    every_alpha = sorted({UNTOUCHED_ALPHA, *map(float, alphas), *(alpha for runs in sets.values() for alpha in runs)})
    missing = {name: [alpha for alpha in every_alpha if alpha not in runs] for name, runs in sets.items()}
    points = {name: [curve_point(a, run, untouched, groups) for a, run in runs.items()] for name, runs in sets.items()}
    return Curve(
        model=model,
        benchmark=benchmark,
        judge=judge,
        alphas=every_alpha,
        missing={name: lacking for name, lacking in missing.items() if lacking},
        points=points,
        slopes=_slopes(sets, groups, untouched["subset"].to_pylist()),
        random_sets=len(_random(sets)),
        warnings=_warnings(points.get(H_NEURONS, [])),
        wording=wording,
    )


def _warnings(points: Sequence[CurvePoint]) -> list[str]:
    """States in which much more of the replies are at one α than at another."""
    warnings = []
    for state in ("truncated", "unparsed"):
        shares = [share for point in points if (share := getattr(point, state)) is not None]
        if shares and max(shares) - min(shares) > _MOST_LOST:
            warnings.append(f"{state} replies: {min(shares):.0f} to {max(shares):.0f} % between α")
    return warnings


def _random(sets: Mapping[str, Runs]) -> list[str]:
    return [name for name in sets if name.startswith(RANDOM)]


def _slopes(sets: Mapping[str, Runs], groups: Groups, subsets: Sequence[str | None]) -> dict[str, dict[str, Slope]]:
    """Slopes with intervals, by part and set."""
    randoms = _random(sets)
    compared = [name for name in sets if name == H_NEURONS or name in randoms]
    outcomes = {name: {alpha: Outcomes.from_run(run) for alpha, run in runs.items()} for name, runs in sets.items()}
    shared = set.intersection(*(set(sets[name]) for name in compared)) if compared else set()
    # 1. Every part: its range of α and its denominator
    parts = {name: (*limits, EACH) for name, limits in PARTS.items()}
    names = sorted({name for name in subsets if name})
    several = [EQUAL_MIX, *names] if len({name or "" for name in subsets}) > 1 else []
    parts |= {name: (*PARTS["all"], name) for name in (AT_1, AT_BOTH, *several)}
    # 2. Every slope of a part: of each set, of the random sets' mean, and of the difference on the α that all sets have
    slopes: dict[str, dict[str, Slope]] = {}
    n = len(groups.codes)
    for part, (low, high, denominator) in parts.items():
        in_part = {name: [alpha for alpha in runs if low <= alpha <= high] for name, runs in sets.items()}

        def slope(name: str, alphas: Sequence[float], denominator: str = denominator) -> Estimate | None:
            return slope_of(outcomes[name], denominator, alphas, groups, subsets)

        each = {name: slope(name, in_part[name]) for name in sets}
        paired = {name: slope(name, [a for a in in_part[name] if a in shared]) for name in compared}
        of_random, controls = _defined(each, randoms), _defined(paired, randoms)
        probe = paired.get(H_NEURONS)
        mean = mean_of_sets(of_random) if of_random else None
        difference = minus_sets(probe, controls) if probe is not None and controls else None
        slopes[part] = {
            H_NEURONS: shown_slope(each.get(H_NEURONS), n, groups),
            RANDOM: shown_slope(mean, n, groups),
            DIFFERENCE: shown_slope(difference, n, groups, minus_random=True),
            **{name: shown_slope(each[name], n, groups) for name in sets if name not in compared},
        }
    return slopes


def _defined(slopes: Mapping[str, Estimate | None], names: Sequence[str]) -> list[Estimate]:
    """The slopes of these sets; none at all if one of them is not defined."""
    defined = [slope for name in names if (slope := slopes[name]) is not None]
    return defined if len(defined) == len(names) else []
