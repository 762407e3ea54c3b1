"""The study in short: a question, and what the numbers answer, with control and interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hneurons.config.paper import Paper
from hneurons.config.study import Study
from hneurons.detection.scores import METHODS
from hneurons.neurons.neuron_set import H_NEURONS, NeuronSet
from hneurons.probe.classifiers import PROBE
from hneurons.report.html import frame_rows
from hneurons.report.tables import MINUS_RANDOM
from hneurons.stats import format_interval

_SIZES = {"small": "below 10 billion parameters", "large": "of 10 billion parameters and more"}


def _area(row: Any) -> str:
    return format_interval(row["auroc"], row["auroc_low"], row["auroc_high"])


def _shown(low: float, high: float) -> str:
    return "no difference is shown, the interval contains 0" if low <= 0 <= high else "the interval excludes 0"


def in_short(
    study: Study, frames: Mapping[str, pd.DataFrame], sets: Sequence[NeuronSet], paper: Paper
) -> list[tuple[str, list[str]]]:
    """(question, sentences), in the order of the paper; questions that the study did not ask are left out."""
    found = [("Are there neurons that tell?", [_found(one, paper) for one in sets])]
    if "table1" in frames:
        found.append(("Do they tell made-up answers?", _told(study, frames["table1"])))
    if "average_slopes" in frames:
        found.append(("Does scaling them change how far the model complies?", _scaled(frames)))
    if "utility" in frames:
        found.append(("What does scaling cost?", _cost(frames["utility"])))
    if "transfer" in frames:
        backward = (frames["transfer"]["direction"] == "backward").any()
        asked = "Were they there before tuning?" if backward else "Do they carry over to a tuned model?"
        found.append((asked, _origin(frames)))
    return [(question, sentences) for question, sentences in found if sentences]


def _found(one: NeuronSet, paper: Paper) -> str:
    made, n = one.made_by, int(one.selected.sum())
    total = made["layers"] * made["d_ff"]
    stable = one.stability[one.selected]
    theirs = paper.models.get(made["model"])
    return (
        f"{made['model']}: {n} H-Neurons of {total:,} ({1000 * n / total:.2f} ‰"
        + (f"; the paper {theirs.permille:g} ‰" if theirs else "")
        + f"), C = {made['C']:g}"
        + (
            f"; {int((stable >= 0.5).sum())} keep their sign in at least half of the bootstraps"
            if (stable >= 0).all()
            else ""
        )
        + "."
    )


def _told(study: Study, table: pd.DataFrame) -> list[str]:
    sentences = []
    for model, of_model in table.groupby("model", sort=False):
        by_method = {row["method"]: row for row in frame_rows(of_model[of_model["dataset"] == study.in_domain])}
        if METHODS[PROBE] not in by_method:
            continue
        ours, control = by_method[METHODS[PROBE]], by_method[METHODS["random"]]
        low, high = control["difference_low"], control["difference_high"]
        lead = format_interval(control["probe_minus_method_auroc"], low, high, sign="+")
        sentences.append(
            f"{model}, {study.in_domain}: AUROC {_area(ours)}, as many random ones {control['auroc']:.2f}; {lead} between "
            f"them: {_shown(low, high)}. n = {ours['n_hallucinated']} + {ours['n_faithful']}."
        )
        # The folds are the in-domain set once more.
        other = of_model["dataset"].isin([str(name) for name in study.datasets if name != study.in_domain])
        others = of_model[other & (of_model["method"] == METHODS["random"])]
        if len(others):
            better = list(others[others["difference_low"] > 0]["dataset"])
            sentences.append(
                f"{model}, the other {len(others)} sets: better than random neurons on "
                + (", ".join(better) if better else "none")
                + "."
            )
    return sentences


def _scaled(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    sentences = []
    averages = frames["average_slopes"]
    for row in frame_rows(averages[averages["neurons"] == MINUS_RANDOM]):
        slope = format_interval(row["mean_slope"], row["low"], row["high"], digits=1, sign="+")
        sentences.append(
            f"Slope of the compliance rate over {row['n_curves']} behaviours of models {_SIZES[row['models']]}: "
            f"{slope} points per unit α more than random neurons: "
            f"{_shown(row['low'], row['high'])}."
        )
    slopes = frames["slopes"]
    parts = slopes[(slopes["neurons"] == MINUS_RANDOM) & (slopes["part"] == "all")]
    apart = parts[(parts["low"] > 0) | (parts["high"] < 0)]
    named = [f"{r['model']}, {r['benchmark']} ({r['slope']:+.1f})" for r in frame_rows(apart)]
    if len(parts):
        sentences.append(
            f"Told from random neurons at the 95 % level: {len(named)} of {len(parts)} curves"
            + (f", {'; '.join(named)}" if named else "")
            + f"; by chance alone {0.05 * len(parts):.1f} would be."
        )
    return sentences


def _cost(table: pd.DataFrame) -> list[str]:
    sentences = []
    for (model, measure), rows in table[table["measure"] != "CETT ratio"].groupby(["model", "measure"], sort=False):
        ours = frame_rows(rows[rows["neurons"] == H_NEURONS].sort_values("alpha"))
        if not ours:
            continue
        digits, unit = (2, " × the untouched model's") if measure == "perplexity ratio" else (0, " % of test questions")
        at = [ours[0], ours[-1]] if len(ours) > 1 else ours
        said = ", ".join(
            f"{format_interval(r['value'], r['low'], r['high'], digits=digits)}{unit} at α = {r['alpha']:g}" for r in at
        )
        controls = rows[rows["neurons"].str.startswith("random") & rows["alpha"].isin([r["alpha"] for r in at])]
        beside = (
            f"; random neurons {controls['value'].min():.{digits}f} to {controls['value'].max():.{digits}f} there"
            if len(controls)
            else ""
        )
        sentences.append(f"{model}, {str(measure).removesuffix(' ratio')}: {said}{beside}.")
    return sentences


def _origin(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    sentences = []
    transfer, drift = frames["transfer"], frames.get("drift")
    for (model, partner, direction), rows in transfer.groupby(["model", "partner", "direction"], sort=False):
        probes = rows[rows["method"] == METHODS[PROBE]]
        control = rows[rows["method"] == METHODS["random"]].set_index("dataset")
        said = [
            f"{r['dataset']} {_area(r)} (random {control['auroc'][r['dataset']]:.2f}, "
            f"n = {r['n_hallucinated']} + {r['n_faithful']})"
            for r in frame_rows(probes)
        ]
        sentences.append(f"{model} on {partner} ({direction}): AUROC {'; '.join(said)}.")
    for one in [] if drift is None else frame_rows(drift):
        if one["ranked_among"] == "all neurons":
            sentences.append(
                f"{one['model']}: mean rank of drift {format_interval(one['mean_rank'], one['low'], one['high'])} of "
                f"{one['h_neurons']} H-Neurons, others {one['others_mean_rank']:.2f} (1 changed least); permutation p = "
                f"{one['p_permutation_one_sided']:.2g}."
            )
    return sentences
