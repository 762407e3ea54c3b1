"""Judge the replies to a benchmark, α by α. After a change of the judge nothing is generated again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from hneurons import store
from hneurons.data.gold_answers import connected_answers
from hneurons.impact.benchmarks.benchmark import Benchmark, Outcome, read_items
from hneurons.judges.panel import Judges
from hneurons.records import REPLIES, RUNS


def judge_runs(
    benchmark: Benchmark,
    items_file: str | Path,
    runs: Mapping[str | Path, str | Path],
    judges: Judges,
    made_by: Mapping[str, Any],
) -> None:
    """Stage "judged": write the outcome of every reply, with the neuron set and α of the replies in the metadata.

    The metadata also name the judge, the title in figures and, if the items have one, the wording of the prompts.

    An existing file made from the same items, replies and settings is kept.

    Args:
        benchmark: the benchmark.
        items_file: its items.
        runs: file of replies → file of outcomes.
        judges: the judges of the study.
        made_by: further facts that the outcomes depend on, for the metadata.
    """
    facts_of = {item.item_id: item.facts for item in read_items(items_file)}
    group_of = _groups(benchmark, facts_of)
    wording = next((facts["wording"] for facts in facts_of.values() if "wording" in facts), None)
    for path, out in runs.items():
        run = store.made_by(path)
        metadata = {**made_by, "neurons": run["neurons"], "alpha": run["alpha"], "judge": benchmark.judged_by(judges)}
        metadata["title"] = benchmark.heading
        if wording is not None:
            metadata["wording"] = wording
        metadata["mark"] = store.fingerprint([metadata, store.file_hash(items_file), store.file_hash(path)])
        if store.is_up_to_date(out, metadata["mark"]):
            continue
        rows = store.read_table(path, REPLIES).to_pylist()
        facts = [{**facts_of[row["item_id"]], "truncated": row["truncated"]} for row in rows]
        outcomes = benchmark.judge(facts, [row["replies"] for row in rows], judges)
        judged = [
            {
                **row,
                **vars(outcome),
                **_decisive(row, outcome),
                "subset": item_facts.get("subset"),
                "group": group_of[row["item_id"]],
            }
            for row, outcome, item_facts in zip(rows, outcomes, facts, strict=True)
        ]
        store.write_table(out, pa.Table.from_pylist(judged, schema=RUNS), metadata)


def _groups(benchmark: Benchmark, facts_of: Mapping[str, dict[str, Any]]) -> dict[str, str | None]:
    """The connected set of gold answers of each item; None for an item without one."""
    answers = {item: benchmark.answers(facts) for item, facts in facts_of.items()}
    names = connected_answers(list(answers.values()), list(answers))
    return {item: name if answers[item] else None for item, name in zip(answers, names, strict=True)}


def _decisive(row: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    """Length of the decisive reply, and whether it was cut off."""
    return {name: row[name][outcome.decisive] for name in ("tokens", "truncated")}
