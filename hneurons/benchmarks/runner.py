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
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons import store
from hneurons.benchmarks.benchmark import Item, read_items
from hneurons.config import Decoding
from hneurons.generation import batches_by_budget, generate_batch
from hneurons.kv_cache import Row
from hneurons.models import Prepared, stop_token_ids
from hneurons.neurons import NeuronSet
from hneurons.prompts import chat_ids, continued_ids, template_hash
from hneurons.records import REPLIES
from hneurons.seeds import seed_of


def run(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Item],
    *,
    date: datetime.date,
    seed: int,
    token_budget: int,
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
            # Their own words count as nothing here, their replies as the longest that there may be.
            spoken = [[text for turn in item.turns for text in (turn, "")][:-1] for item in left]
            lengths = [len(chat_ids(tokenizer, said, date)) + turns * decoding.max_new_tokens for said in spoken]
            for batch in batches_by_budget(lengths, token_budget):
                kept.add(_converse(model, tokenizer, decoding, [left[i] for i in batch], date, seed))
                progress.update(len(batch))
    row_of = {row["item_id"]: row for row in kept.rows}
    return pa.Table.from_pylist([row_of[item.item_id] for item in items], schema=REPLIES), kept, len(items) - len(done)


def _converse(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    decoding: Decoding,
    items: Sequence[Item],
    date: datetime.date,
    seed: int,
) -> list[dict[str, Any]]:
    """The conversations of a batch of items that are decoded alike and have equally many turns.

    What was read and said stays in the key-value cache from turn to turn.
    """
    stops = stop_token_ids(model, tokenizer)
    said: list[list[str]] = [[] for _ in items]
    rows: list[dict[str, Any]] = [{"item_id": item.item_id, "replies": [], "tokens": [], "truncated": []} for item in items]
    read: list[list[int]] = [[] for _ in items]
    past: list[Row | None] = [None] * len(items)
    for turn in range(len(items[0].turns)):
        prompts = []
        for i, (conversation, item) in enumerate(zip(said, items, strict=True)):
            conversation.append(item.turns[turn])
            prompt = continued_ids(tokenizer, conversation, date, read[i]) if turn else None
            if prompt is None:
                prompt, past[i] = chat_ids(tokenizer, conversation, date), None
            prompts.append(prompt)
        known = [row for row in past if row is not None]
        answers = generate_batch(
            model,
            prompts,
            decoding,
            seeds=[seed_of(seed, item.item_id, str(turn)) for item in items],
            stop_ids=stops,
            # Rows that begin anew and rows that go on would not share a batch: then all begin anew.
            past=known if len(known) == len(items) else None,
            keep_past=turn + 1 < len(items[0].turns),
        )
        for i, (response,) in enumerate(answers):
            reply = tokenizer.decode(response.token_ids, skip_special_tokens=True)
            ended = response.finish_reason == "stop"
            read[i] = [*prompts[i], *(response.token_ids[:-1] if ended else response.token_ids)]
            past[i] = response.past
            said[i].append(reply)
            rows[i]["replies"].append(reply)
            rows[i]["tokens"].append(len(response.token_ids))
            rows[i]["truncated"].append(response.finish_reason == "length")
    return rows


def run_alphas(
    prepared: Prepared,
    name: str,
    neurons: NeuronSet | None,
    outputs: Mapping[float, str | Path],
    items_file: str | Path,
    *,
    token_budget: int,
    made_by: Mapping[str, Any],
) -> float:
    """Stage "replies": the benchmark at each α, one file per α, written as soon as it is whole.

    neurons: what is scaled; None for the untouched model. made_by: what decides the replies besides: `seed`,
    `prompt_date`. A file that is there and was made of the same model, neurons, items and settings is left as it is; an
    unfinished α goes on from its journal. Returns the share of all conversations that was held.
    """
    scaled = {} if neurons is None else neurons.by_layer()
    items = read_items(items_file)
    made_by = {**prepared.identity, **made_by, "chat_template": template_hash(prepared.tokenizer)}
    asked = [(item.item_id, item.turns, item.decoding.model_dump()) for item in items]
    journals, held = [], 0
    for alpha, path in outputs.items():
        journal_path = Path(f"{path}.journal")
        facts = {**made_by, "benchmark": name, "alpha": alpha}
        facts["mark"] = store.fingerprint([facts, scaled, asked])
        if store.is_made_of(path, facts["mark"]):
            journal_path.unlink(missing_ok=True)
            continue
        model = prepared.model
        with nullcontext() if neurons is None else neurons.scale(model, alpha):
            table, journal, new = run(
                model,
                prepared.tokenizer,
                items,
                date=datetime.date.fromisoformat(made_by["prompt_date"]),
                seed=made_by["seed"],
                token_budget=token_budget,
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
