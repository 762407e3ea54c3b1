"""CETT shards: one row per example and region, d_ff float16 values per layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from hneurons.errors import HNeuronsError
from hneurons.models.widths import Widths
from hneurons.records import CETT_ROW


def layer_names(layers: int) -> list[str]:
    """Names of the value columns of a CETT shard, one per layer."""
    return [f"layer_{i:03d}" for i in range(layers)]


# Parquet options of a shard. Statistics (minimum and maximum) of cells this wide would add four rows to every file.
SHARD_OPTIONS: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}


def shard_schema(widths: Widths) -> pa.Schema:
    """Schema of a CETT shard: the columns of CETT_ROW, then per layer its float16 values as fixed-size binary."""
    names = layer_names(widths.layers)
    fields = [pa.field(name, pa.binary(2 * width)) for name, width in zip(names, widths.per_layer, strict=True)]
    return pa.schema([*CETT_ROW, *fields], metadata={b"d_ff": str(widths.d_ff).encode(), b"dtype": b"float16"})


def shard_table(rows: Sequence[dict[str, Any]], features: Sequence[Sequence[np.ndarray]], widths: Widths) -> pa.Table:
    """Build the table of a CETT shard.

    Args:
        rows: with the columns of CETT_ROW.
        features: CETT of each row and layer; what follows a layer's last neuron is left out.
        widths: neurons of each layer.

    Raises:
        HNeuronsError: features are not finite in float16; the message names the example.
    """
    schema = shard_schema(widths)
    largest = np.finfo(np.float16).max
    for row, values in zip(rows, features, strict=True):
        if not all((layer <= largest).all() for layer in values):
            raise HNeuronsError(
                f"{row['question_id']}: CETT is not finite in float16, or not a number; load the model in float32"
            )
    columns = [pa.array([row[name] for row in rows], CETT_ROW.field(name).type) for name in CETT_ROW.names]
    for layer, width in enumerate(widths.per_layer):
        cells = [values[layer][:width].astype("<f2").tobytes() for values in features]
        columns.append(pa.array(cells, pa.binary(2 * width)))
    return pa.table(columns, schema=schema)


def as_matrix(column: pa.Array) -> np.ndarray:
    """View a layer's fixed-size binary cells as [rows, d_ff] float16, without a copy where pyarrow allows it."""
    d_ff = column.type.byte_width // 2
    raw = np.frombuffer(column.buffers()[1], dtype="<f2", count=len(column) * d_ff, offset=column.offset * 2 * d_ff)
    return raw.reshape(len(column), d_ff)


def read_layer(table: pa.Table, layer: int) -> np.ndarray:
    """Values [rows, d_ff] float16 of one layer of a CETT shard."""
    return as_matrix(table.column(layer_names(layer + 1)[layer]).combine_chunks())
