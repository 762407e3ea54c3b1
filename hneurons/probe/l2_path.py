"""The L2 option of the probe over more columns than memory holds: exact, from two passes over the data.

By the representer theorem w = Xᵀa, so the problem has one unknown per row. The first pass sums the products of rows,
K = XXᵀ, and scikit-learn fits on a root of K. At the optimum a = C · residual, and the second pass computes the weights of
every C.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from hneurons.cett.columns import Columns
from hneurons.probe.l1 import dual_loss, loss, residual
from hneurons.probe.l1_path import Fit, Intercept, Paths, Problem
from hneurons.probe.screening import as_float32, narrow_product


def fit_l2_path(
    columns: Columns,
    problems: Sequence[Problem],
    Cs: Sequence[float],
    *,
    intercept: Intercept = "free",
    tol: float = 1e-6,
    progress: bool = True,
) -> Paths:
    """Fit every problem at every C: min C Σ loss + ½‖w‖².

    Memory: rows × rows float64, one block of columns, and all weights.

    Args:
        columns: the data, [n, p].
        problems: labels and row weights [n] of each fit.
        Cs: inverse strengths of the penalty.
        intercept: "free", or "penalised": the weight of a constant column.
        tol: largest relative duality gap at which a fit counts as converged.
        progress: whether to show progress bars.

    Returns:
        The fits, with all p weights. `Fit.violation` is the gap: an L2 problem has no conditions per column.
    """
    # 1. First pass: products of rows
    rows = np.flatnonzero(np.any([p.weight > 0 for p in problems], axis=0))
    K = np.zeros((len(rows), len(rows)))
    for _, block in tqdm(columns.blocks(), desc=f"L2: products of {len(rows)} rows", disable=not progress):
        part = as_float32(np.ascontiguousarray(block[rows]), np.promote_types(block.dtype, np.float32))
        K += part @ part.T
    if intercept == "penalised":
        K += 1.0
    # 2. Fits on a root of K, without its null space
    values, vectors = np.linalg.eigh(K)
    positive = values > values[-1] * 1e-12
    root = vectors[:, positive] * np.sqrt(values[positive])
    solutions = [_fit(root, K, p.y[rows], p.weight[rows], C, intercept) for p in problems for C in sorted(Cs)]
    # 3. Second pass: weights of all solutions
    pulls = np.stack([a for a, *_ in solutions], axis=1)
    weights = np.empty((columns.p, len(solutions)))
    for first, block in tqdm(columns.blocks(), desc="L2: weights", disable=not progress):
        weights[first : first + block.shape[1]] = narrow_product(np.ascontiguousarray(block[rows].T), pulls)
    all_columns = np.arange(columns.p)
    fits = [
        Fit(C, all_columns, weights[:, i], b, value, gap, gap, gap <= tol, 2)
        for i, (C, (_, b, value, gap)) in enumerate(zip(sorted(Cs) * len(problems), solutions, strict=True))
    ]
    n = len(Cs)
    return Paths([fits[i * n : (i + 1) * n] for i in range(len(problems))], 2)


def _fit(
    root: np.ndarray, K: np.ndarray, y: np.ndarray, weight: np.ndarray, C: float, intercept: Intercept
) -> tuple[np.ndarray, float, float, float]:
    """a [rows], the intercept, the objective and the relative duality gap."""
    used = weight > 0
    model = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=200, fit_intercept=intercept == "free")
    model.fit(root[used], y[used], sample_weight=weight[used])
    b = float(model.intercept_[0]) if intercept == "free" else 0.0
    a = C * residual(y, weight, root @ model.coef_[0] + b)
    # With a free intercept the optimal a sums to zero; remove what scikit-learn's tolerance leaves.
    if intercept == "free":
        a[used] -= a[used].sum() * weight[used] / weight[used].sum()
    logits = K @ a + b
    square = float(a @ K @ a) / 2
    value = C * loss(y, weight, logits) + square
    s = np.clip(y - np.divide(a, C * weight, out=np.zeros_like(a), where=used), 0, 1)
    dual = C * dual_loss(weight, s) - square
    # The constant column's weight is the sum of all a.
    return a, b if intercept == "free" else float(a.sum()), value, max(0.0, (value - dual) / value)
