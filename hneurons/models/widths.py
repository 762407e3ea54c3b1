"""How many neurons each layer and each expert has, and the place of each neuron among those of all layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from hneurons.errors import HNeuronsError

_ExpertsFact = Sequence[Any] | None


@dataclass(frozen=True)
class Widths:
    """The number of neurons of every layer. Neurons of all layers are numbered layer by layer: their columns.

    Neurons of routed experts come first in their layer: j of expert e, which has d_e, is e · d_e + j.

    Attributes:
        per_layer: neurons of each layer, [layers].
        experts: by layer, the number of routed experts and d_e; None where the layer is dense. Empty if all are.
    """

    per_layer: tuple[int, ...]
    experts: tuple[tuple[int, int] | None, ...] = ()

    def __post_init__(self) -> None:
        if not any(self.experts):
            object.__setattr__(self, "experts", ())

    @classmethod
    def of_layers(cls, layers: int, d_ff: int | Sequence[int], experts: _ExpertsFact = None) -> Self:
        """Widths of some layers from what metadata record: of `d_ff` and `experts` one for all, or one for each."""
        per_layer = (d_ff,) * layers if isinstance(d_ff, int) else tuple(d_ff)
        if experts is None:
            return cls(per_layer)
        each = [experts] * layers if isinstance(experts[0], int) else experts
        return cls(per_layer, tuple(None if routed is None else (routed[0], routed[1]) for routed in each))

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Widths from metadata with `layers`, `d_ff` and, of mixtures of experts, `experts`."""
        return cls.of_layers(int(facts["layers"]), facts["d_ff"], facts.get("experts"))

    @property
    def d_ff(self) -> int | list[int]:
        """What metadata record: one number if all layers have as many neurons, else one for each."""
        return self.per_layer[0] if len(set(self.per_layer)) == 1 else list(self.per_layer)

    @property
    def facts(self) -> dict[str, Any]:
        """`layers`, `d_ff` and, of mixtures of experts, `experts`, as metadata record them."""
        facts = {"layers": self.layers, "d_ff": self.d_ff}
        if not self.experts:
            return facts
        each = [None if routed is None else list(routed) for routed in self.experts]
        return {**facts, "experts": each[0] if all(routed == each[0] for routed in each) else each}

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

    def drawn_like(self, rng: np.random.Generator, columns: np.ndarray, used: np.ndarray) -> np.ndarray:
        """Draw as many random columns from each unit as are given of it, none of them used; ascending.

        Raises:
            HNeuronsError: a unit has too few columns that are not used.
        """
        drawn = [np.empty(0, int)]
        firsts = self._first_columns(columns)
        for first, count in zip(*np.unique(firsts, return_counts=True), strict=True):
            layer, neuron = (int(place[0]) for place in self.places(np.array([first])))
            routed = self.experts[layer] if self.experts else None
            end = first + (routed[1] if routed and neuron < routed[0] * routed[1] else self.per_layer[layer] - neuron)
            free = np.setdiff1d(np.arange(first, end), used)
            if count > len(free):
                unit = f"{self.named(layer, neuron).partition(':')[0]}: " if routed else ""
                raise HNeuronsError(
                    f"layer {layer}: {unit}too few of its {end - first} neurons are outside this set to draw a control"
                )
            drawn.append(np.sort(rng.choice(free, size=count, replace=False)))
        return np.concatenate(drawn)

    def _first_columns(self, columns: np.ndarray) -> np.ndarray:
        """The first column of the unit of each column: of its expert, of what its layer shares, or of its dense layer."""
        layers, neurons = self.places(columns)
        firsts: np.ndarray = self.starts[layers]
        if self.experts:
            numbers, d_e = np.array([routed or (0, 1) for routed in self.experts])[layers].T
            firsts = firsts + np.minimum(neurons // d_e, numbers) * d_e
        return firsts

    def named(self, layer: int, neuron: int) -> str:
        """A neuron of a layer as people read it: its index, or its expert's number and its index there."""
        routed = self.experts[layer] if self.experts else None
        if routed is None:
            return str(neuron)
        expert, j = divmod(neuron, routed[1])
        return f"expert {expert}:{j}" if expert < routed[0] else f"shared:{neuron - routed[0] * routed[1]}"

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of all neurons, [total], layer by layer."""
        return np.split(values, self.starts[1:])
