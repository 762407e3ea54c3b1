"""Judge the replies of a benchmark, α by α: a changed judge reruns no generation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from hneurons import store
from hneurons.impact.benchmarks import BENCHMARKS
from hneurons.impact.benchmarks.benchmark import read_items
from hneurons.judges.panel import Judges
from hneurons.records import REPLIES, RUNS


def judge_runs(
    name: str, items_file: str | Path, runs: Mapping[str | Path, str | Path], judges: Judges, made_by: Mapping[str, Any]
) -> None:
    """Stage "judged": the outcome of every reply. runs: file of replies → file of outcomes.

    A file that is there and was made of the same items, replies and settings is left as it is.
    """
    benchmark = BENCHMARKS[name]
    facts_of = {item.item_id: item.facts for item in read_items(items_file)}
    for path, out in runs.items():
        made = {**made_by, "judge": benchmark.judged_by(judges)}
        made["mark"] = store.fingerprint([made, store.file_hash(items_file), store.file_hash(path)])
        if store.is_up_to_date(out, made["mark"]):
            continue
        rows = store.read_table(path, REPLIES).to_pylist()
        facts = [{**facts_of[row["item_id"]], "cut_off": row["truncated"]} for row in rows]
        outcomes = benchmark.judge(facts, [row["replies"] for row in rows], judges)
        judged = [
            {**row, **vars(outcome), "tokens": row["tokens"][-1], "truncated": row["truncated"][-1]}
            for row, outcome in zip(rows, outcomes, strict=True)
        ]
        store.write_table(out, pa.Table.from_pylist(judged, schema=RUNS), made)
