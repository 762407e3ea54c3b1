"""Files that are either whole or absent: atomic writes, checked reads, and a journal for work in progress."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hneurons.errors import HNeuronsError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block ends well and is removed when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays: writers such as savefig choose the format by it.
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        with open(part, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_table(path: str | Path, table: pa.Table, made_by: Mapping[str, Any], **options: Any) -> None:
    """A Parquet file whose metadata key `made_by` says, as JSON, what made it. Options go to pyarrow's writer."""
    metadata = {**(table.schema.metadata or {}), b"made_by": json.dumps(made_by, sort_keys=True, default=str).encode()}
    with atomic_path(path) as part:
        pq.write_table(table.replace_schema_metadata(metadata), part, **options)


def read_table(path: str | Path, schema: pa.Schema | None = None) -> pa.Table:
    """A Parquet file, checked against a schema.

    Raises HNeuronsError naming the file and the first column that is missing or of another type.
    """
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise HNeuronsError(f"{path}: no Parquet file ({error})") from None
    for field in schema or ():
        if field.name not in table.schema.names:
            raise HNeuronsError(f"{path}: column {field.name!r} is missing; delete the file to have it made again")
        found = table.schema.field(field.name).type
        if found != field.type:
            raise HNeuronsError(f"{path}: column {field.name!r} is {found}, expected {field.type}; delete the file")
    return table


def concat_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of tables of one schema, one after the other."""
    return pa.concat_tables([table.replace_schema_metadata() for table in tables])


def made_by(path: str | Path) -> dict[str, Any]:
    """What made a Parquet file: the metadata that write_table put there."""
    metadata = pq.read_schema(path).metadata or {}
    if b"made_by" not in metadata:
        raise HNeuronsError(f"{path}: no 'made_by' metadata; the file was not written by hneurons")
    result: dict[str, Any] = json.loads(metadata[b"made_by"])
    return result


def is_up_to_date(path: str | Path, mark: str, **more: Any) -> bool:
    """Whether a file is there and its `made_by` has this mark, and `more` facts; it is then made as new as its inputs.

    Otherwise the workflow would ask for it again.
    """
    if not Path(path).exists():
        return False
    made = made_by(path)
    if any(made.get(name) != value for name, value in {"mark": mark, **more}.items()):
        return False
    Path(path).touch()
    return True


def fingerprint(data: Any) -> str:
    """A short hash of anything JSON can hold: equal settings give equal fingerprints."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()[:16]


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class Journal:
    """Finished rows of unfinished work, one JSON line each, so that a killed job redoes only what is missing.

    The first line is the fingerprint of what is being made: a journal of other settings is discarded, and so is a last
    line that was cut short.
    """

    def __init__(self, path: str | Path, mark: str) -> None:
        self.path = Path(path)
        self.rows: list[dict[str, Any]] = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_bytes().split(b"\n")[:-1] if self.path.exists() else []
        kept = lines if lines and lines[0] == mark.encode() else [mark.encode()]
        self.rows = [json.loads(line) for line in kept[1:]]
        with atomic_path(self.path) as part:
            part.write_bytes(b"".join(line + b"\n" for line in kept))
        self._file = open(self.path, "ab")  # noqa: SIM115 - open until remove()

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Keep rows: on disk when this returns."""
        self.rows.extend(rows)
        self._file.write(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
        self._file.flush()
        os.fsync(self._file.fileno())

    def remove(self) -> None:
        """The work is whole elsewhere: drop the journal."""
        self._file.close()
        self.path.unlink(missing_ok=True)
