"""The generated questions: deterministic, disjoint by question and gold answer, balanced within kinds."""

from __future__ import annotations

from collections import Counter

import pytest

from hneurons.config.datasets import DatasetSettings
from hneurons.config.study import ExampleSettings, SplitSettings
from hneurons.data.catalogue import questions_table, vocabulary_of
from hneurons.data.geography import all_place_names
from hneurons.data.vocabulary import find_mentions
from hneurons.errors import HNeuronsError
from hneurons.judges.examples import example_table
from hneurons.judges.verdicts import example_responses

COUNTS = {"cities": 1500, "us-cities": 300, "elements": 236, "invented-cities": 250}


def rows(name, count=None, seed=1, splits=None):
    return questions_table(name, slice(count or COUNTS[name]), seed, splits).to_pylist()


@pytest.mark.parametrize("name", COUNTS)
def test_a_set_is_deterministic_and_its_questions_distinct(name):
    found = rows(name)
    assert len(found) == COUNTS[name] == len({q["question_id"] for q in found}) == len({q["question"] for q in found})
    assert found == rows(name)
    assert found[:50] == rows(name, 50), "a larger set begins with the smaller one"


@pytest.mark.parametrize("name", COUNTS)
def test_no_question_tells_its_answer_and_every_answer_is_in_the_vocabulary(name):
    for q in rows(name):
        of = vocabulary_of(q["answer_type"])
        assert not find_mentions(q["question"], of), q["question"]
        assert not q["aliases"] or tuple(q["aliases"]) in of.answers


def test_splits_are_disjoint_by_question_and_by_gold_answer():
    found = rows("cities", splits=SplitSettings())
    answers = {s: {q["aliases"][0] for q in found if q["split"] == s} for s in ("train", "selection", "test")}
    assert all(len(a) >= 15 for a in answers.values())
    assert not answers["train"] & answers["selection"] | answers["train"] & answers["test"]
    assert not answers["selection"] & answers["test"]


def test_cities_are_graded_by_population():
    populations = [q["popularity"] for q in rows("cities")]
    assert populations == sorted(populations, reverse=True)
    assert populations[0] > 100 * populations[-1]


def test_invented_cities_do_not_exist_and_follow_the_seed():
    found = rows("invented-cities")
    names = {q["question_id"].removeprefix("invented-cities-") for q in found}
    assert not names & all_place_names()
    assert {"paris", "chicago"} <= all_place_names()
    assert names != {q["question_id"].removeprefix("invented-cities-") for q in rows("invented-cities", seed=2)}


def test_a_set_that_is_too_small_is_refused():
    with pytest.raises(HNeuronsError, match=r"datasets.elements.questions: 500 requested, but the set has 236"):
        rows("elements", 500)


def judged(questions, verdict_of):
    return [
        {"question_id": q["question_id"], "sample": s, "verdict": verdict_of(q, s), "why": "", "judge": "rules"}
        for q in questions
        for s in (0, 1)
    ]


def placed(questions):
    return [{"question_id": q["question_id"], "sample": 0, "method": "alias", "extractor": "rules"} for q in questions]


SETTINGS = DatasetSettings(role="transfer", questions=236)


def test_classes_are_balanced_within_kinds():
    questions = rows("elements")
    number = {q["question_id"]: i for i, q in enumerate(questions)}

    def verdict(q, sample):
        right = number[q["question_id"]] % 10 < (7 if q["kind"] == "element-symbol" else 2)
        return "correct" if right else "incorrect"

    table, counts = example_table(
        questions, judged(questions, verdict), placed(questions), "elements", SETTINGS, ExampleSettings(), 1
    )
    kinds = Counter((e["kind"], e["label"]) for e in table.to_pylist())
    assert kinds["element-symbol", 0] == kinds["element-symbol", 1] > 20
    assert kinds["symbol-element", 0] == kinds["symbol-element", 1] > 10
    assert sum(counts["questions"]["test"].values()) == 236
    few, _ = example_table(
        questions,
        judged(questions, verdict),
        placed(questions),
        "elements",
        SETTINGS,
        ExampleSettings(per_class=30, min_per_class=30),
        1,
    )
    assert Counter(e["label"] for e in few.to_pylist()) == {0: 30, 1: 30}
    few_kinds = Counter((e["kind"], e["label"]) for e in few.to_pylist())
    assert few_kinds["element-symbol", 0] == few_kinds["element-symbol", 1]


def test_a_question_whose_claim_cannot_be_placed_is_left_out_and_counted():
    questions = rows("elements")
    alternating = {q["question_id"]: "correct" if i % 4 < 2 else "incorrect" for i, q in enumerate(questions)}
    verdicts = judged(questions, lambda q, s: alternating[q["question_id"]])
    table, counts = example_table(questions, verdicts, placed(questions[:200]), "elements", SETTINGS, ExampleSettings(), 1)
    assert counts["questions"]["test"]["without a span"] == 36
    assert {e["question_id"] for e in table.to_pylist()} <= {q["question_id"] for q in questions[:200]}


def test_a_set_that_is_only_tested_has_no_examples_where_it_has_too_few():
    questions = rows("elements")
    mixed = judged(questions, lambda q, s: "correct" if s else "incorrect")
    table, counts = example_table(questions, mixed, placed(questions), "elements", SETTINGS, ExampleSettings(), 1)
    assert table.num_rows == 0 and "too few consistent questions in the test split" in counts["too_few"]


def test_the_example_of_a_question_is_its_most_frequent_response():
    texts = {"a": ["Rome", "Oslo", "Oslo ", "Rome"], "b": ["Rome", "Oslo", "Oslo", "Oslo"], "c": ["Rome"]}
    responses = [{"question_id": q, "sample": i, "text": text} for q, ts in texts.items() for i, text in enumerate(ts)]
    chosen = {r["question_id"]: r["sample"] for r in example_responses(responses[::-1], most_frequent=True)}
    assert chosen == {"a": 0, "b": 1, "c": 0}, "ties go to the earlier one"
    assert {r["sample"] for r in example_responses(responses, most_frequent=False)} == {0}


def test_too_few_consistent_questions_stop_with_counts_and_knobs():
    questions = rows("elements")
    mixed = judged(questions, lambda q, s: "correct" if s else "incorrect")
    training = DatasetSettings(role="in_domain", questions=236)
    questions = [{**q, "split": "train"} for q in questions]
    with pytest.raises(HNeuronsError) as caught:
        example_table(questions, mixed, placed(questions), "elements", training, ExampleSettings(), 1)
    assert "'left out': 236" in str(caught.value)
    for knob in ("datasets.elements.questions", "sampling.samples", "examples.min_per_class"):
        assert knob in str(caught.value)
