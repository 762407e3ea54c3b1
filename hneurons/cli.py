"""The command line: `hneurons plan`, `drift`, `export`, `import-runs` and `figure3`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from hneurons.errors import HNeuronsError
from hneurons.impact_config import TEST_QUESTIONS
from hneurons.jobs import dry_run
from hneurons.planning import Plan, plan
from hneurons.study import parse_study

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hneurons {installed('hneurons')}")
        raise typer.Exit


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """What is wrong in one line, and exit code 1."""
    try:
        yield
    except (HNeuronsError, yaml.YAMLError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from None


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
    with _one_line_errors():
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
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        _print(found)


_MODEL = "a folder with *.safetensors, a study's {model}/checkpoint folder, or a hub id"
_NEURONS = "neurons.parquet of a study"


@app.command("drift")
def drift_command(
    base: Annotated[str, typer.Argument(help=f"before tuning: {_MODEL}")],
    tuned: Annotated[str, typer.Argument(help="after tuning, likewise")],
    neurons: Annotated[Path, typer.Option(help=_NEURONS)],
    out: Annotated[Path | None, typer.Option(help="write every neuron's drift and rank here, as Parquet")] = None,
    seed: Annotated[int, typer.Option(help="of the permutation tests")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="for machines: everything, unrounded")] = False,
) -> None:
    """Did tuning change the H-Neurons' weights less than other neurons'? Reads files alone: no model is built.

    Example: hneurons drift google/gemma-3-4b-pt google/gemma-3-4b-it --neurons neurons.parquet
    """
    from hneurons import store
    from hneurons.checkpoint import Checkpoint, checkpoint_folder
    from hneurons.drift import compared, drift_neurons, measure
    from hneurons.neurons import NeuronSet

    with _one_line_errors():
        chosen = NeuronSet.load(neurons)
        drift = measure(Checkpoint(checkpoint_folder(base)), Checkpoint(checkpoint_folder(tuned)))
        found = compared(drift, chosen, seed)
        if out is not None:
            store.write_table(out, drift_neurons(drift, chosen), {"base": base, "tuned": tuned})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for name, test in (("all neurons", found["all"]), ("neurons of the same layer", found["within_layers"])):
        (low, high), p_t = test["interval"], "none" if test["p_t"] is None else f"{test['p_t']:.2g}"
        typer.echo(
            f"{test['n']} H-Neurons among {name}: mean rank {test['mean_rank']:.3f} [{low:.3f}, {high:.3f}] "
            f"(0 changed most, 1 least), effect d = {test['effect_d']:+.2f}, one-sided p = {p_t} (t), "
            f"{test['p_permutation']:.2g} (permutation)"
        )


@app.command("export")
def export_command(
    out: Annotated[Path, typer.Argument(help="the folder to write; must not be there yet")],
    model: Annotated[str, typer.Option(help=_MODEL)],
    neurons: Annotated[Path, typer.Option(help=_NEURONS)],
    alpha: Annotated[float, typer.Option(help="what the neurons are multiplied by; 1 changes nothing")],
    which: Annotated[str, typer.Option(help="hneurons, negative, or a control: random-1, random-2, …")] = "hneurons",
    force: Annotated[bool, typer.Option(help="also for another model of the same shape, such as a fine-tune")] = False,
) -> None:
    """Write an ordinary checkpoint with the neurons' columns of W_down scaled by alpha: any engine loads it.

    Example: hneurons export OUT --model results/demo/smollm2-135m-instruct/checkpoint --neurons neurons.parquet --alpha 0
    """
    from hneurons.export import export
    from hneurons.neurons import NeuronSet

    with _one_line_errors():
        export(model, NeuronSet.load(neurons).named(which), alpha, out, strict=not force)
    typer.echo(str(out))


@app.command("import-runs")
def import_command(
    files: Annotated[list[Path], typer.Argument(help="JSON lines: id, alpha, compliance (null: not readable), response")],
    model: Annotated[str, typer.Option(help="name of the model")],
    benchmark: Annotated[str, typer.Option(help="faitheval, falseqa, …: what was asked")],
    judge: Annotated[str, typer.Option(help="who judged, as figures are to say")],
    study: Annotated[str, typer.Option(help="they are kept under results/{study}/")] = "imported",
    neurons: Annotated[str, typer.Option(help="what was scaled: hneurons, or a control as random-1")] = "hneurons",
) -> None:
    """Take others' runs as if they were ours, for `hneurons figure3`.

    Example: hneurons import-runs alpha_*.jsonl --model gemma-3-4b-it --benchmark faitheval --judge "option parser"
    """
    from hneurons.imported import import_runs

    with _one_line_errors():
        for path in import_runs(files, Path("results") / study, model, benchmark, neurons, judge):
            typer.echo(str(path))


@app.command("figure3")
def figure3_command(
    results: Annotated[Path, typer.Argument(help="a study's folder: results/{study}")],
    out: Annotated[Path | None, typer.Option(help="where to write; the study's own folder if left out")] = None,
    resamples: Annotated[int, typer.Option(min=100, help="of the bootstrap over items")] = 2000,
) -> None:
    """Figure 3 and its tables from whatever runs are there; those that are missing are named, not interpolated.

    Example: hneurons figure3 results/imported
    """
    from hneurons import store
    from hneurons.benchmarks import TITLES
    from hneurons.impact import curves_of
    from hneurons.impact_figures import figure3
    from hneurons.tables import figure3_table, slopes_table

    with _one_line_errors():
        curves, notes = curves_of(results, resamples=resamples)
        curves = [curve for curve in curves if curve["benchmark"] in TITLES and curve["benchmark"] != TEST_QUESTIONS]
        for note in notes:
            typer.echo(note, err=True)
        if not curves:
            raise HNeuronsError(f"{results}: no runs under */impact/*/*/alpha=*.parquet to draw")
        folder = out or results
        pictures = [folder / "figures" / f"figure3.{ending}" for ending in ("png", "svg")]
        tables = {"figure3": figure3_table(curves), "slopes": slopes_table(curves)}
        for name, table in tables.items():
            store.write_text(folder / "tables" / f"{name}.csv", table.to_csv(index=False))
        figure3(curves, TITLES, pictures)
    for path in (*pictures, *(folder / "tables" / f"{name}.csv" for name in tables)):
        typer.echo(str(path))


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
