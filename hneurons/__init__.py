"""Find, measure and steer the neurons behind hallucination in language models.

Names are loaded on first use, so that `import hneurons` stays fast where a workflow is only planned.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hneurons.detection.detected import Detection
    from hneurons.detection.detector import detect, detect_many
    from hneurons.detection.live import detect_while_generating
    from hneurons.generation.side_by_side import side_by_side
    from hneurons.models.load import load_model
    from hneurons.neurons.export import export
    from hneurons.neurons.neuron_set import NeuronSet
    from hneurons.report.fitted import fit

__version__ = version("hneurons")
__all__ = [
    "Detection",
    "NeuronSet",
    "detect",
    "detect_many",
    "detect_while_generating",
    "export",
    "fit",
    "load_model",
    "side_by_side",
]

_HOME = {
    "Detection": "hneurons.detection.detected",
    "NeuronSet": "hneurons.neurons.neuron_set",
    "detect": "hneurons.detection.detector",
    "detect_many": "hneurons.detection.detector",
    "detect_while_generating": "hneurons.detection.live",
    "export": "hneurons.neurons.export",
    "fit": "hneurons.report.fitted",
    "load_model": "hneurons.models.load",
    "side_by_side": "hneurons.generation.side_by_side",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hneurons' has no attribute {name!r}")
