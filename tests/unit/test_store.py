"""Files are whole or absent; a journal loses at most the line that was being written."""

from __future__ import annotations

import signal
import subprocess
import sys

import pyarrow as pa
import pytest

from hneurons import store
from hneurons.data.opendomain import ANSWER_ONLY
from hneurons.data.questions import prompt_of
from hneurons.errors import HNeuronsError
from hneurons.impact.curves import Rate
from hneurons.records import QUESTIONS, RUNS, upgraded_facts
from hneurons.resumable import Journal, ResumableTable

TABLE = pa.table({"a": [1, 2]})


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.parquet"
    store.write_table(path, TABLE, {"by": "test"})
    code = (
        "import os, signal, sys\nfrom hneurons import store\n"
        "with store.atomic_path(sys.argv[1]) as part:\n"
        "    part.write_bytes(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -signal.SIGKILL
    assert store.read_table(path).equals(TABLE)
    assert store.made_by(path) == {"by": "test"}


def test_an_exception_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="midway"), store.atomic_path(tmp_path / "new.json") as part:
        part.write_text("{")
        raise ValueError("midway")
    assert list(tmp_path.iterdir()) == []


def test_another_schema_is_refused_by_file_and_column(tmp_path):
    path = tmp_path / "t.parquet"
    store.write_table(path, TABLE, {})
    with pytest.raises(HNeuronsError, match=r"t.parquet: column 'b' is missing"):
        store.read_table(path, pa.schema([("b", pa.string())]))
    with pytest.raises(HNeuronsError, match=r"t.parquet: column 'a' is int64, expected string"):
        store.read_table(path, pa.schema([("a", pa.string())]))


def test_a_journal_goes_on_where_it_was_cut(tmp_path):
    path = tmp_path / "j"
    journal = Journal(path, "mark")
    journal.add({"n": 1, "text": "ü\u2028"}, {"n": 2})
    with open(path, "ab") as file:
        file.write(b'{"n": 3, "te')
    again = Journal(path, "mark")
    assert [row["n"] for row in again.entries] == [1, 2]
    again.add({"n": 3})
    assert [row["n"] for row in Journal(path, "mark").entries] == [1, 2, 3]


def test_a_journal_of_other_settings_is_not_continued(tmp_path):
    Journal(tmp_path / "j", "old").add({"n": 1})
    assert Journal(tmp_path / "j", "new").entries == []


SCHEMA = pa.schema([("name", pa.string()), ("n", pa.int32())])
SAMPLED = pa.schema([("name", pa.string()), ("truncated", pa.bool_())])


def resumed(path, *names, mark="mark"):
    """The table of these names, made by two rows each; which of them were left."""
    table = ResumableTable(path, SCHEMA, ["name"], [(name,) for name in names], {"mark": mark})
    for (name,) in table.left:
        table.add([{"name": name, "n": 1}, {"name": name, "n": 2}])
    table.write()
    table.close()
    return [name for (name,) in table.left]


def test_a_table_is_made_once_and_only_added_to(tmp_path):
    path = tmp_path / "table.parquet"
    assert resumed(path, "a", "b") == ["a", "b"]
    written = path.stat().st_ino
    assert resumed(path, "a", "b") == [] and path.stat().st_ino == written
    assert resumed(path, "c", "b", "a") == ["c"]
    assert store.read_table(path)["name"].to_pylist() == ["c", "c", "b", "b", "a", "a"]
    assert resumed(path, "b") == [] and store.read_table(path)["name"].to_pylist() == ["b", "b"]
    assert resumed(path, "b", mark="other settings") == ["b"]
    assert not (tmp_path / "table.parquet.journal").exists()


def test_rows_of_a_killed_job_are_kept(tmp_path):
    path, keys = tmp_path / "table.parquet", [("a",), ("b",)]
    first = ResumableTable(path, SCHEMA, ["name"], keys, {"mark": "mark"})
    first.add([{"name": "a", "n": 7}])
    again = ResumableTable(path, SCHEMA, ["name"], keys, {"mark": "mark"})
    assert again.left == [("b",)] and again.share == 0.5
    again.add([{"name": "b", "n": 8}])
    again.write()
    # The workflow may remove what a job that failed later has written: the journal still has its rows.
    path.unlink()
    last = ResumableTable(path, SCHEMA, ["name"], keys, {"mark": "mark"})
    assert last.left == []
    last.write()
    assert store.read_table(path)["n"].to_pylist() == [7, 8]


