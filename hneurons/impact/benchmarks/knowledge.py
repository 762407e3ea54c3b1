"""What scaling costs: the test questions themselves, asked at every α. The rate is accuracy, not compliance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hneurons import store
from hneurons.config.impact import TEST_QUESTIONS
from hneurons.config.study import Decoding
from hneurons.impact.benchmarks.benchmark import Benchmark, Item, ItemDraw, Outcome, outcomes_of_verdicts
from hneurons.judges.examples import answer_to_judge
from hneurons.judges.panel import Judges
from hneurons.judges.states import CORRECT, INCORRECT
from hneurons.records import QUESTIONS


def _items(draw: ItemDraw) -> list[Item]:
    """Of the in-domain set (the draw's file), test questions: no neuron was found on their answers."""
    rows = {row["question_id"]: row for row in store.read_table(draw.files[0], QUESTIONS).to_pylist()}
    drawn = draw.order(TEST_QUESTIONS, [key for key, row in rows.items() if row["split"] == "test"])[: draw.count]
    kept = ("question", "aliases", "answer_type")
    decoding = draw.decoding or Decoding(max_new_tokens=50)
    return [Item(key, (rows[key]["question"],), {k: rows[key][k] for k in kept}, decoding) for key in drawn]


def _judge(facts: Sequence[dict[str, Any]], replies: Sequence[Sequence[str]], judges: Judges) -> list[Outcome]:
    responses = [
        {"text": r[0], "finish_reason": "length" if f["cut_off"][0] else "stop"}
        for f, r in zip(facts, replies, strict=True)
    ]
    answers = [answer_to_judge(f, response) for f, response in zip(facts, responses, strict=True)]
    return outcomes_of_verdicts(judges.for_task("correctness").correctness(answers), CORRECT, INCORRECT)


KNOWLEDGE = Benchmark(
    title="Test questions",
    compliance="accuracy",
    items=_items,
    judge=_judge,
    task="correctness",
    fewer=True,
)
