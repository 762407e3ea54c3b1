"""The study in short: questions, and what the numbers answer, with control and interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hneurons.config.impact import H_NEURONS
from hneurons.config.paper import Paper
from hneurons.config.study import Study
from hneurons.detection.results import METHODS
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.probe.classifiers import PROBE
from hneurons.report.html import frame_rows
from hneurons.report.tables import MINUS_RANDOM
from hneurons.stats import format_interval

_SIZES = {"small": "below 10 billion parameters", "large": "of 10 billion parameters and more"}


def _auroc(row: Any) -> str:
    return format_interval(row["auroc"], row["auroc_low"], row["auroc_high"])


def _conclusion(low: float, high: float) -> str:
    return "the interval contains 0, so no difference is shown" if low <= 0 <= high else "the interval excludes 0"


def in_short(
    study: Study, frames: Mapping[str, pd.DataFrame], sets: Sequence[NeuronSet], paper: Paper
) -> list[tuple[str, list[str]]]:
    """Answer the paper's questions from a study's tables.

    Args:
        study: the settings.
        frames: the study's tables by name, as CSV files hold them.
        sets: each model's neurons.
        paper: the paper's numbers, for comparison.

    Returns:
        Pairs of question and sentences, in the order of the paper. Questions that the study does not cover are left out.
    """
    answers = [("Are there H-Neurons, and how many?", [_count(neurons, paper) for neurons in sets])]
    if "table1" in frames:
        answers.append(("Do they detect hallucinated answers?", _detection(study, frames["table1"])))
    if "average_slopes" in frames:
        answers.append(("Does scaling them change how often the model complies?", _scaling(frames)))
    if "utility" in frames:
        answers.append(("What does scaling cost?", _cost(frames["utility"])))
    if "transfer" in frames:
        backward = (frames["transfer"]["direction"] == "backward").any()
        question = "Do they exist before tuning?" if backward else "Do they carry over to a tuned model?"
        answers.append((question, _origin(frames)))
    return [(question, sentences) for question, sentences in answers if sentences]


def _count(neurons: NeuronSet, paper: Paper) -> str:
    made_by, n = neurons.made_by, int(neurons.selected.sum())
    total = made_by["layers"] * made_by["d_ff"]
    stable = neurons.stability[neurons.selected]
    in_paper = paper.models.get(made_by["model"])
    share = f"{1000 * n / total:.2f} ‰" + (f"; {in_paper.permille:g} ‰ in the paper" if in_paper else "")
    n_kept = int((stable >= 0.5).sum())
    kept = f"; {n_kept} keep their sign in at least half of the bootstraps" if (stable >= 0).all() else ""
    return f"{made_by['model']}: {n} H-Neurons of {total:,} ({share}), C = {made_by['C']:g}{kept}."


def _detection(study: Study, table: pd.DataFrame) -> list[str]:
    sentences = []
    for model, model_rows in table.groupby("model", sort=False):
        by_method = {row["method"]: row for row in frame_rows(model_rows[model_rows["dataset"] == study.in_domain])}
        if METHODS[PROBE] not in by_method:
            continue
        probe, control = by_method[METHODS[PROBE]], by_method[METHODS["random"]]
        low, high = control["difference_low"], control["difference_high"]
        lead = format_interval(control["probe_minus_method_auroc"], low, high, sign="+")
        sentences.append(
            f"{model}, {study.in_domain}: AUROC {_auroc(probe)}, equally many random neurons {control['auroc']:.2f}; "
            f"difference {lead}: {_conclusion(low, high)}. n = {probe['n_hallucinated']} + {probe['n_faithful']}."
        )
        # Of the test sets only: Table 1 has the folds of the in-domain set too.
        in_other = model_rows["dataset"].isin([str(name) for name in study.datasets if name != study.in_domain])
        others = model_rows[in_other & (model_rows["method"] == METHODS["random"])]
        if len(others):
            better = ", ".join(others[others["difference_low"] > 0]["dataset"]) or "none"
            sentences.append(f"{model}, the other {len(others)} test sets: better than random neurons on {better}.")
    return sentences


def _scaling(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    sentences = []
    averages = frames["average_slopes"]
    for row in frame_rows(averages[averages["neurons"] == MINUS_RANDOM]):
        slope = format_interval(row["mean_slope"], row["low"], row["high"], digits=1, sign="+")
        sentences.append(
            f"Slope of the compliance rate minus that of random neurons, averaged over {row['n_curves']} curves of models "
            f"{_SIZES[row['models']]}: {slope} points per unit α; {_conclusion(row['low'], row['high'])}."
        )
    slopes = frames["slopes"]
    parts = slopes[(slopes["neurons"] == MINUS_RANDOM) & (slopes["part"] == "all")]
    differing = frame_rows(parts[(parts["low"] > 0) | (parts["high"] < 0)])
    if len(parts):
        named = "; ".join(f"{row['model']}, {row['benchmark']} ({row['slope']:+.1f})" for row in differing)
        sentences.append(
            f"{len(differing)} of {len(parts)} curves differ from random neurons at the 95 % level"
            + (f": {named}" if named else "")
            + f". {0.05 * len(parts):.1f} are expected by chance alone."
        )
    return sentences


def _cost(table: pd.DataFrame) -> list[str]:
    sentences = []
    for (model, measure), rows in table[table["measure"] != "CETT ratio"].groupby(["model", "measure"], sort=False):
        points = frame_rows(rows[rows["neurons"] == H_NEURONS].sort_values("alpha"))
        if not points:
            continue
        digits, unit = (2, " × the untouched model's") if measure == "perplexity ratio" else (0, " % of test questions")
        ends = [points[0], points[-1]] if len(points) > 1 else points
        values = ", ".join(
            f"{format_interval(r['value'], r['low'], r['high'], digits=digits)}{unit} at α = {r['alpha']:g}" for r in ends
        )
        controls = rows[rows["neurons"].str.startswith("random") & rows["alpha"].isin([row["alpha"] for row in ends])]
        low, high = controls["value"].min(), controls["value"].max()
        control = f"; random neurons at the same α: {low:.{digits}f} to {high:.{digits}f}" if len(controls) else ""
        sentences.append(f"{model}, {str(measure).removesuffix(' ratio')}: {values}{control}.")
    return sentences


def _origin(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    sentences = []
    transfer, drift = frames["transfer"], frames.get("drift")
    for (model, partner, direction), rows in transfer.groupby(["model", "partner", "direction"], sort=False):
        control = rows[rows["method"] == METHODS["random"]].set_index("dataset")
        values = "; ".join(
            f"{row['dataset']} {_auroc(row)} (random {control['auroc'][row['dataset']]:.2f}, "
            f"n = {row['n_hallucinated']} + {row['n_faithful']})"
            for row in frame_rows(rows[rows["method"] == METHODS[PROBE]])
        )
        sentences.append(f"{model} on {partner} ({direction}): AUROC {values}.")
    for row in [] if drift is None else frame_rows(drift[drift["ranked_among"] == "all neurons"]):
        sentences.append(
            f"{row['model']}: mean rank of drift {format_interval(row['mean_rank'], row['low'], row['high'])} of "
            f"{row['h_neurons']} H-Neurons, other neurons {row['others_mean_rank']:.2f} (1 = changed least); permutation "
            f"p = {row['p_permutation_one_sided']:.2g}."
        )
    return sentences
