"""Judge the replies to a benchmark, α by α. After a change of the judge nothing is generated again."""

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
    """Stage "judged": write the outcome of every reply, with the neuron set and α of the replies in the metadata.

    An existing file made from the same items, replies and settings is kept.

    Args:
        name: name of the benchmark.
        items_file: its items.
        runs: file of replies → file of outcomes.
        judges: the judges of the study.
        made_by: further facts that the outcomes depend on, for the metadata.
    """
    benchmark = BENCHMARKS[name]
    facts_of = {item.item_id: item.facts for item in read_items(items_file)}
    for path, out in runs.items():
        run = store.made_by(path)
        metadata = {**made_by, "neurons": run["neurons"], "alpha": run["alpha"], "judge": benchmark.judged_by(judges)}
        metadata["mark"] = store.fingerprint([metadata, store.file_hash(items_file), store.file_hash(path)])
        if store.is_up_to_date(out, metadata["mark"]):
            continue
        rows = store.read_table(path, REPLIES).to_pylist()
        facts = [{**facts_of[row["item_id"]], "truncated": row["truncated"]} for row in rows]
        outcomes = benchmark.judge(facts, [row["replies"] for row in rows], judges)
        judged = [
            {**row, **vars(outcome), "tokens": row["tokens"][-1], "truncated": row["truncated"][-1]}
            for row, outcome in zip(rows, outcomes, strict=True)
        ]
        store.write_table(out, pa.Table.from_pylist(judged, schema=RUNS), metadata)
