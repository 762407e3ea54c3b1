"""How often 95 % intervals cover the truth, by simulation, and what is shown of an interval that does not.

coverage.csv is written by `make coverage` (perf/coverage.py); docs/method.md has it as a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hneurons.stats.estimates import Interval

if TYPE_CHECKING:
    import pandas as pd

TABLE = Path(__file__).with_name("coverage.csv")
# From this number per class on, an interval is shown without its coverage.
LARGE_N = 100
# An interval that covers the truth less often is not shown.
MIN_COVERAGE = 0.90


@dataclass(frozen=True)
class Shown:
    """An interval as tables show it.

    Attributes:
        interval: the interval; None if n is too small for one.
        coverage: the share of simulated studies of this size in which it covers the truth; None where n is large.
    """

    interval: Interval | None
    coverage: float | None = None


@cache
def _table() -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(TABLE)


def measured_coverage(kind: str, n: int, rows_per_answer: float, value: float) -> float | None:
    """Look up the coverage of a simulated study of at most this size, with at least these rows per gold answer.

    Args:
        kind: auroc, difference (of two AUROCs), rate, slope, or slope-minus-random.
        n: number of rows in the smaller class, or of rows for a rate or slope.
        rows_per_answer: rows that share a gold answer, on average.
        value: the estimate; studies with a similar one are looked up (0.4 is like 0.6).

    Returns:
        None if n is below every simulated study.
    """
    cells = _table()[_table()["kind"] == kind]
    sizes = [size for size in sorted(set(cells["n"])) if size <= n]
    if not sizes:
        return None
    per_answer = sorted(set(cells["rows_per_answer"]))
    rows = next((rows for rows in per_answer if rows >= rows_per_answer - 0.5), per_answer[-1])
    level = min(set(cells["value"]), key=lambda level: abs(abs(level - 0.5) - abs(value - 0.5)))
    cell = cells[(cells["n"] == sizes[-1]) & (cells["rows_per_answer"] == rows) & (cells["value"] == level)]
    return float(cell["coverage"].iloc[0])


def covered(kind: str, interval: Interval | None, n: int, rows_per_answer: float, value: float = 0.5) -> Shown:
    """Decide what is shown of an interval.

    Args:
        kind, n, rows_per_answer, value: as in measured_coverage.
        interval: the interval, or None.
    """
    coverage = measured_coverage(kind, n, rows_per_answer, value)
    if interval is None or coverage is None or coverage < MIN_COVERAGE:
        return Shown(None, coverage)
    return Shown(interval, None if n >= LARGE_N else coverage)
