"""Render self-contained HTML pages from templates: inline style and scripts, escaped text, tables that sort and filter."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from hneurons import store
from hneurons.stats.estimates import format_interval

_Row = TypeVar("_Row")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hneurons.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates = files("hneurons.report") / "templates"
    environment.globals["resource"] = lambda name: Markup((templates / name).read_text(encoding="utf-8"))
    return environment


def write_html(path: str | Path, template: str, **context: Any) -> None:
    """Render a template of this package into a file, atomically.

    Args:
        path: the HTML file.
        template: a file name in hneurons/report/templates.
        context: the template's variables; a missing one raises an error.
    """
    store.write_text(path, render_page(template, **context))


def render_page(template: str, **context: Any) -> str:
    """Render a template of this package as HTML. See `write_html`."""
    page: str = _environment().get_template(template).render(**context)
    return page


def render_text(template: str, **context: Any) -> str:
    """Render a template of this package as plain text: nothing is escaped. See `write_html`."""
    text: str = _environment().overlay(autoescape=False).get_template(template).render(**context)
    return text


def iframe(path: str | Path) -> str:
    """Return a page as an `iframe` element that contains all of it, to embed in another page."""
    page = escape(Path(path).read_text(encoding="utf-8"))
    return f'<iframe id="front" title="Front page: from the questions to the answers" srcdoc="{page}"></iframe>\n'


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what is shown.
        number: what the cell is sorted by; None to sort it by its text.
    """

    text: str
    number: float | None = None


@dataclass(frozen=True)
class Grid:
    """A table of a page.

    Attributes:
        columns: titles.
        rows: one cell per column each.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def make_grid(rows: Sequence[_Row], columns: Mapping[str, Callable[[_Row], Cell | str]]) -> Grid:
    """Make a table from records.

    Args:
        rows: the records.
        columns: per title a function that makes the cell of a record.
    """
    cells = [[cell if isinstance(cell := make(row), Cell) else Cell(cell) for make in columns.values()] for row in rows]
    return Grid(list(columns), cells)


def frame_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dicts by column name."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def number_cell(value: Any, digits: int = 2) -> Cell:
    """Make the cell of a number; it is empty for None and NaN."""
    if pd.isna(value):
        return Cell("")
    return Cell(f"{value:.{digits}f}", float(value))


def interval_cell(value: Any, low: Any, high: Any, digits: int = 2) -> Cell:
    """Make the cell of a number with its interval; without bounds, the number alone."""
    if pd.isna(value) or low is None or pd.isna(low):
        return number_cell(value, digits)
    return Cell(format_interval(value, low, high, digits=digits), float(value))


def svg_data_url(path: str | Path) -> str:
    """Return an SVG file as a data URL, which embeds it in the page."""
    return f"data:image/svg+xml;base64,{base64.b64encode(Path(path).read_bytes()).decode()}"
