"""`hneurons import-runs` and `hneurons figure3`: runs that were made elsewhere, and curves from the runs that exist."""

from pathlib import Path
from typing import Annotated

import typer

from hneurons.cli.common import one_line_errors
from hneurons.config.behaviours import TEST_QUESTIONS
from hneurons.errors import HNeuronsError


def import_command(
    files: Annotated[list[Path], typer.Argument(help="JSON lines: id, alpha, compliance (null: unreadable), response")],
    model: Annotated[str, typer.Option(help="name of the model")],
    benchmark: Annotated[str, typer.Option(help="name of the benchmark: faitheval, falseqa, …")],
    judge: Annotated[str, typer.Option(help="name of the judge, for the figures")],
    study: Annotated[str, typer.Option(help="store them under results/{study}/")] = "imported",
    neurons: Annotated[str, typer.Option(help="what was scaled: hneurons, or a control such as random-1")] = "hneurons",
) -> None:
    """Import runs that were made elsewhere, for `hneurons figure3`.

    Example: `hneurons import-runs alpha_*.jsonl --model gemma-3-4b-it --benchmark faitheval --judge "option parser"`
    """
    from hneurons.impact.imported import import_runs

    with one_line_errors():
        for path in import_runs(files, Path("results") / study, model, benchmark, neurons, judge):
            typer.echo(str(path))


def figure3_command(
    results: Annotated[Path, typer.Argument(help="a study's folder: results/{study}")],
    out: Annotated[Path | None, typer.Option(help="folder to write to; by default the study's folder")] = None,
) -> None:
    """Draw Figure 3 and its tables from the runs that exist. Missing runs are listed, not interpolated.

    Example: `hneurons figure3 results/imported`
    """
    from hneurons import store
    from hneurons.impact.benchmarks import TITLES
    from hneurons.impact.run_files import read_curves
    from hneurons.report.figures.impact import figure3
    from hneurons.report.tables.impact import figure3_table, slopes_table

    with one_line_errors():
        curves, notes = read_curves(results)
        curves = [c for c in curves if (c.title or c.benchmark in TITLES) and c.benchmark != TEST_QUESTIONS]
        for note in notes:
            typer.echo(note, err=True)
        if not curves:
            raise HNeuronsError(f"{results}: no runs under */impact/*/*/alpha=*.parquet to draw")
        folder = out or results
        pictures = [folder / "figures" / f"figure3.{ending}" for ending in ("png", "svg")]
        tables = {"figure3": figure3_table(curves), "slopes": slopes_table(curves)}
        for name, table in tables.items():
            store.write_text(folder / "tables" / f"{name}.csv", table.to_csv(index=False))
        figure3(curves, pictures)
    for path in (*pictures, *(folder / "tables" / f"{name}.csv" for name in tables)):
        typer.echo(str(path))
