"""Time to plan the paper's sweep: dry runs of all targets, of one merged target, and of one model's probe."""

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
    """Time one dry run of a target; None only parses the workflow."""
    mode = ["--list-rules"] if target is None else ["--dry-run", *target]
    command = [sys.executable, "-m", "snakemake", "--config", f"sources={json.dumps({'bioasq': BIOASQ})}", *mode]
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    """Time all targets and report the medians."""
    times: dict[str, list[float]] = {name: [] for name in TARGETS}
    # The targets alternate, so that a slow phase of the machine affects all of them.
    for _ in tqdm(range(REPEATS), desc="dry runs"):
        for name, target in TARGETS.items():
            times[name].append(seconds(target))
    rows = {name: {"median_s": statistics.median(s), "of": sorted(s)} for name, s in times.items()}
    report("dry_run", [(name, f"{row['median_s']:6.1f} s") for name, row in rows.items()], {"targets": rows})


if __name__ == "__main__":
    main()
