"""How many neurons each layer has, and the place of each among the neurons of all layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class Widths:
    """The number of neurons of every layer. Neurons of all layers are numbered layer by layer: their columns.

    Attributes:
        per_layer: neurons of each layer, [layers].
    """

    per_layer: tuple[int, ...]

    @classmethod
    def of_layers(cls, layers: int, d_ff: int | Sequence[int]) -> Self:
        """Widths of some layers from what metadata record as `d_ff`: one number for all, or one for each."""
        return cls((d_ff,) * layers if isinstance(d_ff, int) else tuple(d_ff))

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Widths from metadata with `layers` and `d_ff`."""
        return cls.of_layers(int(facts["layers"]), facts["d_ff"])

    @property
    def d_ff(self) -> int | list[int]:
        """What metadata record: one number if all layers have as many neurons, else one for each."""
        return self.per_layer[0] if len(set(self.per_layer)) == 1 else list(self.per_layer)

    @property
    def facts(self) -> dict[str, Any]:
        """`layers` and `d_ff`, as metadata record them."""
        return {"layers": self.layers, "d_ff": self.d_ff}

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.per_layer)

    @property
    def total(self) -> int:
        """Neurons of all layers."""
        return sum(self.per_layer)

    @cached_property
    def starts(self) -> np.ndarray:
        """The column of the first neuron of each layer, [layers] int."""
        return np.concatenate([[0], np.cumsum(self.per_layer)])[:-1].astype(int)

    def columns(self, layers: np.ndarray, neurons: np.ndarray) -> np.ndarray:
        """Columns of neurons, given the layer of each and its index in the layer."""
        columns: np.ndarray = self.starts[layers] + neurons
        return columns

    def places(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The layer of each column, and the index of its neuron in the layer."""
        layers = np.searchsorted(self.starts, columns, side="right") - 1
        return layers, columns - self.starts[layers]

    def lacks(self, layers: np.ndarray, neurons: np.ndarray) -> np.ndarray:
        """Which of these neurons there are not, [neurons] bool."""
        widths = np.array([*self.per_layer, 0])
        missing: np.ndarray = neurons >= widths[np.minimum(layers, self.layers)]
        return missing

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of all neurons, [total], layer by layer."""
        return np.split(values, self.starts[1:])
