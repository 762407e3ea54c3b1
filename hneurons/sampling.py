"""Stage "responses": sample every question of a shard, journalled question by question."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons import store
from hneurons.config import SamplingSettings
from hneurons.generation import generate
from hneurons.models import stop_token_ids
from hneurons.prompts import chat_ids
from hneurons.records import RESPONSES
from hneurons.seeds import seed_of


def sample_questions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: list[dict[str, Any]],
    settings: SamplingSettings,
    *,
    seed: int,
    token_budget: int,
    journal: str | Path,
    mark: str,
) -> tuple[pa.Table, store.Journal]:
    """Responses to all questions: settings.samples to each training question, one to every other (METHOD.md §1); and the
    journal, to be removed once the table is kept.

    mark: fingerprint of what is sampled, so that a journal of other settings is not continued.
    """
    kept = store.Journal(journal, mark)
    done = {row["question_id"] for row in kept.rows}
    progress = tqdm(total=len(questions), initial=len(done), desc="sampling", unit="question")
    for samples in sorted({_samples(q, settings) for q in questions}):
        group = [q for q in questions if _samples(q, settings) == samples and q["question_id"] not in done]
        prompts = [chat_ids(tokenizer, [q["question"]]) for q in group]
        for index, responses in generate(
            model,
            prompts,
            settings.decoding,
            seeds=[seed_of(seed, "sample", q["question_id"]) for q in group],
            stop_ids=stop_token_ids(model, tokenizer),
            samples=samples,
            token_budget=token_budget,
        ):
            rows = [
                {
                    "question_id": group[index]["question_id"],
                    "sample": i,
                    "prompt_ids": prompts[index],
                    "text": tokenizer.decode(response.token_ids, skip_special_tokens=True),
                    **asdict(response),
                }
                for i, response in enumerate(responses)
            ]
            # One line, so that a question whose line was cut short is not taken for one with fewer samples.
            kept.add([{"question_id": group[index]["question_id"], "responses": rows}])
            progress.update()
    progress.close()
    order = {q["question_id"]: i for i, q in enumerate(questions)}
    rows = [row for done in sorted(kept.rows, key=lambda d: order[d["question_id"]]) for row in done["responses"]]
    return pa.Table.from_pylist([{**row, "response_ids": row["token_ids"]} for row in rows], schema=RESPONSES), kept


def _samples(question: dict[str, Any], settings: SamplingSettings) -> int:
    return settings.samples if question["split"] == "train" else 1
