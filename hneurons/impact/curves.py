"""From runs to a curve: compliance rate per α, its slope, and H-Neurons against random neurons (METHOD.md §2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hneurons import store
from hneurons.errors import HNeuronsError
from hneurons.neurons.neuron_set import H_NEURONS, RANDOM, UNTOUCHED
from hneurons.records import RUNS
from hneurons.stats import bootstrap_intervals, mcnemar_test, slope, wilson

# Suppressed and amplified neurons may do different things, so each side of α = 1 has a slope of its own.
PARTS = {"all": (0.0, np.inf), "suppression": (0.0, 1.0), "amplification": (1.0, np.inf)}
FIXED = "fixed"
DIFFERENCE = "difference"
SLOPES = (H_NEURONS, RANDOM, DIFFERENCE)

Runs = Mapping[float, pa.Table]


def run_file(results: str | Path, model: str, benchmark: str, neurons: str, alpha: str) -> Path:
    """Where a set's judged run at an α lies under a study's folder; α = 1 is the untouched model's, whatever the set."""
    return (
        Path(results) / model / "impact" / benchmark / (UNTOUCHED if alpha == "1" else neurons) / f"alpha={alpha}.parquet"
    )


def read_curves(results: str | Path, *, resamples: int = 2000, seed: int = 0) -> tuple[list[dict[str, Any]], list[str]]:
    """Curves of every model and benchmark under a study's folder, from whatever runs are there.

    Also a line for each that has no run of the untouched model, without which there is no curve.
    """
    curves, notes = [], []
    for folder in sorted(p for p in Path(results).glob("*/impact/*") if p.is_dir()):
        model, benchmark = folder.parent.parent.name, folder.name
        untouched = run_file(results, model, benchmark, UNTOUCHED, "1")
        if not untouched.is_file():
            notes.append(f"{model}, {benchmark}: {untouched} is missing: no curve")
            continue
        scaled = read_runs(sorted(p for p in folder.glob("*/alpha=*.parquet") if p.parent.name != UNTOUCHED))
        head = {"model": model, "benchmark": benchmark, "judge": store.made_by(untouched).get("judge", "unknown")}
        curves.append({**head, **make_curve(store.read_table(untouched, RUNS), scaled, resamples=resamples, seed=seed)})
    return curves, notes


def read_runs(paths: Sequence[str | Path]) -> dict[str, dict[float, pa.Table]]:
    """Runs by neuron set and α, from files named {neurons}/alpha={alpha}.parquet, in the order given."""
    found: dict[str, dict[float, pa.Table]] = {}
    for path in map(Path, paths):
        found.setdefault(path.parent.name, {})[float(path.stem.removeprefix("alpha="))] = store.read_table(path, RUNS)
    return found


def curve_point(run: pa.Table, eligible_untouched: np.ndarray | None = None) -> dict[str, Any]:
    """What one run shows: the compliance rate over its eligible items, and what it may hide.

    Rates in percent. A reply that was refused, could not be parsed or judged is no compliance and stays in the denominator.
    eligible_untouched [items]: which were eligible at α = 1; `fixed` is the rate over these, whose denominator does not
    move with α. tokens: mean length of the last replies.
    """
    eligible, complied = run["eligible"].to_numpy(), run["compliant"].to_numpy()
    fixed = eligible if eligible_untouched is None else eligible_untouched
    states = run["state"].to_pylist()
    return {
        "items": run.num_rows,
        **_rate(complied, eligible),
        "fixed": _rate(complied, fixed),
        "unparsed": 100 * states.count("unparsed") / run.num_rows,
        "refused": 100 * states.count("refused") / run.num_rows,
        "judge_error": 100 * states.count("error") / run.num_rows,
        "truncated": _mean(run["truncated"], 100),
        "tokens": _mean(run["tokens"]),
    }


def _mean(column: pa.ChunkedArray, times: float = 1.0) -> float | None:
    """None where it is not known of any row: imported runs may not say."""
    known = column.drop_null().to_numpy()
    return times * float(known.mean()) if len(known) else None


def _rate(complied: np.ndarray, among: np.ndarray) -> dict[str, Any]:
    compliant, n = int((complied & among).sum()), int(among.sum())
    low, high = wilson(compliant, n)
    rate = 100 * compliant / n if n else None
    return {"n": n, "compliant": compliant, "rate": rate, "interval": (100 * low, 100 * high)}


