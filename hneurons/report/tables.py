"""Results as long tables for CSV files: one row per cell of the paper's table or point of its figure, with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from hneurons.config.impact import H_NEURONS, RANDOM
from hneurons.config.paper import Paper
from hneurons.detection.results import METHODS, DatasetScores, MethodScore
from hneurons.impact.agreement import Agreement
from hneurons.impact.curves import DIFFERENCE, Curve, CurvePoint
from hneurons.impact.utility_curves import UtilityCurves
from hneurons.origin.drift import DriftReport
from hneurons.probe.classifiers import PROBE
from hneurons.stats import CONFIDENCE_Z, Interval

# What tables call the slope of the H-Neurons minus that of random neurons.
MINUS_RANDOM = f"{H_NEURONS} minus random"
# The paper's smaller models have 4 to 8 billion parameters, its larger ones 24 to 70.
LARGE = 10e9
# States of a reply without a verdict, by their names in tables.
_STATES = {"unparsed": "unparsed", "refused": "refused", "judge_error": "error"}

_Row = dict[str, Any]


def _bounds(interval: Interval | None, prefix: str = "") -> _Row:
    low, high = interval or (None, None)
    return {f"{prefix}low": low, f"{prefix}high": high}


def _pick(record: Any, *names: str) -> _Row:
    return {name: getattr(record, name) for name in names}


def choice_table(choices: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the models' tables of the choice of C.

    Args:
        choices: per model name the rows of choice.compare_C.
    """
    return pd.concat(choices, names=["model"]).reset_index(level="model")


def _scores(score: MethodScore) -> _Row:
    """The columns that Table 1 and the transfer table share."""
    return {
        "method": METHODS[score.method],
        **_pick(score, "n_hallucinated", "n_faithful", "auroc"),
        **_bounds(score.auroc_interval, "auroc_"),
        "probe_minus_method_auroc": score.lead,
        **_bounds(score.lead_interval, "difference_"),
    }


def table1(
    probes: Mapping[str, Mapping[str, Any]], detections: Sequence[DatasetScores], paper: Paper | None = None
) -> pd.DataFrame:
    """Make Table 1, one row per model, data set and method.

    Args:
        probes: per model the summary of its probe.
        detections: one per model and data set.
        paper: adds the paper's accuracy and the difference from it, for the paper's own models and data sets.

    Returns:
        A table with rates and AUROC in 0 to 1, rounded to 4 decimals, and states in percent of all responses.
    """
    rows = []
    for scores in detections:
        probe = probes[scores.model]
        for score in scores.methods:
            several = score.seeds > 1
            accuracy = _paper_accuracy(paper, scores.model, scores.dataset, score.method)
            rows.append(
                {
                    "model": scores.model,
                    "neurons": probe["neurons"],
                    "h_neurons": probe["h_neurons"],
                    "ratio_permille": round(1000 * probe["h_neurons"] / probe["neurons"], 4),
                    "C": probe["C"],
                    "dataset": scores.dataset,
                    **_scores(score),
                    "neurons_used": score.neurons_used,
                    "random_seeds": score.seeds if several else None,
                    "accuracy": score.accuracy,
                    **_bounds(score.accuracy_interval, "accuracy_"),
                    "paper_accuracy": accuracy,
                    "accuracy_minus_paper": None if accuracy is None else score.accuracy - accuracy,
                    "auroc_of_seeds_low": min(score.auroc_of_seeds) if several else None,
                    "auroc_of_seeds_high": max(score.auroc_of_seeds) if several else None,
                    "difference_says": score.difference,
                    **_pick(scores, "faithful_are", "judge"),
                    "spans_by": scores.extractor,
                    **{f"{name}_percent": round(scores.percent(state), 1) for name, state in _STATES.items()},
                }
            )
    return pd.DataFrame(rows).round(4).astype({"neurons_used": "Int64", "random_seeds": "Int64"})


def _paper_accuracy(paper: Paper | None, model: str, dataset: str, method: str) -> float | None:
    accuracy = paper.accuracy(model, dataset) if paper else None
    percent = {PROBE: accuracy.h_neurons, "random": accuracy.random}.get(method) if accuracy else None
    return None if percent is None else percent / 100


def transfer_table(transfers: Sequence[DatasetScores], paper: Paper | None = None) -> pd.DataFrame:
    """Make the transfer table: each model's probe, unchanged, on its partner's answers.

    Args:
        transfers: scores of a probe on its partner. In direction "backward", as in the paper, the probe's model was tuned
            from the partner; in "forward" the partner was tuned from it.
        paper: adds the paper's AUROC to rows of backward transfer.

    Returns:
        One row per model, data set and method, rounded to 4 decimals.
    """
    rows = []
    for scores in transfers:
        paper_auroc = paper.transfer(scores.model, scores.dataset) if paper and scores.direction == "backward" else None
        rows += [
            {
                **_pick(scores, "model", "partner", "direction", "dataset", "judge"),
                **_scores(score),
                "paper_auroc": paper_auroc if score.method == PROBE else None,
            }
            for score in scores.methods
        ]
    return pd.DataFrame(rows).round(4)


