"""CETT shards as columns: read layer by layer, in blocks within a memory limit, and checked while they are read."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq

from hneurons import store
from hneurons.cett.shards import as_matrix, layer_names
from hneurons.errors import HNeuronsError
from hneurons.models.widths import Widths
from hneurons.records import CETT_ROW

# Rows that are decoded at a time, so that the buffer between the file and the block stays small.
_BATCH = 512
# The first float16 bit pattern that is infinite, NaN or negative; so are all larger ones.
_FIRST_BAD = 0x7C00


class Columns(Protocol):
    """A matrix that is read block by block.

    Attributes:
        n: rows.
        p: columns.
    """

    n: int
    p: int

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield all columns in order, as (index of the first one, values [n, columns])."""
        ...


class ArrayColumns:
    """A matrix [n, p] in memory, as one block."""

    def __init__(self, X: np.ndarray) -> None:
        self.X = X
        self.n, self.p = X.shape

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the matrix."""
        yield 0, self.X


class ShardColumns:
    """The rows of CETT shards, with a column for each neuron, float16 (`Widths.columns`).

    Args:
        shards: paths of the shards.
        memory_gb: a layer whose values exceed an eighth of it is read in several slices.

    Attributes:
        n: rows.
        p: columns.
        widths: neurons of each layer.
        rows: the columns of CETT_ROW for each row.

    Raises:
        HNeuronsError: shards disagree in shape, lack a layer, or hold a row twice. The first reading of a layer also raises
            it for a value that is NaN, infinite or negative.
    """

    def __init__(self, shards: Sequence[str | Path], memory_gb: float = 4.0) -> None:
        self.shards = [Path(path) for path in shards]
        self.widths = shards_widths(self.shards)
        self._files = [pq.ParquetFile(path) for path in self.shards]
        self.rows: list[dict[str, Any]] = [row for f in self._files for row in f.read(columns=CETT_ROW.names).to_pylist()]
        self.n, self.p = len(self.rows), self.widths.total
        counts = Counter((row["question_id"], row["sample"], row["region"]) for row in self.rows)
        if counts and (twice := counts.most_common(1)[0])[1] > 1:
            raise HNeuronsError(f"{self.shards[0].parent}: {twice[0]} appears {twice[1]} times; delete the shards")
        self._width = max(1, int(memory_gb * 1e9 / 8 / (2 * max(1, self.n))))
        self._checked: set[int] = set()

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield blocks (first column, values [n, columns]); the next one is read while the caller uses the current one."""
        widths = enumerate(self.widths.per_layer)
        starts = [(layer, first) for layer, width in widths for first in range(0, width, self._width)]
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._block, *starts[0])
            for i, (layer, first) in enumerate(starts):
                block = ahead.result()
                if i + 1 < len(starts):
                    ahead = reader.submit(self._block, *starts[i + 1])
                yield int(self.widths.starts[layer]) + first, block

    def take(self, columns: np.ndarray) -> np.ndarray:
        """Values [n, len(columns)] float16 of the given columns, in this order."""
        selected = np.empty((self.n, len(columns)), dtype=np.float16)
        layers, neurons = self.widths.places(columns)
        for layer in np.unique(layers):
            in_layer = np.flatnonzero(layers == layer)
            for start, values in self._batches(int(layer)):
                selected[start : start + len(values), in_layer] = values[:, neurons[in_layer]]
        return selected

    def take_each(self, sets: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Like take, for several sets of columns in one reading; the sets may overlap."""
        union, positions = np.unique(np.concatenate(sets), return_inverse=True)
        values = self.take(union)
        return [values[:, part] for part in np.split(positions, np.cumsum([len(s) for s in sets])[:-1])]

    def _block(self, layer: int, first: int) -> np.ndarray:
        block = np.empty((self.n, min(self._width, self.widths.per_layer[layer] - first)), dtype=np.float16)
        for start, values in self._batches(layer):
            block[start : start + len(values)] = values[:, first : first + block.shape[1]]
        return block

    def _batches(self, layer: int) -> Iterator[tuple[int, np.ndarray]]:
        """A layer's values as (first row, [rows, d_ff]), checked when the layer is read for the first time."""
        start, name = 0, layer_names(self.widths.layers)[layer]
        for path, file in zip(self.shards, self._files, strict=True):
            for batch in file.iter_batches(batch_size=_BATCH, columns=[name]):
                values = as_matrix(batch.column(0))
                if layer not in self._checked and len(values) and values.view(np.uint16).max() >= _FIRST_BAD:
                    row = int(np.flatnonzero((values.view(np.uint16) >= _FIRST_BAD).any(axis=1))[0])
                    bad_id = self.rows[start + row]["question_id"]
                    raise HNeuronsError(f"{path}: {bad_id}, {name}: a value is NaN, infinite or negative; delete the shard")
                yield start, values
                start += len(values)
        self._checked.add(layer)

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the shards' metadata: equal for the same rows measured with the same model and settings."""
        return store.fingerprint([store.made_by(path) for path in self.shards])


def shards_widths(shards: Sequence[str | Path]) -> Widths:
    """Read how many neurons each layer has in CETT shards.

    Raises:
        HNeuronsError: the list is empty, shapes disagree, or a shard lacks a layer.
    """
    if not shards:
        raise HNeuronsError("no CETT shards")
    shapes = set()
    for path in shards:
        schema = pq.read_schema(path)
        names = [name for name in schema.names if name not in CETT_ROW.names]
        facts = store.made_by(path)
        layers = facts.get("layers", len(names))
        if missing := sorted(set(layer_names(layers)) - set(names)):
            raise HNeuronsError(f"{path}: {missing[0]} is missing; delete the shard to have it measured again")
        per_layer = [schema.field(name).type.byte_width // 2 for name in layer_names(layers)]
        shapes.add(Widths.of_layers(layers, per_layer, facts.get("experts")))
    if len(shapes) != 1:
        stated = sorted((widths.layers, str(widths.d_ff)) for widths in shapes)
        raise HNeuronsError(f"CETT shards of different shapes {stated}; delete the shards of the other model")
    return shapes.pop()
