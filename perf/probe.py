"""The probe's path against scikit-learn's single C and against the bare reading of its shards: time, memory, passes.

Columns are resampled from the demo's CETT shards (`make demo` first), so that they are correlated as real ones are. Each
measurement is a process of its own; memory is the peak of its anonymous memory.

    python perf/probe.py [--largest]      # --largest: the shapes of Llama-3.3-70B too, 18.3 GB on disk
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
    """Rows and columns of the demo's training rows, drawn with replacement, each value with noise of its own."""
    source = ShardColumns(sorted(SOURCE.glob("*.parquet")))
    train = [i for i, row in enumerate(source.rows) if row["split"] == "train"]
    values = source.take(np.arange(source.p))[train].astype(np.float32)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(train), rows)
    factors = np.exp(0.25 * rng.normal(size=256)).astype(np.float32)
    columns = rng.integers(0, source.p, (layers, d_ff))
    for shard, first in enumerate(tqdm(range(0, rows, ROWS_PER_SHARD), desc=f"writing {rows} x {layers * d_ff}")):
        some = drawn[first : first + ROWS_PER_SHARD]
        features = np.empty((len(some), layers, d_ff), dtype=np.float16)
        for layer in range(layers):
            noise = factors[rng.integers(0, 256, (len(some), d_ff), dtype=np.uint8)]
            features[:, layer] = values[np.ix_(some, columns[layer])] * noise
        who = [{**source.rows[train[i]], "question_id": f"q{first + k}"} for k, i in enumerate(some)]
        table = shard_table(who, list(features), layers, d_ff)
        store.write_table(folder / f"{shard:04d}.parquet", table, {"layers": layers}, **SHARD_OPTIONS)


def grid(columns: ShardColumns, y: np.ndarray) -> list[float]:
    """Ten C: geometric, from the first that leaves a weight to a thousand times that, 1.0 among them."""
    pull = (y - y.mean()).astype(np.float32)
    steepest = max(float(np.abs(pull @ block.astype(np.float32)).max()) for _, block in columns.blocks())
    Cs = np.geomspace(1.0001 / steepest, 1000 / steepest, 10)
    Cs[np.abs(np.log(Cs)).argmin()] = 1.0
    return [float(C) for C in Cs]


def ours(shards: list[Path], Cs: list[float]) -> dict[str, Any]:
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
    """What everyone uses: one C, with its penalised intercept, on the matrix in memory."""
    from sklearn.linear_model import LogisticRegression

    columns = ShardColumns(shards)
    problem = training_problem(columns, "3-vs-1")
    with Peak() as peak:
        X = columns.take(np.arange(columns.p)).astype(np.float64)
        begun = time.perf_counter()
        fit = LogisticRegression(C=C, l1_ratio=1.0, solver="liblinear", max_iter=1000, random_state=0).fit(X, problem.y)
        seconds = time.perf_counter() - begun
    found = fit.coef_[0], float(fit.intercept_[0]), C, "penalised"
    value = objective(problem.y, problem.weight, fit.decision_function(X), *found)
    return {"seconds": seconds, "peak_gb": peak.gb, "objective": value}


def ours_penalised(shards: list[Path], C: float) -> dict[str, Any]:
    """The same problem as liblinear's."""
    columns = ShardColumns(shards)
    begun = time.perf_counter()
    fit = fit_l1_path(columns, [training_problem(columns, "3-vs-1")], [C], intercept="penalised", threads=THREADS).fits[0][
        0
    ]
    return {"seconds": time.perf_counter() - begun, "objective": fit.objective, "gap": fit.gap}


def measured(kind: str, folder: Path, *arguments: str) -> dict[str, Any]:
    return own_process(__file__, "--measure", kind, str(folder), *arguments)


def measure(kind: str, folder: str, *arguments: str) -> None:
    shards = sorted(Path(folder).glob("*.parquet"))
    if kind == "grid":
        columns = ShardColumns(shards)
        found: Any = {"C": grid(columns, training_problem(columns, "3-vs-1").y)}
    elif kind == "path":
        found = ours(shards, json.loads(arguments[0]))
    else:
        found = {"liblinear": liblinear, "penalised": ours_penalised}[kind](shards, float(arguments[0]))
    print(json.dumps(found))


def picture(rows: dict[str, dict[str, Any]], path: Path) -> None:
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
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", action="store_true")
    largest = parser.parse_args().largest
    if not SOURCE.is_dir():
        sys.exit(f"error: {SOURCE} is not there: its columns are resampled, so run `make demo` first")
    found: dict[str, dict[str, Any]] = {}
    reference: dict[str, Any] = {}
    for name, (rows, layers, d_ff) in {**SHAPES, **(LARGEST if largest else {})}.items():
        folder = OUT / "shards"
        shutil.rmtree(folder, ignore_errors=True)
        write_shards(folder, rows, layers, d_ff)
        Cs = measured("grid", folder)["C"]
        found[name] = {"rows": rows, "columns": layers * d_ff, "C": Cs, **measured("path", folder, json.dumps(Cs))}
        print(f"{name}: {json.dumps({k: v for k, v in found[name].items() if k not in ('C', 'objective')})}", flush=True)
        if (rows, layers, d_ff) == REFERENCE:
            reference = {kind: measured(kind, folder, "1.0") for kind in ("liblinear", "penalised")}
            print(f"one C = 1.0, penalised intercept: {json.dumps(reference)}", flush=True)
        shutil.rmtree(folder)
    gemma, single = found["Gemma-3-4B, 4,000 rows"], reference["liblinear"]["seconds"]
    ratio = gemma["seconds"] / (single * gemma["columns"] / (REFERENCE[1] * REFERENCE[2]))
    print(f"ten C at 4,000 x 348,160 take {ratio:.3f} of liblinear's single C scaled by columns")
    store.write_json(OUT / "probe.json", {"machine": machine(), "shapes": found, "one_C": reference, "ratio": ratio})
    picture(found, OUT / "probe.png")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
    else:
        main()
