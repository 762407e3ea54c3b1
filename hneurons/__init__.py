"""Find, measure and steer the neurons behind hallucination in language models.

Names are loaded on first use, so that `import hneurons` costs nothing where a workflow is only being planned.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hneurons.detector import Detection, detect, detect_many
    from hneurons.export import export
    from hneurons.models import load_model
    from hneurons.neurons import NeuronSet
    from hneurons.steering import side_by_side

__version__ = version("hneurons")
__all__ = ["Detection", "NeuronSet", "detect", "detect_many", "export", "load_model", "side_by_side"]

_HOME = {
    "Detection": "hneurons.detector",
    "NeuronSet": "hneurons.neurons",
    "detect": "hneurons.detector",
    "detect_many": "hneurons.detector",
    "export": "hneurons.export",
    "load_model": "hneurons.models",
    "side_by_side": "hneurons.steering",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hneurons' has no attribute {name!r}")
