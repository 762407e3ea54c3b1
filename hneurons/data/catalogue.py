"""The sets of questions, published and generated, and the vocabularies of possible answers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hneurons.config.study import SplitSettings
from hneurons.data import elements, geography, nonexist, opendomain
from hneurons.data.gold_answers import answers_that_connect, connected_answers
from hneurons.data.own import own_questions
from hneurons.data.questions import Question, split_of
from hneurons.data.vocabulary import Vocabulary
from hneurons.errors import HNeuronsError
from hneurons.records import QUESTIONS
from hneurons.seeds import seed_of

# Each function reads a file and returns all of its questions.
PUBLISHED: dict[str, Callable[[Path], list[Question]]] = {
    "triviaqa": opendomain.triviaqa,
    "nq-open": opendomain.nq_open,
    "bioasq": opendomain.bioasq,
    "truthfulqa": opendomain.truthfulqa,
}


# Each function takes a number of questions and a seed and returns that number of questions, or all if it has fewer.
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
    """Return all possible answers of a type, a key of `VOCABULARIES`."""
    return VOCABULARIES[answer_type]()


def questions_table(
    name: str,
    rows: slice,
    seed: int,
    splits: SplitSettings | None,
    files: Sequence[str | Path] = (),
    reading: Mapping[str, Any] | None = None,
) -> pa.Table:
    """Build the table of some of a set's questions.

    Args:
        name: Name of the set.
        rows: Which of its questions; `stop` is required.
        seed: The study's seed. It draws the order of a published set's questions, so that a larger draw begins with the
            smaller one.
        splits: Shares of the splits for the in-domain set, which is split by connected sets of accepted answers among all
            questions of the set; None puts every question into the test split.
        files: Files that a published set, or one of the user's own, is read from.
        reading: Of the user's own set: further arguments of `own_questions`.

    Returns:
        A table with the schema `QUESTIONS`.

    Raises:
        HNeuronsError: If the set has fewer than `rows.stop` questions.
    """
    if name in GENERATED:
        questions = GENERATED[name](rows.stop, seed)
    else:
        path = Path(files[0])
        published = own_questions(name, path, **reading) if reading else PUBLISHED[name](path)
        questions = sorted(published, key=lambda q: seed_of(seed, "order", name, q.key))
    if len(questions) < rows.stop:
        raise HNeuronsError(f"datasets.{name}.questions: {rows.stop} requested, but the set has {len(questions)}")
    aliases = [answers_that_connect(q.aliases, q.answer_type) for q in questions]
    groups = connected_answers(aliases, [q.key for q in questions]) if splits else []
    records = []
    for i, q in list(enumerate(questions))[rows]:
        split = split_of(groups[i], seed, splits) if splits else "test"
        records.append({**vars(q), "question_id": f"{name}-{q.key}", "dataset": name, "split": split})
    return pa.Table.from_pylist(records, schema=QUESTIONS)
