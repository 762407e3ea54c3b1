"""Run a benchmark at some α, each journalled batch by batch. Judging is a stage of its own."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from hneurons import store
from hneurons.config.study import Decoding
from hneurons.generation.decode import Response
from hneurons.generation.engine import Engine
from hneurons.generation.prompts import template_hash
from hneurons.impact.benchmarks.benchmark import Item, read_items
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.records import REPLIES
from hneurons.seeds import seed_of


def run_items(
    engine: Engine,
    items: Sequence[Item],
    *,
    date: datetime.date,
    seed: int,
    journal: str | Path,
    mark: str,
    description: str,
) -> tuple[pa.Table, store.Journal, int]:
    """The model's replies to all items, in their order; the journal, to be removed once the table is kept; and how many
    items it had not.

    Whatever scales the model is the caller's. date: what a chat template prints as today's. The random numbers of an item
    are the same in every run of it.
    """
    kept = store.Journal(journal, mark)
    done = {row["item_id"] for row in kept.rows}
    alike: dict[tuple[Decoding, int], list[Item]] = defaultdict(list)
    for item in items:
        if item.item_id not in done:
            alike[item.decoding, len(item.turns)].append(item)
    with tqdm(total=len(items), initial=len(done), desc=description, unit="item") as progress:
        for (decoding, turns), left in alike.items():
            seeds = [[seed_of(seed, item.item_id, str(turn)) for turn in range(turns)] for item in left]
            for batch, replies in engine.converse([i.turns for i in left], decoding, date=date, seeds=seeds):
                kept.add([_row(left[i], said, engine) for i, said in zip(batch, replies, strict=True)])
                progress.update(len(batch))
    row_of = {row["item_id"]: row for row in kept.rows}
    return pa.Table.from_pylist([row_of[item.item_id] for item in items], schema=REPLIES), kept, len(items) - len(done)


def _row(item: Item, replies: Sequence[Response], engine: Engine) -> dict[str, Any]:
    return {
        "item_id": item.item_id,
        "replies": [engine.tokenizer.decode(r.token_ids, skip_special_tokens=True) for r in replies],
        "tokens": [len(r.token_ids) for r in replies],
        "truncated": [r.finish_reason == "length" for r in replies],
    }


def run_alphas(
    engine: Engine,
    name: str,
    neurons: NeuronSet | None,
    outputs: Mapping[float, str | Path],
    items_file: str | Path,
    *,
    made_by: Mapping[str, Any],
) -> float:
    """Stage "replies": the benchmark at each α, one file per α, written as soon as it is whole.

    neurons: what is scaled; None for the untouched model. made_by: what decides the replies besides: `seed`,
    `prompt_date`. A file that is there and was made of the same model, neurons, items and settings is left as it is; an
    unfinished α goes on from its journal. Returns the share of all conversations that was held.
    """
    scaled = {} if neurons is None else neurons.by_layer()
    items = read_items(items_file)
    if neurons is not None:
        neurons.check_for(engine.identity)
    made_by = {**engine.identity, **made_by, "chat_template": template_hash(engine.tokenizer)}
    asked = [(item.item_id, item.turns, item.decoding.model_dump()) for item in items]
    journals, held = [], 0
    for alpha, path in outputs.items():
        journal_path = Path(f"{path}.journal")
        facts = {**made_by, "benchmark": name, "alpha": alpha}
        facts["mark"] = store.fingerprint([facts, scaled, asked])
        if store.is_up_to_date(path, facts["mark"]):
            journal_path.unlink(missing_ok=True)
            continue
        with nullcontext() if neurons is None else engine.scaled(scaled, alpha):
            table, journal, new = run_items(
                engine,
                items,
                date=datetime.date.fromisoformat(made_by["prompt_date"]),
                seed=made_by["seed"],
                journal=journal_path,
                mark=facts["mark"],
                description=f"{name} α = {alpha:g}",
            )
        store.write_table(path, table, facts)
        journals.append(journal)
        held += new
    # Kept until here: a job that fails at a later α has its finished files removed by the workflow, not their rows.
    for journal in journals:
        journal.remove()
    return held / (len(items) * len(outputs))
