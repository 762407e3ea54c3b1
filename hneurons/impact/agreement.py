"""How far two judges agree: the same sample put to both (Cohen's κ and the confusion of their verdicts)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from hneurons import store
from hneurons.impact.benchmarks.benchmark import first_exchanges, read_items
from hneurons.judges.examples import answer_to_judge
from hneurons.judges.judge import Judge
from hneurons.judges.panel import Judges
from hneurons.judges.states import ERROR, Judgement
from hneurons.records import QUESTIONS, REPLIES, RESPONSES
from hneurons.stats import bootstrap_interval


def agreement_scores(
    first: Sequence[Judgement], second: Sequence[Judgement], *, resamples: int, seed: int
) -> dict[str, Any]:
    """κ with its interval, the share of equal verdicts, and the confusion (rows: the first judge), states included.

    What a judge failed at shows no disagreement: it is counted apart.
    """
    pairs = [(x.verdict, y.verdict) for x, y in zip(first, second, strict=True) if ERROR not in (x.verdict, y.verdict)]
    a, b = np.array([x for x, _ in pairs]), np.array([y for _, y in pairs])
    labels = sorted({*a, *b})

    def kappa(x: np.ndarray, y: np.ndarray) -> float:
        # Undefined where both give one verdict alone.
        return float(cohen_kappa_score(x, y, labels=labels)) if len({*x, *y}) > 1 else float("nan")

    value = kappa(a, b) if len(a) else float("nan")
    known = not np.isnan(value)
    return {
        "n": len(a),
        "judge_errors": len(first) - len(a),
        "agree_percent": 100 * float((a == b).mean()) if len(a) else None,
        "kappa": value if known else None,
        "kappa_interval": bootstrap_interval(kappa, [a, b], resamples=resamples, seed=seed) if known else None,
        "labels": labels,
        "confusion": confusion_matrix(a, b, labels=labels).tolist() if len(a) else [],
    }


def compare_judges(
    task: str, asked: Sequence[Any], judges: Judges, sample: int, *, resamples: int, seed: int
) -> dict[str, Any]:
    """Both judges of a study on a sample, drawn by the seed, of what it has them judge."""
    drawn = random.Random(f"{seed} agreement {task}").sample(list(asked), min(sample, len(asked)))
    method: Callable[[Judge], list[Judgement]] = {
        "correctness": lambda judge: judge.correctness(drawn),
        "falseqa": lambda judge: judge.premise(drawn),
        "jailbreak": lambda judge: judge.harm(drawn),
    }[task]
    found = agreement_scores(method(judges.rules), method(judges.llm), resamples=resamples, seed=seed)
    return {"task": task, "first": judges.rules.name, "second": judges.llm.name, **found}


def read_agreement_inputs(task: str, files: Sequence[str]) -> list[Any]:
    """What the judges are asked, from the files of the workflow: questions and shards of responses (correctness), or the
    items of a benchmark and the untouched model's replies."""
    if task == "correctness":
        asked = {q["question_id"]: q for q in store.read_table(files[0], QUESTIONS).to_pylist()}
        responses = [r for path in files[1:] for r in store.read_table(path, RESPONSES).to_pylist()]
        return [answer_to_judge(asked[r["question_id"]], r) for r in responses if r["sample"] == 0]
    facts = {item.item_id: item.facts for item in read_items(files[0])}
    rows = store.read_table(files[1], REPLIES).to_pylist()
    return list(first_exchanges([facts[row["item_id"]] for row in rows], [row["replies"] for row in rows]))
