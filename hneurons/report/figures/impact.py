"""Figure 3, compliance against α, and the figure of what scaling costs."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from hneurons.config.impact import H_NEURONS, NEGATIVE, RANDOM, UNTOUCHED, UNTOUCHED_ALPHA
from hneurons.impact.benchmarks import TITLES
from hneurons.impact.curves import Curve
from hneurons.impact.rates import MIN_SETS
from hneurons.impact.utility_curves import CettPoint, PerplexityPoint, UtilityCurves
from hneurons.report.figures.style import STYLE, add_legend, save_figure
from hneurons.report.tables.impact import missing_runs

# Characters of a note's line, which fit beneath a panel.
_NOTE_WIDTH = 60
_LOST = {"unparsed": "#009E73", "refused": "#CC79A7", "truncated": "#000000"}


def figure3(curves: Sequence[Curve], paths: Sequence[str | Path]) -> None:
    """Draw Figure 3: compliance rate against α, a column of panels per benchmark and a row per model.

    A panel shows the H-Neurons with their interval as a band, and the mean of the random sets with a band from their
    smallest to their largest rate; fewer than five random sets are drawn as points. Where a judge failed, a bar runs from
    the rate if none of these replies complied to the rate if all did. Notes give n, the judge, and what is missing;
    `slopes_table` has the slopes. The panel beneath shows the shares of replies that were unparsed, refused or truncated,
    and their mean length.

    Args:
        curves: one per model and benchmark.
        paths: files to write, the format by the ending.
    """
    models = list(dict.fromkeys(curve.model for curve in curves))
    benchmarks = list(dict.fromkeys(curve.benchmark for curve in curves))
    figure = plt.figure(figsize=(3.9 * len(benchmarks) + 0.4, 5.6 * len(models)), layout="constrained")
    grid = figure.add_gridspec(2 * len(models), len(benchmarks), height_ratios=[2.6, 1] * len(models))
    for curve in curves:
        row, column = 2 * models.index(curve.model), benchmarks.index(curve.benchmark)
        above = figure.add_subplot(grid[row, column])
        below = figure.add_subplot(grid[row + 1, column], sharex=above)
        _rates_panel(above, curve)
        above.tick_params(labelbottom=False)
        above.text(0.5, -0.03, _notes(curve), transform=above.transAxes, fontsize=7, ha="center", va="top")
        title, description = (curve.title or TITLES[curve.benchmark]).split("\n", 1)
        above.set_title(f"{title}\n{textwrap.fill(description, 40)}", fontsize=10)
        _lost_panel(below, curve)
        if column == 0:
            above.set_ylabel(f"{curve.model}\ncompliance rate (%)")
            below.set_ylabel("replies (%)")
    add_legend(figure, columns=4)
    save_figure(figure, paths)


def _rates_panel(axes: Any, curve: Curve) -> None:
    """Rates of the H-Neurons with their interval as a band, and the random sets' mean within their range."""
    _bands(axes, curve.points, "rate.percent", "rate.interval")
    for point in curve.points.get(H_NEURONS, ()):
        if point.rate.bounds:
            axes.vlines(point.alpha, *point.rate.bounds, color=STYLE[H_NEURONS]["color"], linewidth=3, alpha=0.5)
    axes.axvline(UNTOUCHED_ALPHA, color="#999999", linewidth=0.8, zorder=0)
    axes.set_ylim(0, 100)


def _bands(axes: Any, points: Mapping[str, Sequence[Any]], name: str, interval: str) -> None:
    """Draw an attribute of points against α where it is known.

    H-Neurons and neurons with a negative weight have their interval as a band, the random sets' mean has their range.
    """
    value = attrgetter(name)
    for neurons in (H_NEURONS, NEGATIVE):
        if drawn := [point for point in points.get(neurons, ()) if value(point) is not None]:
            alphas = [point.alpha for point in drawn]
            ends = [attrgetter(interval)(point) or (np.nan, np.nan) for point in drawn]
            low, high = zip(*ends, strict=True)
            axes.plot(alphas, [value(point) for point in drawn], markersize=4, zorder=3, **STYLE[neurons])
            axes.fill_between(alphas, low, high, color=STYLE[neurons]["color"], alpha=0.18, linewidth=0)
    if values := _of_random(points, value):
        if max(map(len, values.values())) < MIN_SETS:
            each = [(alpha, number) for alpha, numbers in values.items() for number in numbers]
            axes.plot(*zip(*each, strict=True), **{**STYLE[RANDOM], "linestyle": "none", "markersize": 3.5})
            return
        style = {**STYLE[RANDOM], "linestyle": "--", "markersize": 3.5, "linewidth": 1}
        axes.plot(list(values), [np.mean(v) for v in values.values()], **style)
        lowest, highest = [min(v) for v in values.values()], [max(v) for v in values.values()]
        axes.fill_between(list(values), lowest, highest, color=STYLE[RANDOM]["color"], alpha=0.15, linewidth=0)


