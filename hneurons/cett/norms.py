"""Norms of the columns of a study's model, kept beside its manifest if they take many passes through its layers."""

from importlib.metadata import version

import pyarrow as pa
import torch

from hneurons import store
from hneurons.cett.measure import column_norms
from hneurons.models.decoder import layer_neurons
from hneurons.models.prepared import PreparedModel

_FILE = "column_norms.parquet"
_SCHEMA = pa.schema([("norms", pa.list_(pa.float32()))])


def norms_of(prepared: PreparedModel) -> list[torch.Tensor]:
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
