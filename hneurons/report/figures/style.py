"""What all figures share: colours and markers, the legend, and writing to files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from hneurons import store
from hneurons.config.impact import H_NEURONS, NEGATIVE, RANDOM

STYLE: dict[str, dict[str, Any]] = {
    H_NEURONS: {"color": "#D55E00", "marker": "o", "label": "H-Neurons"},
    RANDOM: {"color": "#0072B2", "marker": "s", "label": "random neurons, same number per layer"},
    NEGATIVE: {"color": "#009E73", "marker": "^", "label": "neurons with a negative weight"},
}


def save_figure(figure: Any, paths: Sequence[str | Path]) -> None:
    """Write a figure to all paths, the format by the ending, and close it."""
    for path in paths:
        with store.atomic_path(path) as part:
            figure.savefig(part, dpi=150)
    plt.close(figure)


def add_legend(figure: Any, columns: int) -> None:
    """Add one legend for all panels beneath them, each label once, laid out in columns."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, ncols=columns, loc="outside lower center", fontsize=8, frameon=False)
