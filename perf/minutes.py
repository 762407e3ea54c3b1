"""Where the time of a finished study went: seconds of its jobs by stage, and how busy the cores were.

    python perf/minutes.py results/demo/

Snakemake writes a file of timings when a job ends; the job began that many seconds before.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from hneurons.planning.jobs import timing_rows


@dataclass(frozen=True)
class Timing:
    """One finished job: the files that it makes, its seconds on the clock and of CPU, and when it ended."""

    stage: str
    seconds: float
    cpu_seconds: float
    end: float


def timings(study: Path) -> list[Timing]:
    """Read the timings of a study's jobs."""
    folder = study / "timings"
    finished = []
    for path in folder.rglob("*.tsv"):
        # {model}/{stage}/… or {model}/{stage}.tsv, and {stage}… for what all models share.
        parts = path.relative_to(folder).with_suffix("").parts
        shared = len(parts) == 1 or parts[0] in ("questions", "items")
        row = timing_rows(path)[-1]
        # Of a job that ends within a second no CPU time is measured.
        cpu = float(row["cpu_time"]) if row["cpu_time"] not in ("NA", "-") else float(row["s"])
        finished.append(Timing(parts[0] if shared else parts[1], float(row["s"]), cpu, path.stat().st_mtime))
    return finished


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of the study's results")
    study = parser.parse_args().study
    if not (finished := timings(study)):
        sys.exit(f"error: {study / 'timings'}: no job has finished")
    by_stage = defaultdict(list)
    for timing in finished:
        by_stage[timing.stage].append(timing)
    total = sum(timing.seconds for timing in finished)
    print(f"{'stage':20} {'jobs':>5} {'minutes':>8} {'CPU':>8} {'share':>6}")
    for stage, jobs in sorted(by_stage.items(), key=lambda item: -sum(job.seconds for job in item[1])):
        seconds, cpu = sum(job.seconds for job in jobs), sum(job.cpu_seconds for job in jobs)
        print(f"{stage:20} {len(jobs):5} {seconds / 60:8.1f} {cpu / 60:8.1f} {seconds / total:6.0%}")
    wall = max(job.end for job in finished) - min(job.end - job.seconds for job in finished)
    print(f"{'all':20} {len(finished):5} {total / 60:8.1f} {sum(job.cpu_seconds for job in finished) / 60:8.1f}")
    print(f"{wall / 60:.1f} minutes on the clock, {total / wall:.2f} jobs at a time")


if __name__ == "__main__":
    main()
