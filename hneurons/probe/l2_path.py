"""The L2 option of the probe over more columns than memory holds: exact, from two passes over the data.

By the representer theorem w = Xᵀa, so the problem is one of as many weights as there are rows: the first pass adds up the
products of rows K = XXᵀ; scikit-learn fits on a root of K; at the optimum a = C · residual, and the second pass computes
the weights of every C.
"""

from __future__ import annotations

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
    """Every problem at every C: min C Σ loss + ½‖w‖² (a penalised intercept is the weight of a constant column).

    Memory: rows x rows float64, one block of columns, and the weights. Fit.violation is the gap here: an L2 problem has no
    other condition.
    """
    rows = np.flatnonzero(np.any([p.weight > 0 for p in problems], axis=0))
    K = np.zeros((len(rows), len(rows)))
    for _, block in tqdm(columns.blocks(), desc=f"L2: products of {len(rows)} rows", disable=not progress):
        part = as_float32(np.ascontiguousarray(block[rows]), np.promote_types(block.dtype, np.float32))
        K += part @ part.T
    if intercept == "penalised":
        K += 1.0
    values, vectors = np.linalg.eigh(K)
    held = values > values[-1] * 1e-12
    root = vectors[:, held] * np.sqrt(values[held])
    found = [_fit(root, K, p.y[rows], p.weight[rows], C, intercept) for p in problems for C in sorted(Cs)]
    pulls = np.stack([a for a, *_ in found], axis=1)
    weights = np.empty((columns.p, len(found)))
    for first, block in tqdm(columns.blocks(), desc="L2: weights", disable=not progress):
        weights[first : first + block.shape[1]] = narrow_product(np.ascontiguousarray(block[rows].T), pulls)
    everything = np.arange(columns.p)
    fits = [
        Fit(C, everything, weights[:, i], b, value, gap, gap, gap <= tol, 2)
        for i, (C, (_, b, value, gap)) in enumerate(zip(sorted(Cs) * len(problems), found, strict=True))
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
    # A free intercept asks that these cancel; scikit-learn leaves what its tolerance leaves.
    if intercept == "free":
        a[used] -= a[used].sum() * weight[used] / weight[used].sum()
    logits = K @ a + b
    square = float(a @ K @ a) / 2
    value = C * loss(y, weight, logits) + square
    s = np.clip(y - np.divide(a, C * weight, out=np.zeros_like(a), where=used), 0, 1)
    dual = C * dual_loss(weight, s) - square
    # The constant column's weight is the sum of all a.
    return a, b if intercept == "free" else float(a.sum()), value, max(0.0, (value - dual) / value)
