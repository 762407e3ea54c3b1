"""How long planning the paper's sweep takes: a dry run of everything, of one merged target, and of the smallest one."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

from side_by_side import report
from tqdm import tqdm

BIOASQ = {"id": "PaperSearchQA/BioASQ_factoid", "revision": "0" * 40, "path": "data/test-00000-of-00001.parquet"}
TARGETS = {
    "everything": [],
    "one merged target (tables/table1.csv of one study)": ["results/paper/tables/table1.csv"],
    "one model's probe": ["results/paper/gemma-3-4b-it/probe/neurons.parquet"],
    "parsing alone (--list-rules)": None,
}
REPEATS = 5


def seconds(target: list[str] | None) -> float:
    mode = ["--list-rules"] if target is None else ["--dry-run", *target]
    command = [sys.executable, "-m", "snakemake", "--config", f"sources={json.dumps({'bioasq': BIOASQ})}", *mode]
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    found: dict[str, list[float]] = {name: [] for name in TARGETS}
    # In turns, so that a slow minute of the machine meets all of them.
    for _ in tqdm(range(REPEATS), desc="dry runs"):
        for name, target in TARGETS.items():
            found[name].append(seconds(target))
    rows = {name: {"median_s": statistics.median(s), "of": sorted(s)} for name, s in found.items()}
    report("dry_run", [(name, f"{row['median_s']:6.1f} s") for name, row in rows.items()], {"targets": rows})


if __name__ == "__main__":
    main()
