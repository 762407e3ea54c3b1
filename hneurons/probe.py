"""The probe: a sparse logistic regression on CETT features, its C chosen on held-out questions (METHOD.md §1, eq. 4)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from hneurons import store
from hneurons.cett import layer_names, read_layer
from hneurons.config import ProbeSettings
from hneurons.errors import HNeuronsError
from hneurons.metrics import auroc
from hneurons.neurons import NeuronSet
from hneurons.records import CETT_ROW

CLASSIFIER = "hneurons"
REFIT = "hneurons-refit"


@dataclass(frozen=True)
class Features:
    """CETT features of some rows. X [rows, columns] float32; rows: CETT_ROW's columns, one dict a row."""

    X: np.ndarray
    rows: list[dict[str, Any]]

    def where(self, **wanted: Any) -> Features:
        """The rows that have all the given values."""
        keep = [i for i, row in enumerate(self.rows) if all(row[k] == v for k, v in wanted.items())]
        return Features(self.X[keep], [self.rows[i] for i in keep])

    @property
    def labels(self) -> np.ndarray:
        return np.array([row["label"] for row in self.rows], dtype=int)


def shape_of(shards: Sequence[str | Path]) -> tuple[int, int]:
    """(layers, d_ff) of CETT shards. Raises HNeuronsError if they disagree."""
    shapes = set()
    for path in shards:
        schema = pq.read_schema(path)
        shapes.add((len(schema) - len(CETT_ROW), int((schema.metadata or {}).get(b"d_ff", 0))))
    if len(shapes) != 1:
        raise HNeuronsError(f"CETT shards of different shapes {sorted(shapes)}; delete the shards of the other model")
    return shapes.pop()


def load_features(shards: Sequence[str | Path], neurons: tuple[np.ndarray, np.ndarray] | None = None) -> Features:
    """Rows of CETT shards with all neurons, or with the given (layers, neurons) as columns in this order.

    One layer of one shard is read at a time. Raises HNeuronsError for NaN or negative features.
    """
    layers, d_ff = shape_of(shards)
    files = [pq.ParquetFile(path) for path in shards]
    rows = [row for f in files for row in f.read(columns=CETT_ROW.names).to_pylist()]
    wanted = range(layers) if neurons is None else sorted(int(i) for i in np.unique(neurons[0]))
    X = np.empty((len(rows), layers * d_ff if neurons is None else len(neurons[0])), dtype=np.float32)
    for layer in wanted:
        names = layer_names(layers)
        values = np.concatenate([read_layer(f.read(columns=[names[layer]]).rename_columns([names[0]]), 0) for f in files])
        if neurons is None:
            X[:, layer * d_ff : (layer + 1) * d_ff] = values
        else:
            columns = np.flatnonzero(neurons[0] == layer)
            X[:, columns] = values[:, neurons[1][columns]]
    if not (X >= 0).all():
        raise HNeuronsError(f"CETT features of {Path(shards[0]).parent} hold NaN or negative values; delete the shards")
    return Features(X, rows)


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


