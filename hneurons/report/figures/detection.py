"""Table 1 as a picture, and random neurons in growing numbers."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from hneurons.config.impact import H_NEURONS, RANDOM
from hneurons.detection.results import METHODS, MIN_SHARE_USED, OF_H_NEURONS
from hneurons.report.figures.style import STYLE, save_figure
from hneurons.report.html import frame_rows

_COLOURS = {METHODS[name]: STYLE[H_NEURONS]["color"] for name in OF_H_NEURONS}


def error_bar(row: Mapping[str, Any]) -> list[list[float]] | None:
    """The lengths of an AUROC's error bar; None without an interval."""
    if pd.isna(row["auroc_low"]):
        return None
    return [[row["auroc"] - row["auroc_low"]], [row["auroc_high"] - row["auroc"]]]


def table1_picture(table: pd.DataFrame, paths: Sequence[str | Path]) -> None:
    """Draw Table 1: AUROC of every method with its interval, a column of panels per data set and a row per model.

    A method is drawn hollow if the probe is not shown to differ from it; random sets of which too few neurons keep a weight
    are marked with a dagger.

    Args:
        table: as tables.table1 returns it.
        paths: files to write, the format by the ending.
    """
    models, datasets = (list(dict.fromkeys(table[column])) for column in ("model", "dataset"))
    methods = [method for method in METHODS.values() if method in set(table["method"])]
    size = 2.6 * len(datasets) + 3.4, 0.36 * max(1, len(methods)) * len(models) + 1.4
    figure, grid = plt.subplots(
        len(models), len(datasets), figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    lows = table["auroc_low"].dropna().tolist() if "auroc_low" in table else []
    for (model, dataset), rows in table.groupby(["model", "dataset"], sort=False):
        axes = grid[models.index(model), datasets.index(dataset)]
        first = rows.iloc[0]
        for row in frame_rows(rows[rows["method"] != ""]):
            y, colour = methods.index(row["method"]), _COLOURS.get(row["method"], STYLE[RANDOM]["color"])
            fill = "white" if str(row["difference_says"]).startswith(("no difference", "n too")) else colour
            style = {"fmt": "o", "color": colour, "markerfacecolor": fill, "capsize": 2}
            axes.errorbar(row["auroc"], y, xerr=error_bar(row), **style)
            if not pd.isna(row["share_used"]) and row["share_used"] < MIN_SHARE_USED:
                axes.annotate("†", (row["auroc"], y), xytext=(0, 4), textcoords="offset points", fontsize=9)
        axes.axvline(0.5, color="#999999", linewidth=0.8, zorder=0)
        name = textwrap.fill(str(dataset), 26)
        scored = first["method"] != ""
        n = f"{first['n_hallucinated']} + {first['n_faithful']}" if scored else "too few examples of a class"
        axes.set_title(f"{name}\n{n}, judged by {first['judge']}", fontsize=9)
        axes.set_yticks(range(len(methods)), methods, fontsize=8)
    grid[0, 0].set_xlim(min([0.2, *lows]) - 0.02, 1.02)
    grid[0, 0].invert_yaxis()
    for row_of_axes, model in zip(grid, models, strict=True):
        row_of_axes[0].set_ylabel(model)
    figure.supxlabel(
        "AUROC [95 %], hallucinated against faithful; hollow: no difference from the probe shown; "
        "† fewer than 90 % of the random neurons keep a weight",
        fontsize=9,
    )
    save_figure(figure, paths)


def sweep_picture(table: pd.DataFrame, paths: Sequence[str | Path]) -> None:
    """Draw AUROC against the number of random neurons, with the probe's as a line, a panel per model.

    Args:
        table: as tables.sweep_table returns it.
        paths: files to write, the format by the ending.
    """
    models = list(dict.fromkeys(table["model"]))
    figure, grid = plt.subplots(
        1, len(models), figsize=(4.6 * len(models) + 0.6, 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, model in zip(grid[0], models, strict=True):
        rows = table[table["model"] == model]
        for row in frame_rows(rows):
            hollow = "white" if not row["lead_shown"] else STYLE[RANDOM]["color"]
            axes.errorbar(
                row["neurons"],
                row["auroc"],
                yerr=error_bar(row),
                fmt="s",
                capsize=2,
                color=STYLE[RANDOM]["color"],
                markerfacecolor=hollow,
            )
        axes.axhline(rows.iloc[0]["probe_auroc"], color=STYLE[H_NEURONS]["color"], label="the probe")
        axes.set_xscale("log")
        axes.set_title(model, fontsize=10)
        axes.set_xlabel("random neurons (L2); hollow: the probe's lead is not shown")
        axes.legend(fontsize=8, frameon=False)
    grid[0, 0].set_ylabel("AUROC [95 %], in folds")
    save_figure(figure, paths)
