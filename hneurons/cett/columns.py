"""CETT shards as columns: read layer by layer, in blocks that fit a limit of memory, and checked on the way."""

from __future__ import annotations

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
from hneurons.records import CETT_ROW

# Rows that are decoded at a time: what lies between the file and the block is small.
_BATCH = 512
# Float16 bit patterns from here on are infinite, not a number, or negative.
_FIRST_BAD = 0x7C00


class Columns(Protocol):
    """A matrix that is read block by block: [n, p]."""

    n: int
    p: int

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All columns in order: (index of the first one, values [n, columns])."""
        ...


class ArrayColumns:
    """A matrix in memory."""

    def __init__(self, X: np.ndarray) -> None:
        self.X = X
        self.n, self.p = X.shape

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        yield 0, self.X


class ShardColumns:
    """The rows of CETT shards, neuron (layer, j) as column layer * d_ff + j, float16.

    memory_gb bounds what a block takes: a layer whose values do not fit an eighth of it is read in several slices. Raises
    HNeuronsError if shards disagree or lack a layer, if a row stands twice, and, with the first reading of a layer, if
    a value is NaN, infinite or negative.
    """

    def __init__(self, shards: Sequence[str | Path], memory_gb: float = 4.0) -> None:
        self.shards = [Path(path) for path in shards]
        self.layers, self.d_ff = shards_shape(self.shards)
        self._files = [pq.ParquetFile(path) for path in self.shards]
        self.rows: list[dict[str, Any]] = [row for f in self._files for row in f.read(columns=CETT_ROW.names).to_pylist()]
        self.n, self.p = len(self.rows), self.layers * self.d_ff
        counts = Counter((row["question_id"], row["sample"], row["region"]) for row in self.rows)
        if counts and (twice := counts.most_common(1)[0])[1] > 1:
            raise HNeuronsError(f"{self.shards[0].parent}: {twice[0]} stands {twice[1]} times; delete the shards")
        per_block = max(1, int(memory_gb * 1e9 / 8 / (2 * max(1, self.n))))
        self._width = min(self.d_ff, per_block)
        self._checked: set[int] = set()

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        starts = [(layer, first) for layer in range(self.layers) for first in range(0, self.d_ff, self._width)]
        # One block is read while another is worked on.
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self._block, *starts[0])
            for i, (layer, first) in enumerate(starts):
                block = ahead.result()
                if i + 1 < len(starts):
                    ahead = reader.submit(self._block, *starts[i + 1])
                yield layer * self.d_ff + first, block

    def take(self, columns: np.ndarray) -> np.ndarray:
        """The given columns in this order, [n, len(columns)]."""
        found = np.empty((self.n, len(columns)), dtype=np.float16)
        for layer in np.unique(columns // self.d_ff):
            mine = np.flatnonzero(columns // self.d_ff == layer)
            for start, values in self._batches(int(layer)):
                found[start : start + len(values), mine] = values[:, columns[mine] % self.d_ff]
        return found

    def take_each(self, sets: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As take, for several sets of columns in one reading, whatever they share."""
        everything, places = np.unique(np.concatenate(sets), return_inverse=True)
        values = self.take(everything)
        return [values[:, at] for at in np.split(places, np.cumsum([len(s) for s in sets])[:-1])]

    def _block(self, layer: int, first: int) -> np.ndarray:
        block = np.empty((self.n, min(self._width, self.d_ff - first)), dtype=np.float16)
        for start, values in self._batches(layer):
            block[start : start + len(values)] = values[:, first : first + block.shape[1]]
        return block

    def _batches(self, layer: int) -> Iterator[tuple[int, np.ndarray]]:
        """A layer's values as (first row, [rows, d_ff])."""
        start, name = 0, layer_names(self.layers)[layer]
        for path, file in zip(self.shards, self._files, strict=True):
            for batch in file.iter_batches(batch_size=_BATCH, columns=[name]):
                values = as_matrix(batch.column(0))
                if layer not in self._checked and len(values) and values.view(np.uint16).max() >= _FIRST_BAD:
                    row = int(np.flatnonzero((values.view(np.uint16) >= _FIRST_BAD).any(axis=1))[0])
                    who = self.rows[start + row]["question_id"]
                    raise HNeuronsError(f"{path}: {who}, {name}: a value is NaN, infinite or negative; delete the shard")
                yield start, values
                start += len(values)
        self._checked.add(layer)

    @cached_property
    def fingerprint(self) -> str:
        """Of what made the shards: equal rows of equal making give an equal one."""
        return store.fingerprint([store.made_by(path) for path in self.shards])


def shards_shape(shards: Sequence[str | Path]) -> tuple[int, int]:
    """(layers, d_ff) of CETT shards. Raises HNeuronsError if they disagree, lack a layer, or there are none."""
    if not shards:
        raise HNeuronsError("no CETT shards")
    shapes = set()
    for path in shards:
        schema = pq.read_schema(path)
        found = [name for name in schema.names if name not in CETT_ROW.names]
        layers = store.made_by(path).get("layers", len(found))
        if missing := sorted(set(layer_names(layers)) - set(found)):
            raise HNeuronsError(f"{path}: {missing[0]} is missing; delete the shard to have it measured again")
        shapes.add((len(found), int((schema.metadata or {}).get(b"d_ff", 0))))
    if len(shapes) != 1:
        raise HNeuronsError(f"CETT shards of different shapes {sorted(shapes)}; delete the shards of the other model")
    return shapes.pop()
