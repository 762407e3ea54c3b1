"""The balanced examples that are drawn from verdicts and answer spans."""

from collections import Counter, defaultdict
from itertools import zip_longest
from typing import Any

import pyarrow as pa

from hneurons.config.datasets import DatasetSettings
from hneurons.config.study import ExampleSettings
from hneurons.errors import HNeuronsError
from hneurons.judges.states import REPAIRED
from hneurons.judges.verdicts import consistent_label, verdicts_by_question
from hneurons.records import EXAMPLES, Rows
from hneurons.seeds import seed_of


def example_table(
    questions: Rows, judged: Rows, placed: Rows, name: str, dataset: DatasetSettings, settings: ExampleSettings, seed: int
) -> tuple[pa.Table, dict[str, Any]]:
    """Draw balanced examples of a data set, one response per question: the one with a span.

    Each split and kind of question has equally many hallucinated and faithful examples, at most per_class of each in a
    split. A nonexist set paired with correct answers has hallucinated examples only. A set that is only tested has no
    examples where a class has too few; the counts say so under `too_few`.

    Args:
        questions: Rows of QUESTIONS.
        judged: Rows of VERDICTS on all responses to these questions.
        placed: Rows of SPANS; a question without a span is counted and left out.
        name: Name of the data set.
        dataset: Settings of the data set.
        settings: Sizes of the classes.
        seed: Seed of the draw.

    Returns:
        Rows of EXAMPLES, and the counts from which they were drawn.

    Raises:
        HNeuronsError: A question has no verdict, or a class of the training set has fewer than min_per_class examples.
    """
    verdicts_of = verdicts_by_question(judged)
    if unjudged := [q["question_id"] for q in questions if q["question_id"] not in verdicts_of]:
        raise HNeuronsError(f"{name}: {len(unjudged)} questions have no verdict, e.g. {unjudged[0]}; delete the verdicts")
    sample_of = {s["question_id"]: s["sample"] for s in placed}
    pools: dict[tuple[str, str], dict[int, list[dict[str, Any]]]] = defaultdict(lambda: {0: [], 1: []})
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for q in questions:
        label = consistent_label(verdicts_of[q["question_id"]], bool(q["aliases"]))
        outcome = {0: "faithful", 1: "hallucinated", None: "left out"}[label]
        if label is not None and q["question_id"] not in sample_of:
            outcome = "without a span"
        elif label is not None:
            pools[q["split"], q["kind"]][label].append(q)
        counts[q["split"]][outcome] += 1
    # The model's own training set; partners answer only its test questions.
    trains = dataset.role == "in_domain" and "train" in counts
    too_few = ""
    one_sided = dataset.role == "nonexist" and dataset.faithful == "correct_answers"
    labels = (1,) if one_sided else (0, 1)

    def place(q: dict[str, Any]) -> int:
        return seed_of(seed, "examples", name, q["question_id"])

    rows = []
    for split in sorted(counts):
        by_kind = [pool for (pool_split, _), pool in sorted(pools.items()) if pool_split == split]
        for label in labels:
            # The order is drawn per question, so that most of an earlier draw remains when questions are added.
            drawn = [sorted(pool[label], key=place)[: min(len(pool[i]) for i in labels)] for pool in by_kind]
            # Questions of all kinds take turns, which keeps both classes balanced within each kind.
            kept = [q for turn in zip_longest(*drawn) for q in turn if q][: settings.per_class]
            if len(kept) < settings.min_per_class:
                too_few = (
                    f"{name}: too few consistent questions in the {split} split: {dict(counts[split])}, balanced "
                    f"{len(kept)} per class, {settings.min_per_class} needed; raise datasets.{name}.questions, lower "
                    f"sampling.samples or sampling.decoding.temperature, or lower examples.min_per_class"
                )
                if trains:
                    raise HNeuronsError(too_few)
            rows += [
                {
                    "question_id": q["question_id"],
                    "sample": sample_of[q["question_id"]],
                    "kind": q["kind"],
                    "split": split,
                    "label": label,
                }
                for q in kept
            ]
    return pa.Table.from_pylist([] if too_few else rows, schema=EXAMPLES), {
        "too_few": too_few,
        "questions": {split: dict(c) for split, c in counts.items()},
        "verdicts": dict(Counter(v["verdict"] for v in judged)),
        "repaired": sum(v["why"] == REPAIRED for v in judged),
        "judge": ", ".join(sorted({v["judge"] for v in judged})),
        "spans": dict(Counter(s["method"] for s in placed)),
        "extractor": ", ".join(sorted({s["extractor"] for s in placed})),
    }