def _of_random(points: Mapping[str, Sequence[Any]], value: Callable[[Any], float | None]) -> dict[float, list[float]]:
    """A value of the random sets by α, where it is known."""
    values: dict[float, list[float]] = {}
    for name, set_points in points.items():
        for point in set_points if name.startswith(RANDOM) else ():
            if (number := value(point)) is not None:
                values.setdefault(point.alpha, []).append(number)
    return dict(sorted(values.items()))


def _notes(curve: Curve) -> str:
    """The lines beneath a panel: n, the judge, and what its points lack; the slopes are in the table."""
    n = sorted({point.rate.n for points in curve.points.values() for point in points})
    items = str(n[0]) if len(n) == 1 else f"{n[0]} to {n[-1]}"
    sets = f"{curve.random_sets} random sets" if curve.random_sets else "no random neurons: no control"
    few = ", too few for a claim" if 0 < curve.random_sets < MIN_SETS else ""
    lines = [f"n = {items}, judged by {curve.judge}", sets + few]
    if curve.wording:
        lines.append(f"wording: {curve.wording}")
    if curve.warnings:
        lines.append("warning: see the table of slopes")
    if curve.missing:
        lines.append(f"missing: {missing_runs(curve)}")
    return "\n".join(textwrap.fill(line, _NOTE_WIDTH) for line in lines)


def _lost_panel(axes: Any, curve: Curve) -> None:
    points = curve.points.get(H_NEURONS, ())
    for state, colour in _LOST.items():
        share = attrgetter(state)
        shares = {point.alpha: share(point) for point in points if share(point) is not None}
        if shares:
            axes.plot(list(shares), list(shares.values()), color=colour, linewidth=1.2, label=f"{state}, H-Neurons")
        if randoms := _of_random(curve.points, share):
            means = [float(np.mean(values)) for values in randoms.values()]
            axes.plot(list(randoms), means, color=colour, linestyle=":", linewidth=1.2, label=f"{state}, random")
    lengths = [f"{point.tokens:.0f}" for point in points if point.tokens is not None]
    axes.set_title(f"tokens per reply, H-Neurons: {', '.join(lengths) or 'not known'}", fontsize=7, pad=2)
    axes.set_ylim(-4, 104)
    axes.set_xlabel("α (1 = untouched)")


def utility_picture(utility: Sequence[UtilityCurves], accuracy: Sequence[Curve], paths: Sequence[str | Path]) -> None:
    """Draw what scaling costs, a row of panels per model: accuracy, perplexity, and CETT(α)/CETT(1) (eqs. 6 and 7).

    Bands are as in Figure 3; for CETT they are quartiles over neurons.

    Args:
        utility: perplexity and CETT, one per model.
        accuracy: curves of the test questions.
        paths: files to write, the format by the ending.
    """
    curve_of = {curve.model: curve for curve in accuracy}
    figure, grid = plt.subplots(len(utility), 3, figsize=(11.5, 3.6 * len(utility)), squeeze=False, layout="constrained")
    for (first, second, third), curves in zip(grid, utility, strict=True):
        if curve := curve_of.get(curves.model):
            _rates_panel(first, curve)
            first.set_title(f"accuracy (%), {curve.points[H_NEURONS][0].rate.n} test questions", fontsize=10)
        _perplexity_panel(second, curves.perplexity)
        _cett_panel(third, curves.cett)
        first.set_ylabel(curves.model)
        for axes in (first, second, third):
            axes.set_xlabel("α (1 = untouched)")
    add_legend(figure, columns=3)
    save_figure(figure, paths)


def _perplexity_panel(axes: Any, perplexity: Mapping[str, Sequence[PerplexityPoint]]) -> None:
    if not perplexity:
        return
    (untouched,) = perplexity[UNTOUCHED]
    sets = {name: sorted([*points, untouched], key=lambda p: p.alpha) for name, points in perplexity.items()}
    _bands(axes, sets, "ratio", "interval")
    axes.axhline(1, color="#999999", linewidth=0.8, zorder=0)
    if max(point.ratio for points in sets.values() for point in points) > 3:
        axes.set_yscale("log")
    axes.set_title(f"perplexity / untouched ({untouched.perplexity:.1f})", fontsize=10)


def _cett_panel(axes: Any, cett: Mapping[str, Sequence[CettPoint]]) -> None:
    for name, points in cett.items():
        alphas = [point.alpha for point in points]
        axes.plot(alphas, alphas, color="#000000", linestyle=":", linewidth=1, label="α: first-order prediction (eq. 7)")
        _bands(axes, {name: points}, "median", "quartiles")
        axes.set_title(f"CETT(α) / CETT(1), {points[0].neurons} H-Neurons", fontsize=10)
