"""Figure 3, compliance against α, and what scaling costs beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from hneurons.impact.curves import DIFFERENCE, FIXED
from hneurons.neurons.neuron_set import H_NEURONS, NEGATIVE, RANDOM
from hneurons.report.figures.style import STYLE, add_legend, save_figure
from hneurons.stats import format_interval

_LOST = {"unparsed": "#009E73", "refused": "#CC79A7", "truncated": "#000000"}


def _slope_text(name: str, found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return f"{name}: not known"
    slope = format_interval(found["value"], *found["interval"], digits=1, sign="+")
    return f"{name}: {slope}" + (" (contains 0)" if found["includes_0"] else "")


def figure3(curves: Sequence[Mapping[str, Any]], titles: Mapping[str, str], paths: Sequence[str | Path]) -> None:
    """Compliance rate against α, a panel per benchmark and a row of panels per model.

    Each panel: the H-Neurons with their Wilson interval as a band, the mean of the random sets with the band from their
    smallest to their largest rate, slopes with bootstrap intervals on both sides of α = 1, who judged, n, and the runs that
    are missing. Beneath it: the shares of replies that were unparsed, refused or truncated, and the replies' mean length.
    titles: the panel title of each benchmark. paths: where to write it, the format by the ending.
    """
    models = list(dict.fromkeys(c["model"] for c in curves))
    benchmarks = list(dict.fromkeys(c["benchmark"] for c in curves))
    figure = plt.figure(figsize=(3.9 * len(benchmarks) + 0.4, 6.3 * len(models)), layout="constrained")
    grid = figure.add_gridspec(2 * len(models), len(benchmarks), height_ratios=[2.6, 1] * len(models))
    for found in curves:
        row, column = 2 * models.index(found["model"]), benchmarks.index(found["benchmark"])
        above = figure.add_subplot(grid[row, column])
        below = figure.add_subplot(grid[row + 1, column], sharex=above)
        rates_panel(above, found)
        above.set_ylim(0, 100)
        above.tick_params(labelbottom=False)
        above.text(0.5, -0.03, "\n".join(_words(found)), transform=above.transAxes, fontsize=7, ha="center", va="top")
        title, counted = titles[found["benchmark"]].split("\n", 1)
        above.set_title(f"{title}\n{textwrap.fill(counted, 40)}", fontsize=10)
        _lost_panel(below, found)
        if column == 0:
            above.set_ylabel(f"{found['model']}\ncompliance rate (%)")
            below.set_ylabel("replies (%)")
    add_legend(figure, columns=4)
    save_figure(figure, paths)


def rates_panel(axes: Any, found: Mapping[str, Any]) -> None:
    """Rates of the H-Neurons with their interval as a band, and the random sets' mean within their range."""
    for name in (H_NEURONS, NEGATIVE):
        points = [p for p in found["points"].get(name, ()) if p["rate"] is not None]
        if points:
            alphas, rates = [p["alpha"] for p in points], [p["rate"] for p in points]
            low, high = zip(*(p["interval"] for p in points), strict=True)
            axes.plot(alphas, rates, markersize=4, zorder=3, **STYLE[name])
            axes.fill_between(alphas, low, high, color=STYLE[name]["color"], alpha=0.18, linewidth=0)
    _random_band(axes, _of_random(found["points"], "rate"))
    axes.axvline(1, color="#999999", linewidth=0.8, zorder=0)


def _of_random(points: Mapping[str, Sequence[Mapping[str, Any]]], key: str) -> dict[float, list[float]]:
    """Values of the random sets by α, as far as they are there."""
    found: dict[float, list[float]] = {}
    for name, of_set in points.items():
        for p in of_set if name.startswith(RANDOM) else ():
            if p[key] is not None:
                found.setdefault(p["alpha"], []).append(p[key])
    return dict(sorted(found.items()))


def _random_band(axes: Any, values: Mapping[float, Sequence[float]]) -> None:
    if values:
        style = {**STYLE[RANDOM], "linestyle": "--", "markersize": 3.5, "linewidth": 1}
        alphas = list(values)
        axes.plot(alphas, [np.mean(v) for v in values.values()], **style)
        low, high = [min(v) for v in values.values()], [max(v) for v in values.values()]
        axes.fill_between(alphas, low, high, color=STYLE[RANDOM]["color"], alpha=0.15, linewidth=0)


