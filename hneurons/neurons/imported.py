"""Sets of neurons that others found: from JSON, tables and exported arrays; a pickle is never read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hneurons.data.reading import raw_rows
from hneurons.data.text_files import open_text
from hneurons.errors import HNeuronsError
from hneurons.neurons.neuron_set import NeuronSet

# Formats that can run code when they are read.
_PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin")


def import_neurons(path: str | Path, layers: int | None = None, d_ff: int | None = None, model: str = "") -> NeuronSet:
    """Read a set of neurons that was made elsewhere.

    Args:
        path: a file of hprobes (.json), a list of neurons (.json, .jsonl, .csv, .parquet: `layer`, `neuron` and, if known,
            `weight`), or the coefficients of a classifier over all neurons (.npy, or .npz with `coef` and `intercept`).
        layers: number of layers of the model; None takes that of the file.
        d_ff: neurons of each layer; None takes that of the file.
        model: name of the model; empty takes that of the file.

    Returns:
        The set. Neurons with a positive weight are selected, or all of them if no weight is known.

    Raises:
        HNeuronsError: the file is a pickle, is of another form, or names neurons that the model does not have.
    """
    path = Path(path)
    if path.suffix in _PICKLES:
        raise HNeuronsError(
            f"{path}: a pickle can run any code when it is read, so it is not; where it was made, write the classifier's "
            "arrays: numpy.savez('others.npz', coef=classifier.coef_, intercept=classifier.intercept_)"
        )
    facts: dict[str, Any] = {"layers": layers, "d_ff": d_ff, "model": model or None}
    if path.suffix in (".npy", ".npz"):
        places, weights = _of_arrays(path, facts)
    elif path.suffix == ".json":
        places, weights = _of_json(path, facts)
    else:
        places, weights = _of_rows(path, (row for _, row in raw_rows(path)))
    if not facts["layers"] or not facts["d_ff"]:
        raise HNeuronsError(f"{path}: does not say how many layers and neurons per layer the model has: --layers, --d-ff")
    _check(path, places, facts)
    order = np.lexsort((places[:, 1], places[:, 0]))
    selected = weights > 0 if weights.any() else np.ones(len(weights), bool)
    made_by = {**{key: value for key, value in facts.items() if value is not None}, "imported": path.name}
    return NeuronSet(places[order, 0], places[order, 1], weights[order], selected[order], made_by)


def _check(path: Path, places: np.ndarray, facts: dict[str, Any]) -> None:
    if not len(places):
        raise HNeuronsError(f"{path}: holds no neurons")
    beyond = places[(places < 0).any(axis=1) | (places[:, 0] >= facts["layers"]) | (places[:, 1] >= facts["d_ff"])]
    if len(beyond):
        layer, neuron = beyond[0]
        shape = f"{facts['layers']} layers of {facts['d_ff']} neurons"
        raise HNeuronsError(f"{path}: neuron {layer}:{neuron} is not one of {shape}")
    if len(np.unique(places, axis=0)) < len(places):
        raise HNeuronsError(f"{path}: a neuron occurs twice")


def _of_arrays(path: Path, facts: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights of the coefficients that are not 0, layer after layer."""
    try:
        content = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise HNeuronsError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None
    if isinstance(content, np.ndarray):
        coef = content
    else:
        if "coef" not in content:
            raise HNeuronsError(f"{path}: no array `coef` (there are: {', '.join(content)})")
        coef = content["coef"]
        if "intercept" in content:
            facts["intercept"] = float(np.ravel(content["intercept"])[0])
    if coef.ndim == 2 and coef.shape[0] > 1:
        facts["layers"], facts["d_ff"] = facts["layers"] or coef.shape[0], facts["d_ff"] or coef.shape[1]
    coef = coef.ravel()
    if facts["layers"] and not facts["d_ff"] and len(coef) % facts["layers"] == 0:
        facts["d_ff"] = len(coef) // facts["layers"]
    if facts["layers"] and facts["d_ff"] and len(coef) != facts["layers"] * facts["d_ff"]:
        raise HNeuronsError(f"{path}: {len(coef)} coefficients, not {facts['layers']} × {facts['d_ff']}")
    used = np.flatnonzero(coef)
    width = facts["d_ff"] or 1
    return np.column_stack([used // width, used % width]), coef[used].astype(float)


def _of_json(path: Path, facts: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights in a file of hprobes, in a list, or by layer."""
    try:
        with open_text(path) as file:
            content = json.load(file)
    except (OSError, UnicodeError, ValueError) as error:
        raise HNeuronsError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None
    if isinstance(content, dict) and isinstance(content.get("fit"), dict) and "h_neurons" in content["fit"]:
        about = content.get("metadata") or {}
        facts["model"] = facts["model"] or content.get("model")
        facts["d_ff"] = facts["d_ff"] or about.get("intermediate_dim")
        if (content.get("config") or {}).get("layer_stride", 1) == 1:
            facts["layers"] = facts["layers"] or about.get("n_layers")
        return _of_rows(path, content["fit"]["h_neurons"])
    if isinstance(content, dict) and "neurons" in content:
        for key in ("layers", "d_ff", "model"):
            facts[key] = facts[key] or content.get(key)
        content = content["neurons"]
    if isinstance(content, dict):
        content = [[int(layer), neuron] for layer, neurons in content.items() for neuron in neurons]
    return _of_rows(path, content)


def _of_rows(path: Path, rows: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
    places, weights = [], []
    for number, row in enumerate(rows, 1):
        values: list[Any] = [row.get("layer"), row.get("neuron"), row.get("weight")] if isinstance(row, dict) else list(row)
        try:
            places.append([int(values[0]), int(values[1])])
            weights.append(float(values[2]) if len(values) > 2 and values[2] not in (None, "") else 0.0)
        except (TypeError, ValueError, IndexError):
            raise HNeuronsError(f"{path}: neuron {number}: {row!r} has no layer and neuron") from None
    return np.array(places, dtype=int).reshape(-1, 2), np.array(weights, dtype=float)