def drift_table(reports: Sequence[DriftReport], paper: Paper | None = None) -> pd.DataFrame:
    """Make the table of parameter drift.

    Args:
        reports: one per pair of models.
        paper: adds the paper's mean rank to backward rows that rank among all neurons.

    Returns:
        Two rows per report: the H-Neurons ranked among all neurons, and among those of their layer.
    """
    rows = []
    for report in reports:
        paper_rank = paper.drift(report.model) if paper and report.direction == "backward" else None
        tests = (("all neurons", report.all, paper_rank), ("neurons of the same layer", report.within_layers, None))
        rows += [
            {
                **_pick(report, "model", "partner", "direction", "neurons"),
                "ranked_among": among,
                "h_neurons": test.n,
                "mean_rank": test.mean_rank,
                **_bounds(test.interval),
                "paper_mean_rank": paper_mean,
                "others_mean_rank": test.others,
                "effect_d": test.effect_d,
                "t": test.t,
                "p_t_one_sided": test.p_t,
                "p_permutation_one_sided": test.p_permutation,
            }
            for among, test, paper_mean in tests
        ]
    return pd.DataFrame(rows)


def figure3_table(curves: Sequence[Curve]) -> pd.DataFrame:
    """Make the table behind Figure 3, one row per model, benchmark, neuron set and α. Missing runs have no row."""
    return pd.DataFrame(
        [_figure3_row(curve, neurons, point) for curve in curves for neurons, ps in curve.points.items() for point in ps]
    )


def _figure3_row(curve: Curve, neurons: str, point: CurvePoint) -> _Row:
    mcnemar = asdict(point.mcnemar) if point.mcnemar else dict.fromkeys(("n", "lost", "gained", "p"))
    return {
        **_pick(curve, "model", "benchmark", "judge"),
        "neurons": neurons,
        **_pick(point, "alpha", "items"),
        **_pick(point.rate, "n", "compliant"),
        "rate": point.rate.percent,
        **_pick(point, "unparsed", "refused", "judge_error", "truncated", "tokens"),
        **_bounds(point.rate.interval),
        "n_eligible_at_1": point.fixed.n,
        "rate_of_eligible_at_1": point.fixed.percent,
        **{f"mcnemar_{name}": value for name, value in mcnemar.items()},
    }


def slopes_table(curves: Sequence[Curve]) -> pd.DataFrame:
    """Make the table of slopes in percentage points per unit α, one row per model, benchmark, part and neuron set.

    The parts are all α, suppression (α ≤ 1), amplification (α ≥ 1), and fixed: all α, over the items that were eligible at
    α = 1.
    """
    return pd.DataFrame(
        [
            {
                **_pick(curve, "model", "benchmark", "judge", "random_sets"),
                "part": part,
                "neurons": MINUS_RANDOM if name == DIFFERENCE else name,
                "slope": slope.value,
                **_bounds(slope.interval),
            }
            for curve in curves
            for part, slopes in curve.slopes.items()
            for name, slope in slopes.items()
        ]
    )


def average_slopes_table(
    curves: Sequence[Curve], parameters: Mapping[str, int], paper: Paper | None = None
) -> pd.DataFrame:
    """Average the slopes over the behaviours of the smaller and of the larger models, which have at least 10e9 parameters.

    One row per size and neuron set. Intervals are normal, from bootstrap standard errors that are taken as independent.

    Args:
        curves: one per model and behaviour.
        parameters: number of parameters of each model.
        paper: adds the paper's average where the study has all of the paper's models of a size.
    """
    rows = []
    for size in ("small", "large"):
        of_size = [curve for curve in curves if (parameters[curve.model] >= LARGE) == (size == "large")]
        models = sorted({curve.model for curve in of_size})
        paper_slope = getattr(paper.slopes, size) if paper and set(models) == set(getattr(paper, size)) else None
        for name in (H_NEURONS, RANDOM, DIFFERENCE):
            slopes = [curve.slopes["all"][name] for curve in of_size]
            values = [slope.value for slope in slopes if slope.value is not None]
            errors = [slope.error for slope in slopes if slope.error is not None]
            if values:
                mean = sum(values) / len(values)
                half = CONFIDENCE_Z * sum(error**2 for error in errors) ** 0.5 / len(values)
                rows.append(
                    {
                        "models": size,
                        "n_models": len(models),
                        "n_curves": len(values),
                        "neurons": MINUS_RANDOM if name == DIFFERENCE else name,
                        "mean_slope": mean,
                        **_bounds((mean - half, mean + half)),
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
    rows: list[_Row] = []

    def add(
        model: str, measure: str, name: str, alpha: float, value: float | None, interval: Interval, **extra: Any
    ) -> None:
        head = {"model": model, "measure": measure, "neurons": name, "alpha": alpha}
        rows.append({**head, "value": value, **_bounds(interval), **extra})

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
        head = _pick(agreement, "model", "task", "first", "second", "n", "judge_errors", "agree_percent", "kappa")
        head |= _bounds(agreement.kappa_interval)
        for first, counts in zip(agreement.labels, agreement.confusion, strict=True):
            for second, count in zip(agreement.labels, counts, strict=True):
                if count:
                    rows.append({**head, "first_says": first, "second_says": second, "count": count})
    return pd.DataFrame(rows).round(4)
