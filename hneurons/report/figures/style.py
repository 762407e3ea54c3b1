"""What all figures share: colours, markers, one legend, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from hneurons import store
from hneurons.neurons.neuron_set import H_NEURONS, NEGATIVE, RANDOM

STYLE: dict[str, dict[str, Any]] = {
    H_NEURONS: {"color": "#D55E00", "marker": "o", "label": "H-Neurons"},
    RANDOM: {"color": "#0072B2", "marker": "s", "label": "random neurons, same number per layer"},
    NEGATIVE: {"color": "#009E73", "marker": "^", "label": "neurons with a negative weight"},
}


def save_figure(figure: Any, paths: Sequence[str | Path]) -> None:
    for path in paths:
        with store.atomic_path(path) as part:
            figure.savefig(part, dpi=150)
    plt.close(figure)


def add_legend(figure: Any, columns: int) -> None:
    """One legend beneath all panels, each label once."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    options = {"loc": "outside lower center", "fontsize": 8, "frameon": False}
    figure.legend(list(handles.values()), list(handles), ncols=columns, **options)
