"""NeuronSet: the weights of a fitted probe, which neurons they name, and what made them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hneurons import store
from hneurons.errors import HNeuronsError
from hneurons.models.hub import fetch_snapshot, is_hub_id
from hneurons.records import NEURONS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hneurons.neurons.scaling import Alpha

# What a published set consists of.
PUBLISHED_FILES = ["neurons.parquet", "README.md"]

# Names of sets, as files have them; random ones end in their seed.
H_NEURONS, NEGATIVE, RANDOM = "hneurons", "negative", "random"
# Of the model as it is, at α = 1: no set at all.
UNTOUCHED = "untouched"


@dataclass(frozen=True)
class NeuronSet:
    """Neurons of one model, with the probe's weights.

    layers, neurons [n] int: where each neuron is. weights [n] float: θ_j of eq. 4, zero for neurons that were not
    fitted. selected [n] bool: those that `scale` scales, the H-Neurons (θ_j > 0) of a fitted set. made_by: model,
    revision, layers, d_ff, intercept, C, calibration and all settings. stability [n]: how often resamples of the training
    questions give the weight the same sign; NaN where that was not asked.
    """

    layers: np.ndarray
    neurons: np.ndarray
    weights: np.ndarray
    selected: np.ndarray
    made_by: Mapping[str, Any] = field(default_factory=dict)
    stability: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if len(self.stability) != len(self.weights):
            object.__setattr__(self, "stability", np.full(len(self.weights), np.nan))

    @classmethod
    def load(cls, path: str | Path, revision: str | None = None) -> NeuronSet:
        """Read neurons.parquet, a folder that holds one, or a set that was published on the hub ("owner/name").

        revision: of the hub's repository; None is its newest. Which model the neurons belong to, and at which revision, is
        checked where they meet one (`scale`, `detect`, `export`). Raises HNeuronsError if there is no such file, or if a
        column is missing or of another type.
        """
        path = _file_of(path, revision)
        table = store.read_table(path, NEURONS)
        layers, neurons, weights, selected, stability = (table[name].to_numpy() for name in NEURONS.names)
        return cls(layers, neurons, weights, selected, store.made_by(path), stability)

    def save(self, path: str | Path) -> None:
        """Write neurons.parquet: every neuron with its weight, the selected ones marked as H-Neurons."""
        columns = [self.layers, self.neurons, self.weights, self.selected, self.stability]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, NEURONS, strict=True)]
        store.write_table(path, pa.table(arrays, schema=NEURONS), self.made_by)

    @property
    def calibration(self) -> dict[str, dict[str, Any]]:
        """How far the probe's probabilities can be believed (metrics.reliability), by what they were held against.

        A published set has one for each test set, the in-domain one first; any fitted set that of its selection split.
        """
        if published := self.made_by.get("published"):
            return dict(published["calibration"])
        own = self.made_by.get("calibration")
        return {"selection split": own} if own else {}

    def by_layer(self) -> dict[int, list[int]]:
        """Indices of the selected neurons of each layer that has any."""
        layers, neurons = self.layers[self.selected], self.neurons[self.selected]
        return {int(layer): neurons[layers == layer].tolist() for layer in np.unique(layers)}

    def random_like(self, seed: int) -> NeuronSet:
        """The control: as many random neurons in each layer as are selected here, none of which this set holds."""
        d_ff = int(self.made_by["d_ff"])
        rng = np.random.default_rng(seed)
        layers, neurons = [], []
        for layer, selected in self.by_layer().items():
            free = np.setdiff1d(np.arange(d_ff), self.neurons[self.layers == layer])
            if len(selected) > len(free):
                raise HNeuronsError(f"layer {layer}: the set holds most of its {d_ff} neurons; no room for a control")
            neurons += np.sort(rng.choice(free, size=len(selected), replace=False)).tolist()
            layers += [layer] * len(selected)
        n = len(layers)
        made_by = {**self.made_by, "named": f"{RANDOM}-{seed}"}
        return NeuronSet(np.array(layers, int), np.array(neurons, int), np.zeros(n), np.ones(n, bool), made_by)

    def negative(self) -> NeuronSet:
        """The other end of the probe: the neurons with a negative weight. Raises HNeuronsError if there are none."""
        if not (self.weights < 0).any():
            raise HNeuronsError("no neuron of this set has a negative weight")
        return replace(self, selected=self.weights < 0, made_by={**self.made_by, "named": NEGATIVE})

    def variant(self, name: str) -> NeuronSet:
        """The set that a file name means: "hneurons" this one, "negative" its other end, "random-3" a control."""
        if name == H_NEURONS:
            return self
        if name == NEGATIVE:
            return self.negative()
        seed = name.removeprefix(f"{RANDOM}-")
        if not seed.isdecimal():
            raise HNeuronsError(f"no set is called {name!r}: {H_NEURONS}, {NEGATIVE}, or {RANDOM}-1, {RANDOM}-2, …")
        return self.random_like(int(seed))

    def scale(self, model: PreTrainedModel, alpha: Alpha, *, strict: bool = True) -> AbstractContextManager[None]:
        """Within the block, multiply the selected neurons' activations by alpha (eq. 5); α = 1 changes nothing.

        alpha: one number, or one per row of the batch. Nested blocks multiply; an exception ends a block as well. strict:
        False lets neurons found on one model scale another of the same shape, such as a fine-tune of it. Raises
        HNeuronsError for the neurons of another model, for packed weights and for α < 0.
        """
        # Tables and figures read sets of neurons, and need no torch for it.
        from hneurons.models.decoder import model_identity
        from hneurons.neurons.scaling import scaled

        self.check_for(model_identity(model), strict)
        return scaled(model, self.by_layer(), alpha)

    def check_for(self, identity: Mapping[str, Any], strict: bool = True) -> None:
        """Raises HNeuronsError if the neurons are not of the model with this identity, as far as both sides say."""
        differ = [
            f"{key} {self.made_by[key]}, not {identity[key]}"
            for key in ("layers", "d_ff", *(("model", "revision") if strict else ()))
            if key in self.made_by and key in identity and self.made_by[key] != identity[key]
        ]
        if differ:
            hint = (
                "; strict=False scales another model of the same shape"
                if strict and not any(d.startswith(("layers", "d_ff")) for d in differ)
                else ""
            )
            raise HNeuronsError(f"these neurons were found on another model: {', '.join(differ)}{hint}")


def _file_of(path: str | Path, revision: str | None) -> Path:
    """neurons.parquet: named itself, in a folder, or in a repository of the hub."""
    found = Path(path)
    if not found.exists() and is_hub_id(path) and not str(path).endswith(".parquet"):
        found = Path(fetch_snapshot(str(path), revision, wanted=PUBLISHED_FILES))
    file = found / PUBLISHED_FILES[0] if found.is_dir() else found
    if not file.is_file():
        raise HNeuronsError(
            f"{path}: no {PUBLISHED_FILES[0]}; name that file, a folder that holds it, or a hub id (owner/name)"
        )
    return file
