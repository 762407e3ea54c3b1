"""NeuronSet: the weights of a fitted probe, the neurons that they belong to, and how the set was made."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hneurons import store
from hneurons.config.impact import H_NEURONS, NEGATIVE, RANDOM
from hneurons.errors import HNeuronsError
from hneurons.models.hub import fetch_snapshot, is_hub_id
from hneurons.models.widths import Widths
from hneurons.records import NEURONS
from hneurons.stats.calibration import Reliability

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hneurons.neurons.scaling import Alpha

# The files of a published set.
PUBLISHED_FILES = ["neurons.parquet", "README.md"]


@dataclass(frozen=True)
class NeuronSet:
    """Neurons of one model, with the probe's weights.

    Attributes:
        layers: layer of each neuron, [n] int.
        neurons: index of each neuron in its layer, [n] int.
        weights: θ_j of eq. 4, [n] float; zero for neurons that were not fitted.
        selected: the neurons that `scale` scales, [n] bool; in a fitted set the H-Neurons (θ_j > 0).
        made_by: model, revision, layers, d_ff, intercept, C, calibration and all settings.
        stability: share of resamples of the training questions that give the weight the same sign, [n] float; NaN if not
            computed.
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
        """Load a set from neurons.parquet, from a folder that contains it, or from the hub.

        The model and revision that the neurons belong to are checked when they are used with a model (`scale`, `detect`,
        `export`).

        Args:
            path: the file, the folder, or the id of a published set on the hub ("owner/name").
            revision: of the hub's repository; None is the newest.

        Raises:
            HNeuronsError: the file does not exist, or a column is missing or has another type.
        """
        path = _file_of(path, revision)
        table = store.read_table(path, NEURONS)
        layers, neurons, weights, selected, stability = (table[name].to_numpy() for name in NEURONS.names)
        return cls(layers, neurons, weights, selected, store.made_by(path), stability)

    def save(self, path: str | Path) -> None:
        """Write neurons.parquet: every neuron with its weight, and a mark on the selected ones."""
        columns = [self.layers, self.neurons, self.weights, self.selected, self.stability]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, NEURONS, strict=True)]
        store.write_table(path, pa.table(arrays, schema=NEURONS), self.made_by)

    @property
    def calibration(self) -> dict[str, Reliability]:
        """Reliability of the probe's probabilities, by the data on which it was measured.

        A published set has one entry per test set, the in-domain one first; other fitted sets have one for the selection
        split.
        """
        if published := self.made_by.get("published"):
            curves = published["calibration"]
        else:
            curves = {"selection split": self.made_by["calibration"]} if self.made_by.get("calibration") else {}
        return {name: store.parse_result(curve, Reliability, "calibration") for name, curve in curves.items()}

    @property
    def widths(self) -> Widths:
        """Neurons of each layer and expert of the model."""
        return Widths.from_facts({"layers": int(self.layers.max(initial=-1)) + 1, **self.made_by})

    def place(self, layer: int, neuron: int) -> str:
        """A neuron of a layer as tables show it: its index, or its expert and the index there."""
        # The widths of older sets may be unknown.
        return self.widths.named(layer, neuron) if "experts" in self.made_by else str(neuron)

    def by_layer(self) -> dict[int, list[int]]:
        """Indices of the selected neurons, for each layer that has any."""
        layers, neurons = self.layers[self.selected], self.neurons[self.selected]
        return {int(layer): neurons[layers == layer].tolist() for layer in np.unique(layers)}

    def random_like(self, seed: int) -> NeuronSet:
        """Draw a control: in each layer the same number of random neurons as are selected, none of them in this set.

        Of a mixture of experts, in each expert: those of another would hardly ever be routed to.

        Raises:
            HNeuronsError: a layer or an expert has too few neurons outside this set.
        """
        widths = self.widths
        columns = widths.columns(self.layers, self.neurons)
        drawn = widths.drawn_like(np.random.default_rng(seed), columns[self.selected], columns)
        layers, neurons = widths.places(drawn)
        n = len(layers)
        made_by = {**self.made_by, "named": f"{RANDOM}-{seed}"}
        return NeuronSet(layers, neurons, np.zeros(n), np.ones(n, bool), made_by)

    def negative(self) -> NeuronSet:
        """Select the neurons with a negative weight instead.

        Raises:
            HNeuronsError: no weight is negative.
        """
        if not (self.weights < 0).any():
            raise HNeuronsError("no neuron of this set has a negative weight")
        return replace(self, selected=self.weights < 0, made_by={**self.made_by, "named": NEGATIVE})

    def variant(self, name: str) -> NeuronSet:
        """Return the set with the name that file names use.

        Args:
            name: "hneurons" for this set, "negative" for its negative weights, "random-3" for the control with seed 3.

        Raises:
            HNeuronsError: the name is not one of these, or the set cannot be made.
        """
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

        Nested blocks multiply. The model is restored when the block ends, also by an exception.

        Args:
            model: the loaded model.
            alpha: one factor, or one per row of the batch.
            strict: False accepts neurons of another model of the same shape, such as the one it was tuned from.

        Raises:
            HNeuronsError: the neurons belong to another model, the weights are packed, or α < 0.
        """
        # Imported here, so that tables and figures can read sets without torch.
        from hneurons.models.decoder import model_identity
        from hneurons.neurons.scaling import scaled

        self.check_for(model_identity(model), strict)
        return scaled(model, self.by_layer(), alpha)

    def check_for(self, identity: Mapping[str, Any], strict: bool = True) -> None:
        """Check that the neurons belong to a model.

        Args:
            identity: `layers`, `d_ff`, `experts`, `model` and `revision` of the model. Keys that are missing here or in
                `made_by` are not compared.
            strict: False compares only `layers`, `d_ff` and `experts`.

        Raises:
            HNeuronsError: naming every difference.
        """
        differences = [
            f"{key} {self.made_by[key]}, not {identity[key]}"
            for key in ("layers", "d_ff", "experts", *(("model", "revision") if strict else ()))
            if key in self.made_by and key in identity and self.made_by[key] != identity[key]
        ]
        if differences:
            same_shape = not any(d.startswith(("layers", "d_ff")) for d in differences)
            hint = "; strict=False scales another model of the same shape" if strict and same_shape else ""
            raise HNeuronsError(f"these neurons were found on another model: {', '.join(differences)}{hint}")


def _file_of(path: str | Path, revision: str | None) -> Path:
    """The path of neurons.parquet, given itself, its folder or a repository of the hub."""
    local = Path(path)
    if not local.exists() and is_hub_id(path) and not str(path).endswith(".parquet"):
        local = Path(fetch_snapshot(str(path), revision, patterns=PUBLISHED_FILES))
    file = local / PUBLISHED_FILES[0] if local.is_dir() else local
    if not file.is_file():
        raise HNeuronsError(
            f"{path}: no {PUBLISHED_FILES[0]}; give that file, a folder that contains it, or a hub id (owner/name)"
        )
    return file