def _rates(eligible: np.ndarray, compliant: np.ndarray) -> np.ndarray:
    """Rates in percent from [items, …] booleans; NaN where nobody is eligible."""
    n = eligible.sum(axis=0)
    rates: np.ndarray = 100 * np.divide((eligible & compliant).sum(axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)
    return rates


def _aligned(run: pa.Table, ids: Sequence[str]) -> pa.Table:
    """A run's rows in the order of ids. Raises HNeuronsError for a run of other items."""
    order = {item: i for i, item in enumerate(run["item_id"].to_pylist())}
    if set(order) != set(ids):
        raise HNeuronsError(f"runs of one benchmark hold different items: {sorted(set(order) ^ set(ids))[0]} is not in all")
    return run.take([order[item] for item in ids])


def make_curve(
    untouched: pa.Table,
    scaled: Mapping[str, Runs],
    *,
    alphas: Sequence[float] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything Figure 3 shows of one benchmark, from whatever runs there are.

    untouched: the run at α = 1. scaled: per neuron set its runs at other α. alphas: those that were asked for; what a set
    lacks of them, and of what others have, is named under `missing` and never interpolated. Slopes are least squares in
    percentage points per unit α, over all α and on each side of 1, with bootstrap intervals over items (those that differ
    in wording alone are drawn together). The random sets' slopes are averaged; the difference H-Neurons minus random is
    bootstrapped over the same items and taken over the α that all of them have.
    """
    ids = untouched["item_id"].to_pylist()
    sets = {
        name: {alpha: _aligned(run, ids) for alpha, run in sorted({**runs, 1.0: untouched}.items())}
        for name, runs in scaled.items()
    }
    known = sorted({1.0, *map(float, alphas), *(alpha for runs in sets.values() for alpha in runs)})
    base = untouched["eligible"].to_numpy()
    slopes = _slopes(sets, ids, resamples, seed)
    return {
        "alphas": known,
        "missing": {name: lacks for name, runs in sets.items() if (lacks := [a for a in known if a not in runs])},
        "points": {
            name: [{"alpha": a, **curve_point(run, base)} | _against(untouched, run, a) for a, run in runs.items()]
            for name, runs in sets.items()
        },
        "slope": slopes,
        "random_sets": len(_random(sets)),
    }


def _random(sets: Mapping[str, Any]) -> list[str]:
    return [name for name in sets if name.startswith(RANDOM)]


def _against(untouched: pa.Table, run: pa.Table, alpha: float) -> dict[str, Any]:
    """McNemar's test against α = 1, on the items that are eligible at both."""
    if alpha == 1:
        return {"mcnemar": None}
    both = untouched["eligible"].to_numpy() & run["eligible"].to_numpy()
    return {"mcnemar": mcnemar_test(untouched["compliant"].to_numpy()[both], run["compliant"].to_numpy()[both])}


def _slopes(sets: Mapping[str, Runs], ids: Sequence[str], resamples: int, seed: int) -> dict[str, Any]:
    """Per part of the α, and over the fixed denominator: value, interval and standard error of every slope."""
    names = list(sets)
    randoms = [names.index(name) for name in _random(sets)]
    ours = names.index(H_NEURONS) if H_NEURONS in names else None
    compared = [*randoms, *([ours] if ours is not None else [])]
    alphas = [np.array(list(sets[name])) for name in names]
    at_1 = [int(np.flatnonzero(x == 1)[0]) for x in alphas]
    common = set.intersection(*(set(alphas[i]) for i in compared)) if compared else set()
    shared = [np.isin(x, list(common)) for x in alphas]
    columns = [
        np.stack([run[column].to_numpy() for run in sets[name].values()], axis=1)
        for name in names
        for column in ("eligible", "compliant")
    ]
    rows = [(part, name) for part in (*PARTS, FIXED) for name in (*SLOPES, *_others(names))]

    def sloped(which: int, rates: np.ndarray, at: np.ndarray) -> float:
        ok = at.sum() > 1 and not np.isnan(rates[at]).any()
        return slope(alphas[which][at], rates[at]) if ok else np.nan

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values)) if values else np.nan

    def of(*drawn: np.ndarray) -> np.ndarray:
        pairs = list(zip(drawn[::2], drawn[1::2], strict=True))
        moving = [_rates(e, c) for e, c in pairs]
        fixed = [_rates(np.broadcast_to(e[:, [k]], c.shape), c) for (e, c), k in zip(pairs, at_1, strict=True)]
        found: dict[tuple[str, str], float] = {}
        for part in (*PARTS, FIXED):
            low, high = PARTS.get(part, PARTS["all"])
            rates = fixed if part == FIXED else moving
            within = [(x >= low) & (x <= high) for x in alphas]
            each = [sloped(i, rates[i], within[i]) for i in range(len(names))]
            both = [sloped(i, rates[i], within[i] & shared[i]) for i in range(len(names))]
            found |= {(part, name): each[names.index(name)] for name in _others(names)}
            found[part, H_NEURONS] = np.nan if ours is None else each[ours]
            found[part, RANDOM] = mean([each[i] for i in randoms])
            found[part, DIFFERENCE] = np.nan if ours is None else both[ours] - mean([both[i] for i in randoms])
        return np.array([found[row] for row in rows])

    values = of(*columns)
    groups = [item.split("/")[0] for item in ids]
    intervals = bootstrap_intervals(of, columns, resamples=resamples, seed=seed, groups=groups)
    result: dict[str, Any] = {}
    for (part, name), value, (low, high, error) in zip(rows, values, intervals, strict=True):
        known = not np.isnan(value)
        result.setdefault(part, {})[name] = {
            "value": float(value) if known else None,
            "interval": (low, high) if known else None,
            "error": error if known else None,
            "includes_0": not known or low <= 0 <= high,
        }
    return result


def _others(names: Sequence[str]) -> list[str]:
    """Sets that are neither the H-Neurons nor random ones."""
    return [name for name in names if name != H_NEURONS and not name.startswith(RANDOM)]
