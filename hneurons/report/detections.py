"""The page of `hneurons detect --html`: tokens shaded by what the probe says of them, the neurons behind each on hover."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hneurons.detection.detector import Detection
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.html import Grid, interval_cell, make_grid, number_cell
from hneurons.report.html import write_html as render


def calibration_grid(neurons: NeuronSet) -> Grid:
    """What the probe's probabilities have been worth, by test set."""
    rows = [{"set": name, **one} for name, found in neurons.calibration.items() for one in found["bins"]]
    return make_grid(
        rows,
        {
            "held against": lambda row: row["set"],
            "said (mean)": lambda row: number_cell(row["predicted"]),
            "made up [95 %]": lambda row: interval_cell(row["observed"], *row["interval"]),
            "n": lambda row: number_cell(row["n"], 0),
        },
    )


def write_detections_page(path: str | Path, found: Sequence[Detection], neurons: NeuronSet, most: int = 5) -> None:
    """Every response with its tokens; a token's neurons are named when it is pointed at, or focused."""
    made = neurons.made_by
    shown: list[dict[str, Any]] = [one.as_dict(most) for one in found]
    stable = {
        (int(layer), int(j)): float(s)
        for layer, j, s in zip(neurons.layers, neurons.neurons, neurons.stability, strict=True)
    }
    render(
        path,
        "detections.html.jinja",
        detections=shown,
        model=made.get("model", "unknown model"),
        n=int(neurons.selected.sum()),
        weighed=int((neurons.weights != 0).sum()),
        calibration=calibration_grid(neurons),
        errors={name: one["error"] for name, one in neurons.calibration.items()},
        stability=stable,
    )
