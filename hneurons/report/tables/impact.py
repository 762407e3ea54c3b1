"""What scaling does, as long tables: Figure 3, its slopes, what scaling costs, and the agreement of judges."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
from scipy.special import ndtri

from hneurons.config.impact import H_NEURONS, RANDOM
from hneurons.config.paper import BEHAVIOURS, Paper
from hneurons.impact.agreement import Agreement
from hneurons.impact.curves import DIFFERENCE, Curve, CurvePoint
from hneurons.impact.rates import EQUAL_MIX, Rate
from hneurons.impact.utility_curves import UtilityCurves
from hneurons.report.tables.rows import TableRow, bounds, pick, with_holm
from hneurons.stats.estimates import CONFIDENCE, Interval

# What tables call the slope of the H-Neurons minus that of random neurons.
MINUS_RANDOM = f"{H_NEURONS} minus random"
# The paper's smaller models have 4 to 8 billion parameters, its larger ones 24 to 70.
LARGE = 10e9


def figure3_table(curves: Sequence[Curve]) -> pd.DataFrame:
    """Make the table behind Figure 3, one row per model, benchmark, neuron set and α. Missing runs have no row.

    Benchmarks with sub-sets have further rows, whose `subset` is not empty. McNemar's p is corrected for the benchmarks and
    α of a model and neuron set.
    """
    rows: list[TableRow] = []
    for curve in curves:
        for neurons, points in curve.points.items():
            for point in points:
                rows += [_figure3_row(curve, neurons, point), *_subset_rows(curve, neurons, point)]
    return with_holm(pd.DataFrame(rows), "mcnemar_p", ["model", "neurons"])


def _figure3_row(curve: Curve, neurons: str, point: CurvePoint) -> TableRow:
    mcnemar = asdict(point.mcnemar) if point.mcnemar else dict.fromkeys(("n", "lost", "gained", "p"))
    return {
        **pick(curve, "model", "benchmark", "judge", "wording"),
        "subset": "",
        "neurons": neurons,
        **pick(point, "alpha", "items"),
        **_rate_columns(point.rate),
        **pick(point, "unparsed", "refused", "judge_error", "truncated", "tokens"),
        "n_eligible_at_1": point.at_1.n,
        "rate_of_eligible_at_1": point.at_1.percent,
        "n_eligible_at_both": point.at_both.n,
        "rate_of_eligible_at_both": point.at_both.percent,
        **{f"mcnemar_{name}": value for name, value in mcnemar.items()},
    }


def _rate_columns(rate: Rate) -> TableRow:
    """A rate in percent with its interval, and its bounds if every failed judgement went one way."""
    worst, best = rate.bounds or (None, None)
    return {
        **pick(rate, "n", "compliant"),
        "rate": rate.percent,
        **bounds(rate.interval),
        "rate_if_errors_comply_not": worst,
        "rate_if_errors_comply": best,
    }


def _subset_rows(curve: Curve, neurons: str, point: CurvePoint) -> list[TableRow]:
    """A row per sub-set of the benchmark, and their mean with equal weights."""
    head = {**pick(curve, "model", "benchmark", "judge", "wording"), "neurons": neurons, "alpha": point.alpha}
    rows = [{**head, "subset": name, **_rate_columns(rate)} for name, rate in point.subsets.items()]
    rates = [rate.percent for rate in point.subsets.values()]
    if rates and None not in rates:
        rows.append({**head, "subset": EQUAL_MIX, "n": point.rate.n, "rate": sum(filter(None, rates)) / len(rates)})
    return rows


def slopes_table(curves: Sequence[Curve]) -> pd.DataFrame:
    """Make the table of slopes in percentage points per unit α, one row per model, benchmark, part and neuron set.

    The parts are all α, suppression (α ≤ 1) and amplification (α ≥ 1); all α with other denominators (the items eligible at
    α = 1, or at both α); and the sub-sets of a benchmark, with their mean of equal weights. p is corrected for the
    benchmarks of a model; `detectable` is the smallest slope that the study detects with 80 % power.
    """
    table = pd.DataFrame(
        [
            {
                **pick(curve, "model", "benchmark", "judge", "wording", "random_sets"),
                "part": part,
                "neurons": MINUS_RANDOM if name == DIFFERENCE else name,
                "slope": slope.value,
                **bounds(slope.interval),
                **pick(slope, "p", "detectable", "coverage"),
                "warning": "; ".join(curve.warnings),
                "missing": missing_runs(curve),
            }
            for curve in curves
            for part, slopes in curve.slopes.items()
            for name, slope in slopes.items()
        ]
    )
    return with_holm(table, "p", ["model", "part", "neurons"])


def missing_runs(curve: Curve) -> str:
    """List the α without a run by neuron set, in one line; empty if there are none."""
    sets = (f"{name} α = {', '.join(f'{alpha:g}' for alpha in alphas)}" for name, alphas in curve.missing.items())
    return "; ".join(sets)


def average_slopes_table(
    curves: Sequence[Curve], parameters: Mapping[str, int], paper: Paper | None = None
) -> pd.DataFrame:
    """Average the slopes over the behaviours of the smaller and of the larger models, which have at least 10e9 parameters.

    One row per size and neuron set. Intervals are normal, from standard errors that are taken as independent, and
    missing where a slope has no interval.

    Args:
        curves: one per model and behaviour.
        parameters: number of parameters of each model.
        paper: adds the paper's average where the study has all of the paper's models of a size and all of its behaviours.
    """
    rows = []
    for size in ("small", "large"):
        of_size = [curve for curve in curves if (parameters[curve.model] >= LARGE) == (size == "large")]
        models = sorted({curve.model for curve in of_size})
        behaviours = {(curve.model, curve.benchmark) for curve in of_size}
        paper_slope = None
        if paper and behaviours == {(model, name) for model in getattr(paper, size) for name in BEHAVIOURS}:
            paper_slope = getattr(paper.slopes, size)
        for name in (H_NEURONS, RANDOM, DIFFERENCE):
            slopes = [curve.slopes["all"][name] for curve in of_size]
            values = [slope.value for slope in slopes if slope.value is not None]
            errors = [slope.error for slope in slopes if slope.error is not None]
            if values:
                mean = sum(values) / len(values)
                half = float(ndtri((1 + CONFIDENCE) / 2)) * sum(error**2 for error in errors) ** 0.5 / len(values)
                interval = (mean - half, mean + half) if len(errors) == len(values) else None
                rows.append(
                    {
                        "models": size,
                        "n_models": len(models),
                        "n_curves": len(values),
                        "neurons": MINUS_RANDOM if name == DIFFERENCE else name,
                        "mean_slope": mean,
                        **bounds(interval),
                        "paper": paper_slope if name == H_NEURONS else None,
                    }
                )
    return pd.DataFrame(rows)


def utility_table(utility: Sequence[UtilityCurves], accuracy: Sequence[Curve]) -> pd.DataFrame:
    """Make the table of what scaling costs.

    Args:
        utility: perplexity and CETT, one per model.
        accuracy: curves of the test questions, one per model.

    Returns:
        One row per model, measure, neuron set and α. The measures are: accuracy on test questions in percent; the ratio of
        the perplexity to the untouched model's; and the H-Neurons' CETT relative to α = 1, median with quartiles.
    """
    rows: list[TableRow] = []

    def add(
        model: str, measure: str, name: str, alpha: float, value: float | None, interval: Interval | None, **extra: Any
    ) -> None:
        head = {"model": model, "measure": measure, "neurons": name, "alpha": alpha}
        rows.append({**head, "value": value, **bounds(interval), **extra})

    for curve in accuracy:
        for name, points in curve.points.items():
            for point in points:
                add(curve.model, "accuracy", name, point.alpha, point.rate.percent, point.rate.interval, n=point.rate.n)
    for curves in utility:
        for name, perplexity in curves.perplexity.items():
            for p in perplexity:
                add(curves.model, "perplexity ratio", name, p.alpha, p.ratio, p.interval, n=None, perplexity=p.perplexity)
        for name, cett in curves.cett.items():
            for c in cett:
                add(curves.model, "CETT ratio", name, c.alpha, c.median, c.quartiles, n=c.neurons)
    return pd.DataFrame(rows)


def agreement_table(agreements: Sequence[Agreement]) -> pd.DataFrame:
    """Make the table of agreement of two judges, one row per model, task and pair of verdicts that occurs."""
    rows = []
    for agreement in agreements:
        head = pick(agreement, "model", "task", "first", "second", "n", "judge_errors", "agree_percent", "kappa")
        head |= bounds(agreement.kappa_interval)
        for first, counts in zip(agreement.labels, agreement.confusion, strict=True):
            for second, count in zip(agreement.labels, counts, strict=True):
                if count:
                    rows.append({**head, "first_says": first, "second_says": second, "count": count})
    return pd.DataFrame(rows).round(4)
