"""Rows of published files in CSV, JSON lines or Parquet, validated field by field."""

import csv
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from hneurons.data.text_files import open_text, read_json_lines, reason_unreadable
from hneurons.errors import HNeuronsError

# Key of the fields of a CSV row beyond its columns.
_BEYOND = "beyond the columns"


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    return text


Text = Annotated[str, AfterValidator(_not_blank)]


class PublishedRow(BaseModel):
    """Base of all published rows; columns without a field are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


R = TypeVar("R", bound=PublishedRow)


def _raw_rows(path: Path, used: Container[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place ("line 3" or "row 3") and fields of each row. used: names of the columns that are read."""
    if path.suffix == ".csv":
        with open_text(path, newline="") as handle:
            yield from _csv_rows(csv.DictReader(handle, restkey=_BEYOND), path, used)
    elif path.suffix == ".jsonl":
        yield from ((f"line {number}", fields) for number, fields in read_json_lines(path))
    elif path.suffix == ".parquet":
        yield from ((f"row {number}", fields) for number, fields in enumerate(pq.read_table(path).to_pylist(), 1))
    else:
        raise HNeuronsError(f"{path}: must end in .csv, .jsonl or .parquet")


def _csv_rows(reader: "csv.DictReader[str]", path: Path, used: Container[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    header = list(reader.fieldnames or [])
    if repeated := {name for name in header if header.count(name) > 1 and name in used}:
        raise HNeuronsError(f"{path}, line 1: column {min(repeated)!r} occurs twice")
    for fields in reader:
        # Spreadsheets end lines with empty fields.
        if any(fields.pop(_BEYOND, None) or ()):
            raise HNeuronsError(f"{path}, line {reader.line_num}: more fields than the {len(header)} columns; quote commas")
        yield f"line {reader.line_num}", fields


def read_rows(path: str | Path, row: type[R], unique: Callable[[R], tuple[str, Any]] | None = None) -> list[R]:
    """Read all rows of a file, in its order.

    Args:
        path: File ending in .csv, .jsonl or .parquet.
        row: Class of the rows.
        unique: If given, returns the identifier of a row and what must be the same in all rows with this identifier.

    Raises:
        HNeuronsError: If the file cannot be read, holds no rows, or has a row that breaks the schema or has the identifier
            of a different row; the message names the first such row, by line and id, and the field.
    """
    rows = []
    places: dict[str, tuple[str, Any]] = {}
    try:
        used = {name for key, field in row.model_fields.items() for name in (key, field.alias or key)}
        raw_rows = list(_raw_rows(Path(path), used))
    except (OSError, pa.ArrowInvalid, UnicodeError, csv.Error) as error:
        raise HNeuronsError(f"{path}: cannot be read: {reason_unreadable(error)}; fetch the file again") from None
    for place, fields in raw_rows:
        try:
            parsed = row.model_validate(fields)
        except ValidationError as error:
            problem = error.errors()[0]
            field, why = ".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "missing":
                why += f" (there are: {', '.join(map(str, fields))[:80]})"
            row_id = next((str(fields[k]) for k in ("question_id", "id", "q_id") if k in fields), "-")
            raise HNeuronsError(f"{path}, {place} (id {row_id}): field {field!r}: {why}") from None
        if unique is not None:
            identifier, content = unique(parsed)
            first_place, first_content = places.setdefault(identifier, (place, content))
            if content != first_content:
                raise HNeuronsError(f"{path}, {place}: id {identifier} is already that of {first_place}, which differs")
        rows.append(parsed)
    if not rows:
        raise HNeuronsError(f"{path}: holds no rows")
    return rows
