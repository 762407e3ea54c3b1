"""Stage "responses": sample every question of a shard, journalled question by question."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from hneurons import store
from hneurons.config.study import SamplingSettings
from hneurons.data.questions import questions_for
from hneurons.generation.engine import Engine, Prompt
from hneurons.generation.prompts import base_ids, base_text, chat_ids, template_hash
from hneurons.records import QUESTIONS, RESPONSES
from hneurons.seeds import seed_of


def sample_shard(
    engine: Engine,
    questions: str | Path,
    out: str | Path,
    settings: SamplingSettings,
    made_by: Mapping[str, Any],
) -> float:
    """The responses of a shard: settings.samples to each training question, one to every other (METHOD.md §1).

    questions: the shard's. made_by: what decides the responses, besides the model: what decides the questions, `prompting`
    ("chat"; "base", for a model that completes, and "chat-test" are asked the test questions alone), `prompt_date`, `seed`.
    What the file, or the journal of a job that was killed, has of the same making is kept. Returns the share that was
    sampled.
    """
    asked = questions_for(store.read_table(questions, QUESTIONS).to_pylist(), made_by["prompting"])
    facts = {**engine.identity, **made_by, "chat_template": template_hash(engine.tokenizer)}
    mark = store.fingerprint(facts)
    if store.is_up_to_date(out, mark, questions=len(asked)):
        Path(f"{out}.journal").unlink(missing_ok=True)
        return 0.0
    journal = store.Journal(f"{out}.journal", mark)
    if Path(out).exists() and store.made_by(out).get("mark") == mark:
        journal.add(_by_question(store.read_table(out, RESPONSES).to_pylist(), {r["question_id"] for r in journal.rows}))
    done = {row["question_id"]: row["responses"] for row in journal.rows}
    left = [q for q in asked if q["question_id"] not in done]
    with tqdm(total=len(asked), initial=len(asked) - len(left), desc="sampling", unit="question") as bar:
        for question_id, responses in sample_questions(engine, left, settings, made_by):
            # One line, so that a question whose line was cut short is not taken for one with fewer samples.
            journal.add([{"question_id": question_id, "responses": responses}])
            done[question_id] = responses
            bar.update()
    table = pa.Table.from_pylist([row for q in asked for row in done[q["question_id"]]], schema=RESPONSES)
    store.write_table(out, table, {**facts, "mark": mark, "questions": len(asked)})
    journal.remove()
    return len(left) / len(asked) if asked else 0.0


def _by_question(rows: list[dict[str, Any]], but: set[str]) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["question_id"] not in but:
            found.setdefault(row["question_id"], []).append(row)
    return [{"question_id": question_id, "responses": responses} for question_id, responses in found.items()]


def sample_questions(
    engine: Engine, questions: list[dict[str, Any]], settings: SamplingSettings, made_by: Mapping[str, Any]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(question_id, rows of its responses), batch by batch; loads no model if there is no question."""
    for samples in sorted({_samples(q, settings) for q in questions}):
        group = [q for q in questions if _samples(q, settings) == samples]
        prompts = [_prompt(engine, q["question"], made_by) for q in group]
        seeds = [seed_of(made_by["seed"], "sample", q["question_id"]) for q in group]
        for batch, answers in engine.sample(prompts, settings.decoding, seeds=seeds, samples=samples):
            for index, responses in zip(batch, answers, strict=True):
                yield (
                    group[index]["question_id"],
                    [
                        {
                            "question_id": group[index]["question_id"],
                            "sample": i,
                            "prompt_ids": prompts[index].ids,
                            "response_ids": response.token_ids,
                            "logprobs": response.logprobs,
                            "text": engine.tokenizer.decode(response.token_ids, skip_special_tokens=True),
                            "finish_reason": response.finish_reason,
                        }
                        for i, response in enumerate(responses)
                    ],
                )


def _prompt(engine: Engine, question: str, made_by: Mapping[str, Any]) -> Prompt:
    if made_by["prompting"] == "base":
        return Prompt(base_ids(engine.tokenizer, question), base_text(question), base=True)
    date = datetime.date.fromisoformat(made_by["prompt_date"])
    return Prompt(chat_ids(engine.tokenizer, [question], date), question)


def _samples(question: dict[str, Any], settings: SamplingSettings) -> int:
    return settings.samples if question["split"] == "train" else 1
