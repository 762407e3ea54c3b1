"""Rows of published files, checked field by field: CSV, JSON lines or Parquet, whichever a mirror or a hub holds."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from hneurons.errors import HNeuronsError


class PublishedRow(BaseModel):
    """Base of all published rows: their further columns are not read."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


R = TypeVar("R", bound=PublishedRow)


def _raw(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line or row number and fields of each row. A bare NaN, which JSON does not know and pandas writes, is null."""
    if path.suffix == ".csv":
        with open(path, encoding="utf-8-sig", newline="") as handle:
            yield from enumerate(csv.DictReader(handle), 1)
    elif path.suffix == ".jsonl":
        with open(path, encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    try:
                        yield number, json.loads(line, parse_constant=lambda _: None)
                    except json.JSONDecodeError as error:
                        raise HNeuronsError(f"{path}, line {number}: no valid JSON: {error}") from None
    elif path.suffix == ".parquet":
        yield from enumerate(pq.read_table(path).to_pylist(), 1)
    else:
        raise HNeuronsError(f"{path}: must end in .csv, .jsonl or .parquet")


def read_rows(path: str | Path, row: type[R]) -> list[R]:
    """All rows of a file, in its order. Raises HNeuronsError naming the first row that breaks the schema, by id and "
    "field."""
    found = []
    try:
        raw = list(_raw(Path(path)))
    except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
        raise HNeuronsError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}; fetch the file again") from None
    for number, fields in raw:
        try:
            found.append(row.model_validate(fields))
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(map(str, problem["loc"]))
            own = next(
                (str(fields[k]) for k in ("question_id", "id", "q_id") if isinstance(fields, dict) and k in fields), "-"
            )
            raise HNeuronsError(f"{path}, row {number} (id {own}): field {field!r}: {problem['msg']}") from None
    if not found:
        raise HNeuronsError(f"{path}: holds no rows")
    return found
