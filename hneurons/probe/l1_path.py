"""The L1 path over more columns than memory holds: every C of a grid, certified over all columns.

Nearly all weights are zero, so few columns matter. A pass over the data computes every column's slope at the solutions in
hand and keeps, in memory, the columns with the steepest ones. The next problem is solved exactly on these; the next pass
either finds no other column whose slope breaks the conditions of the optimum, and the solution is that of all columns, or
keeps those that do. Several problems (resamples, folds) share each pass: slopes of one are as dear to read as of thirty.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hneurons.cett.columns import Columns
from hneurons.errors import HNeuronsError
from hneurons.probe.l1 import objective, relative_gap, residual, solve_l1, violation
from hneurons.probe.screening import ScreenedColumns, screen

Intercept = Literal["free", "penalised"]

# A problem that this many solutions do not settle at one C is told of as not converged.
_MOST_TRIES = 12
# Times that a solution brings in more of the columns in memory.
_MOST_ROUNDS = 100


@dataclass(frozen=True)
class Problem:
    """One set of rows to fit. y [n] 0 or 1; weight [n]: how often each row counts, 0 leaves it out."""

    y: np.ndarray
    weight: np.ndarray

    def __post_init__(self) -> None:
        if len(np.unique(self.y[self.weight > 0])) < 2:
            raise HNeuronsError("the training rows hold one class only; see the counts in examples/*.json")


@dataclass(frozen=True)
class Fit:
    """The solution at one C. columns [k] with weights [k] that are not zero, in order; intercept.

    objective: as hneurons.probe.l1 states it. gap: relative duality gap, by which the objective can be too high at most.
    violation: of the conditions of the optimum, the largest over all columns, as a share of the penalty. converged: whether
    it is within the tolerance. passes: over the data, in which this C took part.
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
        """X [rows, k], the columns that have a weight, to log-odds [rows]."""
        return np.asarray(X.astype(np.float64) @ self.weights + self.intercept)


@dataclass(frozen=True)
class Paths:
    """fits: per problem one for each C, ascending. passes: over the data, for all of them together."""

    fits: list[list[Fit]]
    passes: int


@dataclass
class _State:
    """A problem on its way along the path: at `Cs[at]`, with the solution in hand and its logits."""

    problem: Problem
    Cs: list[float]
    columns: np.ndarray
    weights: np.ndarray
    intercept: float
    logits: np.ndarray
    at: int = 0
    passes: int = 0
    tries: int = 0
    C_of_pass: float = 0.0
    fits: list[Fit] = field(default_factory=list)

    @property
    def C(self) -> float:
        return self.Cs[self.at]

    @property
    def done(self) -> bool:
        return self.at == len(self.Cs)

    @property
    def pull(self) -> np.ndarray:
        """C times the residual: its product with a column is that column's slope, at most 1 at the optimum."""
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
    """Every problem at every C. memory_gb bounds what is kept in memory, however many columns there are.

    threads: problems are solved, and columns are multiplied, that many at a time. Raises HNeuronsError if a problem
    has one class only. What does not converge is flagged in its Fit.
    """
    rows = np.flatnonzero(np.any([p.weight > 0 for p in problems], axis=0))
    states = [_start(p, rows, sorted(Cs), intercept) for p in problems]
    passes = 0
    kept: ScreenedColumns | None = None
    bar = tqdm(total=len(states) * len(Cs), desc=f"L1 path {len(rows)} x {columns.p}", unit="fit", disable=not progress)

    def advance(state: _State) -> int:
        assert kept is not None
        had = len(state.fits)
        while not state.done and _settled(state, kept, intercept, tol):
            pass
        if not state.done:
            _solve(state, kept, intercept, tol)
        return len(state.fits) - had

    with _workers(threads) as workers, bar:
        while going := [s for s in states if not s.done]:
            bar.set_postfix(C=f"{min(s.C for s in going):g}", passes=passes)
            if kept is None or kept.outside > 0:
                kept = None  # its memory is needed for the next ones
                pulls = np.stack([state.pull for state in going])
                weighed = np.unique(np.concatenate([state.columns for state in going]))
                kept = screen(columns, rows, pulls, weighed, memory_gb, workers, threads)
                passes += 1
                for state in going:
                    state.passes, state.C_of_pass = state.passes + 1, state.C
            for settled in workers.map(advance, going):
                bar.update(settled)
    return Paths([s.fits for s in states], passes)


