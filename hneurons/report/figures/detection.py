"""Table 1 as a picture."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from hneurons.config.impact import H_NEURONS, RANDOM
from hneurons.report.figures.style import STYLE, save_figure


def table1_picture(table: pd.DataFrame, paths: Sequence[str | Path]) -> None:
    """Draw Table 1: AUROC of every method with its interval, a column of panels per data set and a row per model.

    A method is drawn hollow if the interval of its difference from the probe contains 0.

    Args:
        table: as tables.table1 returns it.
        paths: files to write, the format by the ending.
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
            colour = STYLE[H_NEURONS if row["method"].startswith("H-Neurons") else RANDOM]["color"]
            fill = "white" if str(row["difference_says"]).startswith("no difference") else colour
            error_bar = [[row["auroc"] - row["auroc_low"]], [row["auroc_high"] - row["auroc"]]]
            axes.errorbar(row["auroc"], y, xerr=error_bar, fmt="o", color=colour, markerfacecolor=fill, capsize=2)
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
        "AUROC [95 %], hallucinated against faithful; hollow: the interval of the difference from the probe contains 0",
        fontsize=9,
    )
    save_figure(figure, paths)
