"""Two sets of neurons of one model: what they share, against chance, and how their weights and layers differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hneurons.errors import HNeuronsError
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.stats.overlap import Overlap, overlap_of


@dataclass(frozen=True)
class Compared:
    """What two sets have in common.

    Attributes:
        sizes: selected neurons of each.
        total: neurons of the model.
        overlap: selected neurons in both.
        places: [n] (layer, neuron) of these.
        weighted: neurons with a weight in both sets.
        same_sign: how many of them have weights of the same sign.
        correlation: Pearson's, of these weights; None with fewer than three, or equal ones.
        by_layer: per layer with a neuron of either, how many are selected in the first, in the second and in both.
    """

    sizes: tuple[int, int]
    total: int
    overlap: Overlap
    places: list[tuple[int, int]]
    weighted: int
    same_sign: int
    correlation: float | None
    by_layer: dict[int, tuple[int, int, int]]


def compare_sets(first: NeuronSet, second: NeuronSet) -> Compared:
    """Compare two sets of one model.

    Args:
        first, second: the sets.

    Raises:
        HNeuronsError: they are of models of different shapes, or a set has no neurons.
    """
    second.check_for({key: first.made_by[key] for key in ("layers", "d_ff", "experts") if key in first.made_by})
    widths = first.widths
    columns = [set(widths.columns(s.layers[s.selected], s.neurons[s.selected]).tolist()) for s in (first, second)]
    if not all(columns):
        raise HNeuronsError("a set without selected neurons has nothing to compare")
    shared = np.array(sorted(columns[0] & columns[1]), dtype=int)
    layers, neurons = widths.places(shared)
    weights = [_weights(s) for s in (first, second)]
    weighted = sorted(set(weights[0]) & set(weights[1]))
    a, b = (np.array([of_set[column] for column in weighted]) for of_set in weights)
    varied = len(weighted) > 2 and a.std() > 0 and b.std() > 0
    counts = [widths.places(np.array(sorted(part), dtype=int))[0].tolist() for part in (*columns, set(shared.tolist()))]
    return Compared(
        sizes=(len(columns[0]), len(columns[1])),
        total=widths.total,
        overlap=overlap_of(columns[0], columns[1], widths.total),
        places=list(zip(layers.tolist(), neurons.tolist(), strict=True)),
        weighted=len(weighted),
        same_sign=int((np.sign(a) == np.sign(b)).sum()),
        correlation=float(np.corrcoef(a, b)[0, 1]) if varied else None,
        by_layer={
            layer: (counts[0].count(layer), counts[1].count(layer), counts[2].count(layer))
            for layer in sorted({*counts[0], *counts[1]})
        },
    )


def _weights(neurons: NeuronSet) -> dict[int, float]:
    """The non-zero weights by column."""
    fitted = neurons.weights != 0
    columns = neurons.widths.columns(neurons.layers[fitted], neurons.neurons[fitted])
    return dict(zip(columns.tolist(), neurons.weights[fitted].tolist(), strict=True))
