"""Verdicts, answer spans, and the balanced examples that are made of them."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from tqdm import tqdm

from hneurons.answers import token_mask, token_offsets
from hneurons.config import DatasetSettings, ExampleSettings
from hneurons.datasets import vocabulary
from hneurons.errors import HNeuronsError
from hneurons.judges import CORRECT, INCORRECT, REFUSED, RULES, judge_answer
from hneurons.records import EXAMPLES, SPANS, VERDICTS
from hneurons.seeds import seed_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Rows = Sequence[dict[str, Any]]


def verdicts(questions: Rows, responses: Rows) -> pa.Table:
    """The rule judge's verdict on every response."""
    asked = {q["question_id"]: q for q in questions}
    rows = []
    for response in tqdm(responses, desc="judging", unit="response"):
        q = asked[response["question_id"]]
        verdict, _ = judge_answer(response["text"], q["question"], q["aliases"], vocabulary(q["answer_type"]))
        rows.append({**_key(response), "verdict": verdict, "judge": RULES})
    return pa.Table.from_pylist(rows, schema=VERDICTS)


def spans(questions: Rows, responses: Rows, judged: Rows, tokenizer: PreTrainedTokenizerBase) -> pa.Table:
    """The answer span of every response that can become an example, with its mask over the response's tokens.

    The span is the answer that the response claims; of a refusal to an unanswerable question, the whole response.
    """
    asked = {q["question_id"]: q for q in questions}
    verdict_of = {(v["question_id"], v["sample"]): v["verdict"] for v in judged}
    rows = []
    for response in tqdm(responses, desc="spans", unit="response"):
        q, verdict = asked[response["question_id"]], verdict_of[response["question_id"], response["sample"]]
        text, offsets = token_offsets(tokenizer, response["response_ids"])
        if verdict in (CORRECT, INCORRECT):
            _, mention = judge_answer(text, q["question"], q["aliases"], vocabulary(q["answer_type"]))
            assert mention is not None, f"{response['question_id']}: judged {verdict} without a claim"
            start, end, method = mention.start, mention.end, "alias" if verdict == CORRECT else "candidate"
        elif verdict == REFUSED and not q["aliases"]:
            start, end, method = 0, len(text), "declines"
        else:
            continue
        mask = token_mask(offsets, start, end)
        rows.append({**_key(response), "start": start, "end": end, "method": method, "token_mask": mask})
    return pa.Table.from_pylist(rows, schema=SPANS)


def _key(response: dict[str, Any]) -> dict[str, Any]:
    return {"question_id": response["question_id"], "sample": response["sample"]}


def label_of(sampled: list[str], answerable: bool) -> int | None:
    """1 if a question's samples are all hallucinated, 0 if all are faithful, None otherwise (the consistency filter).

    sampled: the verdicts of all its samples. A refusal is not a wrong answer; to an unanswerable question it is the
    faithful one.
    """
    if all(v == INCORRECT for v in sampled):
        return 1
    return 0 if all(v == (CORRECT if answerable else REFUSED) for v in sampled) else None


def examples(
    questions: Rows, judged: Rows, name: str, dataset: DatasetSettings, settings: ExampleSettings, seed: int
) -> tuple[pa.Table, dict[str, Any]]:
    """Balanced examples of a data set, one response per question, and the counts they were drawn from.

    In each split and kind of question there are equally many hallucinated and faithful ones, at most per_class in all.
    A nonexist set paired with correct answers has the hallucinated side alone. Raises HNeuronsError with the counts if
    a side has fewer than min_per_class.
    """
    sampled: dict[str, list[str]] = defaultdict(list)
    for v in sorted(judged, key=lambda v: int(v["sample"])):
        sampled[v["question_id"]].append(v["verdict"])
    pools: dict[tuple[str, str], dict[int, list[dict[str, Any]]]] = defaultdict(lambda: {0: [], 1: []})
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for q in questions:
        label = label_of(sampled[q["question_id"]], bool(q["aliases"]))
        counts[q["split"]][{0: "faithful", 1: "hallucinated", None: "left out"}[label]] += 1
        if label is not None:
            pools[q["split"], q["kind"]][label].append(q)
    one_sided = dataset.role == "nonexist" and dataset.faithful == "correct_answers"
    rows = []
    for split in sorted(counts):
        chosen: dict[int, list[dict[str, Any]]] = {0: [], 1: []}
        for (of_split, kind), pool in sorted(pools.items()):
            if of_split == split:
                rng = random.Random(seed_of(seed, "examples", name, split, kind))
                n = len(pool[1]) if one_sided else min(len(pool[0]), len(pool[1]))
                for label in (1,) if one_sided else (0, 1):
                    chosen[label] += rng.sample(pool[label], n)
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
        "judge": RULES,
    }


def _evenly(chosen: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most `most` questions, from all kinds in turn: both classes are cut alike, so the balance within kinds stays."""
    by_kind = defaultdict(list)
    for q in chosen:
        by_kind[q["kind"]].append(q)
    turns = [q for i in range(len(chosen)) for kind in sorted(by_kind) for q in by_kind[kind][i : i + 1]]
    return turns[:most]
