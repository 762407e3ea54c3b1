"""A user's own questions: any file under any name, every bad row by its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from hneurons import store
from hneurons.config.setup import parse_study
from hneurons.data.catalogue import questions_table
from hneurons.data.own import own_questions
from hneurons.data.questions import prompt_of
from hneurons.data.sources import questions_identity
from hneurons.errors import HNeuronsError
from hneurons.records import QUESTIONS
from tests.paths import ROOT
from tests.tiny import byte_level_tokenizer, tiny_model

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


def study(**changes):
    painters = {"role": "in_domain", "questions": 3, "file": "painters.jsonl", **changes}
    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    return {**config, "datasets": {"painters": painters}, "origin": None}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"file": None}, "datasets.painters: not one of 'bioasq', .* a set of your own needs `file`"),
        ({"prompt": "Who?"}, "datasets.painters.*prompt must contain {question}"),
    ],
)
def test_a_set_that_could_not_be_read_is_refused(changes, says):
    with pytest.raises(HNeuronsError, match=says):
        parse_study(study(**changes))


def test_a_prompt_is_for_sets_of_ones_own():
    config = study()
    config["datasets"]["cities"] = {"role": "transfer", "questions": 5, "prompt": "{question}"}
    with pytest.raises(HNeuronsError, match=r"datasets.cities.prompt is for your own questions only"):
        parse_study(config)


def test_another_prompt_or_file_makes_other_questions(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    file = str(written(tmp_path, ROWS))
    of_studies = [parse_study(study(file=file, **changes)).study for changes in ({}, {"prompt": "{question}!"})]
    first, other = (questions_identity(s, "painters") for s in of_studies)
    assert first != other and first["own"] == {"prompt": None, "answerable": True}
    demo = parse_study(yaml.safe_load((ROOT / "config/demo.yaml").read_text())).study
    assert "own" not in questions_identity(demo, "cities")


@pytest.mark.slow
def test_a_study_in_another_folder_asks_them(tmp_path):
    """Files and results outside the checkout, two sets, and a model that is asked."""
    written(tmp_path, ROWS[:3])
    (tmp_path / "nobody.csv").write_text("question\nWho is Zorbin Quax?\nWho is Ilmar Tesk?\n")
    tiny_model("llama").save_pretrained(tmp_path / "model")
    byte_level_tokenizer([row["question"] for row in ROWS]).save_pretrained(tmp_path / "model")
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"mine": {"folder": str(tmp_path / "model"), "dtype": "float32"}}))
    config = study()
    config |= {"study": "mine", "models": ["mine"], "models_file": "models.yaml"}
    config |= {"cluster_file": str(ROOT / "config/cluster.yaml")}
    config["datasets"]["nobody"] = {
        "role": "nonexist",
        "questions": 2,
        "file": "nobody.csv",
        "prompt": "{question} Be brief.",
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    targets = ["results/mine/questions/painters.parquet", "results/mine/mine/responses/nobody/0000.parquet"]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    command += [*targets, "--cores", "1", "--configfile", "study.yaml"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = store.read_table(tmp_path / targets[0], QUESTIONS).to_pylist()
    assert {row["aliases"][0] for row in rows} == {"Picasso", "Rembrandt", "Shakespeare"}
    responses = store.read_table(tmp_path / targets[1]).to_pylist()
    assert len(responses) == 2 and all(row["question_id"].startswith("nobody-") for row in responses)
