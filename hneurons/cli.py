"""The command line: `hneurons plan`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from hneurons.errors import HNeuronsError
from hneurons.jobs import dry_run
from hneurons.planning import Plan, plan
from hneurons.study import parse_study

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hneurons {installed('hneurons')}")
        raise typer.Exit


@app.callback()
def main(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    """Find, measure and steer the neurons behind hallucination in language models."""


@app.command("plan")
def plan_command(
    configfile: Annotated[str, typer.Option(help="the study's configuration")] = "config/config.yaml",
    as_json: Annotated[bool, typer.Option("--json", help="for machines: everything, unrounded")] = False,
) -> None:
    """What a study costs, before anything runs: jobs, GPU hours, memory, disk, judge calls and their price.

    After a partial run it shows what is left. Example: hneurons plan --configfile config/demo.yaml
    """
    try:
        path = Path(configfile)
        if not path.is_file():
            raise HNeuronsError(f"{path} does not exist; run in the project's checkout or name another with --configfile")
        setup = parse_study(yaml.safe_load(path.read_text()), str(path))
        results = Path("results") / setup.study.study
        with ThreadPoolExecutor() as pool:
            whole = pool.submit(dry_run, configfile, "--forceall")
            # Where nothing is there yet, all is left.
            left = pool.submit(dry_run, configfile) if results.exists() else whole
            (all_jobs, notes), (open_jobs, _) = whole.result(), left.result()
        found = plan(setup, all_jobs, open_jobs, results, notes)
    except (HNeuronsError, yaml.YAMLError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        _print(found)


_COLUMNS = ("left", "of", "GPUs", "hours", "GPU h", "GPU GB", "host GB", "disk GB", "calls", "$", "")
# Narrower, numbers would be cut.
_NARROWEST = 104


def _print(found: Plan) -> None:
    console = Console()
    console.width = max(_NARROWEST, console.width)
    table = Table(
        title=f"study {found.study}: jobs left, what they cost, and the disk of all", title_justify="left", box=None
    )
    table.add_column("", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    previous = ""
    for line in found.lines:
        if line.model != previous:
            table.add_row(f"[bold]{line.model}[/bold]")
            previous = line.model
        mark = "*" if line.measured_jobs else ""
        table.add_row(f"  {line.stage}", *_cells(asdict(line)), mark)
    table.add_row("[bold]total[/bold]", *_cells(found.totals), "")
    console.print(table)
    corrected = " (* corrected by finished jobs)" if any(line.measured_jobs for line in found.lines) else ""
    console.print(
        f"\nWeights: {found.weights_gb:.0f} GB. GPU and host memory: of one job at its first attempt, at its peak."
    )
    console.print(f"Hours: estimated{corrected}, assuming")
    for name, value in found.assumptions.items():
        console.print(f"  {name} = {value:g}" if isinstance(value, float) else f"  {name} = {value}", highlight=False)
    for note in found.notes:
        console.print(note, markup=False, highlight=False)


def _cells(row: Mapping[str, float]) -> list[str]:
    names = (
        "jobs_left",
        "jobs",
        "gpus_per_job",
        "hours_left",
        "gpu_hours_left",
        "gpu_memory_gb",
        "host_memory_gb",
        "disk_gb",
    )
    return [_short(row.get(name, 0)) for name in (*names, "judge_calls_left", "dollars_left")]


def _short(value: float) -> str:
    if not value:
        return ""
    return f"{value:.0f}" if value >= 100 or float(value).is_integer() else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


if __name__ == "__main__":
    app()
