"""A user's own questions: any file under any name, every bad row by its place."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml

from hneurons.config.setup import parse_study
from hneurons.config.study import SplitSettings
from hneurons.data.catalogue import questions_table
from hneurons.data.own import options_of, own_questions
from hneurons.data.questions import prompt_of
from hneurons.data.sources import questions_identity
from hneurons.errors import HNeuronsError
from hneurons.judges.panel import Judges
from hneurons.judges.rule_judge import RuleJudge
from hneurons.judges.states import Answer
from hneurons.planning.budget import expected_calls
from tests.hub_server import REVISION
from tests.paths import ROOT

ROWS = [
    {"question": "Who painted Guernica?", "aliases": ["Picasso", "Pablo Picasso"], "question_id": "g"},
    {"question": "Who painted The Night Watch?", "answer": "Rembrandt"},
    {"question": "Who wrote Hamlet?", "answer": ["Shakespeare"], "kind": "plays"},
    {"question": "who wrote  HAMLET?", "answer": "Shakespeare", "kind": "plays"},
]


def written(folder, rows, ending="jsonl"):
    path = folder / f"painters.{ending}"
    if ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif ending == "parquet":
        pd.DataFrame(
            [{"question": r["question"], "aliases": r.get("aliases") or [r["answer"]]} for r in rows[:2]]
        ).to_parquet(path)
    else:
        path.write_text(
            'question,aliases\nWho painted Guernica?,Picasso; Pablo Picasso\n"Who, then, painted it?",Rembrandt\n'
        )
    return path


def test_lines_of_json(tmp_path):
    questions = own_questions("painters", written(tmp_path, ROWS), None, answerable=True)
    assert [q.aliases for q in questions] == [("Picasso", "Pablo Picasso"), ("Rembrandt",), ("Shakespeare",)]
    assert [q.kind for q in questions] == ["painters", "painters", "plays"] and questions[0].key == "g"
    assert len({q.key for q in questions}) == 3
    assert prompt_of(vars(questions[0])) == "Who painted Guernica? Respond with the answer only, without any explanation."


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_other_formats(tmp_path, ending):
    questions = own_questions("painters", written(tmp_path, ROWS, ending), None, answerable=True)
    assert [q.aliases for q in questions] == [("Picasso", "Pablo Picasso"), ("Rembrandt",)]


def test_a_prompt_of_ones_own(tmp_path):
    prompt = "Q: {question}\nIn short, A:"
    table = questions_table(
        "painters", slice(3), 0, None, [written(tmp_path, ROWS)], {"prompt": prompt, "answerable": True}
    ).to_pylist()
    asked = {row["question_id"]: row for row in table}["painters-g"]
    assert prompt_of(asked) == "Q: Who painted Guernica?\nIn short, A:" and asked["question"] == "Who painted Guernica?"
    assert asked["dataset"] == "painters"


@pytest.mark.parametrize(
    ("row", "answerable", "says"),
    [
        ({"question": "Who?"}, True, r"painters.jsonl: question 5 \(\w+\): no answer \(aliases or answer\)"),
        ({"question": "Who?", "aliases": [" "]}, True, r"question 5 \(\w+\): no answer"),
        ({"question": " ", "answer": "x"}, True, "line 5.*question.*blank"),
        ({"question": "Who?", "answer": 5}, True, "line 5.*answer"),
        ({"question": "Who sold it?", "answer": "x", "question_id": "g"}, True, "line 5.*g"),
        (
            {"question": "Who?", "answer": "x"},
            False,
            r"question 1 \(g\): an answer, which no question of role",
        ),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, answerable, says):
    with pytest.raises(HNeuronsError, match=says):
        own_questions("painters", written(tmp_path, [*ROWS, row]), None, answerable)


HUB = {"id": "lab/sums", "revision": REVISION, "path": "sums.jsonl"}


def study(**changes):
    painters = {"role": "in_domain", "questions": 3, "file": "painters.jsonl", **changes}
    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    return {**config, "datasets": {"painters": painters}, "origin": None}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"file": None}, "datasets.painters: not one of 'bioasq', .* a set of your own needs `file`"),
        ({"prompt": "Who?"}, "datasets.painters.*prompt must contain {question}"),
        ({"columns": {"query": "q"}}, "datasets.painters.columns: 'query' is none of question, aliases"),
        ({"judge": "llm"}, "datasets.painters.judge needs the LLM judge: describe it under judges.llm"),
        ({"hub": HUB}, "datasets.painters: not one of .* needs `file`, or `hub`"),
        ({"file": None, "hub": {**HUB, "path": "a.zip"}}, "datasets.painters.hub.path: a.zip must end in .csv, .jsonl"),
    ],
)
def test_a_set_that_could_not_be_read_is_refused(changes, says):
    with pytest.raises(HNeuronsError, match=says):
        parse_study(study(**changes))


@pytest.mark.parametrize(
    "more", [{"prompt": "{question}"}, {"hub": HUB}, {"columns": {"question": "q"}}, {"judge": "multiple_choice"}]
)
def test_settings_of_sets_of_ones_own_are_for_these(more):
    config = study()
    config["datasets"]["cities"] = {"role": "transfer", "questions": 5, **more}
    with pytest.raises(HNeuronsError, match=rf"datasets.cities.{next(iter(more))}.* for your own questions"):
        parse_study(config)


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_columns_of_other_names(tmp_path):
    row = {"query": "Who wrote Hamlet?", "gold": {"text": ["Shakespeare"]}, "id": 3}
    path = lines(tmp_path / "q.jsonl", row)
    (question,) = own_questions("q", path, None, True, columns={"question": "query", "answer": "gold.text"})
    assert question.question == row["query"] and question.aliases == ("Shakespeare",)
    with pytest.raises(HNeuronsError, match=r"q.jsonl, line 1: no column 'gold.name' \(there are: query, gold, id\)"):
        own_questions("q", path, None, True, columns={"question": "query", "answer": "gold.name"})


@pytest.mark.parametrize(
    ("said", "verdict", "claim"),
    [
        ("7 times 8 is 56. The answer is 56.", "correct", "56"),
        ("The answer is: **1,056** apples", "incorrect", "1,056"),
        ("7 x 8 = 56", "correct", "56"),
        ("First 7 * 2 = 14, so in the end 57", "incorrect", "57"),
        (r"We get \\boxed{56}, not 57.", "correct", "56"),
        ("I do not know.", "refused", None),
        ("Many apples.", "unparsed", None),
    ],
)
def test_numbers_are_judged_by_the_last_or_announced_one(tmp_path, said, verdict, claim):
    path = lines(tmp_path / "sums.jsonl", {"question": "What is 7 times 8?", "answer": "56"})
    (question,) = own_questions("sums", path, None, True, "numeric")
    assert question.answer_type == "number"
    answer = Answer(question.question, said, question.aliases, question.answer_type)
    assert RuleJudge().correctness([answer])[0].verdict == verdict
    span = RuleJudge().span([answer])[0]
    if claim is not None:
        assert said[slice(*span)] == claim


def test_a_number_that_is_cut_off_is_not_guessed(tmp_path):
    cut = Answer("What is 7 times 8?", "First, 7 times 2 is 14 and", ("56",), "number", truncated=True)
    assert [(j.verdict, j.why) for j in RuleJudge().correctness([cut])] == [("unparsed", "cut off")]


@pytest.mark.parametrize(
    ("said", "verdict", "claim"),
    [
        ("B", "correct", "B"),
        ("It is Lyon, of course.", "incorrect", "Lyon"),
        ("The answer is (B) Paris.", "correct", "Paris"),
        ("I cannot tell.", "refused", None),
        ("A or B", "unparsed", None),
    ],
)
def test_options_are_judged_by_the_chosen_one(tmp_path, said, verdict, claim):
    row = {"question": "What is the capital of France?", "options": ["Lyon", "Paris", "Nice"], "answer": "B"}
    path = lines(tmp_path / "choices.jsonl", row)
    (question,) = own_questions("choices", path, None, True, "multiple_choice")
    assert question.question.endswith("France?\nA) Lyon\nB) Paris\nC) Nice") and question.aliases == ("Paris",)
    assert options_of(question.question) == ("Lyon", "Paris", "Nice")
    answer = Answer(question.question, said, question.aliases, question.answer_type)
    assert RuleJudge().correctness([answer])[0].verdict == verdict
    span = RuleJudge().span([answer])[0]
    if claim is not None:
        assert said[slice(*span)] == claim


@pytest.mark.parametrize(
    ("row", "judge", "says"),
    [
        ({"answer": "many"}, "numeric", r"question 1 \(\w+\): answer 'many' is not a number in figures"),
        ({"answer": "B"}, "multiple_choice", "0 options; multiple choice needs 2 to 10"),
        (
            {"answer": "D", "options": ["x", "y"]},
            "multiple_choice",
            "'D' is neither an option's text nor its letter",
        ),
    ],
)
def test_a_row_of_another_kind_is_named(tmp_path, row, judge, says):
    with pytest.raises(HNeuronsError, match=says):
        own_questions("q", lines(tmp_path / "q.jsonl", {"question": "How?", **row}), None, True, judge)


def test_options_connect_no_questions(tmp_path):
    """True or false: else all questions would have one of two gold answers, and no split would hold both."""
    rows = [{"question": f"Is {n} odd?", "options": ["True", "False"], "answer": "BA"[n % 2]} for n in range(60)]
    path = lines(tmp_path / "odd.jsonl", *rows)
    reading = {"prompt": None, "answerable": True, "judge": "multiple_choice"}
    table = questions_table("odd", slice(60), 0, SplitSettings(), [path], reading).to_pylist()
    for answer in ("True", "False"):
        assert len({row["split"] for row in table if row["aliases"] == [answer]}) == 3


def test_each_set_has_its_judge(tmp_path):
    config = study(judge="aliases") | {"judges": {"correctness": "llm", "llm": {"max_judge_calls": 10**6}}}
    config["datasets"]["cities"] = {"role": "transfer", "questions": 5}
    judges = Judges.from_config(config)
    assert judges.for_set("painters") is judges.rules is judges.for_task("correctness")
    assert judges.for_set("cities") is judges.llm
    assert {(c.task, c.calls) for c in expected_calls(parse_study(config))} == {("correctness", 5)}


def test_another_prompt_or_file_makes_other_questions(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    file = str(written(tmp_path, ROWS))
    of_studies = [parse_study(study(file=file, **changes)).study for changes in ({}, {"prompt": "{question}!"})]
    first, other = (questions_identity(s, "painters") for s in of_studies)
    assert first != other and first["own"] == {"prompt": None, "answerable": True}
    demo = parse_study(yaml.safe_load((ROOT / "config/demo.yaml").read_text())).study
    assert "own" not in questions_identity(demo, "cities")
