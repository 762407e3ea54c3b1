"""Figures of the choice of C, and of the H-Neurons: their layers, their stability, and the probe's calibration."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import binom

from hneurons.config.impact import H_NEURONS, NEGATIVE
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.figures.style import STYLE, add_legend, save_figure


def choice_picture(choice: pd.DataFrame, paths: Sequence[str | Path]) -> None:
    """Draw the choice of C, a column of panels per model, over all C.

    Above: how many weights remain and how many are positive. Below: both accuracies that C is chosen by, with Wilson
    intervals; that of the suppressed model only where it was measured.

    Args:
        choice: as tables.choice_table returns it.
        paths: files to write, the format by the ending.
    """
    models = list(dict.fromkeys(choice["model"]))
    size = max(7.0, 4.2 * len(models) + 0.6), 5.4
    figure, grid = plt.subplots(
        2, len(models), figsize=size, sharex="col", squeeze=False, layout="constrained", height_ratios=[1, 2]
    )
    for (above, below), model in zip(grid.T, models, strict=True):
        rows = choice[choice["model"] == model]
        C, first = rows["C"], rows.iloc[0]
        above.plot(C, rows["non_zero"], color="#999999", marker="v", markersize=4, label="weights that are not zero")
        above.plot(C, rows["h_neurons"], color="#D55E00", marker="o", markersize=4, label="H-Neurons")
        above.set_yscale("symlog", linthresh=10)
        above.set_title(model, fontsize=10)
        terms = [("selection", "#0072B2", "s", f"probe, {first['selection_n']} held-out answers")]
        if "suppressed_accuracy" in rows:
            n = int(rows["suppressed_n"].max())
            terms.append(("suppressed", "#009E73", "^", f"model, {n} held-out questions, H-Neurons at α = 0"))
            below.axhline(100 * first["untouched_accuracy"], color="#009E73", linestyle=":", label="the same, untouched")
        for name, colour, marker, label in terms:
            rates, low, high = (100 * rows[f"{name}_{part}"] for part in ("accuracy", "low", "high"))
            options: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "capsize": 2, "label": label}
            below.errorbar(C, rates, [rates - low, high - rates], elinewidth=0.8, **options)
        for axes in (above, below):
            axes.axvline(float(C[rows["chosen"]].iloc[0]), color="#000000", linewidth=0.8, zorder=0, label="chosen")
        below.set_xscale("log")
        below.set_ylim(0, 100)
        below.set_xlabel("C (weaker penalty to the right)")
    grid[0, 0].set_ylabel("neurons")
    grid[1, 0].set_ylabel("accuracy (%)")
    add_legend(figure, columns=2)
    save_figure(figure, paths)


_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#000000")


def neurons_picture(sets: Sequence[NeuronSet], paths: Sequence[str | Path]) -> None:
    """Draw the neurons, a row of panels per model.

    (a) H-Neurons per layer, with the 95 % band for equally many neurons spread evenly over all layers. (b) The share of
    bootstraps in which a weight has the same sign, largest first: H-Neurons, and neurons with a negative weight. (c)
    Reliability: predicted probability against the share of hallucinated answers, with Wilson intervals, the
    in-domain test set first.

    Args:
        sets: published sets, one per model.
        paths: files to write, the format by the ending.
    """
    figure, grid = plt.subplots(len(sets), 3, figsize=(11.5, 3.5 * len(sets)), squeeze=False, layout="constrained")
    for (first, second, third), neurons in zip(grid, sets, strict=True):
        _layers_panel(first, neurons)
        _stability_panel(second, neurons)
        _reliability_panel(third, neurons)
        first.set_ylabel(f"{neurons.made_by['model']}\nH-Neurons")
    add_legend(figure, columns=4)
    save_figure(figure, paths)


def _layers_panel(axes: Any, neurons: NeuronSet) -> None:
    layers, n = int(neurons.made_by["layers"]), int(neurons.selected.sum())
    counts = np.bincount(neurons.layers[neurons.selected], minlength=layers)
    axes.bar(range(layers), counts, color=STYLE[H_NEURONS]["color"], label="H-Neurons of a layer")
    low, high = binom.ppf([0.025, 0.975], n, 1 / layers)
    axes.axhspan(low, high, color="#999999", alpha=0.3, zorder=0, label="spread evenly [95 %]")
    axes.set_title(f"(a) {n} H-Neurons by layer", fontsize=10)
    axes.set_xlabel("layer")


def _stability_panel(axes: Any, neurons: NeuronSet) -> None:
    for name, members in ((H_NEURONS, neurons.selected), (NEGATIVE, neurons.weights < 0)):
        shares = np.sort(neurons.stability[members & np.isfinite(neurons.stability)])[::-1]
        if len(shares):
            axes.plot(np.arange(1, len(shares) + 1), shares, markersize=3, **STYLE[name])
    axes.set_ylim(-0.04, 1.04)
    axes.set_title("(b) share of bootstraps with the same sign", fontsize=10)
    axes.set_xlabel("neurons, most stable first")


def _reliability_panel(axes: Any, neurons: NeuronSet) -> None:
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, zorder=0)
    for (name, curve), colour, marker in zip(neurons.calibration.items(), cycle(_COLOURS), cycle("osv^D"), strict=False):
        ends = [row.interval or (row.observed, row.observed) for row in curve.bins]
        points = [(row.predicted, row.observed, *end) for row, end in zip(curve.bins, ends, strict=True)]
        predicted, observed, low, high = np.array(points).T
        # Rounding may put a share of 0 or 1 just outside its interval.
        error_bars = np.maximum(0, [observed - low, high - observed])
        style = {"color": colour, "marker": marker, "markersize": 4, "elinewidth": 0.7}
        axes.errorbar(predicted, observed, yerr=error_bars, label=name, **style)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    counts = ", ".join(str(curve.n) for curve in neurons.calibration.values())
    axes.set_title(f"(c) hallucinated, by predicted probability\nn = {counts}", fontsize=9)
    axes.set_xlabel("predicted")
