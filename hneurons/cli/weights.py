"""`hneurons export` and `hneurons drift`: weights on disk, no model is built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hneurons.cli.common import (
    MODEL_HELP,
    ForceOption,
    JsonOption,
    ModelOption,
    NeuronsOption,
    WhichOption,
    echo_json,
    one_line_errors,
    pinned_revision,
)


def export_command(
    out: Annotated[Path, typer.Argument(help="the folder to write; must not be there yet")],
    model: ModelOption,
    neurons: NeuronsOption,
    alpha: Annotated[float, typer.Option(help="what the neurons are multiplied by; 1 changes nothing")],
    which: WhichOption = "hneurons",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write an ordinary checkpoint with the neurons' columns of W_down scaled by alpha: any engine loads it.

    Example: `hneurons export steered --model results/demo/smollm2-135m-instruct/checkpoint --neurons
    results/demo/smollm2-135m-instruct/published --alpha 0`
    """
    with one_line_errors():
        from hneurons.neurons.export import export
        from hneurons.neurons.neuron_set import NeuronSet

        chosen = NeuronSet.load(neurons).variant(which)
        export(model, chosen, alpha, out, revision=pinned_revision(model, chosen), strict=not force)
    if as_json:
        scaled = {str(layer): found for layer, found in chosen.by_layer().items()}
        echo_json({"folder": str(out), "alpha": alpha, "which": which, "neurons_by_layer": scaled})
    else:
        typer.echo(str(out))


def drift_command(
    base: Annotated[str, typer.Argument(help=f"before tuning: {MODEL_HELP}")],
    tuned: Annotated[str, typer.Argument(help="after tuning, likewise")],
    neurons: NeuronsOption,
    out: Annotated[Path | None, typer.Option(help="write every neuron's drift and rank here, as Parquet")] = None,
    seed: Annotated[int, typer.Option(help="of the permutation tests")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Did tuning change the H-Neurons' weights less than other neurons'? Reads files alone: no model is built.

    Example: `hneurons drift google/gemma-3-4b-pt google/gemma-3-4b-it --neurons neurons.parquet`
    """
    with one_line_errors():
        from hneurons import store
        from hneurons.models.checkpoint import Checkpoint, checkpoint_folder
        from hneurons.neurons.neuron_set import NeuronSet
        from hneurons.origin.drift import drift_report, measure_drift, neuron_drift_table

        chosen = NeuronSet.load(neurons)
        drift = measure_drift(Checkpoint(checkpoint_folder(base)), Checkpoint(checkpoint_folder(tuned)))
        found = drift_report(drift, chosen, seed)
        if out is not None:
            store.write_table(out, neuron_drift_table(drift, chosen), {"base": base, "tuned": tuned})
    if as_json:
        echo_json(found)
        return
    for name, test in (("all neurons", found["all"]), ("neurons of the same layer", found["within_layers"])):
        (low, high), p_t = test["interval"], "none" if test["p_t"] is None else f"{test['p_t']:.2g}"
        typer.echo(
            f"{test['n']} H-Neurons among {name}: mean rank {test['mean_rank']:.3f} [{low:.3f}, {high:.3f}] "
            f"(0 changed most, 1 least), effect d = {test['effect_d']:+.2f}, one-sided p = {p_t} (t), "
            f"{test['p_permutation']:.2g} (permutation)"
        )
