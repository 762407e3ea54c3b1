"""The probe's path compared with scikit-learn at a single C and with merely reading the shards: time, memory, passes.

Columns are resampled from the demo's CETT shards (run `make demo` first), so that their correlations are realistic. Each
measurement runs in a separate process; its memory is the peak of anonymous memory.

    python perf/probe.py [--largest]      # --largest adds the shapes of Llama-3.3-70B, 18.3 GB on disk
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import OUT, THREADS, Peak, machine, own_process
from tqdm import tqdm

from hneurons import store
from hneurons.cett.columns import ShardColumns
from hneurons.cett.shards import SHARD_OPTIONS, shard_table
from hneurons.models.widths import Widths
from hneurons.probe.estimator import training_problem
from hneurons.probe.l1 import objective
from hneurons.probe.l1_path import fit_l1_path

SOURCE = Path("results/demo/smollm2-135m-instruct/cett/cities")
# rows, layers, d_ff
REFERENCE = (4000, 30, 1536)
SHAPES = {
    "SmolLM2-135M, 1,000 rows": (1000, 30, 1536),
    "SmolLM2-135M, 4,000 rows": REFERENCE,
    "Gemma-3-4B, 1,000 rows": (1000, 34, 10_240),
    "Gemma-3-4B, 2,000 rows": (2000, 34, 10_240),
    "Gemma-3-4B, 4,000 rows": (4000, 34, 10_240),
    "Llama-3.1-8B, 4,000 rows": (4000, 32, 14_336),
}
LARGEST = {"Llama-3.3-70B, 4,000 rows": (4000, 80, 28_672)}
ROWS_PER_SHARD = 500


def write_shards(folder: Path, rows: int, layers: int, d_ff: int) -> None:
    """Write rows and columns drawn with replacement from the demo's training rows, each value with independent noise."""
    source = ShardColumns(sorted(SOURCE.glob("*.parquet")))
    train = [i for i, row in enumerate(source.rows) if row["split"] == "train"]
    values = source.take(np.arange(source.p))[train].astype(np.float32)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(train), rows)
    factors = np.exp(0.25 * rng.normal(size=256)).astype(np.float32)
    columns = rng.integers(0, source.p, (layers, d_ff))
    for shard, first in enumerate(tqdm(range(0, rows, ROWS_PER_SHARD), desc=f"writing {rows} x {layers * d_ff}")):
        chosen = drawn[first : first + ROWS_PER_SHARD]
        features = np.empty((len(chosen), layers, d_ff), dtype=np.float16)
        for layer in range(layers):
            noise = factors[rng.integers(0, 256, (len(chosen), d_ff), dtype=np.uint8)]
            features[:, layer] = values[np.ix_(chosen, columns[layer])] * noise
        keys = [{**source.rows[train[i]], "question_id": f"q{first + k}"} for k, i in enumerate(chosen)]
        table = shard_table(keys, list(features), Widths.of_layers(layers, d_ff))
        store.write_table(folder / f"{shard:04d}.parquet", table, {"layers": layers}, **SHARD_OPTIONS)


def grid(columns: ShardColumns, y: np.ndarray) -> list[float]:
    """Return ten values of C in geometric sequence, from the smallest with a non-zero weight up to a thousand times it.

    The value closest to 1.0 is replaced by 1.0.
    """
    residual = (y - y.mean()).astype(np.float32)
    steepest = max(float(np.abs(residual @ block.astype(np.float32)).max()) for _, block in columns.blocks())
    Cs = np.geomspace(1.0001 / steepest, 1000 / steepest, 10)
    Cs[np.abs(np.log(Cs)).argmin()] = 1.0
    return [float(C) for C in Cs]


def fit_path(shards: list[Path], Cs: list[float]) -> dict[str, Any]:
    """Fit the path over all C, and read the shards once for comparison."""
    columns = ShardColumns(shards)
    problem = training_problem(columns, "3-vs-1")
    begun = time.perf_counter()
    for _ in columns.blocks():
        pass
    bare = time.perf_counter() - begun
    with Peak() as peak:
        begun = time.perf_counter()
        paths = fit_l1_path(columns, [problem], Cs, threads=THREADS)
        seconds = time.perf_counter() - begun
    fits = paths.fits[0]
    return {
        "seconds": seconds,
        "peak_gb": peak.gb,
        "passes": paths.passes,
        "most_passes_of_a_C": max(fit.passes for fit in fits),
        "bare_pass_s": bare,
        "over_bare_reading": seconds / (paths.passes * bare),
        "non_zero": [len(fit.columns) for fit in fits],
        "largest_gap": max(fit.gap for fit in fits),
        "converged": all(fit.converged for fit in fits),
        "objective": [fit.objective for fit in fits],
    }


