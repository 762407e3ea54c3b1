"""The probe as a scikit-learn estimator, for features in memory, and with fit_path for CETT shards."""

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
    """L1 logistic regression whose optimum is certified (eq. 4 with λ = 1/C); penalty="l2" as scikit-learn's.

    Fitted attributes: classes_ [2], coef_ [1, columns], intercept_ [1], gap_ (relative duality gap), violation_ (of the
    conditions of the optimum, over all columns), converged_, n_features_in_.
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
        """X [rows, columns] finite; y [rows] of two classes. Raises ValueError as scikit-learn's estimators do."""
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
        """Every C on the training rows of CETT shards, layer by layer (METHOD.md §1: labels 3-vs-1 or 1-vs-1).

        Column layer * d_ff + j is neuron j of a layer. Raises HNeuronsError for shards that cannot be trained on.
        """
        columns = ShardColumns(shards, self.memory_gb)
        return self._paths(columns, [training_problem(columns, labels)], Cs)

    def _paths(self, columns: Columns, problems: Sequence[Problem], Cs: Sequence[float], progress: bool = True) -> Paths:
        options: dict[str, Any] = {"memory_gb": self.memory_gb, "tol": self.tol}
        return fit_paths(columns, problems, Cs, self.penalty, self.intercept, progress=progress, **options)

    def decision_function(self, X: Any) -> np.ndarray:
        """Log-odds of the second class, [rows]."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32, np.float16], reset=False)
        return np.asarray(X.astype(np.float64) @ self.coef_[0] + self.intercept_[0])

    def predict(self, X: Any) -> np.ndarray:
        """The likelier class of each row."""
        second = self.decision_function(X) > 0
        return np.asarray(self.classes_[second.astype(int)])

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of both classes, [rows, 2]."""
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
    """Problems at every C with either penalty. l1_options: memory_gb, tol and threads of l1_path.fit_path.

    Raises HNeuronsError for any other penalty.
    """
    if penalty == "l2":
        return fit_l2_path(columns, problems, Cs, intercept=intercept, progress=progress)
    if penalty != "l1":
        raise HNeuronsError(f"penalty: l1 or l2, not {penalty!r}")
    return fit_l1_path(columns, problems, Cs, intercept=intercept, progress=progress, **l1_options)


def training_problem(columns: ShardColumns, labels: str) -> Problem:
    """The training split: 3-vs-1 takes both regions, only a hallucinated answer is 1; 1-vs-1 answers alone."""
    rows = columns.rows
    y = np.array([row["label"] == 1 and row["region"] == "answer" for row in rows], dtype=int)
    used = [row["split"] == "train" and (labels == "3-vs-1" or row["region"] == "answer") for row in rows]
    return Problem(y, np.array(used, dtype=float))
