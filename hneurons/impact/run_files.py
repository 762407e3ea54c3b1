"""Files of judged runs: their paths, and the curves that can be made from those that exist."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hneurons import store
from hneurons.config.impact import UNTOUCHED, UNTOUCHED_ALPHA, format_alpha, is_untouched
from hneurons.errors import HNeuronsError
from hneurons.impact.curves import Curve, make_curve
from hneurons.records import RUNS


def run_file(results: str | Path, model: str, benchmark: str, neurons: str, alpha: float) -> Path:
    """Path of a judged run; at α = 1 it is the untouched model's, for every neuron set.

    Args:
        results: folder of the study.
        model: name of the model.
        benchmark: name of the benchmark.
        neurons: name of the neuron set.
        alpha: the scaling factor.
    """
    name = UNTOUCHED if is_untouched(alpha) else neurons
    return Path(results) / model / "impact" / benchmark / name / f"alpha={format_alpha(alpha)}.parquet"


def read_curves(results: str | Path) -> tuple[list[Curve], list[str]]:
    """Make the curves of every model and benchmark in a study's folder, from the runs that exist.

    Args:
        results: folder of the study.

    Returns:
        The curves, and a note for each benchmark without a curve, for lack of the untouched model's run.
    """
    curves, notes = [], []
    for folder in sorted(p for p in Path(results).glob("*/impact/*") if p.is_dir()):
        model, benchmark = folder.parent.parent.name, folder.name
        untouched = run_file(results, model, benchmark, UNTOUCHED, UNTOUCHED_ALPHA)
        if not untouched.is_file():
            notes.append(f"{model}, {benchmark}: {untouched} is missing: no curve")
            continue
        runs = sorted(folder.glob("*/alpha=*.parquet"))
        curves.append(read_curve(model, benchmark, runs))
    return curves, notes


def read_runs(paths: Sequence[str | Path]) -> dict[str, dict[float, pa.Table]]:
    """Read runs, by neuron set and α as stated in each file's metadata, in the given order.

    Raises:
        HNeuronsError: if a file's metadata does not state them.
    """
    runs: dict[str, dict[float, pa.Table]] = {}
    for path in paths:
        made_by = store.made_by(path)
        if missing := {"neurons", "alpha"} - set(made_by):
            raise HNeuronsError(f"{path}: written by version 0.1, without its {missing.pop()}: run the workflow again")
        alpha = float(made_by["alpha"])
        # Version 0.1 imported an untouched run under the name of the scaled set.
        name = UNTOUCHED if is_untouched(alpha) else made_by["neurons"]
        runs.setdefault(name, {})[alpha] = store.read_table(path, RUNS)
    return runs


def read_curve(model: str, benchmark: str, files: Sequence[str | Path], **options: Any) -> Curve:
    """Make the curve of one model and benchmark.

    Args:
        model: name of the model.
        benchmark: name of the benchmark.
        files: its judged runs, including the untouched model's.
        options: further arguments of make_curve.
    """
    runs = read_runs(files)
    untouched = runs.pop(UNTOUCHED)[UNTOUCHED_ALPHA]
    made_by = store.made_by(untouched)
    names = {"judge": made_by.get("judge", "unknown"), **{key: made_by.get(key, "") for key in ("wording", "title")}}
    return make_curve(untouched, runs, model=model, benchmark=benchmark, **names, **options)
