"""`hneurons export` and `hneurons drift`: both read weights from disk, without building a model."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hneurons.cli import common


class Form(StrEnum):
    """What `export` writes."""

    checkpoint = "checkpoint"
    lora = "lora"


def export_command(
    out: Annotated[Path, typer.Argument(help="folder to write; it must not exist")],
    model: common.ModelOption,
    neurons: common.NeuronsOption,
    alpha: Annotated[float, typer.Option(help="factor of the neurons; 1 changes nothing")],
    set_name: common.WhichOption = "hneurons",
    form: Annotated[
        Form, typer.Option("--as", help="a whole checkpoint, or a LoRA adapter for PEFT or a server")
    ] = Form.checkpoint,
    force: common.ForceOption = False,
    as_json: common.JsonOption = False,
) -> None:
    """Write a checkpoint with the neurons' columns of W_down scaled by alpha, or a LoRA adapter that scales them.

    Example: `hneurons export steered --model results/demo/smollm2-135m-instruct/checkpoint --neurons
    results/demo/smollm2-135m-instruct/published --alpha 0`
    """
    with common.one_line_errors():
        from hneurons.neurons.export import export
        from hneurons.neurons.neuron_set import NeuronSet

        scaled = NeuronSet.load(neurons).variant(set_name)
        revision = common.pinned_revision(model, scaled)
        export(model, scaled, alpha, out, form=form.value, revision=revision, strict=not force)
    if as_json:
        written = {"folder": str(out), "as": form.value, "alpha": alpha, "which": set_name}
        common.echo_json({**written, "neurons_by_layer": scaled.by_layer()})
    else:
        typer.echo(str(out))


def drift_command(
    base: Annotated[str, typer.Argument(help=f"before tuning: {common.MODEL_HELP}")],
    tuned: Annotated[str, typer.Argument(help="after tuning: as above")],
    neurons: common.NeuronsOption,
    out: Annotated[Path | None, typer.Option(help="Parquet file to write with every neuron's drift and rank")] = None,
    seed: Annotated[int, typer.Option(help="seed of the permutation tests")] = 0,
    as_json: common.JsonOption = False,
) -> None:
    """Test whether tuning changed the H-Neurons' weights less than other neurons'. Reads files only, builds no model.

    Example: `hneurons drift google/gemma-3-4b-pt google/gemma-3-4b-it --neurons neurons.parquet`
    """
    with common.one_line_errors():
        from hneurons import store
        from hneurons.models.checkpoint import Checkpoint, checkpoint_folder
        from hneurons.neurons.neuron_set import NeuronSet
        from hneurons.origin.drift import drift_report, measure_drift, neuron_drift_table

        neuron_set = NeuronSet.load(neurons)
        drift = measure_drift(Checkpoint(checkpoint_folder(base)), Checkpoint(checkpoint_folder(tuned)))
        report = drift_report(drift, neuron_set, seed)
        if out is not None:
            store.write_table(out, neuron_drift_table(drift, neuron_set), {"base": base, "tuned": tuned})
    if as_json:
        common.echo_json(asdict(report))
        return
    for name, test in (("all neurons", report.all), ("neurons of the same layer", report.within_layers)):
        (low, high), t_test_p = test.interval, "none" if test.p_t is None else f"{test.p_t:.2g}"
        typer.echo(
            f"{test.n} H-Neurons among {name}: mean rank {test.mean_rank:.3f} [{low:.3f}, {high:.3f}] "
            f"(0 changed most, 1 least), effect d = {test.effect_d:+.2f}, one-sided p = {t_test_p} (t), "
            f"{test.p_permutation:.2g} (permutation)"
        )
