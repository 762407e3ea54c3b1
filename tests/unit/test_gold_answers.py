"""Splits and resamples go by connected sets of accepted answers."""

from __future__ import annotations

import pytest

from hneurons.config.study import SplitSettings
from hneurons.data.catalogue import questions_table
from hneurons.data.gold_answers import answer_groups, connected_answers
from hneurons.data.questions import split_of
from hneurons.data.words import word_forms
from tests.paths import json_lines, shared


def test_questions_that_share_an_answer_in_any_spelling_are_one_set():
    aliases = [["Mercury"], ["MERCURY", "Hermes"], ["hermes!"], ["The Moon"], ["moon"], [], []]
    names = connected_answers(aliases, ["a", "b", "c", "d", "e", "f", "g"])
    assert names == ["MERCURY", "MERCURY", "MERCURY", "The Moon", "The Moon", "f", "g"]
    rows = [{"answer_type": "open", "question_id": str(i), "aliases": spellings} for i, spellings in enumerate(aliases)]
    assert list(answer_groups(rows).values())[:5] == names[:5]


@pytest.fixture(scope="module")
def triviaqa():
    """Accepted answers of 3,500 questions, all their forms, and the connected set of each question."""
    rows = json_lines(shared("reference/gemma3_4b_triviaqa_10samples.jsonl"))
    aliases = [question["ground_truth"] for row in rows for question in row.values()]
    forms = [[word_forms(alias) or (alias,) for alias in spellings] for spellings in aliases]
    return forms, connected_answers(aliases, [str(i) for i in range(len(aliases))])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_no_accepted_answer_is_on_two_sides_of_a_split(triviaqa, seed):
    forms, names = triviaqa
    splits = [split_of(name, seed, SplitSettings()) for name in names]
    sides: dict[tuple[str, ...], set[str]] = {}
    for spellings, split in zip(forms, splits, strict=True):
        for form in spellings:
            sides.setdefault(form, set()).add(split)
    assert max(map(len, sides.values())) == 1
    assert {split: splits.count(split) / len(splits) for split in ("train", "selection", "test")} == pytest.approx(
        {"train": 0.5, "selection": 0.2, "test": 0.3}, abs=0.03
    )


def test_a_larger_draw_keeps_the_splits_of_a_smaller_one():
    small, large = (questions_table("cities", slice(0, n), 1, SplitSettings()).to_pylist() for n in (100, 900))
    assert [q["split"] for q in small] == [q["split"] for q in large[:100]]
