"""Agreement of predicted probabilities with what is observed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hneurons.stats.estimates import Groups, Interval, mean_estimate


@dataclass(frozen=True)
class ReliabilityBin:
    """Examples of similar predicted probability.

    Attributes:
        n: number of examples.
        predicted: mean predicted probability of label 1.
        observed: share with label 1.
        interval: interval of that share over gold answers; None with a single answer.
    """

    n: int
    predicted: float
    observed: float
    interval: Interval | None


@dataclass(frozen=True)
class Reliability:
    """Agreement of predicted probabilities of label 1 with observed shares.

    Attributes:
        n: number of examples.
        brier: Brier score.
        error: expected calibration error: mean absolute difference of the bins, weighted by their counts.
        bins: bins of equal count, by ascending probability.
    """

    n: int
    brier: float
    error: float
    bins: list[ReliabilityBin]


def reliability(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 10, groups: Sequence[str] | None = None
) -> Reliability:
    """Compare predicted probabilities of label 1 with observed shares, in bins of equal count.

    Args:
        labels: [rows], 0 or 1.
        probabilities: [rows], of label 1.
        bins: number of bins; at most the number of rows.
        groups: [rows], gold answers; None takes the rows as independent.
    """
    # Imported here because every job that scales neurons reads a set's calibration, and scikit-learn takes a second.
    from sklearn.metrics import brier_score_loss

    names = np.arange(len(labels)) if groups is None else np.asarray(groups)
    order = np.array_split(np.argsort(probabilities, kind="stable"), min(bins, len(labels)))
    rows = [
        ReliabilityBin(
            len(part),
            float(probabilities[part].mean()),
            float(labels[part].mean()),
            mean_estimate(labels[part].astype(float), Groups.from_names(names[part])).share_interval(),
        )
        for part in order
    ]
    error = sum(row.n * abs(row.predicted - row.observed) for row in rows) / len(labels)
    return Reliability(len(labels), float(brier_score_loss(labels, probabilities)), error, rows)
