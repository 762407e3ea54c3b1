"""How many elements two sets share, against sets of these sizes drawn at random."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Overlap:
    """What two sets share.

    Attributes:
        shared: number of elements in both.
        by_chance: expected number of two random sets of these sizes.
        p: probability that two random sets share at least this many (hypergeometric).
    """

    shared: int
    by_chance: float
    p: float


def overlap_of(first: Set[Any], second: Set[Any], total: int) -> Overlap:
    """Compare two sets.

    Args:
        first, second: the sets.
        total: number of elements that they were chosen from.
    """
    # Slow to import, and every job that loads neurons may import this module.
    from scipy.stats import hypergeom

    shared = len(first & second)
    p = float(hypergeom.sf(shared - 1, total, len(first), len(second)))
    return Overlap(shared, len(first) * len(second) / total, p)
