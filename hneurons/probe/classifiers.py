"""Linear classifiers over CETT features, and the one table that stores the probe and its baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hneurons import store
from hneurons.cett.columns import ShardColumns
from hneurons.errors import HNeuronsError
from hneurons.models.widths import Widths

if TYPE_CHECKING:
    from hneurons.probe.l1_path import Fit

# Names of the probe and of the refit of its H-Neurons alone; controls are called random-l1-1, random-refit-1 and so on.
PROBE, REFIT = "hneurons", "hneurons-refit"
# Random neurons in the number of the probe's, fitted as the probe is, and with an L2 penalty on standardised columns; and
# in the number of the H-Neurons, fitted as their refit is.
RANDOM_L1, RANDOM_L2, RANDOM_REFIT = "random-l1", "random-l2", "random-refit"

CLASSIFIERS = pa.schema(
    [("classifier", pa.string()), ("layer", pa.int32()), ("neuron", pa.int32()), ("weight", pa.float64())]
)


def classifiers_table(classifiers: Mapping[str, Classifier]) -> tuple[pa.Table, dict[str, Any]]:
    """Put all classifiers into one table.

    Args:
        classifiers: by name.

    Returns:
        The table, a row per weight, and the intercept and C of each classifier by name, for the file's metadata.
    """
    parts = [pa.table({"classifier": [name] * len(c.weights), **c.columns}) for name, c in classifiers.items()]
    scalars = {name: {"intercept": c.intercept, "C": c.C} for name, c in classifiers.items()}
    return pa.concat_tables([part.cast(CLASSIFIERS) for part in parts]), scalars


def read_classifiers(path: str | Path) -> dict[str, Classifier]:
    """Read all classifiers of a classifiers.parquet, by name.

    Raises:
        HNeuronsError: a column is missing or has another type.
    """
    return classifiers_from_table(store.read_table(path, CLASSIFIERS), store.made_by(path)["classifiers"])


def classifiers_from_table(table: pa.Table, scalars: Mapping[str, Mapping[str, float]]) -> dict[str, Classifier]:
    """Rebuild classifiers from what classifiers_table returned."""
    parts = table.to_pandas().groupby("classifier", sort=False)
    return {str(name): Classifier.of_rows(rows, **scalars[str(name)]) for name, rows in parts}


def features_of(
    shards: Sequence[str | Path], layers: np.ndarray, neurons: np.ndarray
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Read the CETT of selected neurons.

    Args:
        shards: CETT shards.
        layers: [neurons] int.
        neurons: [neurons] int, the index of each within its layer.

    Returns:
        Features [rows, neurons] float16 in the given order, and the rows' descriptions (columns of CETT_ROW).

    Raises:
        HNeuronsError: a neuron is outside the shards' shape, or the shards are invalid (see ShardColumns).
    """
    columns = ShardColumns(shards)
    outside = columns.widths.lacks(layers, neurons)
    if outside.any():
        raise HNeuronsError(f"{Path(shards[0]).parent}: no layer {layers[outside][0]}, neuron {neurons[outside][0]}")
    return columns.take(columns.widths.columns(layers, neurons)), columns.rows


@dataclass(frozen=True)
class Classifier:
    """p(hallucinated) = σ(x · weights + intercept) over the CETT features of its neurons (eq. 4).

    Attributes:
        layers: [neurons] int.
        neurons: [neurons] int, the index of each within its layer.
        weights: [neurons] float64, θ.
        intercept: b.
        C: inverse strength of the penalty it was fitted with.
    """

    layers: np.ndarray
    neurons: np.ndarray
    weights: np.ndarray
    intercept: float
    C: float

    @classmethod
    def of_rows(cls, rows: pd.DataFrame, intercept: float, C: float) -> Classifier:
        """Rebuild a classifier from its `columns` in a table and the two other numbers."""
        return cls(rows["layer"].to_numpy(), rows["neuron"].to_numpy(), rows["weight"].to_numpy(), intercept, C)

    @property
    def share_used(self) -> float:
        """Share of its neurons that have a weight other than zero."""
        return float((self.weights != 0).mean()) if len(self.weights) else 0.0

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Columns of a table with a row per weight."""
        return {"layer": self.layers, "neuron": self.neurons, "weight": self.weights}

    def logits(self, X: np.ndarray) -> np.ndarray:
        """Log-odds [rows] of features X [rows, neurons of this classifier]."""
        return np.asarray(X.astype(np.float64) @ self.weights + self.intercept)


def classifier_of(fit: Fit, widths: Widths) -> Classifier:
    """The classifier of a fit to the columns of all neurons."""
    return Classifier(*widths.places(fit.columns), fit.weights, fit.intercept, fit.C)
