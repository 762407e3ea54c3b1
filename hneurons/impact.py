"""From runs to a curve: compliance rate per α, its slope, and H-Neurons against random neurons (METHOD.md §2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hneurons import store
from hneurons.config import ImpactSettings
from hneurons.metrics import bootstrap_interval, slope, wilson
from hneurons.records import RUNS

H_NEURONS = "hneurons"
RANDOM = "random"

Runs = Mapping[float, pa.Table]


def read_runs(paths: Sequence[str | Path]) -> dict[str, dict[float, pa.Table]]:
    """Runs by neuron set and α, from files named {neurons}/alpha={alpha}.parquet, in the order given."""
    found: dict[str, dict[float, pa.Table]] = {}
    for path in map(Path, paths):
        found.setdefault(path.parent.name, {})[float(path.stem.removeprefix("alpha="))] = store.read_table(path, RUNS)
    return found


def point(run: pa.Table) -> dict[str, Any]:
    """What one run shows: the compliance rate over its eligible items, and what it may hide.

    Rates in percent. A reply that was refused, could not be parsed or judged is no compliance and stays in the denominator.
    """
    eligible = run["eligible"].to_numpy()
    compliant = int((run["compliant"].to_numpy() & eligible).sum())
    n = int(eligible.sum())
    low, high = wilson(compliant, n)
    states = run["state"].to_pylist()
    return {
        "n": n,
        "items": run.num_rows,
        "compliant": compliant,
        "rate": 100 * compliant / n if n else None,
        "interval": (100 * low, 100 * high),
        "unparsed": 100 * states.count("unparsed") / run.num_rows,
        "refused": 100 * states.count("refused") / run.num_rows,
        "judge_error": 100 * states.count("error") / run.num_rows,
        "truncated": 100 * float(run["truncated"].to_numpy().mean()),
        "tokens": float(run["tokens"].to_numpy().mean()),
    }


def _rates(eligible: np.ndarray, compliant: np.ndarray) -> np.ndarray:
    """Rates in percent from [items, alphas, …] booleans; NaN where nobody is eligible."""
    n = eligible.sum(axis=0)
    rates: np.ndarray = 100 * np.divide((eligible & compliant).sum(axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)
    return rates


def _cube(runs: Runs, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """eligible and compliant, [items, alphas], the items in the order of ids, the α ascending."""
    columns: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for alpha in sorted(runs):
        order = {item: i for i, item in enumerate(runs[alpha]["item_id"].to_pylist())}
        rows = [order[item] for item in ids]
        for column, name in zip(columns, ("eligible", "compliant"), strict=True):
            column.append(runs[alpha][name].to_numpy()[rows])
    return np.stack(columns[0], axis=1), np.stack(columns[1], axis=1)


def curve(untouched: pa.Table, scaled: Mapping[str, Runs], settings: ImpactSettings, seed: int) -> dict[str, Any]:
    """Everything Figure 3 shows of one benchmark.

    untouched: the run at α = 1. scaled: per neuron set its runs at the other α. Slopes are least squares in percentage
    points per unit α, with bootstrap intervals over items (those that differ in wording alone are drawn together); the
    random sets' slopes are averaged, and the difference H-Neurons minus random is bootstrapped over the same items.
    """
    sets = {name: {**runs, 1.0: untouched} for name, runs in scaled.items()}
    alphas = np.array(sorted(next(iter(sets.values()))))
    cubes = {name: _cube(runs, untouched["item_id"].to_pylist()) for name, runs in sets.items()}
    groups = [item.split("/")[0] for item in untouched["item_id"].to_pylist()]
    options: dict[str, Any] = {"resamples": settings.bootstrap, "seed": seed, "groups": groups}

    def mean_slope(*pairs: np.ndarray) -> float:
        slopes = [slope(alphas, _rates(e, c)) for e, c in zip(pairs[::2], pairs[1::2], strict=True)]
        return float(np.mean(slopes))

    def with_interval(statistic: Any, columns: Sequence[np.ndarray]) -> dict[str, Any]:
        if np.isnan(statistic(*columns)):
            return {"value": None, "interval": None}
        return {"value": statistic(*columns), "interval": bootstrap_interval(statistic, columns, **options)}

    random_columns = [column for name in cubes if name != H_NEURONS for column in cubes[name]]

    def lead(*columns: np.ndarray) -> float:
        return mean_slope(*columns[:2]) - mean_slope(*columns[2:])

    result = {
        "alphas": alphas.tolist(),
        "points": {name: [point(runs[a]) for a in alphas] for name, runs in sets.items()},
        "slope": {
            H_NEURONS: with_interval(mean_slope, cubes[H_NEURONS]),
            RANDOM: with_interval(mean_slope, random_columns),
        },
        "slope_lead": with_interval(lead, [*cubes[H_NEURONS], *random_columns]),
    }
    interval = result["slope_lead"]["interval"]
    result["slope_lead"]["includes_0"] = interval is None or interval[0] <= 0 <= interval[1]
    return result
