"""The study in short: questions, and what the numbers answer, with control and interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hneurons.config.impact import H_NEURONS
from hneurons.config.paper import Paper
from hneurons.config.study import Study
from hneurons.detection.results import COMBINED, METHODS
from hneurons.impact.rates import MIN_SETS
from hneurons.models.widths import Widths
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.probe.classifiers import PROBE
from hneurons.report.html import frame_rows
from hneurons.report.tables.detection import not_beaten, stronger_control
from hneurons.report.tables.impact import MINUS_RANDOM
from hneurons.stats.estimates import format_interval

# Questions that the end of a run answers too.
COUNT = "Are there H-Neurons, and how many?"
DETECTION = "Do they detect hallucinated answers?"
SCALING = "Does scaling them change how often the model complies?"

_SIZES = {"small": "below 10 billion parameters", "large": "of 10 billion parameters and more"}


def _auroc(row: Any) -> str:
    return format_interval(row["auroc"], row["auroc_low"], row["auroc_high"])


def _conclusion(low: float, high: float) -> str:
    if pd.isna(low):
        return "n is too small to show a difference"
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
    answers = [(COUNT, [_count(neurons, paper) for neurons in sets])]
    if "table1" in frames:
        answers.append((DETECTION, _detection(study, frames["table1"])))
    if "k_sweep" in frames:
        answers.append(("Do as few random neurons detect them?", _sweep(frames["k_sweep"])))
    if "average_slopes" in frames:
        answers.append((SCALING, _scaling(frames)))
    if "utility" in frames:
        answers.append(("What does scaling cost?", _cost(frames["utility"])))
    if "transfer" in frames:
        backward = (frames["transfer"]["direction"] == "backward").any()
        question = "Do they exist before tuning?" if backward else "Do they carry over to a tuned model?"
        answers.append((question, _origin(frames)))
    return [(question, sentences) for question, sentences in answers if sentences]


def _count(neurons: NeuronSet, paper: Paper) -> str:
    made_by, n = neurons.made_by, int(neurons.selected.sum())
    total = Widths.from_facts(made_by).total
    stable = neurons.stability[neurons.selected]
    in_paper = paper.models.get(made_by["model"])
    share = f"{1000 * n / total:.2f} ‰" + (f"; {in_paper.permille:g} ‰ in the paper" if in_paper else "")
    n_kept = int((stable >= 0.5).sum())
    kept = f"; {n_kept} keep their sign in at least half of the bootstraps" if (stable >= 0).all() else ""
    return f"{made_by['model']}: {n} H-Neurons of {total:,} ({share}), C = {made_by['C']:g}{kept}."


def _detection(study: Study, table: pd.DataFrame) -> list[str]:
    sentences = []
    for model, model_rows in table.groupby("model", sort=False):
        of_set = model_rows[model_rows["dataset"] == study.in_domain]
        by_method = {row["method"]: row for row in frame_rows(of_set)}
        control = stronger_control(of_set)
        if METHODS[PROBE] not in by_method or control is None:
            continue
        probe = by_method[METHODS[PROBE]]
        low, high = control["difference_low"], control["difference_high"]
        lead = format_interval(control["probe_minus_method_auroc"], low, high, sign="+")
        sentences.append(
            f"{model}, {study.in_domain}: AUROC {_auroc(probe)}; the stronger control ({control['method']}) "
            f"{control['auroc']:.2f}; difference {lead}: {_conclusion(low, high)}. "
            f"n = {probe['n_hallucinated']:.0f} + {probe['n_faithful']:.0f}."
        )
        if combined := by_method.get(METHODS[COMBINED]):
            confidence = by_method[METHODS["answer-logprob"]]
            sentences.append(
                f"{model}, {study.in_domain}: the log-probability of the answer alone {_auroc(confidence)}, both combined "
                f"{_auroc(combined)}."
            )
    return sentences + not_beaten(table)


def _sweep(table: pd.DataFrame) -> list[str]:
    sentences = []
    for model, rows in table.groupby("model", sort=False):
        matching = rows[rows["smallest_matching"]]
        number = f"{matching.iloc[0]['neurons']:,}" if len(matching) else "none of those tried"
        last = rows.iloc[-1]
        sentences.append(
            f"{model}, consistent questions in folds: the smallest number of random neurons (L2) over which the probe's "
            f"lead is not shown: {number}; all {rows['neurons'].max():,} neurons have an AUROC of {last['auroc']:.2f}, the "
            f"probe {last['probe_auroc']:.2f}."
        )
    return sentences


def _scaling(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    sentences = []
    averages, sets = frames["average_slopes"], frames["slopes"]["random_sets"].min()
    for row in frame_rows(averages[averages["neurons"] == MINUS_RANDOM]):
        if sets < MIN_SETS:
            difference = f"{row['mean_slope']:+.1f}"
            conclusion = f"{sets} random sets are too few for an interval, so no difference is shown"
        else:
            difference = format_interval(row["mean_slope"], row["low"], row["high"], digits=1, sign="+")
            conclusion = _conclusion(row["low"], row["high"])
        sentences.append(
            f"Slope of the compliance rate minus that of random neurons, averaged over {row['n_curves']} curves of models "
            f"{_SIZES[row['models']]}: {difference} points per unit α; {conclusion}."
        )
    slopes = frames["slopes"]
    parts = slopes[(slopes["neurons"] == MINUS_RANDOM) & (slopes["part"] == "all")]
    tested = parts.dropna(subset="p_holm")
    differing = frame_rows(tested[tested["p_holm"] < 0.05])
    if len(tested):
        named = "; ".join(f"{row['model']}, {row['benchmark']} ({row['slope']:+.1f})" for row in differing)
        sentences.append(
            f"{len(differing)} of {len(tested)} curves differ from random neurons (p < 0.05, Holm's correction)"
            + (f": {named}" if named else "")
            + f". Smallest detectable differences: {tested['detectable'].min():.1f} to {tested['detectable'].max():.1f} "
            "points per unit α (80 % power)."
        )
    if untested := sorted(set(parts["benchmark"]) - set(tested["benchmark"])):
        sentences.append(f"No test against random neurons, for too few random sets or items: {', '.join(untested)}.")
    for row in frame_rows(parts[parts["warning"].fillna("") != ""]):
        sentences.append(f"Warning, {row['model']}, {row['benchmark']}: {row['warning']}; compare its rates with care.")
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
        values = []
        for row in frame_rows(rows[rows["method"] == METHODS[PROBE]]):
            control = stronger_control(rows[rows["dataset"] == row["dataset"]])
            assert control is not None, "every scored set has random controls"
            values.append(
                f"{row['dataset']} {_auroc(row)} (stronger control {control['auroc']:.2f}, "
                f"n = {row['n_hallucinated']:.0f} + {row['n_faithful']:.0f})"
            )
        if values:
            sentences.append(f"{model} on {partner} ({direction}): AUROC {'; '.join(values)}.")
    sentences += not_beaten(transfer)
    for row in [] if drift is None else frame_rows(drift[drift["ranked_among"] == "all neurons"]):
        sentences.append(
            f"{row['model']}: mean rank of drift {format_interval(row['mean_rank'], row['low'], row['high'])} of "
            f"{row['h_neurons']} H-Neurons, other neurons {row['others_mean_rank']:.2f} (1 = changed least); permutation "
            f"p = {row['p_permutation_one_sided']:.2g}."
        )
    return sentences
