"""L1 logistic regression on columns that are in memory, to the last digit (eq. 4).

    min over w, b:  C Σ_i c_i log(1 + exp(-y_i (x_i·w + b))) + ‖w‖₁ [+ |b|]        y_i ∈ {-1, 1}, c_i the row's weight

liblinear finds which weights are zero; Newton's method on the others, whose signs are then known, finds the optimum of
these. Centred columns make liblinear's intercept, which it can only penalise, all but free and its steps short.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import expit, xlogy
from sklearn.linear_model import LogisticRegression

# liblinear need not be exact: Newton's method corrects it.
_TOLERANCE = 1e-3
# Rounds of correction that may pass without halving the violation.
_PATIENCE = 6
# The intercept that is to be free, as the weight of a constant this large: after Newton it is free in full.
_INTERCEPT_SCALING = 1e3
_NEWTON_STEPS = 60


def residual(y: np.ndarray, weight: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """c_i (y_i - p_i), for y_i ∈ {0, 1}: minus the slope of the loss in each row's logit."""
    return np.asarray(weight * (y - expit(logits)))


def loss(y: np.ndarray, weight: np.ndarray, logits: np.ndarray) -> float:
    """Σ c_i log(1 + exp(∓ logit)): what the penalty is added to."""
    return float(weight @ np.logaddexp(0, np.where(y == 1, -logits, logits)))


def dual_loss(weight: np.ndarray, s: np.ndarray) -> float:
    """What stands for the loss in the dual problem, at s [rows] in [0, 1]: the entropy of each row."""
    return -float(weight @ (xlogy(s, s) + xlogy(1 - s, 1 - s)))


def objective(
    y: np.ndarray, weight: np.ndarray, logits: np.ndarray, w: np.ndarray, b: float, C: float, intercept: str
) -> float:
    """The value that is minimised; intercept: "free", or "penalised" like any weight."""
    penalty = np.abs(w).sum() + (abs(b) if intercept == "penalised" else 0.0)
    return float(C * loss(y, weight, logits) + penalty)


def relative_gap(y: np.ndarray, weight: np.ndarray, logits: np.ndarray, value: float, C: float, largest: float) -> float:
    """Duality gap over the objective's value: how far from the optimum it can be at most.

    largest: of |C x_j · residual| over all columns (and a penalised intercept's): what the residual is divided by to be a
    feasible point of the dual problem.
    """
    s = y - (y - expit(logits)) / max(1.0, largest)
    return max(0.0, (value - C * dual_loss(weight, s)) / value) if value > 0 else 0.0


def solve_l1(
    X: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    C: float,
    intercept: str,
    tol: float,
    start: tuple[np.ndarray, float] | None = None,
) -> tuple[np.ndarray, float, bool]:
    """Weights [columns], intercept, and whether every column keeps the conditions of the optimum within tol.

    X [rows, columns] float64; y [rows] 0 or 1, both present; weight [rows] positive. start: weights and intercept near the
    optimum, in place of liblinear's.
    """
    w, b = start or _liblinear(X, y, weight, C, intercept)
    if intercept == "penalised":
        # Then it is the weight of a column like any other.
        w, _, exact = _refine(np.append(X, np.ones((len(X), 1)), axis=1), y, weight, np.append(w, b), None, C, tol)
        return w[:-1], float(w[-1]), exact
    return _refine(X, y, weight, w, b, C, tol)


def _refine(
    X: np.ndarray, y: np.ndarray, weight: np.ndarray, w: np.ndarray, b: float | None, C: float, tol: float
) -> tuple[np.ndarray, float, bool]:
    least, since = np.inf, 0
    while since < _PATIENCE:
        w, b = _newton(X, y, weight, w, b, C)
        slopes = C * (residual(y, weight, X @ w + (b or 0.0)) @ X)
        off = violation(slopes, w)
        worst = float(off.max(initial=0.0))
        if worst <= tol:
            return w, b or 0.0, True
        least, since = (worst, 0) if worst < least / 2 else (least, since + 1)
        # What was taken for zero, and is not, gets the sign of its slope and the smallest of weights.
        w = np.where((w == 0) & (off > tol), np.sign(slopes) * 1e-12, w)
    return w, b or 0.0, False


