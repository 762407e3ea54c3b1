"""One HTML file from a template: style and scripts inside, text escaped, tables that sort and filter."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from hneurons import store
from hneurons.stats import format_interval


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("hneurons.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    found.globals["resource"] = lambda name: Markup(
        files("hneurons.report").joinpath("templates", name).read_text(encoding="utf-8")
    )
    return found


def write_html(path: str | Path, template: str, **context: Any) -> None:
    """Render a template of this package, which gets whole or not at all into a file."""
    store.write_text(path, _environment().get_template(template).render(**context))


def iframe(path: str | Path) -> str:
    """A page as an element that holds all of it, to stand in another page."""
    page = escape(Path(path).read_text(encoding="utf-8"))
    return f'<iframe id="front" title="Front page: from the questions to the answers" srcdoc="{page}"></iframe>\n'


@dataclass(frozen=True)
class Cell:
    """What stands in a table's cell, and the number that it is sorted by."""

    text: str
    number: float | None = None


@dataclass(frozen=True)
class Grid:
    """A table of a page. columns: their titles. rows: as many cells each."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def make_grid(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Callable[[Mapping[str, Any]], Cell | str]]) -> Grid:
    """A table from records. columns: title → what a record's cell holds."""
    cells = [[cell if isinstance(cell := make(row), Cell) else Cell(cell) for make in columns.values()] for row in rows]
    return Grid(list(columns), cells)


def frame_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, by column name."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def number_cell(value: Any, digits: int = 2) -> Cell:
    """A number, or an empty cell where there is none."""
    if value is None or pd.isna(value):
        return Cell("")
    return Cell(f"{value:.{digits}f}", float(value))


def interval_cell(value: Any, low: Any, high: Any, digits: int = 2) -> Cell:
    """A number with its 95 % interval."""
    if value is None or pd.isna(value):
        return Cell("")
    if low is None or pd.isna(low):
        return number_cell(value, digits)
    return Cell(format_interval(value, low, high, digits=digits), float(value))


def svg_data_url(path: str | Path) -> str:
    """An SVG file as an address that stands in the page itself."""
    return f"data:image/svg+xml;base64,{base64.b64encode(Path(path).read_bytes()).decode()}"