@contextmanager
def _workers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads of our own, each of which multiplies by itself: on small matrices libraries' threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings(), threadpool_limits(1), ThreadPoolExecutor(threads) as workers:
            # Solutions are certified afterwards, whatever the solver says.
            warnings.simplefilter("ignore", ConvergenceWarning)
            yield workers
    finally:
        torch.set_num_threads(before)


def _start(problem: Problem, rows: np.ndarray, Cs: list[float], intercept: Intercept) -> _State:
    """All weights zero; a free intercept is then the log-odds of the classes."""
    part = Problem(problem.y[rows].astype(np.float64), problem.weight[rows].astype(np.float64))
    share = float(part.weight @ part.y / part.weight.sum())
    b = float(np.log(share / (1 - share))) if intercept == "free" else 0.0
    return _State(part, Cs, np.empty(0, dtype=np.int64), np.empty(0), b, np.full(len(rows), b))


def _settled(state: _State, kept: ScreenedColumns, intercept: Intercept, tol: float) -> bool:
    """Whether the solution in hand is that of the current C, or no better one can be had: then it is recorded."""
    p, C = state.problem, state.C
    pull = state.pull
    slopes = kept.slopes(pull)
    w = np.zeros(len(kept.ids))
    w[np.searchsorted(kept.ids, state.columns)] = state.weights
    worst = max(float(violation(slopes, w).max(initial=0.0)), kept.outside * C / state.C_of_pass - 1)
    largest = float(np.abs(slopes).max(initial=0.0))
    constant = np.array([state.intercept if intercept == "penalised" else 0.0])
    if intercept == "penalised":
        worst = max(worst, float(violation(np.array([pull.sum()]), constant)[0]))
        largest = max(largest, abs(float(pull.sum())))
    if worst > tol and state.tries < _MOST_TRIES:
        return False
    value = objective(p.y, p.weight, state.logits, state.weights, state.intercept, C, intercept)
    gap = relative_gap(p.y, p.weight, state.logits, value, C, max(largest, 1 + worst))
    state.fits.append(Fit(C, state.columns, state.weights, state.intercept, value, gap, worst, worst <= tol, state.passes))
    state.at, state.passes, state.tries = state.at + 1, 0, 0
    return True


def _solve(state: _State, kept: ScreenedColumns, intercept: Intercept, tol: float) -> None:
    """The exact solution on the columns in memory: on ever more of them, the steepest first, until no other matters."""
    p = state.problem
    rows = p.weight > 0
    near = kept.steepest(np.abs(kept.slopes(state.pull)), state.columns)
    slopes = np.abs(near.slopes(state.pull))
    working = np.searchsorted(near.ids, state.columns)
    start: tuple[np.ndarray, float] | None = None
    state.tries += 1
    for _ in range(_MOST_ROUNDS):
        slopes[working] = 0.0
        steepest = np.argsort(-slopes)[: max(100, len(working))]
        more = steepest[slopes[steepest] > 1 + tol / 2]
        if start is not None and len(more) == 0:
            of_all = np.abs(kept.slopes(state.pull))
            of_all[np.searchsorted(kept.ids, near.ids[working])] = 0.0
            if of_all.max(initial=0.0) <= 1 + tol / 2:
                return
            ids = near.ids[working]
            near = kept.steepest(of_all, ids)
            slopes, working = np.abs(near.slopes(state.pull)), np.searchsorted(near.ids, ids)
            continue
        # The steepest column at least: a solver wants one.
        more = more if len(more) or len(working) else steepest[:1]
        X = near.values_at(np.concatenate([working, more]))
        if start is not None:
            start = np.concatenate([start[0], np.zeros(len(more))]), start[1]
        working = np.concatenate([working, more])
        w, b, exact = solve_l1(X[rows], p.y[rows], p.weight[rows], state.C, intercept, tol / 2, start)
        if not exact and start is not None:
            w, b, exact = solve_l1(X[rows], p.y[rows], p.weight[rows], state.C, intercept, tol / 2)
        used = np.flatnonzero(w)
        used = used[np.argsort(near.ids[working[used]])]
        state.columns, state.weights, state.intercept = near.ids[working[used]], w[used], b
        state.logits = X[:, used] @ w[used] + b
        if not exact:
            state.tries = _MOST_TRIES
            return
        slopes = np.abs(near.slopes(state.pull))
        # Columns that are far from a weight need not be solved for.
        still = (w != 0) | (slopes[working] > 0.9)
        working, start = working[still], (w[still], b)
