"""Runs of others as if they were ours: one JSON line per item and α, so that curves and figures can be drawn of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from hneurons import store
from hneurons.config.impact import format_alpha
from hneurons.errors import HNeuronsError
from hneurons.impact.curves import run_file
from hneurons.records import RUNS


class ImportedRow(BaseModel):
    """One item at one α. compliance: null where the reply could not be read. tokens, truncated: where they are known."""

    model_config = ConfigDict(extra="ignore")

    item_id: str = Field(validation_alias=AliasChoices("item_id", "id"))
    alpha: float = Field(ge=0)
    compliance: bool | None = Field(validation_alias=AliasChoices("compliance", "compliant"))
    response: str = ""
    eligible: bool = True
    tokens: int | None = None
    truncated: bool | None = None


def import_runs(
    files: Sequence[str | Path], results: str | Path, model: str, benchmark: str, neurons: str, judge: str
) -> list[Path]:
    """Write results/{model}/impact/{benchmark}/…/alpha=….parquet of JSON-lines files, α = 1 as the untouched model's.

    results: a study's folder. neurons: what was scaled ("hneurons", "random-1", …). judge: who judged, as figures say.
    Raises HNeuronsError naming file, line and field of a row that cannot be read, an item that stands twice at an α, an α
    whose items are not those of the others, and a run that is there already.
    """
    by_alpha: dict[float, dict[str, ImportedRow]] = defaultdict(dict)
    for path in map(Path, files):
        for number, row in _rows(path):
            if row.item_id in by_alpha[row.alpha]:
                raise HNeuronsError(f"{path}, line {number}: {row.item_id} stands twice at alpha {row.alpha:g}")
            by_alpha[row.alpha][row.item_id] = row
    if not by_alpha:
        raise HNeuronsError("no rows in these files: nothing to import")
    first = set(next(iter(by_alpha.values())))
    for alpha, rows in by_alpha.items():
        if differ := sorted(first ^ set(rows)):
            raise HNeuronsError(
                f"alpha {alpha:g} has other items than the others: {differ[0]} and {len(differ) - 1} more differ"
            )
    targets = {a: run_file(results, model, benchmark, neurons, format_alpha(a)) for a in sorted(by_alpha)}
    for target in targets.values():
        if target.exists():
            raise HNeuronsError(f"{target} is there already; delete it or import into another study")
    made_by = {"imported_from": {str(p): store.file_hash(p) for p in files}, "judge": judge, "neurons": neurons}
    for alpha, target in targets.items():
        table = pa.Table.from_pylist([_run(row) for row in by_alpha[alpha].values()], schema=RUNS)
        store.write_table(target, table, {**made_by, "benchmark": benchmark, "alpha": alpha})
    return list(targets.values())


def _rows(path: Path) -> list[tuple[int, ImportedRow]]:
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise HNeuronsError(f"{path}: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append((number, ImportedRow.model_validate(json.loads(line))))
            except ValidationError as error:
                problem = error.errors()[0]
                field = ".".join(map(str, problem["loc"]))
                raise HNeuronsError(f"{path}, line {number}: field {field!r}: {problem['msg']}") from None
            except ValueError as error:
                raise HNeuronsError(f"{path}, line {number}: no JSON ({error})") from None
    return found


def _run(row: ImportedRow) -> dict[str, Any]:
    return {
        "item_id": row.item_id,
        "replies": [row.response],
        "eligible": row.eligible,
        "compliant": bool(row.compliance),
        "state": "unparsed" if row.compliance is None else "parsed",
        "why": "",
        "tokens": row.tokens,
        "truncated": row.truncated,
    }
