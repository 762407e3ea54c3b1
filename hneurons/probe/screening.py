"""Screening: one pass over the columns finds every slope and keeps in memory those columns that may matter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from hneurons.cett.columns import Columns

# Slopes of all columns are computed in float32; those that come this near to the bound once more in float64.
_NEAR = 0.999
# More columns than these are not worth their copying, whatever memory there is.
_MANY = 10_000
# Slopes from here on may matter at the next C: the bound is 1.
_LEAST = 0.3
# Of the columns in memory, those that are looked at first: most often no other matters.
_FEW = 2000
# Rows whose values are widened to float32 at a time: they stay in the processor's cache.
_ROWS = 32


@dataclass(frozen=True)
class ScreenedColumns:
    """Columns in memory. ids [m] ascending; values [m, rows]; outside: the steepest slope of any other column."""

    ids: np.ndarray
    values: np.ndarray
    outside: float

    def values_at(self, places: np.ndarray) -> np.ndarray:
        """Values of the columns at the given places, [rows, len(places)] float64."""
        return np.asarray(self.values[places].T.astype(np.float64))

    def steepest(self, slopes: np.ndarray, ids: np.ndarray) -> ScreenedColumns:
        """The columns with the steepest of the given slopes, and those of the given ids."""
        if len(self.ids) <= 2 * _FEW:
            return self
        places = np.union1d(np.argpartition(-slopes, _FEW)[:_FEW], np.searchsorted(self.ids, ids))
        return ScreenedColumns(self.ids[places], self.values[places], 0.0)

    def slopes(self, pull: np.ndarray) -> np.ndarray:
        """Slopes of all columns in memory, [m] float64; in full precision where they are near the bound."""
        found = narrow_product(self.values, pull[:, None])[:, 0].astype(np.float64)
        near = np.abs(found) > _NEAR
        found[near] = self.values[near].astype(np.float64) @ pull
        return np.asarray(found)


def narrow_product(values: np.ndarray, pulls: np.ndarray) -> np.ndarray:
    """values [m, rows] @ pulls [rows, K], in float32 unless the values are wider, a few values at a time."""
    dtype = np.promote_types(values.dtype, np.float32)
    step = max(1, 1_000_000 // max(1, values.shape[1]))
    pulls = pulls.astype(dtype)
    parts = [as_float32(values[i : i + step], dtype) @ pulls for i in range(0, len(values), step)]
    return np.concatenate(parts) if parts else np.empty((0, pulls.shape[1]), dtype)


def as_float32(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """float16 as float32: by torch, which uses the processor's instructions for it where NumPy does not."""
    if values.dtype == np.float16:
        return torch.from_numpy(np.ascontiguousarray(values)).float().numpy()
    return values.astype(dtype, copy=False)


def screen(
    columns: Columns,
    rows: np.ndarray,
    pulls: np.ndarray,
    weighed: np.ndarray,
    memory_gb: float,
    workers: ThreadPoolExecutor,
    threads: int,
) -> ScreenedColumns:
    """Read all columns once: keep those with the steepest slopes in any of the problems, and all that have a weight.

    rows: of the columns, those that any problem uses. pulls [problems, rows]: a slope is the product of a column with one.
    weighed: indices of columns that are kept in any case.
    """
    everything = len(rows) == columns.n
    ids: list[np.ndarray] = []
    values: list[np.ndarray] = []
    steep: list[np.ndarray] = []
    least, outside, held, capacity = 0.0, 0.0, 0, 0

    def products(block: np.ndarray, start: int, end: int) -> np.ndarray:
        """Of some of the rows, what they add to the slopes of a block's columns, [problems, columns]."""
        dtype = np.promote_types(block.dtype, np.float32)
        found, narrow = np.zeros((len(pulls), block.shape[1]), dtype), pulls.astype(dtype)
        for i in range(start, end, _ROWS):
            part = slice(i, min(i + _ROWS, end))
            found += narrow[:, part] @ as_float32(block[part] if everything else block[rows[part]], dtype)
        return found

    for first, block in columns.blocks():
        # An eighth of the memory, twice that while they are gathered, beside two blocks.
        capacity = min(_MANY, max(500, int(memory_gb * 1e9 / 8 / (block.itemsize * len(rows)))))
        least = max(least, _LEAST) if columns.p > capacity else 0.0
        edges = np.linspace(0, len(rows), threads + 1).astype(int)
        added = workers.map(lambda ends, block=block: products(block, *ends), pairwise(edges))
        slopes = np.abs(sum(added)).max(axis=0).astype(np.float64)
        slopes[weighed[(weighed >= first) & (weighed < first + block.shape[1])] - first] = np.inf
        chosen = np.flatnonzero(slopes >= least)
        outside = max(outside, float(np.delete(slopes, chosen).max(initial=0.0)))
        ids.append(first + chosen)
        steep.append(slopes[chosen])
        values.append(np.ascontiguousarray((block[:, chosen] if everything else block[np.ix_(rows, chosen)]).T))
        held += len(chosen)
        if held > 2 * capacity:
            ids, values, steep, least, dropped = _steepest(ids, values, steep, capacity)
            outside, held = max(outside, dropped), len(ids[0])
    if held > capacity:
        ids, values, steep, _, dropped = _steepest(ids, values, steep, capacity)
        outside = max(outside, dropped)
    return ScreenedColumns(np.concatenate(ids), np.concatenate(values), outside)


def _steepest(
    ids: list[np.ndarray], values: list[np.ndarray], steep: list[np.ndarray], capacity: int
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], float, float]:
    """The `capacity` steepest of the columns gathered so far, the least slope of them, and the largest that was dropped."""
    slopes = np.concatenate(steep)
    order = np.argpartition(-slopes, capacity - 1)
    best = np.sort(order[:capacity])
    least, dropped = float(slopes[best].min()), float(slopes[order[capacity:]].max(initial=0.0))
    ends = np.cumsum([len(i) for i in ids])
    parts = np.split(best, np.searchsorted(best, ends[:-1]))
    for i, part in enumerate(parts):  # one by one, so that the old ones go as the new ones come
        values[i] = values[i][part - (ends[i] - len(ids[i]))]
    return [np.concatenate(ids)[best]], [np.concatenate(values)], [slopes[best]], least, dropped
