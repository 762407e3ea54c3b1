"""Rows of published files in CSV, JSON lines or Parquet, validated field by field."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from hneurons import store
from hneurons.errors import HNeuronsError


class PublishedRow(BaseModel):
    """Base of all published rows; columns without a field are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


R = TypeVar("R", bound=PublishedRow)


def _raw_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line or row number and fields of each row."""
    if path.suffix == ".csv":
        with open(path, encoding="utf-8-sig", newline="") as handle:
            yield from enumerate(csv.DictReader(handle), 1)
    elif path.suffix == ".jsonl":
        yield from store.read_json_lines(path)
    elif path.suffix == ".parquet":
        yield from enumerate(pq.read_table(path).to_pylist(), 1)
    else:
        raise HNeuronsError(f"{path}: must end in .csv, .jsonl or .parquet")


def read_rows(path: str | Path, row: type[R]) -> list[R]:
    """Read all rows of a file, in its order.

    Args:
        path: File ending in .csv, .jsonl or .parquet.
        row: Class of the rows.

    Raises:
        HNeuronsError: If the file cannot be read, holds no rows, or has a row that breaks the schema; the message names the
            first such row, by id, and the field.
    """
    rows = []
    try:
        raw_rows = list(_raw_rows(Path(path)))
    except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
        raise HNeuronsError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}; fetch the file again") from None
    for number, fields in raw_rows:
        try:
            rows.append(row.model_validate(fields))
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(map(str, problem["loc"]))
            row_id = next(
                (str(fields[k]) for k in ("question_id", "id", "q_id") if isinstance(fields, dict) and k in fields), "-"
            )
            raise HNeuronsError(f"{path}, row {number} (id {row_id}): field {field!r}: {problem['msg']}") from None
    if not rows:
        raise HNeuronsError(f"{path}: holds no rows")
    return rows
