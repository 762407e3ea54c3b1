"""The sets of questions, published and generated, and the vocabularies of possible answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from hneurons.config.study import SplitSettings
from hneurons.data import elements, geography, nonexist, opendomain
from hneurons.data.questions import Question, split_of
from hneurons.data.vocabulary import Vocabulary
from hneurons.errors import HNeuronsError
from hneurons.records import QUESTIONS
from hneurons.seeds import seed_of

# Each takes a file and returns all of its questions.
PUBLISHED: dict[str, Callable[[Path], list[Question]]] = {
    "triviaqa": opendomain.triviaqa,
    "nq-open": opendomain.nq_open,
    "bioasq": opendomain.bioasq,
    "truthfulqa": opendomain.truthfulqa,
}


# Each takes the number of questions and a seed and returns exactly that many, or fewer where there are no more.
GENERATED: dict[str, Callable[[int, int], list[Question]]] = {
    "cities": geography.cities,
    "us-cities": geography.us_cities,
    "elements": elements.elements,
    "invented-cities": geography.invented_cities,
    "nonexist": nonexist.nonexist,
}


VOCABULARIES: dict[str, Callable[[], Vocabulary]] = {
    "country": geography.countries,
    "us-state": geography.us_states,
    "element": elements.element_names,
    "element-symbol": elements.element_symbols,
}


def vocabulary_of(answer_type: str) -> Vocabulary:
    """All possible answers of one type."""
    return VOCABULARIES[answer_type]()


def questions_table(
    name: str, rows: slice, seed: int, splits: SplitSettings | None, files: Sequence[str | Path] = ()
) -> pa.Table:
    """These rows of a set's questions. With splits (the in-domain set) they are split by gold answer; else all are test.

    files: what a published set is read from; its rows are taken in an order drawn by the seed, so that a larger number of
    questions begins with the smaller one. Raises HNeuronsError if the set has fewer questions than asked for.
    """
    if name in GENERATED:
        questions = GENERATED[name](rows.stop, seed)
    else:
        everything = PUBLISHED[name](Path(files[0]))
        questions = sorted(everything, key=lambda q: seed_of(seed, "order", name, q.key))
    if len(questions) < rows.stop:
        raise HNeuronsError(f"datasets.{name}.questions: {rows.stop} asked for, the set has {len(questions)}")
    found = [
        {
            "question_id": f"{name}-{q.key}",
            "dataset": name,
            "kind": q.kind,
            "question": q.question,
            "aliases": list(q.aliases),
            "answer_type": q.answer_type,
            "split": split_of(q.aliases[0], seed, splits) if splits else "test",
            "popularity": q.popularity,
        }
        for q in questions[rows]
    ]
    return pa.Table.from_pylist(found, schema=QUESTIONS)
