"""Rows of published files in CSV, JSON lines or Parquet, validated field by field."""

import csv
from collections.abc import Callable, Container, Iterator, Mapping
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


def raw_rows(path: Path, used: Container[str] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place ("line 3" or "row 3") and the fields of each row of a file, in its order.

    Args:
        path: File ending in .csv, .jsonl or .parquet.
        used: Names of columns that may occur only once.

    Raises:
        HNeuronsError: If the file cannot be read.
    """
    try:
        yield from _rows_of(path, used)
    except (OSError, pa.ArrowInvalid, UnicodeError, csv.Error) as error:
        raise HNeuronsError(f"{path}: cannot be read: {reason_unreadable(error)}; fetch the file again") from None


def _rows_of(path: Path, used: Container[str]) -> Iterator[tuple[str, dict[str, Any]]]:
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


def _renamed(fields: dict[str, Any], columns: Mapping[str, str], place: str) -> dict[str, Any]:
    """Fields under the names that the schema has for them."""
    renamed = {name: value for name, value in fields.items() if name not in columns}
    for name, column in columns.items():
        value: Any = fields
        for part in [column] if column in fields else column.split("."):
            if not isinstance(value, dict) or part not in value:
                names = ", ".join(map(str, fields))[:80]
                raise HNeuronsError(f"{place}: no column {column!r} (there are: {names})")
            value = value[part]
        renamed[name] = value
    return renamed


def read_rows(
    path: str | Path,
    row: type[R],
    unique: Callable[[R], tuple[str, Any]] | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[R]:
    """Read all rows of a file, in its order.

    Args:
        path: File ending in .csv, .jsonl or .parquet.
        row: Class of the rows.
        unique: If given, returns the identifier of a row and what must be the same in all rows with this identifier.
        columns: Names of the file's columns by those of the fields, where they differ; "a.b" is field b of column a.

    Raises:
        HNeuronsError: If the file cannot be read, holds no rows, or has a row that breaks the schema or has the identifier
            of a different row; the message names the first such row, by line and id, and the field.
    """
    rows = []
    places: dict[str, tuple[str, Any]] = {}
    used = {name for key, field in row.model_fields.items() for name in (key, field.alias or key)}
    for place, raw in list(raw_rows(Path(path), used | set((columns or {}).values()))):
        fields = _renamed(raw, columns, f"{path}, {place}") if columns else raw
        try:
            parsed = row.model_validate(fields)
        except ValidationError as error:
            problem = error.errors()[0]
            name, why = ".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "missing":
                why += f" (there are: {', '.join(map(str, fields))[:80]})"
            row_id = next((str(fields[k]) for k in ("question_id", "item_id", "id", "q_id") if k in fields), "-")
            in_field = f"field {name!r}: " if name else ""
            raise HNeuronsError(f"{path}, {place} (id {row_id}): {in_field}{why}") from None
        if unique is not None:
            identifier, content = unique(parsed)
            first_place, first_content = places.setdefault(identifier, (place, content))
            if content != first_content:
                raise HNeuronsError(f"{path}, {place}: id {identifier} is already that of {first_place}, which differs")
        rows.append(parsed)
    if not rows:
        raise HNeuronsError(f"{path}: holds no rows")
    return rows
