"""Linear classifiers over CETT features, and the file that keeps the probe beside its baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hneurons import store
from hneurons.cett.columns import ShardColumns
from hneurons.errors import HNeuronsError
from hneurons.probe.l1_path import Fit

PROBE = "hneurons"


REFIT = "hneurons-refit"


CLASSIFIERS = pa.schema(
    [("classifier", pa.string()), ("layer", pa.int32()), ("neuron", pa.int32()), ("weight", pa.float64())]
)


def classifiers_table(classifiers: Mapping[str, Classifier]) -> tuple[pa.Table, dict[str, Any]]:
    """All classifiers as one table, and their intercept and C by name, for the metadata."""
    parts = [
        pa.table({"classifier": [name] * len(c.weights), "layer": c.layers, "neuron": c.neurons, "weight": c.weights}).cast(
            CLASSIFIERS
        )
        for name, c in classifiers.items()
    ]
    scalars = {name: {"intercept": c.intercept, "C": c.C} for name, c in classifiers.items()}
    return pa.concat_tables(parts), scalars


def read_classifiers(path: str | Path) -> dict[str, Classifier]:
    """All classifiers of a classifiers.parquet. Raises HNeuronsError if a column is missing or of another type."""
    return classifiers_from_table(store.read_table(path, CLASSIFIERS), store.made_by(path)["classifiers"])


def classifiers_from_table(table: pa.Table, scalars: Mapping[str, Mapping[str, float]]) -> dict[str, Classifier]:
    """The inverse of classifiers_table."""
    frame = table.to_pandas()
    found = {}
    for name, of_name in frame.groupby("classifier", sort=False):
        layers, neurons, weights = (of_name[c].to_numpy() for c in ("layer", "neuron", "weight"))
        found[str(name)] = Classifier(layers, neurons, weights, **scalars[str(name)])
    return found


def features_of(
    shards: Sequence[str | Path], layers: np.ndarray, neurons: np.ndarray
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """CETT of some neurons, [rows, neurons] float16 in the given order, and who the rows are."""
    columns = ShardColumns(shards)
    outside = (layers >= columns.layers) | (neurons >= columns.d_ff)
    if outside.any():
        raise HNeuronsError(f"{Path(shards[0]).parent}: no layer {layers[outside][0]}, neuron {neurons[outside][0]}")
    return columns.take(layers * columns.d_ff + neurons), columns.rows


@dataclass(frozen=True)
class Classifier:
    """p(hallucinated) = σ(x · weights + intercept) over the CETT features of its neurons."""

    layers: np.ndarray
    neurons: np.ndarray
    weights: np.ndarray
    intercept: float
    C: float

    def logits(self, X: np.ndarray) -> np.ndarray:
        """X [rows, neurons of this classifier] to log-odds [rows]."""
        return np.asarray(X.astype(np.float64) @ self.weights + self.intercept)


def classifier_of(fit: Fit, d_ff: int) -> Classifier:
    return Classifier(fit.columns // d_ff, fit.columns % d_ff, fit.weights, fit.intercept, fit.C)
