"""Gold answers: questions that share an accepted answer, in any spelling, belong together in splits and in resamples."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hneurons.data.comparison import answer_keys
from hneurons.data.questions import MULTIPLE_CHOICE


def connected_answers(aliases: Sequence[Sequence[str]], keys: Sequence[str]) -> list[str]:
    """Name the connected set of accepted answers that each question belongs to.

    Two questions are connected if an accepted answer of one is one of the other's in any spelling (`answer_keys`);
    connections are transitive.

    Args:
        aliases: the accepted answers of each question; a question without any is alone in its set.
        keys: a name of each question.

    Returns:
        Per question the name of its set: the first alias, in alphabetical order, that a question of the set begins with, or
        the key of a question without an answer.
    """
    number_of: dict[tuple[str, ...], int] = {}
    pairs = [
        (question, number_of.setdefault(key, len(number_of)))
        for question, spellings in enumerate(aliases)
        for alias in spellings
        for key in answer_keys(alias)
    ]
    size = len(aliases) + len(number_of)
    rows, columns = np.array(pairs, dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), (rows, len(aliases) + columns)), shape=(size, size))
    _, parts = connected_components(graph, directed=False)
    names: dict[int, str] = {}
    for part, spellings, key in zip(parts, aliases, keys, strict=False):
        name = spellings[0] if len(spellings) else key
        names[part] = min(names.get(part, name), name)
    return [names[part] for part in parts[: len(aliases)]]


def answers_that_connect(aliases: Sequence[str], answer_type: str) -> Sequence[str]:
    """The accepted answers that can connect a question with others: options such as "True" or "all of these" do not."""
    return () if answer_type == MULTIPLE_CHOICE else aliases


def answer_groups(questions: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The connected set of accepted answers of each question, by question id.

    Args:
        questions: rows of QUESTIONS.
    """
    rows = list(questions)
    ids = [str(row["question_id"]) for row in rows]
    aliases = [answers_that_connect(row["aliases"], row["answer_type"]) for row in rows]
    return dict(zip(ids, connected_answers(aliases, ids), strict=True))
