"""What the commands share: common options, one-line errors, loading a model with its neurons, JSON output."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hneurons.errors import HNeuronsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hneurons.neurons.neuron_set import NeuronSet

MODEL_HELP = "a folder with *.safetensors, a study's {model}/checkpoint folder, or a hub id"
NEURONS_HELP = "neurons.parquet, a folder that holds it, or a hub id (owner/name)"

ModelOption = Annotated[str, typer.Option(help=MODEL_HELP)]
NeuronsOption = Annotated[str, typer.Option(help=NEURONS_HELP)]
ForceOption = Annotated[bool, typer.Option("--force", help="accept another model of the same shape, such as a fine-tune")]
JsonOption = Annotated[bool, typer.Option("--json", help="print everything as JSON, unrounded")]
WhichOption = Annotated[str, typer.Option("--which", help="hneurons, negative, or a control: random-1, random-2, …")]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors of the package, and files that cannot be read, into one line on stderr and exit code 1."""
    try:
        yield
    except (HNeuronsError, OSError, UnicodeDecodeError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from None


def echo_json(data: Any) -> None:
    """Print data as indented JSON."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def pinned_revision(model: str, neurons: NeuronSet) -> str | None:
    """Return the commit to load a hub id at: the one that the neurons were found at. None for a local model."""
    from hneurons.models.hub import is_hub_id

    revision = str(neurons.made_by.get("revision", ""))
    on_hub = is_hub_id(model) and not Path(model).exists()
    return revision if on_hub and re.fullmatch("[0-9a-f]{40}", revision) else None


def load_both(model: str, neurons: str) -> tuple[PreTrainedModel, NeuronSet]:
    """Load a model, and the neurons that were found on it.

    Args:
        model: folder or hub id; a hub id is loaded at the neurons' revision.
        neurons: file, folder or hub id.
    """
    from hneurons.neurons.neuron_set import NeuronSet

    # A file that cannot be read is reported before the slow imports.
    neuron_set = NeuronSet.load(neurons)
    from transformers.utils import logging

    from hneurons.models.load import load_model

    logging.disable_progress_bar()
    return load_model(model, revision=pinned_revision(model, neuron_set)), neuron_set
