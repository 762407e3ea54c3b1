"""What every fit of a study shares: the rows, their labels and gold answers, and how C is tuned on them in folds."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.model_selection import GroupKFold

from hneurons.cett.columns import ShardColumns
from hneurons.errors import HNeuronsError
from hneurons.probe.estimator import training_problem
from hneurons.probe.l1_path import Problem
from hneurons.stats.auroc import auroc

logger = logging.getLogger(__name__)

# Folds over gold answers in which C is tuned, for the probe and for every control alike.
INNER_FOLDS = 4


@dataclass(frozen=True)
class Design:
    """Rows of CETT shards with labels and gold answers.

    Attributes:
        problem: labels, and the weights of the training rows; 0 for other rows.
        gold: [rows], the connected set of accepted answers of each row's question.
        scored: [rows] bool, the answer regions: what a probe is scored on.
    """

    problem: Problem
    gold: np.ndarray
    scored: np.ndarray

    @classmethod
    def from_rows(cls, columns: ShardColumns, labels: str, gold_of: Mapping[str, str]) -> "Design":
        """Describe the rows of CETT shards.

        Args:
            columns: the rows.
            labels: "3-vs-1" or "1-vs-1" (see training_problem).
            gold_of: connected set of accepted answers by question id.

        Raises:
            HNeuronsError: the training rows have one class only.
        """
        gold = np.array([gold_of[row["question_id"]] for row in columns.rows])
        scored = np.array([row["region"] == "answer" for row in columns.rows])
        return cls(training_problem(columns, labels), gold, scored)

    def without(self, left_out: np.ndarray) -> "Design":
        """The same rows, with those at these indices out of training."""
        weight = self.problem.weight.copy()
        weight[left_out] = 0
        return Design(Problem(self.problem.y, weight), self.gold, self.scored)

    @cached_property
    def inner_folds(self) -> list[np.ndarray]:
        """The folds in which C is tuned: at most INNER_FOLDS, and only those whose other rows hold both classes."""
        count = min(INNER_FOLDS, len(set(self.gold[self.problem.weight > 0])))
        folds = self.folds(count) if count > 1 else []
        y, weight = self.problem.y, self.problem.weight
        return [fold for fold in folds if len(set(y[np.setdiff1d(np.flatnonzero(weight > 0), fold)])) == 2]

    @cached_property
    def inner(self) -> list["Design"]:
        """The fits that tune C: without each of the inner folds, and with all training rows."""
        return [*(self.without(fold) for fold in self.inner_folds), self]

    def folds(self, count: int) -> list[np.ndarray]:
        """Divide the training rows by gold answer.

        Args:
            count: number of folds.

        Returns:
            Indices of the rows of each fold.

        Raises:
            HNeuronsError: there are fewer gold answers than folds.
        """
        rows = np.flatnonzero(self.problem.weight > 0)
        gold = self.gold[rows]
        if len(set(gold)) < count:
            raise HNeuronsError(f"{len(set(gold))} gold answers in the training split, {count} needed for folds by answer")
        return [rows[held_out] for _, held_out in GroupKFold(count).split(rows, groups=gold)]


def best_C(Cs: Sequence[float], logits: Mapping[float, np.ndarray], labels: np.ndarray) -> float:
    """Choose C by the sum of accuracy and AUROC on held-out answers, the two numbers that Table 1 compares.

    Ties go to the smaller C.

    Args:
        Cs: the grid.
        logits: [rows] of the held-out answers, by C.
        labels: [rows], 1 is hallucinated.
    """

    def merit(C: float) -> tuple[float, float]:
        return float(((logits[C] > 0) == (labels == 1)).mean()) + auroc(labels, logits[C]), -C

    return max(Cs, key=merit)


@dataclass(frozen=True)
class Tuned:
    """A fit at the C that held-out answers chose.

    Attributes:
        C: the chosen inverse strength of the penalty.
        weights: [columns], of the fit to all training rows at this C.
        intercept: b of this fit.
        held_out: [rows], log-odds of each training answer by a fit that did not see its gold answer; NaN elsewhere.
    """

    C: float
    weights: np.ndarray
    intercept: float
    held_out: np.ndarray

    def logits(self, X: np.ndarray) -> np.ndarray:
        """Log-odds [rows] of X [rows, columns]."""
        return np.asarray(X.astype(np.float64) @ self.weights + self.intercept)


# Fits every problem at every C of a grid; returns per problem and C the weights [columns] and the intercept.
FitAll = Callable[[Sequence[Problem], Sequence[float]], list[list[tuple[np.ndarray, float]]]]


def tune(X: np.ndarray, design: Design, Cs: Sequence[float], fit_all: FitAll) -> Tuned:
    """Tune C in folds over gold answers, and fit all training rows at the chosen one.

    Args:
        X: [rows, columns].
        design: labels and gold answers of the rows.
        Cs: the grid of C.
        fit_all: fits problems on the columns of X.
    """
    Cs = sorted(Cs)
    folds = design.inner_folds
    fits = fit_all([part.problem for part in design.inner], Cs)
    held_out = {C: np.full(len(X), np.nan) for C in Cs}
    for fold, of_fold in zip(folds, fits, strict=False):
        answers = fold[design.scored[fold]]
        for C, (weights, intercept) in zip(Cs, of_fold, strict=True):
            held_out[C][answers] = X[answers].astype(np.float64) @ weights + intercept
    rows = np.flatnonzero(np.isfinite(held_out[Cs[0]]))
    # A fit without weights is a constant, chosen only where there is nothing else.
    usable = [C for C, (weights, _) in zip(Cs, fits[-1], strict=True) if weights.any()] or Cs
    if len(set(design.problem.y[rows])) == 2:
        C = best_C(usable, {c: values[rows] for c, values in held_out.items()}, design.problem.y[rows])
    else:
        logger.warning("too few gold answers to tune C in folds: the smallest C with a weight, %g, is used", usable[0])
        C = usable[0]
    weights, intercept = fits[-1][Cs.index(C)]
    return Tuned(C, weights, intercept, held_out[C])
