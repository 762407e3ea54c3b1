"""Table 1 as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from hneurons.neurons.neuron_set import H_NEURONS, RANDOM
from hneurons.report.figures.style import STYLE, save_figure


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
    save_figure(figure, paths)
