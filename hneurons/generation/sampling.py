"""Stage "responses": sample every question of a shard, with a journal entry after each question."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hneurons import store
from hneurons.config.study import SamplingSettings
from hneurons.data.questions import prompt_of, questions_for
from hneurons.generation.engine import Engine, Prompt
from hneurons.generation.prompts import base_ids, base_text, begins_in_thoughts, chat_ids, template_hash
from hneurons.generation.thoughts import taken_apart
from hneurons.neurons.scaling import Scaling
from hneurons.records import QUESTIONS, RESPONSES
from hneurons.resumable import ResumableTable
from hneurons.seeds import seed_of

Row = dict[str, Any]


def sample_shard(
    engine: Engine, questions: str | Path, out: str | Path, settings: SamplingSettings, made_by: Mapping[str, Any]
) -> float:
    """Sample the questions of a shard, keeping the responses that an earlier job sampled.

    Args:
        engine: generates the responses.
        questions: path of the shard's questions.parquet.
        out: path of the file to write.
        settings: how each question is decoded, and how often a training question is sampled; other questions are sampled
            once.
        made_by: the facts besides model and engine that decide the responses: those that decide the questions,
            `prompting` ("chat" samples all questions; "chat-test" and "base", the latter for a model that completes text,
            only the test questions), `prompt_date` and `seed`.

    Returns:
        The share of the questions that this job sampled.
    """
    chosen = questions_for(store.read_table(questions, QUESTIONS).to_pylist(), made_by["prompting"])
    facts = {**engine.identity, **made_by, "chat_template": template_hash(engine.tokenizer)}
    facts["mark"] = store.fingerprint(facts)
    keys = [(question["question_id"],) for question in chosen]
    table = ResumableTable(out, RESPONSES, ["question_id"], keys, facts)
    left = {question_id for (question_id,) in table.left}
    unanswered = [question for question in chosen if question["question_id"] in left]
    with table.progress("sampling", "question") as bar:
        for _, rows in sample_questions(engine, unanswered, settings, made_by):
            table.add(rows)
            bar.update()
    table.write()
    table.close()
    return table.share


def sample_questions(
    engine: Engine,
    questions: list[Row],
    settings: SamplingSettings,
    made_by: Mapping[str, Any],
    scalings: Sequence[Scaling] | None = None,
) -> Iterator[tuple[int, list[Row]]]:
    """Sample questions; the model is not loaded if the list is empty.

    Args:
        engine: generates the responses.
        questions: rows of QUESTIONS.
        settings: how often each question is sampled, and how it is decoded.
        made_by: `prompting`, `prompt_date` and `seed`, as in `sample_shard`.
        scalings: how neurons are scaled while each question is answered.

    Yields:
        The index of a question and its rows (RESPONSES), as its batch is finished.
    """
    opened = begins_in_thoughts(engine.tokenizer) if made_by["prompting"] != "base" else False
    for samples in sorted({_samples(question, settings) for question in questions}):
        group = [i for i, question in enumerate(questions) if _samples(question, settings) == samples]
        prompts = [_prompt(engine, questions[i], made_by, scalings[i] if scalings else None) for i in group]
        for batch, answers in engine.sample(prompts, settings.decoding, samples):
            for index, responses in zip(batch, answers, strict=True):
                rows = [
                    {
                        "question_id": questions[group[index]]["question_id"],
                        "sample": i,
                        "prompt_ids": prompts[index].ids,
                        "response_ids": response.token_ids,
                        "logprobs": response.logprobs,
                        "truncated": response.truncated,
                        **asdict(taken_apart(engine.tokenizer, response.token_ids, opened)),
                    }
                    for i, response in enumerate(responses)
                ]
                yield group[index], rows


def _prompt(engine: Engine, question: Row, made_by: Mapping[str, Any], scaling: Scaling) -> Prompt:
    text, seed = prompt_of(question), seed_of(made_by["seed"], "sample", question["question_id"])
    parse = engine.parse_control_tokens
    if made_by["prompting"] == "base":
        return Prompt(base_ids(engine.tokenizer, text, parse), base_text(text), base=True, seed=seed, scaling=scaling)
    date = datetime.date.fromisoformat(made_by["prompt_date"])
    return Prompt(chat_ids(engine.tokenizer, [text], date, parse), text, seed=seed, scaling=scaling)


def _samples(question: Row, settings: SamplingSettings) -> int:
    return settings.samples if question["split"] == "train" else 1