def training_set(features: Features, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """X and y of the training split: 3-vs-1 takes both regions, only a hallucinated answer is 1; 1-vs-1 answers alone."""
    train = features.where(split="train") if labels == "3-vs-1" else features.where(split="train", region="answer")
    y = np.array([row["label"] == 1 and row["region"] == "answer" for row in train.rows], dtype=int)
    if len(set(y.tolist())) < 2:
        raise HNeuronsError("the training split holds one class only; see the counts in examples/*.json")
    return train.X, y


def fit_weights(X: np.ndarray, y: np.ndarray, settings: ProbeSettings, C: float) -> tuple[np.ndarray, float, bool]:
    """Weights [columns], intercept, and whether the solver converged, for one C (eq. 4 with λ = 1/C)."""
    if settings.penalty == "l1":
        # liblinear penalises the intercept as the weight of a constant feature: a large constant leaves it all but free.
        # A larger one than 30 slows the solver tenfold and ends at a higher objective (measured).
        scaling = 30.0 if settings.intercept == "free" else 1.0
        options: dict[str, Any] = {"l1_ratio": 1.0, "solver": "liblinear", "intercept_scaling": scaling}
    elif settings.intercept == "free":
        options = {"l1_ratio": 0.0, "solver": "lbfgs"}
    else:
        options = {"l1_ratio": 0.0, "solver": "liblinear"}
    model = LogisticRegression(C=C, max_iter=2000, random_state=0, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)
    return model.coef_[0].astype(np.float64), float(model.intercept_[0]), converged


def best_C(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The row of a C path with the best selection accuracy; of equals the best by AUROC, then the smallest C.

    Raises HNeuronsError if no C leaves a non-zero weight.
    """
    usable = [row for row in rows if row["non_zero"] > 0]
    if not usable:
        raise HNeuronsError(f"probe.C: every C of {[row['C'] for row in rows]} leaves all weights zero; add larger values")
    return max(usable, key=lambda row: (row["selection_accuracy"], row["selection_auroc"], -row["C"]))


def _path(
    X: np.ndarray, y: np.ndarray, held_out: Features, settings: ProbeSettings, progress: tqdm[Any]
) -> tuple[list[dict[str, Any]], dict[float, tuple[np.ndarray, float]]]:
    """One row per C with its accuracy on the held-out answers, and the fits."""
    rows, fits = [], {}
    for C in settings.C:
        weights, intercept, converged = fit_weights(X, y, settings, C)
        logits = held_out.X @ weights + intercept
        fits[C] = weights, intercept
        rows.append(
            {
                "C": C,
                "non_zero": int((weights != 0).sum()),
                "positive": int((weights > 0).sum()),
                "selection_accuracy": float(((logits > 0) == (held_out.labels == 1)).mean()),
                "selection_auroc": auroc(held_out.labels, logits),
                "converged": converged,
            }
        )
        progress.update()
    return rows, fits


@dataclass(frozen=True)
class Probe:
    """classifiers: the probe, the refit of its positive neurons, and the random baselines of both, by name."""

    neurons: NeuronSet
    path: list[dict[str, Any]]
    classifiers: dict[str, Classifier]

    def summary(self) -> dict[str, Any]:
        """How many neurons there are, how many have a weight, how many are H-Neurons, and the C that was chosen."""
        facts = self.neurons.made_by
        return {
            "neurons": facts["layers"] * facts["d_ff"],
            "non_zero": len(self.neurons.weights),
            "h_neurons": int(self.neurons.selected.sum()),
            "h_neurons_per_layer": {layer: len(found) for layer, found in self.neurons.by_layer().items()},
            "C": facts["C"],
            "converged": all(row["converged"] for row in self.path if row["C"] == facts["C"]),
            "baseline_C": {name: classifier.C for name, classifier in self.classifiers.items()},
        }


def fit_probe(shards: Sequence[str | Path], settings: ProbeSettings, seed: int, made_by: Mapping[str, Any]) -> Probe:
    """The probe of the in-domain shards, with as many random neurons fitted beside it, C tuned alike for all.

    Raises HNeuronsError if no C yields a positive weight: then there are no H-Neurons to speak of.
    """
    layers, d_ff = shape_of(shards)
    features = load_features(shards)
    X, y = training_set(features, settings.labels)
    held_out = features.where(split="selection", region="answer")
    progress = tqdm(total=len(settings.C) * (2 + 2 * settings.random_seeds), desc=f"probe {X.shape[0]}x{X.shape[1]}")

    def fit(chosen: np.ndarray) -> tuple[list[dict[str, Any]], Classifier]:
        at = Features(held_out.X[:, chosen], held_out.rows)
        path, fits = _path(X[:, chosen], y, at, settings, progress)
        C = float(best_C(path)["C"])
        return path, Classifier(chosen // d_ff, chosen % d_ff, *fits[C], C)

    path, full = fit(np.arange(layers * d_ff))
    used = np.flatnonzero(full.weights)
    positive = np.flatnonzero(full.weights > 0)
    if len(positive) == 0:
        raise HNeuronsError(f"C = {full.C} leaves no positive weight, so there are no H-Neurons; widen probe.C")
    classifiers = {
        CLASSIFIER: Classifier(used // d_ff, used % d_ff, full.weights[used], full.intercept, full.C),
        REFIT: fit(positive)[1],
    }
    for i in range(1, settings.random_seeds + 1):
        rng = np.random.default_rng([seed, i])
        others = np.setdiff1d(np.arange(layers * d_ff), used)
        for name, size in (("random", len(used)), ("random-refit", len(positive))):
            classifiers[f"{name}-{i}"] = fit(np.sort(rng.choice(others, size=size, replace=False)))[1]
    progress.close()
    facts = {**made_by, "layers": layers, "d_ff": d_ff, "C": full.C, "intercept": full.intercept}
    weights = full.weights[used]
    return Probe(NeuronSet(used // d_ff, used % d_ff, weights, weights > 0, facts), path, classifiers)


CLASSIFIERS = pa.schema(
    [("classifier", pa.string()), ("layer", pa.int32()), ("neuron", pa.int32()), ("weight", pa.float64())]
)


def classifiers_table(classifiers: Mapping[str, Classifier]) -> tuple[pa.Table, dict[str, Any]]:
    """All classifiers as one table, and their intercept and C by name, for the metadata."""
    rows = [
        {"classifier": name, "layer": int(layer), "neuron": int(neuron), "weight": float(weight)}
        for name, c in classifiers.items()
        for layer, neuron, weight in zip(c.layers, c.neurons, c.weights, strict=True)
    ]
    scalars = {name: {"intercept": c.intercept, "C": c.C} for name, c in classifiers.items()}
    return pa.Table.from_pylist(rows, schema=CLASSIFIERS), scalars


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
