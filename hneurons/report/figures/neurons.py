"""The choice of C, where in the layers the H-Neurons sit, how stable they are, and what probabilities are worth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import binom

from hneurons.neurons.neuron_set import H_NEURONS, NEGATIVE, NeuronSet
from hneurons.report.figures.style import STYLE, add_legend, save_figure


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
    add_legend(figure, columns=2)
    save_figure(figure, paths)


_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#000000")


def neurons_picture(sets: Sequence[NeuronSet], paths: Sequence[str | Path]) -> None:
    """A row of panels per model. (a) H-Neurons per layer, beside the 95 % band of as many spread evenly over all layers.
    (b) Each H-Neuron's share of bootstraps with the same sign, largest first, and that of the negative weights. (c)
    Reliability: what the probe said and how many were made up, with Wilson intervals, in-domain test answers first."""
    figure, grid = plt.subplots(len(sets), 3, figsize=(11.5, 3.5 * len(sets)), squeeze=False, layout="constrained")
    for (first, second, third), one in zip(grid, sets, strict=True):
        _layers_panel(first, one)
        _stability_panel(second, one)
        _reliability_panel(third, one)
        first.set_ylabel(f"{one.made_by['model']}\nH-Neurons")
    add_legend(figure, columns=4)
    save_figure(figure, paths)


def _layers_panel(axes: Any, one: NeuronSet) -> None:
    layers, n = int(one.made_by["layers"]), int(one.selected.sum())
    counts = np.bincount(one.layers[one.selected], minlength=layers)
    axes.bar(range(layers), counts, color=STYLE[H_NEURONS]["color"], label="H-Neurons of a layer")
    low, high = binom.ppf([0.025, 0.975], n, 1 / layers)
    axes.axhspan(low, high, color="#999999", alpha=0.3, zorder=0, label="spread evenly [95 %]")
    axes.set_title(f"(a) {n} H-Neurons by layer", fontsize=10)
    axes.set_xlabel("layer")


def _stability_panel(axes: Any, one: NeuronSet) -> None:
    for name, chosen in ((H_NEURONS, one.selected), (NEGATIVE, one.weights < 0)):
        shares = np.sort(one.stability[chosen & np.isfinite(one.stability)])[::-1]
        if len(shares):
            axes.plot(np.arange(1, len(shares) + 1), shares, markersize=3, **STYLE[name])
    axes.set_ylim(-0.04, 1.04)
    axes.set_title("(b) share of bootstraps with the same sign", fontsize=10)
    axes.set_xlabel("neurons, most stable first")


def _reliability_panel(axes: Any, one: NeuronSet) -> None:
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, zorder=0)
    for (name, found), colour, marker in zip(one.calibration.items(), cycle(_COLOURS), cycle("osv^D"), strict=False):
        said, seen = ([row[key] for row in found["bins"]] for key in ("predicted", "observed"))
        # Rounding may put a share of 0 or 1 outside of its interval by a hair.
        reach = [
            [max(0.0, sign * (row["interval"][side] - y)) for y, row in zip(seen, found["bins"], strict=True)]
            for side, sign in ((0, -1), (1, 1))
        ]
        axes.errorbar(said, seen, yerr=reach, color=colour, marker=marker, markersize=4, elinewidth=0.7, label=name)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    counted = ", ".join(str(found["n"]) for found in one.calibration.values())
    axes.set_title(f"(c) made up, by what the probe said, n = {counted}", fontsize=9)
    axes.set_xlabel("said")
