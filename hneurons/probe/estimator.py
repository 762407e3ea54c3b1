"""The probe as a scikit-learn estimator: `fit` takes features in memory, `fit_path` takes CETT shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from hneurons.cett.columns import ArrayColumns, Columns, ShardColumns
from hneurons.errors import HNeuronsError
from hneurons.probe.l1_path import Intercept, Paths, Problem, fit_l1_path
from hneurons.probe.l2_path import fit_l2_path


class SparseLogisticRegression(ClassifierMixin, BaseEstimator):
    """L1 logistic regression with a certified optimum (eq. 4 with λ = 1/C).

    Args:
        C: inverse strength of the penalty.
        penalty: "l1", or "l2" for the problem that scikit-learn's LogisticRegression solves.
        intercept: "free", or "penalised" as liblinear does.
        memory_gb: bounds the memory for columns, however many there are.
        tol: largest violation of the optimality conditions at which a fit counts as converged; L1 only.

    Attributes:
        classes_: [2], the labels in sorted order.
        coef_: [1, columns].
        intercept_: [1].
        gap_: relative duality gap.
        violation_: largest violation of the optimality conditions over all columns.
        converged_: whether violation_ is within tol.
        n_features_in_: number of columns.
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        penalty: str = "l1",
        intercept: Intercept = "free",
        memory_gb: float = 4.0,
        tol: float = 1e-7,
    ) -> None:
        self.C = C
        self.penalty = penalty
        self.intercept = intercept
        self.memory_gb = memory_gb
        self.tol = tol

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SparseLogisticRegression:
        """Fit the probe to features in memory.

        Args:
            X: [rows, columns], finite.
            y: [rows], labels of two classes.
            sample_weight: [rows], how often each row counts; None counts each once.

        Returns:
            The estimator itself.

        Raises:
            ValueError: invalid input, as scikit-learn's estimators report it.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32, np.float16])
        check_classification_targets(y)
        if (kind := type_of_target(y)) != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
        self.classes_, codes = np.unique(y, return_inverse=True)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if len(np.unique(codes[weight > 0])) < 2:
            raise ValueError("Classifier can't train when only one class is present.")
        fit = self._paths(ArrayColumns(X), [Problem(codes, weight)], [self.C], progress=False).fits[0][0]
        self.coef_ = np.zeros((1, X.shape[1]))
        self.coef_[0, fit.columns] = fit.weights
        self.intercept_ = np.array([fit.intercept])
        self.gap_, self.violation_, self.converged_ = fit.gap, fit.violation, fit.converged
        return self

    def fit_path(self, shards: Sequence[str | Path], Cs: Sequence[float], labels: str = "3-vs-1") -> Paths:
        """Fit every C to the training rows of CETT shards, reading them layer by layer.

        Args:
            shards: CETT shards; columns number the neurons layer by layer.
            Cs: inverse strengths of the penalty; they replace the estimator's C.
            labels: "3-vs-1" or "1-vs-1" (see training_problem).

        Returns:
            One Fit per C, ascending. The estimator itself stays unfitted.

        Raises:
            HNeuronsError: the shards are invalid or their training rows have one class only.
        """
        columns = ShardColumns(shards, self.memory_gb)
        return self._paths(columns, [training_problem(columns, labels)], Cs)

    def _paths(self, columns: Columns, problems: Sequence[Problem], Cs: Sequence[float], progress: bool = True) -> Paths:
        options: dict[str, Any] = {"memory_gb": self.memory_gb, "tol": self.tol}
        return fit_paths(columns, problems, Cs, self.penalty, self.intercept, progress=progress, **options)

    def decision_function(self, X: Any) -> np.ndarray:
        """Log-odds [rows] of the second class, for X [rows, columns]."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32, np.float16], reset=False)
        return np.asarray(X.astype(np.float64) @ self.coef_[0] + self.intercept_[0])

    def predict(self, X: Any) -> np.ndarray:
        """The more probable class [rows] of each row of X [rows, columns]."""
        second = self.decision_function(X) > 0
        return np.asarray(self.classes_[second.astype(int)])

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities [rows, 2] of both classes, for X [rows, columns]."""
        p = expit(self.decision_function(X))
        return np.stack([1 - p, p], axis=1)


def fit_paths(
    columns: Columns,
    problems: Sequence[Problem],
    Cs: Sequence[float],
    penalty: str,
    intercept: Intercept,
    *,
    progress: bool = True,
    **l1_options: Any,
) -> Paths:
    """Fit every problem at every C with an L1 or L2 penalty.

    Args:
        columns: the data, [n, p].
        problems: labels and row weights of each fit.
        Cs: inverse strengths of the penalty.
        penalty: "l1" or "l2".
        intercept: "free" or "penalised".
        progress: whether to show a progress bar.
        l1_options: memory_gb, tol and threads of fit_l1_path; L2 ignores them.

    Returns:
        Per problem one Fit for each C, ascending.

    Raises:
        HNeuronsError: the penalty is neither of the two.
    """
    if penalty == "l2":
        return fit_l2_path(columns, problems, Cs, intercept=intercept, progress=progress)
    if penalty != "l1":
        raise HNeuronsError(f"penalty: l1 or l2, not {penalty!r}")
    return fit_l1_path(columns, problems, Cs, intercept=intercept, progress=progress, **l1_options)


def training_problem(columns: ShardColumns, labels: str) -> Problem:
    """Labels and row weights of the training split.

    Args:
        columns: rows of CETT shards, one per example and region.
        labels: "3-vs-1" uses the answer and the other tokens of every example, and only the answer tokens of hallucinated
            responses are 1. "1-vs-1" uses answer tokens alone: hallucinated (1) against faithful (0).

    Returns:
        The problem over all rows, with weight 0 for those that are not used.

    Raises:
        HNeuronsError: the training rows have one class only.
    """
    rows = columns.rows
    y = np.array([row["label"] == 1 and row["region"] == "answer" for row in rows], dtype=int)
    used = [row["split"] == "train" and (labels == "3-vs-1" or row["region"] == "answer") for row in rows]
    return Problem(y, np.array(used, dtype=float))
