"""Norms of the columns of a study's model, kept beside its manifest if they take many passes through its layers."""

from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import torch
from transformers import PreTrainedModel

from hneurons import store
from hneurons.cett.measure import column_norms
from hneurons.models.decoder import layer_neurons

_FILE = "column_norms.parquet"
_SCHEMA = pa.schema([("norms", pa.list_(pa.float32()))])


class MeasuredModel(Protocol):
    """A model whose CETT is measured: of a study (`PreparedModel`), or loaded by itself.

    Attributes:
        model: the loaded model.
        identity: what identifies it in metadata.
        study_folder: where what is derived from its weights is kept.
    """

    @property
    def model(self) -> PreTrainedModel:
        """The loaded model."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """The facts."""
        ...

    @property
    def study_folder(self) -> Path:
        """The folder."""
        ...


def norms_of(prepared: MeasuredModel) -> list[torch.Tensor]:
    """Return what `column_norms` does of a prepared model.

    Those of packed weights, d_ff columns through every layer, are computed once and kept in the manifest's folder.

    Args:
        prepared: the model.

    Returns:
        By layer [d_ff] float32, on the layer's device.
    """
    layers = layer_neurons(prepared.model)
    if not any(layer.packed for layer in layers):
        return column_norms(prepared.model)
    path = prepared.study_folder / _FILE
    mark = store.fingerprint([prepared.identity, version("transformers"), version("torch")])
    if not store.is_up_to_date(path, mark):
        rows = [{"norms": norms.tolist()} for norms in column_norms(prepared.model)]
        store.write_table(path, pa.Table.from_pylist(rows, schema=_SCHEMA), {"mark": mark})
    kept = store.read_table(path, _SCHEMA)["norms"].to_pylist()
    return [torch.tensor(norms, device=layer.parts[0].device) for norms, layer in zip(kept, layers, strict=True)]
