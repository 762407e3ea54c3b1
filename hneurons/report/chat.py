"""The page of `hneurons serve`: a question, the reply token by token as it is written, and the neurons behind each."""

from hneurons.detection.token_probe import TokenProbe
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.detections import calibration_grid
from hneurons.report.html import render_page


def chat_page(name: str, neurons: NeuronSet, probe: TokenProbe) -> str:
    """Render the page.

    Args:
        name: what clients call the model.
        neurons: the set behind the server; the page shows its calibration.
        probe: its probe.

    Returns:
        HTML.
    """
    by_layer = {layer: {j: neurons.place(layer, j) for j in indices} for layer, indices in probe.by_layer.items()}
    return render_page(
        "chat.html.jinja",
        model=name,
        weighted=len(probe.weights),
        h_neurons=int(neurons.selected.sum()),
        calibration=calibration_grid(neurons),
        errors={curve_name: curve.error for curve_name, curve in neurons.calibration.items()},
        places=by_layer,
    )
