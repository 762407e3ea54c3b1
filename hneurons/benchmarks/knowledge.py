"""What scaling costs: the test questions themselves, asked at every α. The rate is accuracy, not compliance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hneurons import store
from hneurons.benchmarks.benchmark import Benchmark, Draw, Item, Outcome, outcomes
from hneurons.config import Decoding
from hneurons.examples import answer_of
from hneurons.impact_config import TEST_QUESTIONS
from hneurons.judges.panel import Panel
from hneurons.judges.states import CORRECT, INCORRECT
from hneurons.records import QUESTIONS


def _items(draw: Draw) -> list[Item]:
    """Of the in-domain set (the draw's file), test questions: no neuron was found on their answers."""
    rows = {row["question_id"]: row for row in store.read_table(draw.files[0], QUESTIONS).to_pylist()}
    drawn = draw.order(TEST_QUESTIONS, [key for key, row in rows.items() if row["split"] == "test"])[: draw.count]
    kept = ("question", "aliases", "answer_type")
    decoding = draw.decoding or Decoding(max_new_tokens=50)
    return [Item(key, (rows[key]["question"],), {k: rows[key][k] for k in kept}, decoding) for key in drawn]


def _judge(facts: Sequence[dict[str, Any]], replies: Sequence[Sequence[str]], panel: Panel) -> list[Outcome]:
    responses = [
        {"text": r[0], "finish_reason": "length" if f["cut_off"][0] else "stop"}
        for f, r in zip(facts, replies, strict=True)
    ]
    answers = [answer_of(f, response) for f, response in zip(facts, responses, strict=True)]
    return outcomes(panel.of("correctness").correctness(answers), CORRECT, INCORRECT)


KNOWLEDGE = Benchmark(
    title="Test questions",
    compliance="accuracy",
    items=_items,
    judge=_judge,
    task="correctness",
    fewer=True,
)
