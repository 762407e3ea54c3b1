"""Verdicts on responses, and the label that a question's verdicts give it."""

from collections import Counter, defaultdict
from typing import Any

import pyarrow as pa

from hneurons.judges.judge import Judge
from hneurons.judges.states import CORRECT, INCORRECT, REFUSED, Answer
from hneurons.records import VERDICTS, Rows


def verdict_table(questions: Rows, responses: Rows, judge: Judge) -> pa.Table:
    """Judge every response.

    Args:
        questions: Rows of QUESTIONS.
        responses: Rows of RESPONSES to these questions.
        judge: The judge of correctness.

    Returns:
        One row of VERDICTS per response, in their order.
    """
    question_of = {q["question_id"]: q for q in questions}
    judged = judge.correctness([answer_to_judge(question_of[r["question_id"]], r) for r in responses])
    rows = [{**r, "verdict": j.verdict, "why": j.why, "judge": judge.name} for r, j in zip(responses, judged, strict=True)]
    return pa.Table.from_pylist(rows, schema=VERDICTS)


def verdicts_by_question(judged: Rows) -> dict[str, list[str]]:
    """Collect the verdicts on each question's samples, in the order of the samples.

    Args:
        judged: Rows of VERDICTS.

    Returns:
        The verdicts by question id.
    """
    verdicts_of: dict[str, list[str]] = defaultdict(list)
    for v in sorted(judged, key=lambda v: int(v["sample"])):
        verdicts_of[v["question_id"]].append(v["verdict"])
    return verdicts_of


def example_responses(responses: Rows, most_frequent: bool) -> list[dict[str, Any]]:
    """Choose the response of each question that can become its example.

    Args:
        responses: Rows of RESPONSES.
        most_frequent: Whether to take the text that most of the question's samples have (the authors' code), ties by order;
            otherwise the first sample.

    Returns:
        One response per question.
    """
    samples_of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for response in sorted(responses, key=lambda r: int(r["sample"])):
        samples_of[response["question_id"]].append(response)
    chosen = []
    for samples in samples_of.values():
        # most_common keeps the order of first occurrence among equals.
        text = Counter(r["text"].strip() for r in samples).most_common(1)[0][0]
        chosen.append(next(r for r in samples if not most_frequent or r["text"].strip() == text))
    return chosen


def answer_to_judge(question: dict[str, Any], response: dict[str, Any]) -> Answer:
    """Return a response in the form in which judges receive it.

    Args:
        question: The row of QUESTIONS, or the facts of a test question.
        response: The row of RESPONSES.
    """
    fields = {name: question[name] for name in ("question", "aliases", "answer_type")}
    return Answer(text=response["text"], truncated=response["truncated"], **fields)


def consistent_label(sampled: list[str], answerable: bool) -> int | None:
    """Label a question by all of its samples (the consistency filter).

    A refusal is not a wrong answer; to an unanswerable question it is the faithful answer.

    Args:
        sampled: The verdicts on all samples.
        answerable: Whether the question has an answer.

    Returns:
        1 if all samples are hallucinated, 0 if all are faithful, None otherwise and without samples.
    """
    if not sampled:
        return None
    if all(v == INCORRECT for v in sampled):
        return 1
    return 0 if all(v == (CORRECT if answerable else REFUSED) for v in sampled) else None
