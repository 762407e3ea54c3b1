"""`hneurons plan`: what a study costs before it runs."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hneurons.cli.common import JsonOption, echo_json, one_line_errors
from hneurons.config.base import read_yaml
from hneurons.config.behaviours import is_own_behaviour
from hneurons.config.datasets import is_own_set
from hneurons.config.models import ModelSettings
from hneurons.config.setup import parse_study
from hneurons.config.study import Study
from hneurons.config.weights import read_config
from hneurons.data.sources import missing_files
from hneurons.errors import HNeuronsError
from hneurons.planning.jobs import dry_run
from hneurons.planning.plan import Plan, make_plan


def plan_command(
    configfile: Annotated[str, typer.Option(help="the study's configuration")] = "config/config.yaml",
    as_json: JsonOption = False,
) -> None:
    """Estimate what a study costs before it runs: jobs, GPU hours, memory, disk, judge calls and their price.

    After a partial run it shows what is left. Example: `hneurons plan --configfile config/demo.yaml`
    """
    with one_line_errors():
        setup = parse_study(read_yaml(configfile), configfile)
        untested = _check_models(setup.models)
        _check_files(setup.study)
        results = Path("results") / setup.study.study
        with ThreadPoolExecutor() as pool:
            complete = pool.submit(dry_run, configfile, "--forceall")
            # Without results all jobs are left.
            left = pool.submit(dry_run, configfile) if results.exists() else complete
            (all_jobs, notes), (open_jobs, _) = complete.result(), left.result()
        plan = make_plan(setup, all_jobs, open_jobs, results, [*notes, *untested])
    if as_json:
        echo_json(plan.as_dict())
    else:
        _print(plan)


def _check_files(study: Study) -> None:
    """Raise HNeuronsError for the first fault in a file of the user's own."""
    names = [*filter(is_own_set, study.datasets), *filter(is_own_behaviour, study.impact.benchmarks)]
    if names and not missing_files(study):
        from hneurons.impact.benchmarks.registry import check_own_files

        check_own_files(study)


def _check_models(models: Mapping[str, ModelSettings]) -> list[str]:
    """Notes on models of types that were never tested, as far as their config.json is on this machine.

    Raises:
        HNeuronsError: a model is one that the study could not measure.
    """
    notes = []
    for name, model in models.items():
        folder = _folder_of(model)
        if folder is None or not (folder / "config.json").is_file():
            continue
        from hneurons.models.layouts import tested_types
        from hneurons.models.skeleton import shape_on_disk

        try:
            shape_on_disk(folder, model.trust_remote_code)
            kind = read_config(folder).get("model_type")
        except HNeuronsError as error:
            raise HNeuronsError(f"models: {name}: {error}") from None
        if kind not in tested_types():
            notes.append(
                f"note: {name} is of type {kind}, which was never tested (docs/models.md); it is checked on a few tokens "
                "when it is loaded"
            )
    return notes


def _folder_of(model: ModelSettings) -> Path | None:
    """The folder of a model's files: its own, or that in the hub's cache."""
    if model.folder is not None:
        return Path(model.folder).expanduser()
    if model.hub is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(model.hub.id, "config.json", revision=model.hub.revision)
    return Path(cached).parent if isinstance(cached, str) else None


_COLUMNS = ("left", "of", "GPUs", "hours", "GPU h", "GPU GB", "host GB", "disk GB", "calls", "$", "")
# In a narrower table, numbers would be cut off.
_MIN_WIDTH = 104


def _print(plan: Plan) -> None:
    console = Console()
    console.width = max(_MIN_WIDTH, console.width)
    title = f"study {plan.study}: jobs left, what they cost, and the disk space of all jobs"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for model, lines in groupby(plan.lines, key=attrgetter("model")):
        table.add_row(f"[bold]{model}[/bold]")
        for line in lines:
            table.add_row(f"  {line.stage}", *_cells(asdict(line)), "*" if line.measured_jobs else "")
    table.add_row("[bold]total[/bold]", *_cells(plan.totals), "")
    console.print(table)
    corrected = " (* corrected by finished jobs)" if any(line.measured_jobs for line in plan.lines) else ""
    console.print(f"\nWeights: {plan.weights_gb:.0f} GB. GPU and host memory: peak of one job at its first attempt.")
    console.print(f"Hours: estimated{corrected}, assuming")
    for name, value in plan.assumptions.items():
        console.print(f"  {name} = {value:g}" if isinstance(value, float) else f"  {name} = {value}", highlight=False)
    console.print(
        "Smallest slope against random neurons that is detected with 80 % power, in points per unit α, assuming a"
    )
    console.print("rate of 50 %, independent replies, and random sets whose slopes differ by 2 points:")
    for name, slope in plan.detectable_slopes.items():
        console.print(f"  {name}: {slope:.1f}", highlight=False)
    for note in plan.notes:
        console.print(note, markup=False, highlight=False)


def _cells(row: Mapping[str, float]) -> list[str]:
    names = "jobs_left jobs gpus_per_job hours_left gpu_hours_left gpu_memory_gb host_memory_gb disk_gb"
    return [_short(row.get(name, 0)) for name in [*names.split(), "judge_calls_left", "dollars_left"]]


def _short(value: float) -> str:
    if not value:
        return ""
    return f"{value:.0f}" if value >= 100 or float(value).is_integer() else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
