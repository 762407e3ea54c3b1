"""Verdicts, answer spans, and the balanced examples that are made of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hneurons.config.judges import RULES
from hneurons.config.study import DatasetSettings, ExampleSettings
from hneurons.data.opendomain import ANSWER_ONLY
from hneurons.errors import HNeuronsError
from hneurons.generation.tokens import token_mask, token_offsets
from hneurons.judges.judge import Judge
from hneurons.judges.states import CORRECT, INCORRECT, REFUSED, Answer
from hneurons.records import EXAMPLES, SPANS, VERDICTS, Rows
from hneurons.seeds import seed_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def verdict_table(questions: Rows, responses: Rows, judge: Judge) -> pa.Table:
    """The judge's verdict on every response."""
    asked = {q["question_id"]: q for q in questions}
    judged = judge.correctness([answer_to_judge(asked[r["question_id"]], r) for r in responses])
    rows = [
        {**_key(r), "verdict": j.verdict, "why": j.why, "judge": judge.name} for r, j in zip(responses, judged, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=VERDICTS)


def span_table(
    questions: Rows, responses: Rows, judged: Rows, tokenizer: PreTrainedTokenizerBase, extractor: Judge
) -> pa.Table:
    """The answer span of every response that can become an example, with its mask over the response's tokens.

    That is the first sample of each question that is all right or all wrong. The span is what the response claims;
    by rules, of a refusal to an unanswerable question it is the whole response. One that cannot be told has no row.
    """
    asked = {q["question_id"]: q for q in questions}
    verdict_of = verdicts_by_question(judged)
    candidates = [
        r
        for r in responses
        if r["sample"] == 0
        and consistent_label(verdict_of[r["question_id"]], bool(asked[r["question_id"]]["aliases"])) is not None
    ]
    read = [token_offsets(tokenizer, r["response_ids"]) for r in candidates]
    answers = [
        replace(answer_to_judge(asked[r["question_id"]], r), text=text)
        for r, (text, _) in zip(candidates, read, strict=True)
    ]
    found = extractor.span(answers)
    rows = []
    for response, (text, offsets), span in zip(candidates, read, found, strict=True):
        verdict = verdict_of[response["question_id"]][0]
        method = {CORRECT: "alias", INCORRECT: "candidate", REFUSED: "declines"}[verdict]
        if extractor.name != RULES:
            method = "llm"
        elif verdict == REFUSED:
            span = (0, len(text))
        if span is not None and any(mask := token_mask(offsets, *span)):
            place = {"start": span[0], "end": span[1]}
            rows.append({**_key(response), **place, "method": method, "extractor": extractor.name, "token_mask": mask})
    return pa.Table.from_pylist(rows, schema=SPANS)


def verdicts_by_question(judged: Rows) -> dict[str, list[str]]:
    """The verdicts on a question's samples, in their order."""
    sampled: dict[str, list[str]] = defaultdict(list)
    for v in sorted(judged, key=lambda v: int(v["sample"])):
        sampled[v["question_id"]].append(v["verdict"])
    return sampled


def answer_to_judge(question: dict[str, Any], response: dict[str, Any]) -> Answer:
    """A row of responses as what a judge is asked, its question without the request for brevity (METHOD.md §1)."""
    return Answer(
        question["question"].removesuffix(ANSWER_ONLY).strip(),
        response["text"],
        question["aliases"],
        question["answer_type"],
        cut_off=response["finish_reason"] == "length",
    )


def _key(response: dict[str, Any]) -> dict[str, Any]:
    return {"question_id": response["question_id"], "sample": response["sample"]}


def consistent_label(sampled: list[str], answerable: bool) -> int | None:
    """1 if a question's samples are all hallucinated, 0 if all are faithful, None otherwise (the consistency filter).

    sampled: the verdicts of all its samples. A refusal is not a wrong answer; to an unanswerable question it is the
    faithful one.
    """
    if all(v == INCORRECT for v in sampled):
        return 1
    return 0 if all(v == (CORRECT if answerable else REFUSED) for v in sampled) else None


def example_table(
    questions: Rows,
    judged: Rows,
    placed: Rows,
    name: str,
    dataset: DatasetSettings,
    settings: ExampleSettings,
    seed: int,
) -> tuple[pa.Table, dict[str, Any]]:
    """Balanced examples of a data set, one response per question, and the counts they were drawn from.

    placed: the spans; a question without one is left out, and counted.

    In each split and kind of question there are equally many hallucinated and faithful ones, at most per_class in all.
    A nonexist set paired with correct answers has the hallucinated side alone. Raises HNeuronsError with the counts if
    a side has fewer than min_per_class.
    """
    sampled = verdicts_by_question(judged)
    if lost := [q["question_id"] for q in questions if q["question_id"] not in sampled]:
        raise HNeuronsError(f"{name}: {len(lost)} questions have no verdict, {lost[0]} is one; delete the set's verdicts")
    with_span = {s["question_id"] for s in placed}
    pools: dict[tuple[str, str], dict[int, list[dict[str, Any]]]] = defaultdict(lambda: {0: [], 1: []})
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for q in questions:
        label = consistent_label(sampled[q["question_id"]], bool(q["aliases"]))
        if label is not None and q["question_id"] not in with_span:
            counts[q["split"]]["without a span"] += 1
            continue
        counts[q["split"]][{0: "faithful", 1: "hallucinated", None: "left out"}[label]] += 1
        if label is not None:
            pools[q["split"], q["kind"]][label].append(q)
    one_sided = dataset.role == "nonexist" and dataset.faithful == "correct_answers"
    rows = []
    for split in sorted(counts):
        chosen: dict[int, list[dict[str, Any]]] = {0: [], 1: []}
        for (of_split, _), pool in sorted(pools.items()):
            if of_split == split:
                n = len(pool[1]) if one_sided else min(len(pool[0]), len(pool[1]))
                for label in (1,) if one_sided else (0, 1):
                    # By a draw of each question's own: with more questions most of the earlier ones stay.
                    drawn = sorted(pool[label], key=lambda q: seed_of(seed, "examples", name, q["question_id"]))
                    chosen[label] += drawn[:n]
        for label in (1,) if one_sided else (0, 1):
            kept = _evenly(chosen[label], settings.per_class)
            if len(kept) < settings.min_per_class:
                raise HNeuronsError(
                    f"{name}: too few consistent questions in the {split} split: {dict(counts[split])}, balanced "
                    f"{len(kept)} per class, {settings.min_per_class} needed; raise datasets.{name}.questions, lower "
                    f"sampling.samples or sampling.decoding.temperature, or lower examples.min_per_class"
                )
            rows += [
                {"question_id": q["question_id"], "sample": 0, "kind": q["kind"], "split": split, "label": label}
                for q in kept
            ]
    states = Counter(v["verdict"] for v in judged)
    return pa.Table.from_pylist(rows, schema=EXAMPLES), {
        "questions": {split: dict(c) for split, c in counts.items()},
        "verdicts": dict(states),
        "judge": ", ".join(sorted({v["judge"] for v in judged})),
        "spans": dict(Counter(s["method"] for s in placed)),
        "extractor": ", ".join(sorted({s["extractor"] for s in placed})),
    }


def _evenly(chosen: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most `most` questions, from all kinds in turn: both classes are cut alike, so the balance within kinds stays."""
    by_kind = defaultdict(list)
    for q in chosen:
        by_kind[q["kind"]].append(q)
    turns = [q for i in range(len(chosen)) for kind in sorted(by_kind) for q in by_kind[kind][i : i + 1]]
    return turns[:most]
