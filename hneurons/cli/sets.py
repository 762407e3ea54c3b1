"""`hneurons compare` and `hneurons import-neurons`: two sets of neurons compared, and sets that others found."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hneurons.cli.common import NEURONS_HELP, JsonOption, echo_json, one_line_errors


def compare_command(
    first: Annotated[str, typer.Argument(help=NEURONS_HELP)],
    second: Annotated[str, typer.Argument(help="another one, of the same model")],
    as_json: JsonOption = False,
) -> None:
    """What two sets of one model share, against chance, with their weights and layers.

    Example: `hneurons compare results/demo/smollm2-135m-instruct/published found`
    """
    with one_line_errors():
        from hneurons.neurons.compared import compare_sets
        from hneurons.neurons.neuron_set import NeuronSet

        sets = NeuronSet.load(first), NeuronSet.load(second)
        compared = compare_sets(*sets)
    if as_json:
        echo_json(asdict(compared))
        return
    overlap = compared.overlap
    lines = [
        f"selected: {compared.sizes[0]} and {compared.sizes[1]} of {compared.total:,} neurons",
        f"in both: {overlap.shared}; two random sets of these sizes share {overlap.by_chance:.2g} (p = {overlap.p:.2g})",
        f"with a weight in both: {compared.weighted}, {compared.same_sign} of them of the same sign"
        + ("" if compared.correlation is None else f", correlation {compared.correlation:.2f}"),
        "layer: first, second, both",
        *(f"{layer}: {a}, {b}, {shared}" for layer, (a, b, shared) in compared.by_layer.items()),
    ]
    if compared.places:
        named = (f"{layer}:{sets[0].place(layer, neuron)}" for layer, neuron in compared.places)
        lines.append(f"shared (layer:neuron): {', '.join(named)}")
    typer.echo("\n".join(lines))


def import_neurons_command(
    file: Annotated[Path, typer.Argument(help="their file: .json, .jsonl, .csv, .parquet, .npy or .npz; no pickles")],
    out: Annotated[Path, typer.Argument(help="neurons.parquet to write")],
    layers: Annotated[int | None, typer.Option(min=1, help="layers of the model, if the file does not say")] = None,
    d_ff: Annotated[int | None, typer.Option("--d-ff", min=1, help="neurons of a layer, if the file does not say")] = None,
    model: Annotated[str, typer.Option(help="name of the model, if the file does not say")] = "",
) -> None:
    """Read a set of neurons that others found.

    Example: `hneurons import-neurons others.json others.parquet`
    """
    with one_line_errors():
        from hneurons.neurons.imported import import_neurons

        neurons = import_neurons(file, layers, d_ff, model)
        neurons.save(out)
    typer.echo(f"{int(neurons.selected.sum())} neurons: {out}")
