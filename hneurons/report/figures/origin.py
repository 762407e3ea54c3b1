"""Figure 4: the probe on the answers of a model's partner, and the drift of the H-Neurons' weights between the two."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from hneurons.config.impact import H_NEURONS, RANDOM
from hneurons.config.paper import Paper
from hneurons.detection.results import METHODS
from hneurons.origin.drift import DriftReport
from hneurons.probe.classifiers import PROBE
from hneurons.report.figures.detection import error_bar
from hneurons.report.figures.style import STYLE, add_legend, save_figure
from hneurons.report.html import frame_rows
from hneurons.report.tables.detection import stronger_control


def figure4(transfer: pd.DataFrame, drift: Sequence[DriftReport], paper: Paper, paths: Sequence[str | Path]) -> None:
    """Draw Figure 4: transfer of the probe to the model's partner, and drift of the H-Neurons' weights.

    (a) AUROC of each model's probe, unchanged, on its partner's answers, with random neurons and the paper's value.
    (b) Rank of drift of each H-Neuron, a row per pair of models, with the mean rank and its interval.

    Args:
        transfer: as tables.transfer_table returns it.
        drift: one report per pair.
        paper: the paper's numbers, drawn for its own models.
        paths: files to write, the format by the ending.
    """
    pairs = transfer.groupby(["model", "dataset"]).ngroups
    size = max(5.0, 1.1 * pairs + 1) + 7.5, max(4.4, 1.4 + 0.9 * len(drift))
    figure, (left, right) = plt.subplots(1, 2, figsize=size, layout="constrained", width_ratios=[size[0] - 7.5, 7.5])
    _transfer_panel(left, transfer)
    _drift_panel(right, drift, paper)
    add_legend(figure, columns=5)
    save_figure(figure, paths)


def _group_name(dataset: str, row: pd.Series) -> str:
    if pd.isna(row["n_hallucinated"]):
        return f"{dataset}\ntoo few"
    return f"{dataset}\n{row['n_hallucinated']:.0f} + {row['n_faithful']:.0f}"


def _transfer_panel(axes: Any, transfer: pd.DataFrame) -> None:
    pairs = list(transfer.groupby(["model", "partner", "direction", "dataset"], sort=False))
    for x, (_, rows) in enumerate(pairs):
        control = stronger_control(rows)
        if control is None:
            continue
        (probe,) = frame_rows(rows[rows["method"] == METHODS[PROBE]])
        drawn = (
            (probe, H_NEURONS, -0.12, "the probe, unchanged"),
            (control, RANDOM, 0.12, "random neurons, the stronger control"),
        )
        for row, kind, shift, label in drawn:
            style = {**STYLE[kind], "label": label}
            axes.errorbar(x + shift, row["auroc"], yerr=error_bar(row), linestyle="none", capsize=3, **style)
        if not pd.isna(probe["paper_auroc"]):
            axes.plot(x, probe["paper_auroc"], "k_", markersize=18, label="the paper")
    names = [_group_name(str(dataset), rows.iloc[0]) for (*_, dataset), rows in pairs]
    axes.set_xticks(range(len(pairs)), names, fontsize=8)
    axes.axhline(0.5, color="#999999", linewidth=0.8, zorder=0)
    lowest = np.nanmin(transfer[["auroc", "auroc_low"]].to_numpy(dtype=float), initial=0.2)
    axes.set_ylim(lowest - 0.02, 1.02)
    axes.set_xlim(-0.6, len(pairs) - 0.4)
    axes.set_ylabel("AUROC [95 %]")
    axes.set_title("(a) transfer, hallucinated against faithful", fontsize=9)
    groups = [(model, partner, direction) for (model, partner, direction, _), _ in pairs]
    for group in dict.fromkeys(groups):
        first, last = groups.index(group), len(groups) - 1 - groups[::-1].index(group)
        model, partner, direction = group
        axes.text((first + last) / 2, 0.985, f"{model}\n→ {partner}\n({direction})", fontsize=7, ha="center", va="top")
        if first:
            axes.axvline(first - 0.5, color="#999999", linewidth=0.8, linestyle=":")


def _drift_panel(axes: Any, drift: Sequence[DriftReport], paper: Paper) -> None:
    names = []
    for y, report in enumerate(drift):
        test = report.all
        # Dots are shifted up and down so that they do not hide each other.
        shifts = 0.14 * np.sin(np.arange(test.n) * 2.4)
        colour = STYLE[H_NEURONS]["color"]
        axes.plot(report.ranks, y + shifts, "o", color=colour, markersize=3, alpha=0.5, label="an H-Neuron")
        error_bar = [[test.mean_rank - test.interval[0]], [test.interval[1] - test.mean_rank]]
        axes.errorbar(
            test.mean_rank, y, xerr=error_bar, fmt="D", color="#000000", capsize=4, label="mean of H-Neurons [95 %]"
        )
        if report.direction == "backward" and (mean := paper.drift(report.model)) is not None:
            axes.plot(mean, y, marker="|", markersize=22, color="#009E73", linestyle="none", label="the paper's mean")
        text = f"{test.n} H-Neurons, mean {test.mean_rank:.2f}; changed less than others? p = {test.p_permutation:.2g}"
        axes.text(0.5, y + 0.32, text, fontsize=7, ha="center", va="center")
        pair = (report.model, report.partner) if report.direction == "forward" else (report.partner, report.model)
        names.append("\n→ ".join(pair))
    axes.axvline(0.5, color="#999999", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(drift)), names, fontsize=8)
    axes.set_ylim(len(drift) - 0.55, -0.45)
    axes.set_xlim(-0.01, 1.01)
    axes.set_xlabel("rank of drift among all neurons (0 = changed most, 1 = changed least)")
    axes.set_title("(b) parameter drift of W_up rows and W_down columns", fontsize=9)
