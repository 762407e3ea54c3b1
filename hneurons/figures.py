"""What all figures share, Table 1 as a picture and the choice of C. Colours of Okabe and Ito, told apart by shape too."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

from hneurons import store
from hneurons.neurons import H_NEURONS, NEGATIVE, RANDOM

STYLE: dict[str, dict[str, Any]] = {
    H_NEURONS: {"color": "#D55E00", "marker": "o", "label": "H-Neurons"},
    RANDOM: {"color": "#0072B2", "marker": "s", "label": "random neurons, same number per layer"},
    NEGATIVE: {"color": "#009E73", "marker": "^", "label": "neurons with a negative weight"},
}


def save(figure: Any, paths: Sequence[str | Path]) -> None:
    for path in paths:
        with store.whole(path) as part:
            figure.savefig(part, dpi=150)
    plt.close(figure)


def legend(figure: Any, columns: int) -> None:
    """One legend beneath all panels, each label once."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    options = {"loc": "outside lower center", "fontsize": 8, "frameon": False}
    figure.legend(list(handles.values()), list(handles), ncols=columns, **options)


def table1_picture(table: pd.DataFrame, paths: Sequence[str | Path]) -> None:
    """Table 1 as a picture: AUROC of every method with its interval, a panel per data set and a row of panels per model.

    A method whose difference from the probe has an interval that contains 0 is drawn hollow.
    """
    models, datasets, methods = (list(dict.fromkeys(table[column])) for column in ("model", "dataset", "method"))
    size = 2.6 * len(datasets) + 3, 0.36 * len(methods) * len(models) + 1.4
    figure, grid = plt.subplots(
        len(models), len(datasets), figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for (model, dataset), rows in table.groupby(["model", "dataset"], sort=False):
        axes = grid[models.index(model), datasets.index(dataset)]
        for row in rows.to_dict("records"):
            y = methods.index(row["method"])
            ours = row["method"].startswith("H-Neurons")
            hollow = str(row["difference_says"]).startswith("no difference")
            colour = STYLE[H_NEURONS if ours else RANDOM]["color"]
            reach = [[row["auroc"] - row["auroc_low"]], [row["auroc_high"] - row["auroc"]]]
            fill = "white" if hollow else colour
            axes.errorbar(row["auroc"], y, xerr=reach, fmt="o", color=colour, markerfacecolor=fill, capsize=2)
        first = rows.iloc[0]
        axes.axvline(0.5, color="#999999", linewidth=0.8, zorder=0)
        name, n = textwrap.fill(str(dataset), 26), f"{first['n_hallucinated']} + {first['n_faithful']}"
        axes.set_title(f"{name}\n{n}, judged by {first['judge']}", fontsize=9)
        axes.set_yticks(range(len(methods)), methods, fontsize=8)
    grid[0, 0].set_xlim(0.2, 1)
    grid[0, 0].invert_yaxis()
    for row_of_axes, model in zip(grid, models, strict=True):
        row_of_axes[0].set_ylabel(model)
    figure.supxlabel(
        "AUROC [95 %], hallucinated against faithful; hollow: its difference from the probe may be 0", fontsize=9
    )
    save(figure, paths)


def choice_picture(choice: pd.DataFrame, paths: Sequence[str | Path]) -> None:
    """The whole C curve, a column of panels per model: both terms with Wilson intervals, and how many neurons C leaves.

    choice: tables/choice.csv. paths: where to write it, the format by the ending.
    """
    models = list(dict.fromkeys(choice["model"]))
    size = max(7.0, 4.2 * len(models) + 0.6), 5.4
    figure, grid = plt.subplots(
        2, len(models), figsize=size, sharex="col", squeeze=False, layout="constrained", height_ratios=[1, 2]
    )
    for (above, below), model in zip(grid.T, models, strict=True):
        rows = choice[choice["model"] == model]
        above.plot(
            rows["C"], rows["non_zero"], color="#999999", marker="v", markersize=4, label="weights that are not zero"
        )
        above.plot(rows["C"], rows["h_neurons"], color="#D55E00", marker="o", markersize=4, label="H-Neurons")
        above.set_yscale("symlog", linthresh=10)
        above.set_title(model, fontsize=10)
        terms = [("selection", "#0072B2", "s", f"probe, {rows['selection_n'].iloc[0]} held-out answers")]
        if "suppressed_accuracy" in rows:
            n = int(rows["suppressed_n"].max())
            terms.append(("suppressed", "#009E73", "^", f"model, {n} held-out questions, H-Neurons at α = 0"))
            below.axhline(
                100 * rows["untouched_accuracy"].iloc[0], color="#009E73", linestyle=":", label="the same, untouched"
            )
        for name, colour, marker, label in terms:
            rates, low, high = (100 * rows[f"{name}_{part}"] for part in ("accuracy", "low", "high"))
            options: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "capsize": 2, "label": label}
            below.errorbar(rows["C"], rates, [rates - low, high - rates], elinewidth=0.8, **options)
        for axes in (above, below):
            axes.axvline(float(rows["C"][rows["chosen"]].iloc[0]), color="#000000", linewidth=0.8, zorder=0, label="chosen")
        below.set_xscale("log")
        below.set_ylim(0, 100)
        below.set_xlabel("C (weaker penalty to the right)")
    grid[0, 0].set_ylabel("neurons")
    grid[1, 0].set_ylabel("accuracy (%)")
    legend(figure, columns=2)
    save(figure, paths)
