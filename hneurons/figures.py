"""The paper's figures. Colours of Okabe and Ito, told apart by line style too."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from hneurons import store
from hneurons.impact import H_NEURONS, RANDOM

_STYLE: dict[str, dict[str, Any]] = {
    H_NEURONS: {"color": "#D55E00", "marker": "o", "label": "H-Neurons"},
    RANDOM: {"color": "#0072B2", "marker": "s", "label": "random neurons, same number per layer"},
}
_LOST = {"unparsed": "#009E73", "refused": "#CC79A7", "truncated": "#000000"}


def _save(figure: Any, paths: Sequence[str | Path]) -> None:
    for path in paths:
        with store.whole(path) as part:
            figure.savefig(part, dpi=150)
    plt.close(figure)


def _legend(figure: Any, columns: int) -> None:
    """One legend beneath all panels, each label once."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    options = {"loc": "outside lower center", "fontsize": 8, "frameon": False}
    figure.legend(list(handles.values()), list(handles), ncols=columns, **options)


def _slope_text(name: str, found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return f"{name}: not defined (no eligible items at some α)"
    low, high = found["interval"]
    return f"{name}: {found['value']:+.1f} [{low:+.1f}, {high:+.1f}]"


def figure3(curves: Sequence[Mapping[str, Any]], titles: Mapping[str, str], paths: Sequence[str | Path]) -> None:
    """Compliance rate against α, a panel per benchmark and a row of panels per model.

    Each panel: the H-Neurons and every random set with Wilson intervals, slopes with theirs, who judged, n. Beneath it:
    the shares of replies that were unparsed, refused or truncated, for the H-Neurons and the mean of the random sets, and
    the replies' mean length.
    titles: the panel title of each benchmark. paths: where to write it, the format by the ending.
    """
    models = list(dict.fromkeys(c["model"] for c in curves))
    benchmarks = list(dict.fromkeys(c["benchmark"] for c in curves))
    figure = plt.figure(figsize=(3.9 * len(benchmarks) + 0.4, 5.8 * len(models)), layout="constrained")
    grid = figure.add_gridspec(2 * len(models), len(benchmarks), height_ratios=[2.6, 1] * len(models))
    for found in curves:
        row, column = 2 * models.index(found["model"]), benchmarks.index(found["benchmark"])
        above = figure.add_subplot(grid[row, column])
        below = figure.add_subplot(grid[row + 1, column], sharex=above)
        _rates_panel(above, found)
        above.set_title(titles[found["benchmark"]], fontsize=10)
        _lost_panel(below, found)
        if column == 0:
            above.set_ylabel(f"{found['model']}\ncompliance rate (%)")
            below.set_ylabel("replies (%)")
    _legend(figure, columns=4)
    _save(figure, paths)


def _rates_panel(axes: Any, found: Mapping[str, Any]) -> None:
    alphas = np.array(found["alphas"])
    for i, (name, points) in enumerate(found["points"].items()):
        kind = H_NEURONS if name == H_NEURONS else RANDOM
        style = dict(_STYLE[kind])
        at = np.array([p["rate"] is not None for p in points])
        rates = np.array([p["rate"] for p, has in zip(points, at, strict=True) if has])
        intervals = np.array([p["interval"] for p, has in zip(points, at, strict=True) if has])
        if kind == RANDOM:
            style |= {"linestyle": (0, (4, 1 + i)), "markersize": 3.5, "linewidth": 1}
        # Shifted a little sideways, so that the intervals of several sets stay apart.
        x = alphas[at] + 0.03 * i
        axes.errorbar(x, rates, np.abs(intervals.T - rates), capsize=2, elinewidth=0.8, zorder=3 - i, **style)
    axes.axvline(1, color="#999999", linewidth=0.8, zorder=0)
    axes.set_ylim(0, 100)
    axes.tick_params(labelbottom=False)
    n = sorted({p["n"] for points in found["points"].values() for p in points})
    lead = found["slope_lead"]
    lines = [
        f"judged by {found['judge']}; n = {n[0] if len(n) == 1 else f'{n[0]} to {n[-1]}'}",
        "slope, points per unit α [95 %]",
        _slope_text("H-Neurons", found["slope"][H_NEURONS]),
        _slope_text("random", found["slope"][RANDOM]),
        _slope_text("difference", lead) + ("  (contains 0)" if lead["includes_0"] else ""),
    ]
    axes.text(0.5, -0.03, "\n".join(lines), transform=axes.transAxes, fontsize=7, ha="center", va="top")


def _lost_panel(axes: Any, found: Mapping[str, Any]) -> None:
    sets = {
        "H-Neurons": [found["points"][H_NEURONS]],
        "random": [points for name, points in found["points"].items() if name != H_NEURONS],
    }
    for name, members in sets.items():
        for state, colour in _LOST.items():
            shares = np.mean([[point[state] for point in points] for points in members], axis=0)
            line = "-" if name == "H-Neurons" else ":"
            axes.plot(found["alphas"], shares, color=colour, linestyle=line, linewidth=1.2, label=f"{state}, {name}")
    lengths = [f"{point['tokens']:.0f}" for point in found["points"][H_NEURONS]]
    axes.set_title(f"tokens per reply, H-Neurons: {', '.join(lengths)}", fontsize=7, pad=2)
    axes.set_ylim(-4, 104)
    axes.set_xlabel("α (1 = untouched)")


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
            colour = _STYLE[H_NEURONS if ours else RANDOM]["color"]
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
    _save(figure, paths)


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
    _legend(figure, columns=2)
    _save(figure, paths)
