"""Test questions at every α, to measure what scaling costs. The rate is accuracy, not compliance."""

from collections.abc import Sequence
from typing import Any

from hneurons import store
from hneurons.config.behaviours import TEST_QUESTIONS
from hneurons.config.study import Decoding
from hneurons.data.gold_answers import answers_that_connect
from hneurons.data.questions import prompt_of
from hneurons.impact.benchmarks.benchmark import Benchmark, Item, ItemDraw, Outcome, outcomes_of_verdicts
from hneurons.judges.panel import Judges
from hneurons.judges.states import CORRECT, INCORRECT
from hneurons.judges.verdicts import answer_to_judge
from hneurons.records import QUESTIONS, upgraded_facts


def _items(draw: ItemDraw) -> list[Item]:
    """Test questions of the in-domain set (the draw's file): no neuron was selected on their answers."""
    rows = {row["question_id"]: row for row in store.read_table(draw.files[0], QUESTIONS).to_pylist()}
    drawn = draw.order(TEST_QUESTIONS, [key for key, row in rows.items() if row["split"] == "test"])[: draw.count]
    kept = ("question", "aliases", "answer_type")
    decoding = draw.decoding or Decoding(max_new_tokens=50)
    return [Item(key, (prompt_of(rows[key]),), {k: rows[key][k] for k in kept}, decoding) for key in drawn]


def _judge(facts: Sequence[dict[str, Any]], replies: Sequence[Sequence[str]], judges: Judges) -> list[Outcome]:
    answers = [
        answer_to_judge(upgraded_facts(f), {"text": r[0], "truncated": f["truncated"][0]})
        for f, r in zip(facts, replies, strict=True)
    ]
    return outcomes_of_verdicts(judges.for_task("correctness").correctness(answers), CORRECT, INCORRECT)


KNOWLEDGE = Benchmark(
    title="Test questions",
    compliance="accuracy",
    items=_items,
    judge=_judge,
    task="correctness",
    fewer=True,
    answers=lambda facts: answers_that_connect(facts["aliases"], facts["answer_type"]),
)