def test_journals_and_responses_of_version_0_1_are_read(tmp_path):
    """Nobody samples on a GPU again because a column was renamed."""
    old = Journal(tmp_path / "table.parquet.journal", "mark")
    old.add({"name": "a", "responses": [{"name": "a", "finish_reason": "length"}]}, {"name": "b", "finish_reason": "stop"})
    table = ResumableTable(tmp_path / "table.parquet", SAMPLED, ["name"], [("a",), ("b",)], {"mark": "mark"})
    assert table.left == []
    table.write()
    assert store.read_table(tmp_path / "table.parquet")["truncated"].to_pylist() == [True, False]
    store.write_table(tmp_path / "old.parquet", pa.table({"finish_reason": ["stop", "length"]}), {})
    read = store.read_table(tmp_path / "old.parquet", pa.schema([("truncated", pa.bool_())]))
    assert read.to_pydict() == {"truncated": [False, True]}


def test_questions_of_version_0_1_are_taken_apart(tmp_path):
    """The prompt stays the same to the letter."""
    texts = [
        "In which US state is the city of Reno? Answer with the name of the state only.",
        "Who wrote it? Respond with the answer only, without any explanation.",
        "Complete the sentence: The city of Lyon is located in the country of",
        "What is it?\nSay. Respond with the answer only, without any explanation.",
    ]
    store.write_table(tmp_path / "old.parquet", pa.table({"question": texts, "answer_type": ["open"] * 4}), {})
    rows = store.read_table(tmp_path / "old.parquet").to_pylist()
    assert [prompt_of(row) for row in rows] == texts
    assert [row["question"][-1] for row in rows] == ["?", "?", "f", "."]
    assert rows[2]["instruction"] == "" and rows[1]["instruction"] == ANSWER_ONLY
    facts = {"question": texts[1], "aliases": ["x"]}
    assert upgraded_facts(facts) == {"question": "Who wrote it?", "aliases": ["x"]} == upgraded_facts(upgraded_facts(facts))


def test_a_shard_of_version_0_1_and_a_new_one_are_concatenated(tmp_path):
    row = {"question_id": "a", "question": "Who? Answer with the name only.", "aliases": ["x"], "answer_type": "open"}
    old_schema = pa.schema([field for field in QUESTIONS if field.name != "instruction"])
    store.write_table(tmp_path / "0.parquet", pa.Table.from_pylist([row], schema=old_schema), {})
    new = {**row, "question": "Who?", "instruction": "Answer with the name only."}
    store.write_table(tmp_path / "1.parquet", pa.Table.from_pylist([new], schema=QUESTIONS), {})
    shards = [store.read_table(tmp_path / f"{i}.parquet", QUESTIONS) for i in range(2)]
    old, new = store.concat_tables(shards).to_pylist()
    assert old == new


def test_runs_without_sub_sets_and_grades_are_read_with_nulls(tmp_path):
    row = {"item_id": "a", "replies": ["Yes."], "eligible": True, "compliant": True, "state": "parsed", "why": ""}
    columns = [field for field in RUNS if field.name not in ("subset", "grade", "group")]
    path = tmp_path / "run.parquet"
    store.write_table(path, pa.Table.from_pylist([{**row, "tokens": 2, "truncated": False}], schema=pa.schema(columns)), {})
    (found,) = store.read_table(path, RUNS).to_pylist()
    assert (found["subset"], found["grade"], found["tokens"]) == (None, None, 2)
    new = {**row, "tokens": 2, "truncated": False, "subset": "plain", "grade": 0.5, "group": None}
    store.write_table(path, pa.Table.from_pylist([new], schema=RUNS), {})
    assert store.read_table(path, RUNS).to_pylist() == [new], "columns that exist stay"


def test_a_result_is_read_as_it_was_written_or_refused_by_field(tmp_path):
    rate = Rate(3, 1, 100 / 3, (6.1, 79.2))
    store.write_result(tmp_path / "rate.json", rate)
    assert store.read_result(tmp_path / "rate.json", Rate) == rate
    store.write_json(tmp_path / "rate.json", {"n": 3, "percent": None, "interval": [0, 1]})
    with pytest.raises(HNeuronsError, match=r"rate.json: field 'compliant': Field required; delete the file"):
        store.read_result(tmp_path / "rate.json", Rate)
