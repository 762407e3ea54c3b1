"""Answers of a finished study as labelled pairs: what `fit` takes, with the tokens and labels that the study used."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from hneurons import store
from hneurons.data.gold_answers import answer_groups
from hneurons.data.questions import prompt_of
from hneurons.records import EXAMPLES, QUESTIONS, RESPONSES, SPANS


def study_pairs(folder: str | Path, dataset: str, split: str) -> Iterator[dict[str, Any]]:
    """Yield the examples of a data set as rows that `fit` takes.

    Args:
        folder: a model's folder in a study's results.
        dataset: name of the data set.
        split: "train", "selection" or "test".

    Yields:
        `id`, `question` (the user's message), `response`, `label` (1 hallucinated), `answer_start` and `answer_end`
        (characters of the answer), and `group` (the connected set of accepted answers).
    """
    folder = Path(folder)
    questions = store.read_table(folder.parent / f"questions/{dataset}.parquet", QUESTIONS).to_pylist()
    by_id, gold_of = {question["question_id"]: question for question in questions}, answer_groups(questions)
    responses, spans = (_by_example(folder / stage / dataset, schema) for stage, schema in _STAGES.items())
    for example in store.read_table(folder / f"examples/{dataset}.parquet", EXAMPLES).to_pylist():
        key = example["question_id"], example["sample"]
        if example["split"] == split:
            yield {
                "id": key[0],
                "question": prompt_of(by_id[key[0]]),
                "response": responses[key]["text"],
                "label": example["label"],
                "answer_start": spans[key]["start"],
                "answer_end": spans[key]["end"],
                "group": gold_of[key[0]],
            }


_STAGES = {"responses": RESPONSES, "spans": SPANS}


def _by_example(folder: Path, schema: pa.Schema) -> dict[tuple[str, int], dict[str, Any]]:
    tables = [store.read_table(path, schema) for path in sorted(folder.glob("*.parquet"))]
    return {(row["question_id"], row["sample"]): row for table in tables for row in table.to_pylist()}