def _words(found: Mapping[str, Any]) -> list[str]:
    """What stands beneath a panel: who judged, n, slopes, and what is missing."""
    n = sorted({p["n"] for points in found["points"].values() for p in points})
    items = str(n[0]) if len(n) == 1 else f"{n[0]} to {n[-1]}"
    slopes, sets = found["slope"], found["random_sets"]
    lines = [
        f"judged by {found['judge']}; n = {items}; {sets} random sets",
        "slope, points per unit α [95 %]",
        _slope_text("H-Neurons", slopes["all"][H_NEURONS]),
    ]
    if sets:
        lines += [
            _slope_text("random", slopes["all"][RANDOM]),
            _slope_text("difference", slopes["all"][DIFFERENCE]),
            _slope_text("difference, α ≤ 1", slopes["suppression"][DIFFERENCE]),
            _slope_text("difference, α ≥ 1", slopes["amplification"][DIFFERENCE]),
        ]
        if len(n) > 1:
            lines.append(_slope_text("difference, items eligible at α = 1", slopes[FIXED][DIFFERENCE]))
    else:
        lines.append("no random neurons were scaled: an effect without its control")
    if found["missing"]:
        lines.append(
            "missing: " + "; ".join(f"{s} α = {', '.join(f'{a:g}' for a in at)}" for s, at in found["missing"].items())
        )
    return lines


def _lost_panel(axes: Any, found: Mapping[str, Any]) -> None:
    ours = found["points"].get(H_NEURONS, ())
    for state, colour in _LOST.items():
        known = [p for p in ours if p[state] is not None]
        if known:
            label = f"{state}, H-Neurons"
            axes.plot([p["alpha"] for p in known], [p[state] for p in known], color=colour, linewidth=1.2, label=label)
        theirs = _of_random(found["points"], state)
        shares = [float(np.mean(values)) for values in theirs.values()]
        if theirs:
            axes.plot(list(theirs), shares, color=colour, linestyle=":", linewidth=1.2, label=f"{state}, random")
    known = [f"{p['tokens']:.0f}" for p in ours if p["tokens"] is not None]
    axes.set_title(f"tokens per reply, H-Neurons: {', '.join(known) or 'not known'}", fontsize=7, pad=2)
    axes.set_ylim(-4, 104)
    axes.set_xlabel("α (1 = untouched)")


def utility_picture(
    found: Sequence[Mapping[str, Any]], accuracy: Sequence[Mapping[str, Any]], paths: Sequence[str | Path]
) -> None:
    """What scaling costs, a row of panels per model: accuracy on test questions, perplexity against the untouched model's,
    and CETT(α)/CETT(1) of the H-Neurons beside α (eqs. 6 and 7). Bands as in Figure 3; quartiles over neurons for CETT."""
    curve_of = {c["model"]: c for c in accuracy}
    figure, grid = plt.subplots(len(found), 3, figsize=(11.5, 3.6 * len(found)), squeeze=False, layout="constrained")
    for (first, second, third), one in zip(grid, found, strict=True):
        if one["model"] in curve_of:
            curve = curve_of[one["model"]]
            rates_panel(first, curve)
            first.set_ylim(0, 100)
            first.set_title(f"accuracy (%), {curve['points'][H_NEURONS][0]['n']} test questions", fontsize=10)
        _perplexity_panel(second, one["perplexity"])
        _cett_panel(third, one["cett"])
        first.set_ylabel(one["model"])
        for axes in (first, second, third):
            axes.set_xlabel("α (1 = untouched)")
    add_legend(figure, columns=3)
    save_figure(figure, paths)


def _perplexity_panel(axes: Any, perplexity: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    if not perplexity:
        return
    (untouched,) = perplexity["untouched"]
    sets = {name: sorted([*points, untouched], key=lambda p: p["alpha"]) for name, points in perplexity.items()}
    for name in (H_NEURONS, NEGATIVE):
        if points := sets.get(name):
            alphas = [p["alpha"] for p in points]
            low, high = zip(*(p["interval"] for p in points), strict=True)
            axes.plot(alphas, [p["ratio"] for p in points], markersize=4, zorder=3, **STYLE[name])
            axes.fill_between(alphas, low, high, color=STYLE[name]["color"], alpha=0.18, linewidth=0)
    _random_band(axes, _of_random(sets, "ratio"))
    axes.axhline(1, color="#999999", linewidth=0.8, zorder=0)
    if max(p["ratio"] for points in sets.values() for p in points) > 3:
        axes.set_yscale("log")
    axes.set_title(f"perplexity / untouched ({untouched['perplexity']:.1f})", fontsize=10)


def _cett_panel(axes: Any, cett: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    for name, points in cett.items():
        alphas = [p["alpha"] for p in points]
        low, high = zip(*(p["quartiles"] for p in points), strict=True)
        axes.plot(alphas, alphas, color="#000000", linestyle=":", linewidth=1, label="α, as to first order (eq. 7)")
        axes.plot(alphas, [p["median"] for p in points], markersize=4, **STYLE[name])
        axes.fill_between(alphas, low, high, color=STYLE[name]["color"], alpha=0.18, linewidth=0)
        axes.set_title(f"CETT(α) / CETT(1), {points[0]['neurons']} H-Neurons", fontsize=10)
