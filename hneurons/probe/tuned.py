"""The probe with its C tuned in folds over gold answers, for several sets of training rows in one reading of the shards."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hneurons.cett.columns import ShardColumns
from hneurons.config.study import ProbeSettings
from hneurons.errors import HNeuronsError
from hneurons.probe.choice import GIVEN, IN_FOLDS
from hneurons.probe.design import Design, Tuned, tune
from hneurons.probe.estimator import fit_paths
from hneurons.probe.path import FIT_FACTS, ProbePath


def tuned_probes(
    columns: ShardColumns, designs: Sequence[Design], settings: ProbeSettings, memory_gb: float, threads: int
) -> tuple[np.ndarray, list[Tuned]]:
    """Fit the probe of each design at the C that its inner folds choose; all fits share the passes over the data.

    Args:
        columns: rows of CETT shards.
        designs: which rows train, with their gold answers.
        settings: penalty, intercept and the grid of C.
        memory_gb: memory for features.
        threads: threads for the fits.

    Returns:
        The columns that any fit weighs, and the tuned probe of each design on these columns.
    """
    inner = [design.inner for design in designs]
    problems = [part.problem for parts in inner for part in parts]
    options: dict[str, Any] = {"memory_gb": memory_gb, "threads": threads}
    paths = fit_paths(columns, problems, settings.C, settings.penalty, settings.intercept, **options)
    used = np.unique(np.concatenate([fit.columns for path in paths.fits for fit in path]))
    X = columns.take(used)
    tuned, first = [], 0
    for design, parts in zip(designs, inner, strict=True):
        of_design = paths.fits[first : first + len(parts)]
        dense = [[(fit.weights_on(used), fit.intercept) for fit in path] for path in of_design]
        first += len(parts)
        tuned.append(tune(X, design, settings.C, lambda *_, fits=dense: fits))
    return used, tuned


def choose_in_folds(
    columns: ShardColumns, design: Design, path: ProbePath, settings: ProbeSettings, memory_gb: float, threads: int
) -> pd.DataFrame:
    """Choose C without a selection split: by held-out answers in folds over gold answers, as in `tune`.

    Args:
        columns: rows of CETT shards.
        design: which of them train.
        path: the probe at every C, fitted to all training rows.
        settings: penalty and intercept.
        memory_gb: memory for features.
        threads: threads for the fits.

    Returns:
        As compare_C: a row per C, without accuracies. A path of one C leaves no choice.

    Raises:
        HNeuronsError: no C yields a positive weight.
    """
    positive = {C: int((classifier.weights > 0).sum()) for C, classifier in path.classifiers.items()}
    usable = [C for C, number in positive.items() if number]
    if not usable:
        raise HNeuronsError(f"no C of {list(positive)} leaves a positive weight, which H-Neurons need; add larger values")
    rule, best = GIVEN, usable[0]
    if len(positive) > 1:
        _, (tuned,) = tuned_probes(columns, [design], settings.model_copy(update={"C": usable}), memory_gb, threads)
        rule, best = IN_FOLDS, tuned.C
    rows = [{"C": C, "chosen": best == C, "h_neurons": n, **_fit_facts(path, C)} for C, n in positive.items()]
    return pd.DataFrame(rows).assign(chosen_by=rule)


def _fit_facts(path: ProbePath, C: float) -> dict[str, Any]:
    return {"non_zero": len(path.classifiers[C].weights), **{name: path.facts[C][name] for name in FIT_FACTS}}