def liblinear(shards: list[Path], C: float) -> dict[str, Any]:
    """Fit scikit-learn's usual solver: one C, with a penalised intercept, on the matrix in memory."""
    from sklearn.linear_model import LogisticRegression

    columns = ShardColumns(shards)
    problem = training_problem(columns, "3-vs-1")
    with Peak() as peak:
        X = columns.take(np.arange(columns.p)).astype(np.float64)
        begun = time.perf_counter()
        fit = LogisticRegression(C=C, l1_ratio=1.0, solver="liblinear", max_iter=1000, random_state=0).fit(X, problem.y)
        seconds = time.perf_counter() - begun
    solution = fit.coef_[0], float(fit.intercept_[0]), C, "penalised"
    value = objective(problem.y, problem.weight, fit.decision_function(X), *solution)
    return {"seconds": seconds, "peak_gb": peak.gb, "objective": value}


def penalised(shards: list[Path], C: float) -> dict[str, Any]:
    """Fit the same problem as liblinear with hneurons."""
    columns = ShardColumns(shards)
    begun = time.perf_counter()
    paths = fit_l1_path(columns, [training_problem(columns, "3-vs-1")], [C], intercept="penalised", threads=THREADS)
    fit = paths.fits[0][0]
    return {"seconds": time.perf_counter() - begun, "objective": fit.objective, "gap": fit.gap}


def measured(kind: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a measurement in a separate process."""
    return own_process(__file__, "--measure", kind, str(folder), *arguments)


def measure(kind: str, folder: str, *arguments: str) -> None:
    """Run a measurement in this process, and print it as JSON."""
    shards = sorted(Path(folder).glob("*.parquet"))
    if kind == "grid":
        columns = ShardColumns(shards)
        result: Any = {"C": grid(columns, training_problem(columns, "3-vs-1").y)}
    elif kind == "path":
        result = fit_path(shards, json.loads(arguments[0]))
    else:
        result = {"liblinear": liblinear, "penalised": penalised}[kind](shards, float(arguments[0]))
    print(json.dumps(result))


def picture(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Plot time and memory against the number of columns."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axes, key, label in zip(panels, ("seconds", "peak_gb"), ("seconds, ten C", "peak memory, GB"), strict=True):
        for n, marker in ((1000, "o"), (2000, "^"), (4000, "s")):
            points = sorted((r["columns"], r[key]) for r in rows.values() if r["rows"] == n)
            axes.plot(*zip(*points, strict=True), marker=marker, label=f"{n:,} rows")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("columns (neurons)")
        axes.set_ylabel(label)
        axes.legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure all shapes, and plot and report the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", action="store_true")
    largest = parser.parse_args().largest
    if not SOURCE.is_dir():
        sys.exit(f"error: {SOURCE} does not exist; its columns are resampled, so run `make demo` first")
    results: dict[str, dict[str, Any]] = {}
    reference: dict[str, Any] = {}
    for name, (rows, layers, d_ff) in {**SHAPES, **(LARGEST if largest else {})}.items():
        folder = OUT / "shards"
        shutil.rmtree(folder, ignore_errors=True)
        write_shards(folder, rows, layers, d_ff)
        Cs = measured("grid", folder)["C"]
        results[name] = {"rows": rows, "columns": layers * d_ff, "C": Cs, **measured("path", folder, json.dumps(Cs))}
        print(f"{name}: {json.dumps({k: v for k, v in results[name].items() if k not in ('C', 'objective')})}", flush=True)
        if (rows, layers, d_ff) == REFERENCE:
            reference = {kind: measured(kind, folder, "1.0") for kind in ("liblinear", "penalised")}
            print(f"one C = 1.0, penalised intercept: {json.dumps(reference)}", flush=True)
        shutil.rmtree(folder)
    gemma, single = results["Gemma-3-4B, 4,000 rows"], reference["liblinear"]["seconds"]
    ratio = gemma["seconds"] / (single * gemma["columns"] / (REFERENCE[1] * REFERENCE[2]))
    print(f"ten C at 4,000 x 348,160 take {ratio:.3f} of liblinear's single C scaled by columns")
    store.write_json(OUT / "probe.json", {"machine": machine(), "shapes": results, "one_C": reference, "ratio": ratio})
    picture(results, OUT / "probe.png")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
    else:
        main()
