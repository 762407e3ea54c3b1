"""A study's tables as the front page shows them: few columns, each number with its interval in one cell."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hneurons.config.impact import H_NEURONS, is_untouched
from hneurons.config.study import Study
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.html import Cell, Grid, frame_rows, interval_cell, make_grid, number_cell

Make = Callable[[Mapping[str, Any]], Cell | str]


def _text(name: str) -> Make:
    return lambda row: "" if pd.isna(row[name]) else str(row[name])


def _number(name: str, digits: int = 2) -> Make:
    return lambda row: number_cell(row[name], digits)


def _interval(name: str, low: str = "low", high: str = "high", digits: int = 2) -> Make:
    return lambda row: interval_cell(row[name], row[low], row[high], digits)


def _each(make: Callable[..., Make], columns: Mapping[str, str], **options: int) -> dict[str, Make]:
    """Columns of one kind: the name in the records by the title."""
    return {title: make(name, **options) for title, name in columns.items()}


def _both_sides(row: Mapping[str, Any]) -> Cell:
    """The cell "hallucinated + faithful", sorted by the sum; empty for a set with too few examples."""
    if pd.isna(row["n_hallucinated"]):
        return Cell("")
    return Cell(f"{row['n_hallucinated']:.0f} + {row['n_faithful']:.0f}", row["n_hallucinated"] + row["n_faithful"])


_COLUMNS: dict[str, dict[str, Make]] = {
    "table1": {
        **_each(_text, {"model": "model", "data set": "dataset", "method": "method"}),
        "n": _both_sides,
        "accuracy [95 %]": _interval("accuracy", "accuracy_low", "accuracy_high"),
        "paper": _number("paper_accuracy", 3),
        "AUROC [95 %]": _interval("auroc", "auroc_low", "auroc_high"),
        **_each(_number, {"coverage of such intervals": "coverage"}),
        "probe's AUROC minus this": _interval("probe_minus_method_auroc", "difference_low", "difference_high"),
        "conclusion": lambda row: _text("difference_says")(row) or _text("note")(row),
        **_each(_number, {"neurons": "neurons_used", "random sets": "random_sets"}, digits=0),
        "share with a weight": _number("share_used"),
    },
    "k_sweep": {
        "model": _text("model"),
        **_each(_number, {"random neurons": "neurons", "sets": "sets"}, digits=0),
        "AUROC [95 %]": _interval("auroc", "auroc_low", "auroc_high"),
        "probe": _number("probe_auroc"),
        "probe minus random": _interval("probe_minus_random", "difference_low", "difference_high"),
        "lead": lambda row: "shown" if row["lead_shown"] else "not shown",
    },
    "domains": {
        **_each(_text, {"model": "model", "probe trained on": "fit_on", "tested on": "tested_on"}),
        "n": _both_sides,
        "AUROC [95 %]": _interval("auroc", "auroc_low", "auroc_high"),
        **_each(_number, {"coverage of such intervals": "coverage"}),
        "minus the stronger random control": _interval("probe_minus_control_auroc", "difference_low", "difference_high"),
        "conclusion": lambda row: _text("difference_says")(row) or _text("note")(row),
        **_each(_number, {"H-Neurons": "h_neurons", "shared with the set's own probe": "shared"}, digits=0),
        "by chance": _number("shared_by_chance"),
        "p of the overlap": _number("overlap_p", 3),
    },
    "choice": {
        "model": _text("model"),
        "C": lambda row: Cell(f"{row['C']:g}", row["C"]),
        "chosen": lambda row: "yes" if row["chosen"] else "",
        **_each(_number, {"weights": "non_zero", "H-Neurons": "h_neurons"}, digits=0),
        "probe, held-out answers [95 %]": _interval("selection_accuracy", "selection_low", "selection_high"),
        "converged": _text("converged"),
    },
    "slopes": {
        **_each(_text, {"model": "model", "behaviour": "benchmark", "part": "part", "neurons": "neurons"}),
        "points per unit α [95 %]": _interval("slope", digits=1),
        **_each(_number, {"p": "p", "p, Holm": "p_holm"}, digits=3),
        "smallest detectable": _number("detectable", 1),
        "random sets": _number("random_sets", 0),
        "warning": _text("warning"),
        "missing runs": _text("missing"),
        "judge": _text("judge"),
    },
    "average_slopes": {
        "models": _text("models"),
        "curves": _number("n_curves", 0),
        "neurons": _text("neurons"),
        "mean slope [95 %]": _interval("mean_slope", digits=1),
        "paper": _number("paper", 1),
    },
    "utility": {
        **_each(_text, {"model": "model", "measure": "measure", "neurons": "neurons"}),
        "α": lambda row: Cell(f"{row['alpha']:g}", row["alpha"]),
        "value [95 %, or quartiles of CETT]": _interval("value"),
    },
    "agreement": {
        **_each(_text, {"model": "model", "task": "task"}),
        "judges": lambda row: f"{row['first']} and {row['second']}",
        **_each(_number, {"n": "n", "agree, %": "agree_percent"}, digits=0),
        "κ [95 %]": _interval("kappa"),
        **_each(_text, {"first verdict": "first_says", "second verdict": "second_says"}),
        "count": _number("count", 0),
    },
    "transfer": {
        **_each(
            _text,
            {
                "probe of": "model",
                "answers of": "partner",
                "direction": "direction",
                "data set": "dataset",
                "method": "method",
            },
        ),
        "n": _both_sides,
        "AUROC [95 %]": _interval("auroc", "auroc_low", "auroc_high"),
        "paper": _number("paper_auroc"),
        "probe's AUROC minus this": _interval("probe_minus_method_auroc", "difference_low", "difference_high"),
        "conclusion": lambda row: _text("difference_says")(row) or _text("note")(row),
    },
    "drift": {
        **_each(_text, {"model": "model", "partner": "partner", "ranked among": "ranked_among"}),
        "H-Neurons": _number("h_neurons", 0),
        "mean rank [95 %]": _interval("mean_rank"),
        **_each(
            _number, {"mean rank of others": "others_mean_rank", "paper": "paper_mean_rank", "effect size d": "effect_d"}
        ),
        **_each(_number, {"p, t-test": "p_t_one_sided", "p, permutation": "p_permutation_one_sided"}, digits=4),
    },
    "states": {
        **_each(_text, {"model": "model", "data set or benchmark": "task", "neurons": "neurons"}),
        "α": lambda row: "" if row["alpha"] is None else Cell(f"{row['alpha']:g}", row["alpha"]),
        "judge": _text("judge"),
        **_each(
            _number,
            {
                "unparsed, %": "unparsed",
                "refused, %": "refused",
                "judge error, %": "judge_error",
                "truncated, %": "truncated",
            },
            digits=1,
        ),
    },
    "neurons": {
        "model": _text("model"),
        "layer": _number("layer", 0),
        # Of a mixture of experts with its expert, else a number by which the table can be sorted.
        "neuron": lambda row: number_cell(row["neuron"], 0) if row["name"].isdecimal() else row["name"],
        "weight": _number("weight", 3),
        "H-Neuron": lambda row: "yes" if row["weight"] > 0 else "",
        "same sign in bootstraps": _number("stability"),
    },
}
# Columns of the choice of C, where it is made with the suppressed model too.
_SUPPRESSED: dict[str, Make] = {
    "model, H-Neurons at α = 0 [95 %]": _interval("suppressed_accuracy", "suppressed_low", "suppressed_high"),
    "minus untouched": _interval("suppressed_minus_untouched", "difference_low", "difference_high"),
}


def grids(study: Study, frames: Mapping[str, pd.DataFrame], sets: Sequence[NeuronSet]) -> dict[str, Grid]:
    """Make the page's tables from those that the study has.

    Args:
        study: decides which rows of Table 1 are test sets.
        frames: the study's tables by name, as CSV files hold them.
        sets: each model's neurons.

    Returns:
        Tables by name, with "states" and "neurons" besides.
    """
    tables = {name: frame_rows(frame) for name, frame in frames.items()}
    tables["neurons"] = [row for neurons in sets for row in _largest_weights(neurons)]
    if states := _states(study, frames):
        tables["states"] = states
    suppressed = _SUPPRESSED if "suppressed_accuracy" in frames.get("choice", ()) else {}
    columns = {**_COLUMNS, "choice": {**_COLUMNS["choice"], **suppressed}}
    return {name: make_grid(tables[name], makers) for name, makers in columns.items() if name in tables}


# An L2 penalty leaves every neuron a weight, too many for a page.
_MAX_WEIGHTS = 500


def _largest_weights(neurons: NeuronSet) -> list[dict[str, Any]]:
    """Rows of the largest weights by magnitude, in descending order of the weight."""
    largest = np.argsort(-np.abs(neurons.weights))[:_MAX_WEIGHTS]
    order = largest[np.argsort(-neurons.weights[largest])]
    frame = pd.DataFrame({"layer": neurons.layers, "neuron": neurons.neurons, "weight": neurons.weights})
    frame = frame.assign(model=neurons.made_by["model"], stability=neurons.stability)
    return [{**row, "name": neurons.place(row["layer"], row["neuron"])} for row in frame_rows(frame.iloc[order])]


def _states(study: Study, frames: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Shares of replies without a verdict, for each test set and for each behaviour at every α."""
    rows: list[dict[str, Any]] = []
    if "table1" in frames:
        cells = frames["table1"].drop_duplicates(["model", "dataset"])
        # Folds score training examples of the in-domain set again, whose replies are counted already.
        for row in frame_rows(cells[cells["dataset"].isin(list(study.datasets))]):
            shares = {state: row[f"{state}_percent"] for state in ("unparsed", "refused", "judge_error")}
            head = {"model": row["model"], "task": row["dataset"], "judge": row["judge"]}
            rows.append({**head, "neurons": "untouched", "alpha": None, **shares, "truncated": None})
    if "figure3" in frames:
        for row in frame_rows(frames["figure3"][frames["figure3"]["subset"].isna()]):
            if row["neurons"] == H_NEURONS or not is_untouched(row["alpha"]):
                rows.append({**row, "task": row["benchmark"]})
    return rows
