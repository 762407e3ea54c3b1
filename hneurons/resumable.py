"""Work that a job resumes where an earlier one stopped: a journal, and a table that is made key by key."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
from tqdm import tqdm

from hneurons import store
from hneurons.records import upgraded_row


class Journal:
    """Finished parts of unfinished work, one line of JSON each, so that a killed job repeats only what is missing.

    The first line is the mark, a fingerprint of the work and its settings: a journal with another mark is discarded, and
    so is an incomplete last line.

    Attributes:
        entries: the finished parts, in the order in which they were added.
    """

    def __init__(self, path: str | Path, mark: str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = self.path.read_bytes().split(b"\n")[:-1] if self.path.exists() else []
        kept = lines if lines and lines[0] == mark.encode() else [mark.encode()]
        self.entries: list[Any] = [json.loads(line) for line in kept[1:]]
        with store.atomic_path(self.path) as part:
            part.write_bytes(b"".join(line + b"\n" for line in kept))
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - open until remove()

    def add(self, *entries: Any) -> None:
        """Add parts; they are on disk when this returns."""
        self.entries += entries
        lines = b"".join(json.dumps(entry, ensure_ascii=False).encode() + b"\n" for entry in entries)
        with store.failures_named(self.path):
            # Unbuffered, so that what a full disk did not take is not written again when the file is closed.
            if self._file.write(lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())

    def remove(self) -> None:
        """Delete the journal, when the work is complete and stored elsewhere."""
        self._file.close()
        self.path.unlink(missing_ok=True)


Key = tuple[Any, ...]


class ResumableTable:
    """A table that is made key by key, so that a job can resume where an earlier one stopped.

    Rows of these keys with the same mark are taken from the existing file, or from the journal of a job that was killed.

    Args:
        path: the Parquet file.
        schema: its columns.
        key: the columns that make up a row's key; several rows may share a key.
        keys: all keys of the complete file, in its order.
        made_by: what made the file; its `mark` is the fingerprint of everything that rows depend on.

    Attributes:
        left: the keys that had no rows when the job began.
    """

    def __init__(
        self, path: str | Path, schema: pa.Schema, key: Sequence[str], keys: Sequence[Key], made_by: Mapping[str, Any]
    ) -> None:
        self._path, self._schema, self._key, self._keys = Path(path), schema, key, keys
        self._made_by = {**made_by, "rows": store.fingerprint(list(keys))}
        self._rows: dict[Key, list[dict[str, Any]]] = {}
        self._journal: Journal | None = None
        self.left: list[Key] = []
        journal = Path(f"{path}.journal")
        if store.is_up_to_date(path, made_by["mark"], rows=self._made_by["rows"]):
            journal.unlink(missing_ok=True)
            return
        self._journal = Journal(journal, made_by["mark"])
        for entry in self._journal.entries:
            # In journals of version 0.1 a line is one row, or a question with its responses.
            self._keep(entry if isinstance(entry, list) else entry.get("responses", [entry]))
        self.add(*(rows for rows in self._rows_of_file() if self._key_of(rows[0]) not in self._rows))
        self.left = [key for key in keys if key not in self._rows]

    def add(self, *groups: list[dict[str, Any]]) -> None:
        """Add groups of rows, each with all rows of one key; they are on disk when this returns."""
        assert self._journal is not None, "nothing is left to make"
        self._journal.add(*groups)
        for rows in groups:
            self._keep(rows)

    def write(self) -> None:
        """Write the file, unless it is already up to date. The journal is kept until `close`."""
        if self._journal is not None:
            rows = [row for key in self._keys for row in self._rows[key]]
            store.write_table(self._path, pa.Table.from_pylist(rows, schema=self._schema), self._made_by)

    def close(self) -> None:
        """Delete the journal, once the file is written."""
        if self._journal is not None:
            self._journal.remove()

    def progress(self, description: str, unit: str) -> tqdm[NoReturn]:
        """Make the progress bar of the job, which begins at the rows of earlier jobs; without keys left it is not shown.

        Args:
            description: label of the bar.
            unit: name of one key.
        """
        finished = len(self._keys) - len(self.left)
        return tqdm(total=len(self._keys), initial=finished, desc=description, unit=unit, disable=not self.left)

    @property
    def share(self) -> float:
        """Share of the keys that had no rows when the job began."""
        return len(self.left) / len(self._keys) if self._keys else 0.0

    def _key_of(self, row: Mapping[str, Any]) -> Key:
        return tuple(row[name] for name in self._key)

    def _keep(self, rows: list[dict[str, Any]]) -> None:
        self._rows[self._key_of(rows[0])] = [upgraded_row(row) for row in rows]

    def _rows_of_file(self) -> Iterable[list[dict[str, Any]]]:
        if not self._path.exists() or store.made_by(self._path).get("mark") != self._made_by["mark"]:
            return []
        by_key: dict[Key, list[dict[str, Any]]] = {}
        for row in store.read_table(self._path, self._schema).to_pylist():
            by_key.setdefault(self._key_of(row), []).append(row)
        return by_key.values()
