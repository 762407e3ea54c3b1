"""Cells of the long tables that several of them share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hneurons.stats.estimates import Interval
from hneurons.stats.significance import holm

TableRow = dict[str, Any]


def bounds(interval: Interval | None, prefix: str = "") -> TableRow:
    """The columns low and high of an interval, both None without one."""
    low, high = interval or (None, None)
    return {f"{prefix}low": low, f"{prefix}high": high}


def pick(record: Any, *names: str) -> TableRow:
    """Some attributes of a record by name."""
    return {name: getattr(record, name) for name in names}


def with_holm(table: pd.DataFrame, p: str, by: Sequence[str]) -> pd.DataFrame:
    """Add a column of p-values corrected by Holm's method for all tests of a group, after the column of raw ones.

    Args:
        table: the table.
        p: the column of p-values; missing ones do not count as tests.
        by: columns whose values name the group.
    """
    if table.empty:
        return table
    table = table.reset_index(drop=True)
    corrected = np.full(len(table), np.nan)
    for _, rows in table.groupby(list(by), sort=False):
        values = [None if pd.isna(value) else float(value) for value in rows[p]]
        corrected[rows.index.to_numpy()] = [np.nan if value is None else value for value in holm(values)]
    table.insert(list(table.columns).index(p) + 1, f"{p}_holm", corrected)
    return table
