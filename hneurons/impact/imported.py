"""Import of runs made elsewhere, one JSON line per item and α, so that curves and figures can be made from them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from hneurons import store
from hneurons.config.impact import UNTOUCHED, is_untouched, named_alpha
from hneurons.data.text_files import read_json_lines
from hneurons.errors import HNeuronsError
from hneurons.impact.run_files import run_file
from hneurons.records import RUNS, Rows


class ImportedRow(BaseModel):
    """One item at one α.

    Attributes:
        item_id: the item; `id` is accepted as well.
        alpha: the scaling factor.
        compliance: whether the model complied; null if the reply could not be parsed. `compliant` is accepted as well.
        response: the last reply.
        eligible: whether the item is in the denominator.
        tokens, truncated: length of the reply and whether it ended at the limit of new tokens; null if unknown.
        subset: the item's sub-set within its benchmark; null if it has no sub-sets.
        group: a name that items with the same gold answer share; null for an independent item.
        grade: a graded judge's score from 0 to 1; null if the judge says only whether the model complied.
    """

    model_config = ConfigDict(extra="ignore")

    item_id: str = Field(min_length=1, validation_alias=AliasChoices("item_id", "id"))
    alpha: float = Field(ge=0, allow_inf_nan=False)
    compliance: bool | None = Field(validation_alias=AliasChoices("compliance", "compliant"))
    response: str = ""
    eligible: bool = True
    tokens: int | None = None
    truncated: bool | None = None
    subset: str | None = None
    group: str | None = None
    grade: float | None = Field(None, ge=0, le=1)


def import_runs(
    files: Sequence[str | Path], results: str | Path, model: str, benchmark: str, neurons: str, judge: str
) -> list[Path]:
    """Convert JSON-lines files to results/{model}/impact/{benchmark}/…/alpha=….parquet; α = 1 is the untouched model's run.

    Several neuron sets share that run: if it exists with the same items and outcomes, it is kept.

    Args:
        files: the JSON-lines files.
        results: folder of a study.
        model: name of the model.
        benchmark: name of the benchmark.
        neurons: the set that was scaled ("hneurons", "random-1", …).
        judge: the judge's name in figures.

    Returns:
        The files written, by ascending α; a run that is kept is not among them.

    Raises:
        HNeuronsError: for a row that cannot be parsed (with file, line and field), an item that occurs twice at one α, an α
            whose items differ from those of another α, or a run that already exists (at α = 1, with other outcomes).
    """
    by_alpha: dict[float, dict[str, ImportedRow]] = defaultdict(dict)
    for path in map(Path, files):
        for number, row in _rows(path):
            if row.item_id in by_alpha[row.alpha]:
                raise HNeuronsError(f"{path}, line {number}: {row.item_id} occurs twice at alpha {row.alpha:g}")
            by_alpha[row.alpha][row.item_id] = row
    if not by_alpha:
        raise HNeuronsError("no rows in these files: nothing to import")
    first_alpha, first_rows = next(iter(by_alpha.items()))
    for alpha, rows in by_alpha.items():
        if odd := sorted(set(first_rows) ^ set(rows)):
            raise HNeuronsError(
                f"alpha {alpha:g} and alpha {first_alpha:g} have different items: {odd[0]} and {len(odd) - 1} more"
            )
    runs = {alpha: [_run(row) for row in by_alpha[alpha].values()] for alpha in sorted(by_alpha)}
    targets = {alpha: run_file(results, model, benchmark, neurons, alpha) for alpha in runs}
    for alpha, target in list(targets.items()):
        if not target.exists():
            continue
        if not is_untouched(alpha):
            raise HNeuronsError(f"{target} already exists; delete it or import into another study")
        if _outcomes(runs[alpha]) != _outcomes(store.read_table(target, RUNS).to_pylist()):
            raise HNeuronsError(
                f"{target} already exists, with other items or outcomes at alpha 1; delete it or import into another study"
            )
        del targets[alpha]
    made_by = {"imported_from": {str(p): store.file_hash(p) for p in files}, "judge": judge, "benchmark": benchmark}
    for alpha, target in targets.items():
        table = pa.Table.from_pylist(runs[alpha], schema=RUNS)
        scaled = UNTOUCHED if is_untouched(alpha) else neurons
        store.write_table(target, table, {**made_by, "neurons": scaled, "alpha": alpha})
    return list(targets.values())


def _outcomes(runs: Rows) -> dict[str, tuple[Any, ...]]:
    """Outcomes of rows of RUNS by item."""
    return {row["item_id"]: tuple(row[name] for name in ("eligible", "compliant", "state", "grade")) for row in runs}


def _rows(path: Path) -> Iterator[tuple[int, ImportedRow]]:
    for number, value in read_json_lines(path):
        try:
            row = ImportedRow.model_validate(value)
            # The α of two files may differ in digits that their names do not have.
            yield number, row.model_copy(update={"alpha": named_alpha(row.alpha)})
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(map(str, problem["loc"]))
            raise HNeuronsError(f"{path}, line {number}: field {field!r}: {problem['msg']}") from None
        except ValueError as error:
            raise HNeuronsError(f"{path}, line {number}: {error}") from None


def _run(row: ImportedRow) -> dict[str, Any]:
    return {
        **row.model_dump(),
        "replies": [row.response],
        "compliant": bool(row.compliance),
        "state": "unparsed" if row.compliance is None else "parsed",
        "why": "",
    }
