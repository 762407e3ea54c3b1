"""What commands share: errors in one line, a model with its neurons, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from hneurons.errors import HNeuronsError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hneurons.neurons.neuron_set import NeuronSet

MODEL_HELP = "a folder with *.safetensors, a study's {model}/checkpoint folder, or a hub id"
NEURONS_HELP = "neurons.parquet, a folder that holds it, or a hub id (owner/name)"

ModelOption = Annotated[str, typer.Option(help=MODEL_HELP)]
NeuronsOption = Annotated[str, typer.Option(help=NEURONS_HELP)]
ForceOption = Annotated[bool, typer.Option("--force", help="also for another model of the same shape, such as a fine-tune")]
JsonOption = Annotated[bool, typer.Option("--json", help="for machines: everything, unrounded")]
WhichOption = Annotated[str, typer.Option(help="hneurons, negative, or a control: random-1, random-2, …")]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What is wrong in one line on stderr, and exit code 1. A file or model that cannot be read is no traceback either."""
    try:
        yield
    except (HNeuronsError, yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from None


def echo_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def pinned_revision(model: str, neurons: NeuronSet) -> str | None:
    """A hub id means the commit that the neurons were found at; anything else says itself what it is."""
    from hneurons.models.hub import is_hub_id

    revision = str(neurons.made_by.get("revision", ""))
    on_hub = is_hub_id(model) and not Path(model).exists()
    return revision if on_hub and re.fullmatch("[0-9a-f]{40}", revision) else None


def load_both(model: str, neurons: str) -> tuple[PreTrainedModel, NeuronSet]:
    """A model and the neurons that were found on it."""
    from hneurons.neurons.neuron_set import NeuronSet

    chosen = NeuronSet.load(neurons)
    from transformers.utils import logging

    from hneurons.models.load import load_model

    logging.disable_progress_bar()
    return load_model(model, revision=pinned_revision(model, chosen)), chosen
