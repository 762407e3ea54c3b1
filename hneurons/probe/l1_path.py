"""The L1 path over more columns than memory holds: every C of a grid, certified over all columns.

Nearly all weights are zero, so few columns matter. A pass over the data computes the slope of every column at the current
solutions and keeps the columns with the steepest slopes in memory. The next C is solved exactly on these. The next pass
then checks the optimality conditions of all columns: either none is violated, and the solution is that of all columns, or
the violating columns are kept too. Several problems (resamples, folds) share each pass, because reading the data costs
the same for one problem as for thirty.
"""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hneurons.cett.columns import Columns
from hneurons.errors import HNeuronsError
from hneurons.probe.l1 import objective, relative_gap, residual, solve_l1, violation
from hneurons.probe.screening import ScreenedColumns, screen

Intercept = Literal["free", "penalised"]
# Solutions of one problem at one C after which it is reported as not converged.
_MAX_TRIES = 12
# Rounds within one solution that add columns from memory to the working set.
_MAX_ROUNDS = 100


@dataclass(frozen=True)
class Problem:
    """Labels and row weights of one fit.

    Attributes:
        y: [n], 0 or 1.
        weight: [n], how often each row counts; 0 leaves it out.

    Raises:
        HNeuronsError: the rows with a positive weight have one class only.
    """

    y: np.ndarray
    weight: np.ndarray

    def __post_init__(self) -> None:
        if len(np.unique(self.y[self.weight > 0])) < 2:
            raise HNeuronsError("the training rows hold one class only; see the counts in examples/*.json")


@dataclass(frozen=True)
class Fit:
    """The solution of one problem at one C.

    Attributes:
        C: inverse strength of the penalty.
        columns: [k], indices of the non-zero weights, ascending.
        weights: [k].
        intercept: b.
        objective: value of the minimised function (see l1.py).
        gap: relative duality gap, an upper bound on how much too high the objective is.
        violation: largest violation of the optimality conditions over all columns, as a share of the penalty.
        converged: whether the violation is within the tolerance.
        passes: passes over the data in which this C took part.
    """

    C: float
    columns: np.ndarray
    weights: np.ndarray
    intercept: float
    objective: float
    gap: float
    violation: float
    converged: bool
    passes: int

    def logits(self, X: np.ndarray) -> np.ndarray:
        """Log-odds [rows] of X [rows, k], the columns with a weight."""
        return np.asarray(X.astype(np.float64) @ self.weights + self.intercept)

    def weights_on(self, columns: np.ndarray) -> np.ndarray:
        """Weights of some columns, 0 for those without one.

        Args:
            columns: indices, ascending, with all columns that have a weight among them.
        """
        weights = np.zeros(len(columns))
        weights[np.searchsorted(columns, self.columns)] = self.weights
        return weights


@dataclass(frozen=True)
class Paths:
    """Fits of several problems over the same data.

    Attributes:
        fits: per problem one Fit for each C, ascending.
        passes: passes over the data, shared by all problems.
    """

    fits: list[list[Fit]]
    passes: int


@dataclass
class _State:
    """A problem on its way along the path: the Cs that are left, and the solution at the first of them with its logits."""

    problem: Problem
    Cs: list[float]
    columns: np.ndarray
    weights: np.ndarray
    intercept: float
    logits: np.ndarray
    passes: int = 0
    tries: int = 0
    C_of_pass: float = 0.0
    fits: list[Fit] = field(default_factory=list)

    @property
    def C(self) -> float:
        return self.Cs[0]

    @property
    def pull(self) -> np.ndarray:
        """C times the residual: its product with a column is that column's slope, within [-1, 1] at the optimum."""
        return self.C * residual(self.problem.y, self.problem.weight, self.logits)


def fit_l1_path(
    columns: Columns,
    problems: Sequence[Problem],
    Cs: Sequence[float],
    *,
    intercept: Intercept = "free",
    memory_gb: float = 4.0,
    tol: float = 1e-7,
    threads: int = 1,
    progress: bool = True,
) -> Paths:
    """Fit every problem at every C.

    Args:
        columns: the data, [n, p].
        problems: labels and row weights [n] of each fit.
        Cs: inverse strengths of the penalty.
        intercept: "free" or "penalised".
        memory_gb: bounds the memory for columns, however many there are.
        tol: largest violation of the optimality conditions at which a fit counts as converged.
        threads: problems that are solved, and products of columns that are computed, in parallel.
        progress: whether to show a progress bar.

    Returns:
        The fits. One that did not converge says so in `Fit.converged`.
    """
    rows = np.flatnonzero(np.any([p.weight > 0 for p in problems], axis=0))
    states = [_start(p, rows, sorted(Cs), intercept) for p in problems]
    passes = 0
    kept: ScreenedColumns | None = None
    bar = tqdm(total=len(states) * len(Cs), desc=f"L1 path {len(rows)} x {columns.p}", unit="fit", disable=not progress)

    def advance(state: _State) -> None:
        """Record each C that the current solution settles, then solve the next one."""
        assert kept is not None
        while state.Cs and _record_if_settled(state, kept, intercept, tol):
            pass
        if state.Cs:
            _solve(state, kept, intercept, tol)

    with _workers(threads) as workers, bar:
        while unfinished := [s for s in states if s.Cs]:
            bar.set_postfix(C=f"{min(s.C for s in unfinished):g}", passes=passes)
            # 1. A pass over the data, needless while all columns are in memory
            if kept is None or kept.outside > 0:
                kept = None  # frees its memory for the next columns
                pulls = np.stack([state.pull for state in unfinished])
                weighed = np.unique(np.concatenate([state.columns for state in unfinished]))
                kept = screen(columns, rows, pulls, weighed, memory_gb, workers, threads)
                passes += 1
                for state in unfinished:
                    state.passes, state.C_of_pass = state.passes + 1, state.C
            # 2. Certify the solutions, and solve the next C on the columns in memory
            for _ in workers.map(advance, unfinished):
                bar.update(sum(len(s.fits) for s in states) - bar.n)
    return Paths([s.fits for s in states], passes)


