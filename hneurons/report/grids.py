"""A study's tables as the front page shows them: few columns, a number and its interval in one cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

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


def _both_sides(row: Mapping[str, Any]) -> Cell:
    """Hallucinated + faithful, sorted by their sum."""
    return Cell(f"{row['n_hallucinated']} + {row['n_faithful']}", row["n_hallucinated"] + row["n_faithful"])


_TABLE1: dict[str, Make] = {
    "model": _text("model"),
    "data set": _text("dataset"),
    "method": _text("method"),
    "n": _both_sides,
    "accuracy [95 %]": _interval("accuracy", "accuracy_low", "accuracy_high"),
    "paper": _number("paper_accuracy", 3),
    "AUROC [95 %]": _interval("auroc", "auroc_low", "auroc_high"),
    "probe's AUROC minus this": _interval("probe_minus_method_auroc", "difference_low", "difference_high"),
    "that says": _text("difference_says"),
}
_CHOICE: dict[str, Make] = {
    "model": _text("model"),
    "C": lambda row: Cell(f"{row['C']:g}", row["C"]),
    "chosen": lambda row: "yes" if row["chosen"] else "",
    "weights": _number("non_zero", 0),
    "H-Neurons": _number("h_neurons", 0),
    "probe, held-out answers [95 %]": _interval("selection_accuracy", "selection_low", "selection_high"),
    "converged": _text("converged"),
}
_SUPPRESSED: dict[str, Make] = {
    "model, H-Neurons at α = 0 [95 %]": _interval("suppressed_accuracy", "suppressed_low", "suppressed_high")
}
_SLOPES: dict[str, Make] = {
    "model": _text("model"),
    "behaviour": _text("benchmark"),
    "over": _text("part"),
    "neurons": _text("neurons"),
    "points per unit α [95 %]": _interval("slope", digits=1),
    "random sets": _number("random_sets", 0),
    "judge": _text("judge"),
}
_AVERAGES: dict[str, Make] = {
    "models": _text("models"),
    "curves": _number("n_curves", 0),
    "neurons": _text("neurons"),
    "mean slope [95 %]": _interval("mean_slope", digits=1),
    "paper": _number("paper", 1),
}
_UTILITY: dict[str, Make] = {
    "model": _text("model"),
    "measure": _text("measure"),
    "neurons": _text("neurons"),
    "α": lambda row: Cell(f"{row['alpha']:g}", row["alpha"]),
    "value [95 %, or quartiles of CETT]": _interval("value"),
}
_AGREEMENT: dict[str, Make] = {
    "model": _text("model"),
    "task": _text("task"),
    "judges": lambda row: f"{row['first']} and {row['second']}",
    "n": _number("n", 0),
    "agree, %": _number("agree_percent", 0),
    "κ [95 %]": _interval("kappa"),
    "first says": _text("first_says"),
    "second says": _text("second_says"),
    "count": _number("count", 0),
}
_TRANSFER: dict[str, Make] = {
    "probe of": _text("model"),
    "answers of": _text("partner"),
    "direction": _text("direction"),
    "data set": _text("dataset"),
    "method": _text("method"),
    "n": _both_sides,
    "AUROC [95 %]": _interval("auroc", "auroc_low", "auroc_high"),
    "paper": _number("paper_auroc"),
    "probe's AUROC minus this": _interval("probe_minus_method_auroc", "difference_low", "difference_high"),
}
_DRIFT: dict[str, Make] = {
    "model": _text("model"),
    "partner": _text("partner"),
    "ranked among": _text("ranked_among"),
    "H-Neurons": _number("h_neurons", 0),
    "mean rank [95 %]": _interval("mean_rank"),
    "others": _number("others_mean_rank"),
    "paper": _number("paper_mean_rank"),
    "d": _number("effect_d"),
    "p, t-test": _number("p_t_one_sided", 4),
    "p, permutation": _number("p_permutation_one_sided", 4),
}
_STATES: dict[str, Make] = {
    "model": _text("model"),
    "asked": _text("asked"),
    "neurons": _text("neurons"),
    "α": lambda row: "" if row["alpha"] is None else Cell(f"{row['alpha']:g}", row["alpha"]),
    "judge": _text("judge"),
    "unparsed, %": _number("unparsed", 1),
    "refused, %": _number("refused", 1),
    "judge failed, %": _number("error", 1),
    "cut off, %": _number("truncated", 1),
}
_NEURONS: dict[str, Make] = {
    "model": _text("model"),
    "layer": _number("layer", 0),
    "neuron": _number("neuron", 0),
    "weight": _number("weight", 3),
    "H-Neuron": lambda row: "yes" if row["weight"] > 0 else "",
    "same sign in bootstraps": _number("stability"),
}


def grids(study: Study, frames: Mapping[str, pd.DataFrame], sets: Sequence[NeuronSet]) -> dict[str, Grid]:
    """The page's tables by name, of those that the study has."""
    choice = {**_CHOICE, **(_SUPPRESSED if "suppressed_accuracy" in frames.get("choice", ()) else {})}
    columns = {
        "table1": _TABLE1,
        "choice": choice,
        "slopes": _SLOPES,
        "average_slopes": _AVERAGES,
        "utility": _UTILITY,
        "agreement": _AGREEMENT,
        "transfer": _TRANSFER,
        "drift": _DRIFT,
    }
    found = {name: make_grid(frame_rows(frames[name]), made) for name, made in columns.items() if name in frames}
    if states := _states(study, frames):
        found["states"] = make_grid(states, _STATES)
    found["neurons"] = make_grid([row for one in sets for row in _weighed(one)], _NEURONS)
    return found


_MOST_WEIGHTS = 500


def _weighed(one: NeuronSet) -> list[dict[str, Any]]:
    # An L2 penalty leaves every neuron a weight.
    largest = np.argsort(-np.abs(one.weights))[:_MOST_WEIGHTS]
    order = largest[np.argsort(-one.weights[largest])]
    return [
        {
            "model": one.made_by["model"],
            "layer": int(one.layers[i]),
            "neuron": int(one.neurons[i]),
            "weight": float(one.weights[i]),
            "stability": float(one.stability[i]),
        }
        for i in order
    ]


def _states(study: Study, frames: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """What came of all replies that is no verdict: of the answers to each set, and of each behaviour at every α."""
    rows: list[dict[str, Any]] = []
    if "table1" in frames:
        answered = frames["table1"].drop_duplicates(["model", "dataset"])
        # The folds are the in-domain set once more.
        for row in frame_rows(answered[answered["dataset"].isin(list(study.datasets))]):
            shares = {key: row[f"{name}_percent"] for key, name in _OF_TABLE1.items()}
            empty = {"neurons": "untouched", "alpha": None, "truncated": None}
            rows.append({"model": row["model"], "asked": row["dataset"], "judge": row["judge"], **empty, **shares})
    if "figure3" in frames:
        for row in frame_rows(frames["figure3"]):
            if row["alpha"] != 1 or row["neurons"] == "hneurons":
                shares = {key: row[name] for key, name in _OF_FIGURE3.items()}
                head = {key: row[key] for key in ("model", "neurons", "alpha", "judge")}
                rows.append({**head, "asked": row["benchmark"], **shares})
    return rows


_OF_TABLE1 = {"unparsed": "unparsed", "refused": "refused", "error": "judge_error"}
_OF_FIGURE3 = {"unparsed": "unparsed", "refused": "refused", "error": "judge_error", "truncated": "truncated"}
