"""Files are whole or absent; a journal loses at most the line that was being written."""

from __future__ import annotations

import signal
import subprocess
import sys

import pyarrow as pa
import pytest

from hneurons import store
from hneurons.errors import HNeuronsError

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
    journal = store.Journal(path, "mark")
    journal.add([{"n": 1, "text": "ü\u2028"}, {"n": 2}])
    with open(path, "ab") as file:
        file.write(b'{"n": 3, "te')
    again = store.Journal(path, "mark")
    assert [row["n"] for row in again.rows] == [1, 2]
    again.add([{"n": 3}])
    assert [row["n"] for row in store.Journal(path, "mark").rows] == [1, 2, 3]


def test_a_journal_of_other_settings_is_not_continued(tmp_path):
    store.Journal(tmp_path / "j", "old").add([{"n": 1}])
    assert store.Journal(tmp_path / "j", "new").rows == []