@contextmanager
def _workers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A thread pool in which libraries run single-threaded: on small matrices their threads wait for each other."""
    # Slow to import, and what reads a path needs neither.
    import torch
    from sklearn.exceptions import ConvergenceWarning

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings(), threadpool_limits(1), ThreadPoolExecutor(threads) as workers:
            # Solutions are certified here, so the solver's own warnings add nothing.
            warnings.simplefilter("ignore", ConvergenceWarning)
            yield workers
    finally:
        torch.set_num_threads(before)


def _start(problem: Problem, rows: np.ndarray, Cs: list[float], intercept: Intercept) -> _State:
    """All weights are zero; a free intercept is then the log-odds of the classes."""
    part = Problem(problem.y[rows].astype(np.float64), problem.weight[rows].astype(np.float64))
    share = float(part.weight @ part.y / part.weight.sum())
    b = float(np.log(share / (1 - share))) if intercept == "free" else 0.0
    return _State(part, Cs, np.empty(0, dtype=np.int64), np.empty(0), b, np.full(len(rows), b))


def _record_if_settled(state: _State, kept: ScreenedColumns, intercept: Intercept, tol: float) -> bool:
    """Record the current solution if it is optimal at the current C or has used up its tries; whether it was recorded."""
    # 1. The largest violation: of columns in memory exactly, of all others by the steepest slope of the last pass
    p, C = state.problem, state.C
    pull = state.pull
    slopes = kept.slopes(pull)
    w = np.zeros(len(kept.ids))
    w[np.searchsorted(kept.ids, state.columns)] = state.weights
    if intercept == "penalised":  # the weight of a constant column
        slopes, w = np.append(slopes, pull.sum()), np.append(w, state.intercept)
    worst = max(float(violation(slopes, w).max(initial=0.0)), kept.outside * C / state.C_of_pass - 1)
    largest = float(np.abs(slopes).max(initial=0.0))
    if worst > tol and state.tries < _MAX_TRIES:
        return False
    # 2. The certificate, and on to the next C
    value = objective(p.y, p.weight, state.logits, state.weights, state.intercept, C, intercept)
    gap = relative_gap(p.y, p.weight, state.logits, value, C, max(largest, 1 + worst))
    state.fits.append(Fit(C, state.columns, state.weights, state.intercept, value, gap, worst, worst <= tol, state.passes))
    state.Cs, state.passes, state.tries = state.Cs[1:], 0, 0
    return True


def _solve(state: _State, kept: ScreenedColumns, intercept: Intercept, tol: float) -> None:
    """Solve exactly on the columns in memory: the working set takes in the steepest until no other column matters."""
    p = state.problem
    rows = p.weight > 0
    candidates = kept.steepest(np.abs(kept.slopes(state.pull)), state.columns)
    slopes = np.abs(candidates.slopes(state.pull))
    working = np.searchsorted(candidates.ids, state.columns)
    start: tuple[np.ndarray, float] | None = None
    state.tries += 1
    for _ in range(_MAX_ROUNDS):
        # 1. The steepest candidates outside the working set
        slopes[working] = 0.0
        steepest = np.argsort(-slopes)[: max(100, len(working))]
        added = steepest[slopes[steepest] > 1 + tol / 2]
        # 2. Where no candidate matters: done if no column in memory does, else new candidates
        if start is not None and len(added) == 0:
            all_slopes = np.abs(kept.slopes(state.pull))
            all_slopes[np.searchsorted(kept.ids, candidates.ids[working])] = 0.0
            if all_slopes.max(initial=0.0) <= 1 + tol / 2:
                return
            ids = candidates.ids[working]
            candidates = kept.steepest(all_slopes, ids)
            slopes, working = np.abs(candidates.slopes(state.pull)), np.searchsorted(candidates.ids, ids)
            continue
        # 3. Solve on the enlarged working set; the solver needs at least one column
        added = added if len(added) or len(working) else steepest[:1]
        working = np.concatenate([working, added])
        X = candidates.values_at(working)
        if start is not None:
            start = np.concatenate([start[0], np.zeros(len(added))]), start[1]
        w, b, exact = solve_l1(X[rows], p.y[rows], p.weight[rows], state.C, intercept, tol / 2, start)
        if not exact and start is not None:
            w, b, exact = solve_l1(X[rows], p.y[rows], p.weight[rows], state.C, intercept, tol / 2)
        # 4. The new solution, its columns ascending
        used = np.flatnonzero(w)
        used = used[np.argsort(candidates.ids[working[used]])]
        state.columns, state.weights, state.intercept = candidates.ids[working[used]], w[used], b
        state.logits = X[:, used] @ w[used] + b
        if not exact:
            state.tries = _MAX_TRIES
            return
        # 5. Columns whose slope is far below the bound leave the working set
        slopes = np.abs(candidates.slopes(state.pull))
        needed = (w != 0) | (slopes[working] > 0.9)
        working, start = working[needed], (w[needed], b)
