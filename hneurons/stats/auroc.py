"""Area under the ROC curve, as a number and as an estimate over gold answers (DeLong)."""

import numpy as np
from scipy.stats import rankdata

from hneurons.stats.estimates import Estimate, Groups


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Compute the area under the ROC curve, with ties counted half (Mann-Whitney).

    Args:
        labels: [rows], 1 is positive.
        scores: [rows], larger is more positive.

    Returns:
        The area; NaN if the labels have only one class.
    """
    positive = labels == 1
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if n_pos == 0 or n_neg == 0:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def auroc_estimate(labels: np.ndarray, scores: np.ndarray, groups: Groups) -> Estimate:
    """Estimate an AUROC; the influences are DeLong's placement values.

    Args:
        labels: [rows], 1 is positive.
        scores: [rows], larger is more positive.
        groups: the groups of these rows.
    """
    value = auroc(labels, scores)
    if np.isnan(value):
        return Estimate(value, np.full(groups.count, np.nan), groups)
    influence = np.zeros(groups.count)
    ranks, positive = rankdata(scores), labels == 1
    for side in (positive, ~positive):
        # Share of the other class that a row is ranked above (positive) or below (negative).
        above = (ranks[side] - rankdata(scores[side])) / (~side).sum()
        placement = np.where(positive[side], above, 1 - above)
        of_rows = np.zeros(len(labels))
        of_rows[side] = (placement - value) / side.sum()
        influence += groups.summed_influence(of_rows, side.astype(float))
    return Estimate(value, influence, groups)


def stratified_auroc(labels: np.ndarray, scores: np.ndarray, groups: Groups, strata: np.ndarray) -> Estimate:
    """Estimate an AUROC that compares rows within strata only, weighted by their number of pairs.

    Folds are such strata: log-odds of fits with different C have different scales.

    Args:
        labels: [rows], 1 is positive.
        scores: [rows].
        groups: the groups of these rows.
        strata: [rows], the stratum of each row; one without rows of both classes counts for nothing.
    """
    total, pairs = Estimate(0.0, np.zeros(groups.count), groups), 0
    for stratum in np.unique(strata):
        rows = strata == stratum
        n_pairs = int((labels[rows] == 1).sum() * (labels[rows] != 1).sum())
        if n_pairs:
            part = auroc_estimate(labels[rows], scores[rows], Groups(groups.codes[rows], groups.count))
            total, pairs = total + part * n_pairs, pairs + n_pairs
    return total * (1 / pairs) if pairs else auroc_estimate(labels, scores, groups)
