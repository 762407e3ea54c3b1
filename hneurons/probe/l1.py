"""Exact L1 logistic regression on columns in memory (eq. 4).

    min over w, b:  C Σ_i c_i log(1 + exp(-y_i (x_i·w + b))) + ‖w‖₁ [+ |b|]        y_i ∈ {-1, 1}, c_i the row's weight

liblinear finds which weights are zero. The signs of the remaining weights are then known, and Newton's method finds their
optimum. liblinear can only penalise an intercept; on centred columns its intercept is nearly free and its steps are short.
"""

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.special import expit, xlogy
from sklearn.linear_model import LogisticRegression

# liblinear need not be exact: Newton's method corrects it.
_TOLERANCE = 1e-3
# Rounds of correction that may pass without halving the violation.
_PATIENCE = 6
# liblinear's intercept is the weight of a constant this large, hence hardly penalised; Newton then frees it fully.
_INTERCEPT_SCALING = 1e3
_NEWTON_STEPS = 60


def residual(y: np.ndarray, weight: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """c_i (y_i - p_i), for y_i ∈ {0, 1}: minus the derivative of the loss by each row's logit, [rows]."""
    return np.asarray(weight * (y - expit(logits)))


def loss(y: np.ndarray, weight: np.ndarray, logits: np.ndarray) -> float:
    """Σ c_i log(1 + exp(∓ logit)): the objective without C and the penalty."""
    return float(weight @ np.logaddexp(0, np.where(y == 1, -logits, logits)))


def dual_loss(weight: np.ndarray, s: np.ndarray) -> float:
    """Counterpart of the loss in the dual problem, at s [rows] in [0, 1]: the weighted entropy of the rows."""
    return -float(weight @ (xlogy(s, s) + xlogy(1 - s, 1 - s)))


def objective(
    y: np.ndarray, weight: np.ndarray, logits: np.ndarray, w: np.ndarray, b: float, C: float, intercept: str
) -> float:
    """Value of the minimised function (see the module's docstring).

    Args:
        y: [rows], 0 or 1.
        weight: [rows], c_i.
        logits: [rows], of the solution w, b.
        w: weights; zeros may be left out.
        b: intercept.
        C: inverse strength of the penalty.
        intercept: "free", or "penalised" like any weight.
    """
    penalty = np.abs(w).sum() + (abs(b) if intercept == "penalised" else 0.0)
    return float(C * loss(y, weight, logits) + penalty)


def relative_gap(y: np.ndarray, weight: np.ndarray, logits: np.ndarray, value: float, C: float, largest: float) -> float:
    """Duality gap divided by the objective: an upper bound on its relative distance from the optimum.

    Args:
        y: [rows], 0 or 1.
        weight: [rows], c_i.
        logits: [rows], of the solution.
        value: the objective at the solution.
        C: inverse strength of the penalty.
        largest: maximum of |C x_j · residual| over all columns, and over the constant of a penalised intercept. Dividing
            the residual by it gives a feasible point of the dual problem.
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
    """Solve the problem on columns in memory.

    Args:
        X: [rows, columns] float64.
        y: [rows], 0 or 1, both present.
        weight: [rows], positive.
        C: inverse strength of the penalty.
        intercept: "free" or "penalised".
        tol: largest violation of the optimality conditions that counts as exact.
        start: weights and intercept near the optimum, used in place of liblinear's.

    Returns:
        Weights [columns], the intercept, and whether every column satisfies the optimality conditions within tol.
    """
    # 1. A start near the optimum
    w, b = start or _liblinear(X, y, weight, C, intercept)
    # 2. Its correction by Newton's method; a penalised intercept is the weight of a constant column
    if intercept == "penalised":
        w, _, exact = _refine(np.append(X, np.ones((len(X), 1)), axis=1), y, weight, np.append(w, b), None, C, tol)
        return w[:-1], float(w[-1]), exact
    return _refine(X, y, weight, w, b, C, tol)


def _refine(
    X: np.ndarray, y: np.ndarray, weight: np.ndarray, w: np.ndarray, b: float | None, C: float, tol: float
) -> tuple[np.ndarray, float, bool]:
    """Alternate Newton's method on the non-zero weights with the activation of columns that should not be zero."""
    least, stalled = np.inf, 0
    while stalled < _PATIENCE:
        w, b = _newton(X, y, weight, w, b, C)
        slopes = C * (residual(y, weight, X @ w + (b or 0.0)) @ X)
        violations = violation(slopes, w)
        worst = float(violations.max(initial=0.0))
        if worst <= tol:
            return w, b or 0.0, True
        least, stalled = (worst, 0) if worst < least / 2 else (least, stalled + 1)
        # A zero weight that violates its condition becomes a tiny one with the sign of its slope.
        w = np.where((w == 0) & (violations > tol), np.sign(slopes) * 1e-12, w)
    return w, b or 0.0, False


def _liblinear(X: np.ndarray, y: np.ndarray, weight: np.ndarray, C: float, intercept: str) -> tuple[np.ndarray, float]:
    """liblinear's approximate weights and intercept."""
    free = intercept == "free"
    centre = weight @ X / weight.sum() if free else np.zeros(X.shape[1])
    scaling = _INTERCEPT_SCALING if free else 1.0
    options = {"l1_ratio": 1.0, "solver": "liblinear", "intercept_scaling": scaling, "tol": _TOLERANCE, "random_state": 0}
    model = LogisticRegression(C=C, max_iter=1000, **options)
    model.fit(X - centre, y, sample_weight=weight)
    w = model.coef_[0].astype(np.float64)
    return w, float(model.intercept_[0] - centre @ w)


def violation(slopes: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Distance of each column from its optimality condition.

    Args:
        slopes: [columns], C x_j · residual. At the optimum sign(w_j) where w_j ≠ 0, and within [-1, 1] elsewhere.
        w: [columns], weights.
    """
    return np.asarray(np.where(w != 0, np.abs(slopes - np.sign(w)), np.maximum(0.0, np.abs(slopes) - 1.0)))


def _newton(
    X: np.ndarray, y: np.ndarray, weight: np.ndarray, w: np.ndarray, b: float | None, C: float
) -> tuple[np.ndarray, float | None]:
    """The optimum over the non-zero weights, and over the intercept if there is a free one (b).

    A weight that would change its sign becomes zero.
    """
    # 1. Keep the columns with a weight. A free intercept comes last, with sign 0: it is not penalised.
    active = np.flatnonzero(w)
    A, theta, signs = X[:, active], w[active], np.sign(w[active])
    if b is not None:
        A, theta, signs = np.append(A, np.ones((len(X), 1)), axis=1), np.append(theta, b), np.append(signs, 0.0)

    def value(theta: np.ndarray) -> float:
        return objective(y, weight, A @ theta, theta[signs != 0], 0.0, C, "free")

    current, stalled = value(theta), 0
    for _ in range(_NEWTON_STEPS):
        # 2. The Newton step, with a slightly regularised Hessian
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
        # 3. Weights that would change their sign become zero: all at once if that lowers the objective; otherwise the step
        # ends at the first of them, and is halved until the objective does not rise.
        crossing = signs * (theta + step) < 0
        target = np.where(crossing, 0.0, theta + step)
        if not (crossing.any() and value(target) < current):
            zero_at = np.divide(-theta, step, out=np.full(len(theta), np.inf), where=crossing)
            length = min(1.0, float(zero_at.min(initial=np.inf)))
            while value(theta + length * step) > current and length > 1e-8:
                length /= 2
            crossing &= zero_at <= length
            target = np.where(crossing, 0.0, theta + length * step)
        # 4. Accept the step or stop. Removing a weight changes the problem, so it counts as progress at any gain.
        new = value(target)
        stalled += not crossing.any() and new > current * (1 - 1e-15)
        if new > current * (1 + 1e-14) or stalled > 3:
            break
        theta, current = target, new
        if crossing.any():
            active = active[~crossing[: len(active)]]
            A, theta, signs = A[:, ~crossing], theta[~crossing], signs[~crossing]
    # 5. Back to all columns
    solution = np.zeros(len(w))
    solution[active] = theta[: len(active)]
    return solution, None if b is None else float(theta[-1])
