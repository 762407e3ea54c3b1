"""Files of rows as Windows, spreadsheets, pandas and people write them: read as they are meant, or refused by line."""

from __future__ import annotations

import json

import pytest
import yaml

from hneurons.config.base import read_yaml
from hneurons.config.models import load_models
from hneurons.data import behaviours, opendomain
from hneurons.data.reading import PublishedRow, Text, read_rows
from hneurons.data.text_files import parse_json_lines, read_json_lines
from hneurons.detection.requests import parse_requests
from hneurons.errors import HNeuronsError
from tests.paths import ROOT

# A next-line and a line separator are characters of a JSON string, as are the separators of files and of records.
ROWS = [
    {"question_id": "a", "question": "Who wrote\u2028it?", "aliases": ["Ülkü\u0085"]},
    {"question_id": "b", "question": "Where\x0bis 東京?", "aliases": ["日本\x1c"]},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("after", ["", "\n", " \n\n\t\n"])
def test_json_lines_of_any_machine_are_read(tmp_path, encoding, line_end, after):
    mark = "\ufeff" if encoding.endswith(("le", "be")) else ""
    (tmp_path / "rows.jsonl").write_bytes((mark + (LINES.rstrip("\n") + after).replace("\n", line_end)).encode(encoding))
    assert [row for _, row in read_json_lines(tmp_path / "rows.jsonl")] == ROWS
    read = opendomain.triviaqa(tmp_path / "rows.jsonl")
    assert [q.question for q in read] == ["Who wrote\u2028it?", "Where\x0bis 東京?"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (json.dumps(ROWS), "line 1: no JSON object; write one object per line"),
        ("[", "line 1: no valid JSON"),
        ("{", "line 1: no valid JSON"),
        ('{"question": "Who?", "question": "Where?"}', "line 1: no valid JSON: key 'question' occurs twice"),
        ('{"question": {"a": 1, "a": 2}}', "line 1: no valid JSON: key 'a' occurs twice"),
        ('{"question": "\\ud83d"}', "line 1: no valid JSON: half of a surrogate pair"),
        ('{"question": Infinity}', "line 1: no valid JSON: Infinity"),
        ('\n\n{"question": 1e5', "line 3: no valid JSON"),
        ('{"a": ' * 100_000, "line 1: no valid JSON: nested too deeply"),
        ('{"a": ' + "1" * 5_000 + "}", "line 1: no valid JSON"),
    ],
)
def test_what_is_no_object_per_line_is_refused_by_line(tmp_path, line, says):
    (tmp_path / "rows.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(HNeuronsError, match=says) as error:
        list(read_json_lines(tmp_path / "rows.jsonl"))
    assert "\n" not in str(error.value) and str(tmp_path / "rows.jsonl") in str(error.value)
    with pytest.raises(HNeuronsError, match=says):
        list(parse_requests(line.splitlines(), "questions"))


def test_nan_is_null_and_a_pair_of_surrogates_is_a_character():
    (_, row) = next(parse_json_lines(['{"a": NaN, "b": "\\ud83d\\ude42"}'], "rows"))
    assert row == {"a": None, "b": "🙂"}


@pytest.mark.parametrize("line", ["]", "},", '"question": "Who?",', "[{", '["Who?"]', "[]"])
def test_a_part_of_json_is_no_question(line):
    with pytest.raises(HNeuronsError, match="questions, line 1: no"):
        list(parse_requests([line], "questions"))


@pytest.mark.parametrize(
    "line",
    [
        *("Who?", "[Hamlet] Who wrote it?", "3 + 4 is what?", "\ufeffWho?", "1984"),
        *(
            '"Sein oder" is by whom?',
            '"Yesterday": who wrote it?',
            '["Hello" by Adele] Who wrote it?',
            '"Who wrote Hamlet?"',
        ),
    ],
)
def test_a_plain_question_is_read(line):
    (request,) = parse_requests([line], "questions")
    assert request.question == line.removeprefix("\ufeff")


def test_a_file_that_is_not_unicode_is_refused(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes('{"question": "Où?"}'.encode("latin-1"))
    says = r"rows\.jsonl: cannot be read: byte 15 is not valid utf-8; save the file as UTF-8"
    with pytest.raises(HNeuronsError, match=says):
        list(read_json_lines(tmp_path / "rows.jsonl"))


class _Row(PublishedRow):
    question: Text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_tables_of_spreadsheets_are_read(tmp_path, encoding, line_end):
    text = line_end.join(["question,label", '"Who, and ""why""?",1', f'"two{line_end}lines\u2028?",0', "", ""])
    (tmp_path / "rows.csv").write_bytes(text.encode(encoding))
    assert [r.question for r in read_rows(tmp_path / "rows.csv", _Row)] == [
        'Who, and "why"?',
        f"two{line_end}lines\u2028?",
    ]


@pytest.mark.parametrize("text", ["question,,\nWho?,,\n", "question,a\nWho?,1,,\n", "question,note,note\nWho?,1,2\n"])
def test_what_spreadsheets_add_is_ignored(tmp_path, text):
    (tmp_path / "rows.csv").write_text(text)
    assert [r.question for r in read_rows(tmp_path / "rows.csv", _Row)] == ["Who?"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("question,question\na,b\n", "line 1: column 'question' occurs twice"),
        ("question,label\nWho, and why?,1\n", "line 2: more fields than the 2 columns; quote commas"),
        ('question,label\n"two\nlines",1\n  ,2\n', r"line 4 \(id -\): field 'question': is blank"),
        ("question;label\nWho?;1\n", r"line 2 \(id -\): field 'question': Field required \(there are: question;label\)"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_by_line(tmp_path, text, says):
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(HNeuronsError, match=says):
        read_rows(tmp_path / "rows.csv", _Row)


def own_questions(tmp_path, *rows):
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return opendomain.triviaqa(tmp_path / "own.jsonl")


def asked(key, question, *aliases):
    return {"question_id": key, "question": question, "aliases": list(aliases or ["x"])}


def test_no_question_of_a_file_of_ones_own_vanishes(tmp_path):
    assert len(own_questions(tmp_path, asked("1", "Who?"), asked("2", "Where?"))) == 2
    with pytest.raises(HNeuronsError, match=r"own.jsonl, line 2: id 1 is already that of line 1, which differs"):
        own_questions(tmp_path, asked("1", "Who?"), asked("1", "Where?"))
    for row, says in (
        (asked("1", " \t"), "field 'question': is blank"),
        (asked(" ", "Who?"), "field 'question_id': is blank"),
        (asked("1", "Who?", " "), "field 'aliases.0': is blank"),
        ({"question_id": "1", "question": "Who?", "aliases": []}, "field 'aliases': List should have at least 1 item"),
    ):
        with pytest.raises(HNeuronsError, match=f"own.jsonl, line 1 .*{says}"):
            own_questions(tmp_path, row)


def test_a_question_that_is_repeated_as_it_is_counts_once(tmp_path):
    assert len(own_questions(tmp_path, asked("1", "Who?"), asked("1", "who? "), asked("2", "WHO?"))) == 1


def test_two_forbidden_questions_of_one_number_are_refused(tmp_path):
    rows = ["content_policy_id,q_id,question", "0,1,How?", "1,1,Why?", "1,1,When?"]
    (tmp_path / "forbidden.csv").write_text("\n".join(rows))
    with pytest.raises(HNeuronsError, match="line 4: id 1-1 is already that of line 3, which differs"):
        behaviours.forbidden(tmp_path / "forbidden.csv")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: key 'a' is already in line 1; keep one"),
        ("a:\n  b: {c: 1, d: 2, c: 3}\n", "line 2: key 'c' is already in line 2; keep one"),
        ('{"a": 1,\n "b": {"c": 1,\n "c": 2}}', "line 3: key 'c' is already in line 2; keep one"),
    ],
)
def test_a_key_that_occurs_twice_is_refused_by_line(tmp_path, text, says):
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(HNeuronsError, match=f"settings.yaml, {says}"):
        read_yaml(tmp_path / "settings.yaml")


def test_yaml_and_json_are_read_as_they_are_meant(tmp_path):
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, a: 3}\nlast: {<<: *base}\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "settings.yaml").write_bytes(text.encode(encoding))
        assert read_yaml(tmp_path / "settings.yaml") == yaml.safe_load(text)
    (tmp_path / "settings.json").write_text('{\n\t"a":\t[1, 2]\n}')
    assert read_yaml(tmp_path / "settings.json") == {"a": [1, 2]}


def test_a_model_that_is_named_twice_is_refused(tmp_path):
    models = (ROOT / "config/models.yaml").read_text()
    name = next(iter(yaml.safe_load(models)))
    (tmp_path / "models.yaml").write_text(f"{models}\n{name}:\n  folder: /elsewhere\n")
    with pytest.raises(HNeuronsError, match=rf"models.yaml, line \d+: key '{name}' is already in line \d+; keep one"):
        load_models(tmp_path / "models.yaml")
