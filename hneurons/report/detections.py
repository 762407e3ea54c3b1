"""The page of `hneurons detect --html`: tokens shaded by the probe's prediction, with the neurons behind each on hover."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from hneurons.detection.detected import Detection
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.html import Grid, interval_cell, make_grid, number_cell, write_html


def calibration_grid(neurons: NeuronSet) -> Grid:
    """Tabulate the probe's predicted probabilities against the observed shares of hallucinated answers.

    Args:
        neurons: a fitted set; each of its calibration curves gives a row per bin.
    """
    rows = [{"set": name, **asdict(row)} for name, curve in neurons.calibration.items() for row in curve.bins]
    return make_grid(
        rows,
        {
            "measured on": lambda row: row["set"],
            "predicted (mean)": lambda row: number_cell(row["predicted"]),
            "hallucinated [95 %]": lambda row: interval_cell(row["observed"], *(row["interval"] or (None, None))),
            "n": lambda row: number_cell(row["n"], 0),
        },
    )


def write_detections_page(
    path: str | Path, detections: Sequence[Detection], neurons: NeuronSet, max_neurons: int = 5
) -> None:
    """Write the page: every response token by token; hovering over a token, or focusing it, lists its neurons.

    Args:
        path: the HTML file.
        detections: one per response.
        neurons: the set that made the detections; the page shows its model, stability and calibration.
        max_neurons: neurons listed for each response and for each token, strongest first.
    """
    places = zip(neurons.layers.tolist(), neurons.neurons.tolist(), strict=True)
    write_html(
        path,
        "detections.html.jinja",
        detections=[detection.as_dict(max_neurons) for detection in detections],
        model=neurons.made_by.get("model", "unknown model"),
        h_neurons=int(neurons.selected.sum()),
        weighted=int((neurons.weights != 0).sum()),
        calibration=calibration_grid(neurons),
        errors={name: curve.error for name, curve in neurons.calibration.items()},
        stability=dict(zip(places, neurons.stability.tolist(), strict=True)),
        place_of=neurons.place,
    )
