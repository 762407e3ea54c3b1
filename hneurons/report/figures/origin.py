"""Figure 4: the probe on a model's partner, and how little the H-Neurons' weights changed between the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from hneurons.config.paper import Paper
from hneurons.detection.scores import METHODS
from hneurons.neurons.neuron_set import H_NEURONS, RANDOM
from hneurons.probe.classifiers import PROBE
from hneurons.report.figures.style import STYLE, add_legend, save_figure


def figure4(transfer: pd.DataFrame, drift: Sequence[Mapping[str, Any]], paper: Paper, paths: Sequence[str | Path]) -> None:
    """(a) AUROC of each model's probe, unchanged, on its partner's answers, against random neurons and the paper. (b) Where
    the H-Neurons rank in parameter drift among all neurons, and their mean with its interval, a row per pair.

    transfer: tables/transfer.csv. drift: what the drift stage wrote. paths: where to write it, the format by the ending.
    """
    pairs = transfer.groupby(["model", "dataset"]).ngroups
    size = max(5.0, 1.1 * pairs + 1) + 7.5, max(4.4, 1.4 + 0.9 * len(drift))
    widths = [size[0] - 7.5, 7.5]
    figure, (left, right) = plt.subplots(1, 2, figsize=size, layout="constrained", width_ratios=widths)
    _transfer_panel(left, transfer)
    _drift_panel(right, drift, paper)
    add_legend(figure, columns=5)
    save_figure(figure, paths)


def _transfer_panel(axes: Any, transfer: pd.DataFrame) -> None:
    pairs = list(transfer.groupby(["model", "partner", "direction", "dataset"], sort=False))
    for x, (_, rows) in enumerate(pairs):
        for method, kind, shift in ((PROBE, H_NEURONS, -0.12), ("random", RANDOM, 0.12)):
            row = rows[rows["method"] == METHODS[method]].iloc[0]
            reach = [[row["auroc"] - row["auroc_low"]], [row["auroc_high"] - row["auroc"]]]
            label = {H_NEURONS: "the probe, unchanged", RANDOM: "random neurons, as many"}[kind]
            style = {**STYLE[kind], "label": label}
            axes.errorbar(x + shift, row["auroc"], yerr=reach, linestyle="none", capsize=3, **style)
            if method == PROBE and not pd.isna(row["paper_auroc"]):
                axes.plot(x, row["paper_auroc"], "k_", markersize=18, label="the paper")
    names = [f"{dataset}\n{rows.iloc[0]['n_hallucinated']} + {rows.iloc[0]['n_faithful']}" for (*_, dataset), rows in pairs]
    axes.set_xticks(range(len(pairs)), names, fontsize=8)
    axes.axhline(0.5, color="#999999", linewidth=0.8, zorder=0)
    axes.set_ylim(0.2, 1)
    axes.set_ylabel("AUROC [95 %]")
    axes.set_title("(a) transfer, hallucinated against faithful", fontsize=9)
    groups = [(model, partner, direction) for (model, partner, direction, _), _ in pairs]
    for group in dict.fromkeys(groups):
        first, last = groups.index(group), len(groups) - 1 - groups[::-1].index(group)
        model, partner, direction = group
        axes.text((first + last) / 2, 0.985, f"{model}\n→ {partner}\n({direction})", fontsize=7, ha="center", va="top")
        if first:
            axes.axvline(first - 0.5, color="#999999", linewidth=0.8, linestyle=":")


def _drift_panel(axes: Any, drift: Sequence[Mapping[str, Any]], paper: Paper) -> None:
    names = []
    for y, one in enumerate(drift):
        test, inside = one["all"], one["within_layers"]
        # Shifted up and down by no rule but that dots should not hide each other.
        shifts = 0.14 * np.sin(np.arange(test["n"]) * 2.4)
        ours = {"color": STYLE[H_NEURONS]["color"], "linestyle": "none"}
        axes.plot(one["ranks"], y + shifts, marker="o", markersize=3, alpha=0.5, label="an H-Neuron", **ours)
        reach = [[test["mean_rank"] - test["interval"][0]], [test["interval"][1] - test["mean_rank"]]]
        axes.errorbar(
            test["mean_rank"], y, xerr=reach, fmt="D", color="#000000", capsize=4, label="mean of H-Neurons [95 %]"
        )
        if one["direction"] == "backward" and (theirs := paper.drift(one["model"])) is not None:
            axes.plot(theirs, y, marker="|", markersize=22, color="#009E73", linestyle="none", label="the paper's mean")
        p_t = "no value" if test["p_t"] is None else f"p = {test['p_t']:.2g}"
        says = (
            f"{test['n']} H-Neurons, mean {test['mean_rank']:.2f}; changed less than others? {p_t} (t-test), "
            f"p = {test['p_permutation']:.2g} (permutation); within their layers {inside['mean_rank']:.2f}, p = "
            f"{inside['p_permutation']:.2g}"
        )
        axes.text(0.5, y + 0.32, says, fontsize=7, ha="center", va="center")
        model, partner = one["model"], one["partner"]
        names.append(f"{model}\n→ {partner}" if one["direction"] == "forward" else f"{partner}\n→ {model}")
    axes.axvline(0.5, color="#999999", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(drift)), names, fontsize=8)
    axes.set_ylim(len(drift) - 0.55, -0.45)
    axes.set_xlim(-0.01, 1.01)
    axes.set_xlabel("rank of drift among all neurons (0 = changed most, 1 = changed least)")
    axes.set_title("(b) parameter drift of W_up rows and W_down columns", fontsize=9)
