"""Random neurons as controls of the probe, each given the same chance: C tuned in the same folds over gold answers.

An L1 fit of few random columns drops most of them at a small C, so a set of the probe's size may use only some: the share
that keeps a weight is reported. The L2 fit on standardised columns uses them all.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from joblib import Parallel, delayed, parallel_config
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hneurons.cett.columns import ArrayColumns
from hneurons.config.study import ProbeSettings
from hneurons.models.widths import Widths
from hneurons.probe.design import Design, Tuned, tune
from hneurons.probe.estimator import fit_paths
from hneurons.probe.l1_path import Problem

_Result = TypeVar("_Result")

# An L2 fit to fewer columns solves for all of them at once.
_FEW_COLUMNS = 128
# Inverse strengths of the L2 penalty on standardised columns.
L2_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def in_processes(
    work: Callable[..., _Result], arguments: Iterable[tuple[Any, ...]], processes: int, title: str
) -> list[_Result]:
    """Apply work to every tuple of arguments, in processes in which libraries run single-threaded.

    Steps of the small fits of controls hold Python's lock: two threads took 1.4 times the time of one.

    Args:
        work: a function of a module.
        arguments: of each call; drawn as they are needed.
        processes: their number; with one, the work is done in this process.
        title: label of the progress bar.

    Returns:
        The results, in the order of the arguments.
    """
    # Arrays are sent and not kept in files, which could fill a small /dev/shm.
    with threadpool_limits(1), parallel_config("loky", inner_max_num_threads=1, max_nbytes=None):
        results = Parallel(n_jobs=processes, return_as="generator")(delayed(work)(*each) for each in arguments)
        return list(tqdm(results, desc=title))


def random_columns(rng: np.random.Generator, p: int, used: np.ndarray, size: int | None = None) -> np.ndarray:
    """Draw random columns that are not used; any columns if too few are unused (L2).

    Args:
        rng: the random generator.
        p: columns to draw from, 0 to p - 1.
        used: indices of the columns to avoid.
        size: how many to draw; None is the number of used columns, at least one.

    Returns:
        Their indices, ascending.
    """
    size = max(1, len(used)) if size is None else size
    free = np.setdiff1d(np.arange(p), used)
    return np.sort(rng.choice(free if len(free) >= size else p, size=size, replace=False))


def columns_like(rng: np.random.Generator, widths: Widths, used: np.ndarray, size: int) -> np.ndarray:
    """Draw random columns as a control of those used: of a mixture of experts from the same experts.

    Neurons of other experts are hardly ever routed to, so they would be no control.

    Args:
        rng: the random generator.
        widths: neurons of each layer and expert.
        used: indices of the columns to imitate and avoid.
        size: how many to draw.

    Returns:
        Their indices, ascending.

    Raises:
        HNeuronsError: an expert has too few others.
    """
    if not widths.experts or not len(used):
        return random_columns(rng, widths.total, used, max(1, size))
    imitated = rng.choice(used, size=max(1, size), replace=size > len(used))
    return widths.drawn_like(rng, imitated, used)


def tuned_l1(X: np.ndarray, design: Design, settings: ProbeSettings) -> Tuned:
    """Fit columns as the probe is fitted (eq. 4), on raw features, with its grid of C.

    Args:
        X: [rows, columns].
        design: labels and gold answers of the rows.
        settings: the grid of C, penalty and intercept.
    """
    all_columns = np.arange(X.shape[1])

    def fit_all(problems: Sequence[Problem], Cs: Sequence[float]) -> list[list[tuple[np.ndarray, float]]]:
        paths = fit_paths(ArrayColumns(X), problems, Cs, settings.penalty, settings.intercept, progress=False)
        return [[(fit.weights_on(all_columns), fit.intercept) for fit in path] for path in paths.fits]

    return tune(X, design, settings.C, fit_all)


def tuned_l2(X: np.ndarray, design: Design) -> Tuned:
    """Fit columns with an L2 penalty, each divided by its standard deviation over the training rows.

    Args:
        X: [rows, columns].
        design: labels and gold answers of the rows.

    Returns:
        The fit; its weights are those of the columns as they are, not of the standardised ones.
    """
    scale = inverse_spread(X, design.problem.weight > 0)
    fit = tuned_l2_as_is(X * scale, design)
    return Tuned(fit.C, fit.weights * scale, fit.intercept, fit.held_out)


def tuned_l2_as_is(X: np.ndarray, design: Design) -> Tuned:
    """Fit columns, or coordinates of rows_of_products, with an L2 penalty, without standardising them."""
    return tune(X, design, L2_GRID, partial(_fit_l2, X))


def inverse_spread(X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """1 / standard deviation of each column of X over some rows; 0 for a constant column."""
    spread = X[rows].astype(np.float64).std(axis=0)
    return np.asarray(np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0))


def _fit_l2(X: np.ndarray, problems: Sequence[Problem], Cs: Sequence[float]) -> list[list[tuple[np.ndarray, float]]]:
    fits: list[list[tuple[np.ndarray, float]]] = []
    # Measured on 716 rows: of few columns half of the time of lbfgs, of many two thirds.
    solver = "newton-cholesky" if X.shape[1] <= _FEW_COLUMNS else "newton-cg"
    for problem in problems:
        rows = problem.weight > 0
        # Each C starts at the solution of the one before.
        model = LogisticRegression(solver=solver, max_iter=1000, tol=1e-5, warm_start=True)
        fits.append([])
        for C in Cs:
            model.set_params(C=C).fit(X[rows], problem.y[rows], sample_weight=problem.weight[rows])
            fits[-1].append((model.coef_[0].copy(), float(model.intercept_[0])))
    return fits


def rows_of_products(K: np.ndarray) -> np.ndarray:
    """Coordinates [rows, rank] whose products are K [rows, rows]: on them an L2 fit equals that on the columns behind K."""
    values, vectors = np.linalg.eigh(K)
    positive = values > values[-1] * 1e-10
    return np.asarray(vectors[:, positive] * np.sqrt(values[positive]))
