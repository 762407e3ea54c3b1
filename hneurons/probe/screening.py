"""Screening: one pass over the data computes the slope of every column and keeps those that may matter in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hneurons.cett.columns import Columns

# Slopes are computed in float32; those above this are recomputed in float64, because the bound is 1.
_RECHECK_FROM = 0.999
# Copying more columns than this costs more than it saves, even where memory allows it.
_MAX_COLUMNS = 10_000
# Columns with a smaller slope are unlikely to matter at the next C: the bound is 1.
_MIN_SLOPE = 0.3
# Columns in memory that are tried first; the remaining ones rarely matter.
_TRIED_FIRST = 2000
# Rows that are widened to float32 at a time: they stay in the processor's cache.
_ROWS = 32


@dataclass(frozen=True)
class ScreenedColumns:
    """Columns in memory.

    Attributes:
        ids: [m], their indices, ascending.
        values: [m, rows].
        outside: the steepest slope of any other column, 0 if all columns are in memory.
    """

    ids: np.ndarray
    values: np.ndarray
    outside: float

    def values_at(self, places: np.ndarray) -> np.ndarray:
        """Values [rows, len(places)] float64 of the columns at these positions in ids."""
        return np.asarray(self.values[places].T.astype(np.float64))

    def steepest(self, slopes: np.ndarray, ids: np.ndarray) -> ScreenedColumns:
        """Reduce to the columns with the steepest slopes.

        Args:
            slopes: [m], absolute slopes of all columns in memory.
            ids: of columns that are kept in any case.

        Returns:
            About 2,000 columns, or all of them where there are few.
        """
        if len(self.ids) <= 2 * _TRIED_FIRST:
            return self
        places = np.union1d(np.argpartition(-slopes, _TRIED_FIRST)[:_TRIED_FIRST], np.searchsorted(self.ids, ids))
        return ScreenedColumns(self.ids[places], self.values[places], 0.0)

    def slopes(self, pull: np.ndarray) -> np.ndarray:
        """Slopes of all columns in memory, their products with the scaled residual.

        Args:
            pull: [rows], C times the residual.

        Returns:
            [m] float64, in full precision where they are close to the bound.
        """
        slopes = narrow_product(self.values, pull[:, None])[:, 0].astype(np.float64)
        close = np.abs(slopes) > _RECHECK_FROM
        slopes[close] = self.values[close].astype(np.float64) @ pull
        return np.asarray(slopes)


def narrow_product(values: np.ndarray, pulls: np.ndarray) -> np.ndarray:
    """values [m, rows] @ pulls [rows, K], in float32 unless the values are wider, in chunks of rows of `values`."""
    dtype = np.promote_types(values.dtype, np.float32)
    step = max(1, 1_000_000 // max(1, values.shape[1]))
    pulls = pulls.astype(dtype)
    parts = [as_float32(values[i : i + step], dtype) @ pulls for i in range(0, len(values), step)]
    return np.concatenate(parts) if parts else np.empty((0, pulls.shape[1]), dtype)


def as_float32(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Widen float16 to float32 by torch, which uses the processor's instructions for it; others to dtype by NumPy."""
    if values.dtype == np.float16:
        import torch

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
    """Read all columns once and keep those with the steepest slopes in any of the problems.

    Args:
        columns: the data, [n, p].
        rows: indices of the rows that any problem uses.
        pulls: [problems, rows], C times the residual of each problem; a slope is its product with a column.
        weighed: indices of columns with a weight, which are kept in any case.
        memory_gb: bounds the memory for the kept columns and the blocks in work.
        workers: threads for the products.
        threads: their number.
    """
    all_rows = len(rows) == columns.n
    ids: list[np.ndarray] = []
    values: list[np.ndarray] = []
    kept_slopes: list[np.ndarray] = []
    threshold, outside, n_kept = 0.0, 0.0, 0

    def products(block: np.ndarray, start: int, end: int) -> np.ndarray:
        """Contribution of some rows to the slopes of a block's columns, [problems, columns]."""
        dtype = np.promote_types(block.dtype, np.float32)
        total, narrow = np.zeros((len(pulls), block.shape[1]), dtype), pulls.astype(dtype)
        for i in range(start, end, _ROWS):
            part = slice(i, min(i + _ROWS, end))
            total += narrow[:, part] @ as_float32(block[part] if all_rows else block[rows[part]], dtype)
        return total

    for first, block in columns.blocks():
        # 1. Room: an eighth of the memory, twice that while columns are gathered, and two blocks
        capacity = min(_MAX_COLUMNS, max(500, int(memory_gb * 1e9 / 8 / (block.itemsize * len(rows)))))
        threshold = max(threshold, _MIN_SLOPE) if columns.p > capacity else 0.0
        # 2. Slopes of the block: of each column the steepest in any problem
        edges = np.linspace(0, len(rows), threads + 1).astype(int)
        totals = workers.map(lambda ends, block=block: products(block, *ends), pairwise(edges))
        slopes = np.abs(sum(totals)).max(axis=0).astype(np.float64)
        slopes[weighed[(weighed >= first) & (weighed < first + block.shape[1])] - first] = np.inf
        # 3. Keep what reaches the threshold, and raise it once there are too many, at the latest after the last block
        steep = np.flatnonzero(slopes >= threshold)
        outside = max(outside, float(np.delete(slopes, steep).max(initial=0.0)))
        ids.append(first + steep)
        kept_slopes.append(slopes[steep])
        values.append(np.ascontiguousarray((block[:, steep] if all_rows else block[np.ix_(rows, steep)]).T))
        n_kept += len(steep)
        is_last = first + block.shape[1] == columns.p
        if n_kept > (capacity if is_last else 2 * capacity):
            ids, values, kept_slopes, threshold, dropped = _steepest(ids, values, kept_slopes, capacity)
            outside, n_kept = max(outside, dropped), capacity
    return ScreenedColumns(np.concatenate(ids), np.concatenate(values), outside)


def _steepest(
    ids: list[np.ndarray], values: list[np.ndarray], kept_slopes: list[np.ndarray], capacity: int
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], float, float]:
    """The `capacity` steepest of the columns gathered so far, their smallest slope, and the largest dropped slope."""
    slopes = np.concatenate(kept_slopes)
    order = np.argpartition(-slopes, capacity - 1)
    best = np.sort(order[:capacity])
    threshold, dropped = float(slopes[best].min()), float(slopes[order[capacity:]].max(initial=0.0))
    ends = np.cumsum([len(i) for i in ids])
    parts = np.split(best, np.searchsorted(best, ends[:-1]))
    for i, part in enumerate(parts):  # part by part, so that each old one is freed before the next is copied
        values[i] = values[i][part - (ends[i] - len(ids[i]))]
    return [np.concatenate(ids)[best]], [np.concatenate(values)], [slopes[best]], threshold, dropped