def _liblinear(X: np.ndarray, y: np.ndarray, weight: np.ndarray, C: float, intercept: str) -> tuple[np.ndarray, float]:
    free = intercept == "free"
    centre = weight @ X / weight.sum() if free else np.zeros(X.shape[1])
    scaling = _INTERCEPT_SCALING if free else 1.0
    options = {"l1_ratio": 1.0, "solver": "liblinear", "intercept_scaling": scaling, "tol": _TOLERANCE, "random_state": 0}
    model = LogisticRegression(C=C, max_iter=1000, **options)
    model.fit(X - centre, y, sample_weight=weight)
    w = model.coef_[0].astype(np.float64)
    return w, float(model.intercept_[0] - centre @ w)


def violation(slopes: np.ndarray, w: np.ndarray) -> np.ndarray:
    """How far each column is from the conditions of the optimum. slopes: C x_j · residual: sign(w_j) where w_j ≠ 0."""
    return np.asarray(np.where(w != 0, np.abs(slopes - np.sign(w)), np.maximum(0.0, np.abs(slopes) - 1.0)))


def _newton(
    X: np.ndarray, y: np.ndarray, weight: np.ndarray, w: np.ndarray, b: float | None, C: float
) -> tuple[np.ndarray, float | None]:
    """The optimum over the weights that are not zero, and a free intercept unless b is None.

    A weight that would change its sign becomes zero.
    """
    active = np.flatnonzero(w)
    free = b is not None
    # The intercept is the last of the weights here, and its sign 0: it is not penalised.
    A = np.append(X[:, active], np.ones((len(X), 1)), axis=1) if free else X[:, active]
    theta = np.append(w[active], b or 0.0) if free else w[active]
    signs = np.append(np.sign(w[active]), 0.0) if free else np.sign(w[active])

    def value(theta: np.ndarray) -> float:
        return objective(y, weight, A @ theta, theta[signs != 0], 0.0, C, "free")

    current, stalled = value(theta), 0
    for _ in range(_NEWTON_STEPS):
        p = expit(A @ theta)
        slope = signs - C * (A.T @ (weight * (y - p)))
        if np.abs(slope).max(initial=0.0) < 1e-11 * max(1.0, C):
            break
        hessian = C * (A.T * (weight * p * (1 - p))) @ A
        hessian[np.diag_indices_from(hessian)] += 1e-13 * max(1.0, float(np.trace(hessian)) / len(hessian))
        try:
            step = cho_solve(cho_factor(hessian), -slope)
        except LinAlgError:
            break
        gone = signs * (theta + step) < 0
        # All that would change their sign at once, if that is better; else up to the first of them, or less far.
        aim = np.where(gone, 0.0, theta + step)
        if not (gone.any() and value(aim) < current):
            reach = np.divide(-theta, step, out=np.full(len(theta), np.inf), where=gone)
            length = min(1.0, float(reach.min(initial=np.inf)))
            while value(theta + length * step) > current and length > 1e-8:
                length /= 2
            gone &= reach <= length
            aim = np.where(gone, 0.0, theta + length * step)
        new = value(aim)
        # Where a weight has become zero the problem is another one, however little has been gained.
        stalled += not gone.any() and new > current * (1 - 1e-15)
        if new > current * (1 + 1e-14) or stalled > 3:
            break
        theta, current = aim, new
        if gone.any():
            active = active[~gone[: len(active)]]
            A, theta, signs = A[:, ~gone], theta[~gone], signs[~gone]
    found = np.zeros(len(w))
    found[active] = theta[: len(active)]
    return found, float(theta[-1]) if free else None
