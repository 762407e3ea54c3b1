"""`hneurons plan`."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from hneurons.cli.common import JsonOption, echo_json, one_line_errors
from hneurons.config.setup import parse_study
from hneurons.errors import HNeuronsError
from hneurons.planning.jobs import dry_run
from hneurons.planning.plan import Plan, make_plan


def plan_command(
    configfile: Annotated[str, typer.Option(help="the study's configuration")] = "config/config.yaml",
    as_json: JsonOption = False,
) -> None:
    """What a study costs, before anything runs: jobs, GPU hours, memory, disk, judge calls and their price.

    After a partial run it shows what is left. Example: `hneurons plan --configfile config/demo.yaml`
    """
    with one_line_errors():
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
        found = make_plan(setup, all_jobs, open_jobs, results, notes)
    if as_json:
        echo_json(found.as_dict())
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
