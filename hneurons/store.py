"""Atomic writes and checked reads."""

import hashlib
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from hneurons.errors import HNeuronsError, machine_failure
from hneurons.records import upgraded

_Result = TypeVar("_Result")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, renamed to `path` if the block succeeds and removed if it fails.

    Raises:
        HNeuronsError: if the disk is full or read-only, or if a permission is missing.
    """
    path = Path(path)
    # The suffix is kept because writers such as savefig choose the format by it.
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    with failures_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            with open(part, "rb") as handle:
                os.fsync(handle.fileno())
            share_like_new(part)
            os.replace(part, path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: str | Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`, renamed to it if the block succeeds and removed if it fails.

    Args:
        folder: the folder to write.
        replace: whether an existing folder of this name is deleted.

    Raises:
        HNeuronsError: if the disk is full or read-only, or if a permission is missing.
    """
    folder = Path(folder)
    part = folder.with_name(f".{folder.name}.part")
    with failures_named(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            yield part
            share_like_new(*(path for path in part.rglob("*") if path.is_file()))
            if replace:
                shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def failures_named(path: Path) -> Iterator[None]:
    """Name a path in the one-line error for a full or read-only disk or a missing permission.

    Raises:
        HNeuronsError: that line, in place of the exception of the system.
    """
    try:
        yield
    except Exception as error:
        if line := machine_failure(error, path):
            raise HNeuronsError(line) from None
        raise


def share_like_new(*files: Path) -> None:
    """Give files that only their owner may read the mode of any new file there, which the umask or the folder decides.

    safetensors writes files for their owner alone. Links to files elsewhere keep their mode.
    """
    private = [
        path for path in files if not path.is_symlink() and path.stat().st_nlink == 1 and not path.stat().st_mode & 0o077
    ]
    if private:
        mode = new_file_mode(private[0].parent)
        for path in private:
            path.chmod(mode)


def new_file_mode(folder: Path) -> int:
    """Return the mode of a new file in a folder."""
    probe = folder / f".{os.getpid()}.{threading.get_ident()}.mode"
    try:
        probe.touch()
        return stat.S_IMODE(probe.stat().st_mode)
    finally:
        probe.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: str | Path, data: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_result(path: str | Path, result: Any) -> None:
    """Write a dataclass as JSON."""
    write_json(path, asdict(result))


def read_result(path: str | Path, kind: type[_Result]) -> _Result:
    """Read a dataclass that write_result wrote, ignoring unknown keys.

    Raises:
        HNeuronsError: naming the first field that is missing or has the wrong type.
    """
    return parse_result(read_json(path), kind, str(path))


def parse_result(data: Any, kind: type[_Result], name: str) -> _Result:
    """Make a dataclass from parsed JSON. Raises HNeuronsError as read_result does, calling the data `name`."""
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        raise HNeuronsError(f"{name}: field {field!r}: {problem['msg']}; delete the file to regenerate it") from None


def write_table(path: str | Path, table: pa.Table, made_by: Mapping[str, Any], **options: Any) -> None:
    """Write a Parquet file atomically.

    Args:
        path: the file.
        table: its rows.
        made_by: what made the file, stored as JSON under the metadata key `made_by`.
        options: further arguments of pyarrow's writer.
    """
    metadata = {**(table.schema.metadata or {}), b"made_by": json.dumps(made_by, sort_keys=True, default=str).encode()}
    with atomic_path(path) as part:
        pq.write_table(table.replace_schema_metadata(metadata), part, **options)


def read_table(path: str | Path, schema: pa.Schema | None = None) -> pa.Table:
    """Read a Parquet file and check it against a schema.

    Raises:
        HNeuronsError: naming the file and the first column that is missing or has the wrong type.
    """
    try:
        table = upgraded(pq.read_table(path))
    except pa.ArrowInvalid as error:
        raise HNeuronsError(f"{path}: not a Parquet file ({error})") from None
    for field in schema or ():
        if field.name not in table.schema.names:
            raise HNeuronsError(f"{path}: column {field.name!r} is missing; delete the file to regenerate it")
        actual = table.schema.field(field.name).type
        if actual != field.type:
            raise HNeuronsError(f"{path}: column {field.name!r} is {actual}, expected {field.type}; delete the file")
    return table


def concat_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """Concatenate tables of one schema, without their metadata."""
    return pa.concat_tables([table.replace_schema_metadata() for table in tables])


def made_by(source: str | Path | pa.Table) -> dict[str, Any]:
    """Read the metadata that write_table stored, of a file or of a table read from it.

    Raises:
        HNeuronsError: if it is missing.
    """
    metadata = (source.schema if isinstance(source, pa.Table) else pq.read_schema(source)).metadata or {}
    if b"made_by" not in metadata:
        raise HNeuronsError(f"{source}: no 'made_by' metadata; the file was not written by hneurons")
    result: dict[str, Any] = json.loads(metadata[b"made_by"])
    return result


def is_up_to_date(path: str | Path, mark: str, **facts: Any) -> bool:
    """Return whether a file exists and its `made_by` has this mark and these facts.

    If so, its modification time is renewed, so that the workflow does not consider it older than its inputs.
    """
    if not Path(path).exists():
        return False
    metadata = made_by(path)
    if any(metadata.get(name) != value for name, value in {"mark": mark, **facts}.items()):
        return False
    Path(path).touch()
    return True


def fingerprint(data: Any) -> str:
    """Return a short hash of data that JSON can represent."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()[:16]


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
