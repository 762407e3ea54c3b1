"""Full disks, closed pipes, terminals without UTF-8, files for their owner alone: one line, nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys

import pyarrow as pa
import pytest
from safetensors import SafetensorError
from safetensors.torch import save_file

from hneurons import store
from hneurons.errors import HNeuronsError, machine_failure
from hneurons.joblog import job
from hneurons.judges.cache import PaidReply, ReplyCache
from hneurons.neurons.export import export
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.resumable import Journal
from tests.paths import ROOT
from tests.tiny import byte_level_tokenizer, tiny_model
from tests.unit.test_export import neuron_set

pytestmark = pytest.mark.slow

SIZE_KB = 400


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KB}k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def steerable(tmp_path_factory):
    """A checkpoint with a tokenizer and neurons, as options."""
    folder = tmp_path_factory.mktemp("steerable")
    tiny_model("llama").save_pretrained(folder / "model")
    byte_level_tokenizer(["Où est Lyon ? 東京"]).save_pretrained(folder / "model")
    neuron_set(intercept=0.0).save(folder / "neurons.parquet")
    return ["--model", str(folder / "model"), "--neurons", str(folder / "neurons.parquet"), "--force"]


def cli(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **options.pop("env", {})}
    command = [sys.executable, "-m", "hneurons.cli", *arguments]
    return subprocess.run(command, env=environment, stderr=subprocess.PIPE, **options)


def kept_row(folder):
    store.write_table(folder / "t.parquet", pa.table({"a": list(os.urandom(1_000_000))}), {}, compression="none")


def kept_folder(folder):
    with store.atomic_folder(folder / "made") as part:
        save_file({"a": tiny_model("llama").lm_head.weight.detach().repeat(20, 1)}, part / "model.safetensors")


def kept_text(folder):
    store.write_text(folder / "deep/t.txt", "x" * 1_000_000)


@pytest.mark.parametrize("write", [kept_row, kept_folder, kept_text])
def test_a_full_disk_is_named_and_keeps_nothing_half_written(small_disk, write):
    with pytest.raises(HNeuronsError, match=r": the disk is full \(0\.\d MB free on .*/disk\); make space"):
        write(small_disk)
    assert not [path for path in small_disk.rglob("*") if path.is_file()]


def test_an_export_to_a_full_disk_leaves_no_folder(small_disk, steerable):
    (small_disk / "ballast").write_bytes(bytes(1000 * (SIZE_KB - 100)))
    with pytest.raises(HNeuronsError, match=r"model\.safetensors: the disk is full"):
        export(steerable[1], NeuronSet.load(steerable[3]), 0, small_disk / "steered", strict=False)
    done = cli("export", str(small_disk / "steered"), *steerable, "--alpha", "0", text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "the disk is full" in done.stderr
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_a_journal_on_a_full_disk_keeps_the_parts_before(small_disk):
    journal, entry = Journal(small_disk / "j", "mark"), {"text": "x" * 30_000}
    with pytest.raises(HNeuronsError, match="j: the disk is full"):
        for _ in range(20):
            journal.add(entry)
    (small_disk / "larger").mkdir()
    complete = (small_disk / "j").read_bytes().count(b"\n") - 1
    assert 8 < complete < 14
    (small_disk / "j").rename(small_disk / "k")
    (small_disk / "k").write_bytes((small_disk / "k").read_bytes()[:100_000])
    assert Journal(small_disk / "k", "mark").entries == [entry] * 3


def test_replies_that_were_paid_for_stay_when_the_disk_is_full(small_disk):
    cache = ReplyCache(small_disk / "replies.sqlite")
    with pytest.raises(HNeuronsError, match=r"replies\.sqlite: the disk is full"):
        for i in range(100):
            cache.put("s", str(i), "judge", "p" * 9000, PaidReply("r" * 9000, "", "stop"), keep=True)
    assert 0 < cache.spent("s")[0] == len(cache.get(list(map(str, range(100)))))


def test_a_job_on_a_full_disk_ends_with_one_line(small_disk, capsys):
    with pytest.raises(SystemExit) as ended, job(small_disk / "logs/j.log"):
        kept_text(small_disk)
    said = capsys.readouterr().err
    assert ended.value.code == 1 and said.startswith("error: ") and said.count("\n") == 1 and "the disk is full" in said


def test_a_log_that_does_not_fit_stops_no_job(small_disk, capsys, tmp_path):
    with job(small_disk / "logs/j.log"):
        print("x" * 900_000, file=sys.stderr)
        store.write_text(tmp_path / "result.txt", "done")
    assert (tmp_path / "result.txt").read_text() == "done"
    assert len(capsys.readouterr().err) > 900_000


def test_a_read_only_disk_is_named(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(HNeuronsError, match=r"t\.txt: the disk is read-only$"):
        store.write_text(small_disk / "t.txt", "x")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.EDQUOT, "x", "/a/b"), "/a/b: your disk quota is used up"),
        (PermissionError(errno.EACCES, "x", "/a/b"), "/a/b: permission denied"),
        (OSError(errno.EACCES, "Failed to open local file '/a/b.parquet'"), "/a/b.parquet: permission denied"),
        (SafetensorError("I/O error: Disk quota exceeded (os error 122)"), "here: your disk quota is used up"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "here: the disk is read-only"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/a/b"), None),
        (ValueError("permission denied"), None),
        (HNeuronsError("the disk is full"), None),
    ],
)
def test_failures_of_the_machine_are_told_from_bugs(error, line):
    assert machine_failure(error, "here") == line


def test_written_files_have_the_mode_of_new_ones(tmp_path):
    umask = os.umask(0o027)
    try:
        with store.atomic_path(tmp_path / "a.safetensors") as part:
            save_file({}, part)
        with store.atomic_folder(tmp_path / "made") as folder:
            save_file({}, folder / "b.safetensors")
        assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.safetensors")} == {0o640}
        os.umask(0o077)
        store.write_text(tmp_path / "mine.txt", "x")
        assert (tmp_path / "mine.txt").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(umask)


def test_a_folder_is_replaced_only_where_that_is_meant(tmp_path):
    for content in ("old", "new"):
        with store.atomic_folder(tmp_path / "made") as part:
            (part / content).touch()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["new"]
    with pytest.raises(OSError, match="not empty"), store.atomic_folder(tmp_path / "made", replace=False) as part:
        (part / "third").touch()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["new"] and len(list(tmp_path.iterdir())) == 1


def test_output_that_nobody_reads_ends_quietly():
    read, write = os.pipe()
    os.close(read)
    try:
        assert cli("generate", "--help", stdout=write).stderr == b""
    finally:
        os.close(write)


def test_output_to_a_full_disk_is_one_line(steerable):
    with open("/dev/full", "wb") as full:
        done = cli("generate", *steerable, "--alpha", "0", "--max-new-tokens", "2", "Hi", stdout=full)
    assert (done.returncode, done.stderr) == (1, b"error: the output cannot be written: the disk is full\n")


QUESTION = "Où est 東京 ? 😀"


def test_a_terminal_without_utf8_shows_escapes(steerable):
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    options = {"env": locale, "stdout": subprocess.PIPE}
    table = cli("generate", *steerable, "--alpha", "0", "--max-new-tokens", "2", QUESTION, **options)
    assert table.returncode == 0 and rb"\u6771\u4eac" in table.stdout and not table.stderr
    lines = json.dumps({"question": QUESTION}, ensure_ascii=False).encode()
    detected = cli("detect", *steerable, "--max-new-tokens", "2", "-", "--json", input=lines, **options)
    assert json.loads(detected.stdout)["question"] == QUESTION, detected.stderr


def test_json_is_valid_in_the_encoding_of_any_terminal(steerable):
    options = {"env": {"PYTHONIOENCODING": "latin-1"}, "stdout": subprocess.PIPE}
    replies = cli("generate", *steerable, "--alpha", "0", "--max-new-tokens", "2", QUESTION, "--json", **options)
    assert replies.stdout.isascii() and json.loads(replies.stdout)[0]["prompt"] == QUESTION
