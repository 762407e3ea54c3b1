"""The command line. Exit codes: 0 success, 1 failure (one line on stderr says why), 2 wrong usage."""

import logging
from importlib.metadata import version as installed
from typing import Annotated

import typer

from hneurons.cli import detect, fit, generate, plan, runs, serve, sets, weights
from hneurons.cli.program import Program

app = Program(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Exit codes: 0 success; 1 failure, one line on stderr says why; 2 wrong usage. "
    "`hneurons --install-completion` sets up completion for your shell.",
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"hneurons {installed('hneurons')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print it")] = False,
) -> None:
    """Find, measure and steer the neurons behind hallucination in language models."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("hneurons").setLevel(logging.INFO)


app.command("detect")(detect.detect_command)
app.command("fit")(fit.fit_command)
app.command("generate", cls=generate.ManyAlphas)(generate.generate_command)
app.command("serve")(serve.serve_command)
app.command("export")(weights.export_command)
app.command("drift")(weights.drift_command)
app.command("plan")(plan.plan_command)
app.command("figure3")(runs.figure3_command)
app.command("compare")(sets.compare_command)
app.command("import-neurons")(sets.import_neurons_command)
app.command("import-runs")(runs.import_command)
