"""What the commands share: common options, one-line errors, loading a model with its neurons, JSON output."""

from __future__ import annotations

import codecs
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hneurons.errors import HNeuronsError, machine_failure

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from hneurons.neurons.neuron_set import NeuronSet

MODEL_HELP = "a folder with *.safetensors, a study's {model}/checkpoint folder, or a hub id"
NEURONS_HELP = "neurons.parquet, a folder that holds it, or a hub id (owner/name)"

ModelOption = Annotated[str, typer.Option(help=MODEL_HELP)]
NeuronsOption = Annotated[str, typer.Option(help=NEURONS_HELP)]
ForceOption = Annotated[bool, typer.Option("--force", help="accept another model of the same shape, such as a fine-tune")]
JsonOption = Annotated[bool, typer.Option("--json", help="print everything as JSON, unrounded")]
ThinkingOption = Annotated[bool, typer.Option("--thinking", help="let the model think before it answers, if it can")]
WhichOption = Annotated[str, typer.Option("--which", help="hneurons, negative, or a control: random-1, random-2, …")]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors of the package, and files that cannot be read or written, into one line on stderr and exit code 1."""
    try:
        yield
    except BrokenPipeError:
        raise
    except Exception as error:
        line = machine_failure(error)
        if line is None and not isinstance(error, (HNeuronsError, OSError, UnicodeError)):
            raise
        typer.echo(f"error: {line or ' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from None


def echo_json(data: Any) -> None:
    """Print data as indented JSON."""
    typer.echo(json_text(data, indent=2))


def json_text(data: Any, indent: int | None = None) -> str:
    """Return data as JSON, in ASCII if stdout is not UTF-8, which JSON is."""
    return json.dumps(
        data, indent=indent, ensure_ascii=codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name != "utf-8"
    )


def typed_text(text: str) -> str:
    """Return an argument as UTF-8 text, which Python does not decode where the locale is not UTF-8."""
    return os.fsencode(text).decode("utf-8", "replace")


def pinned_revision(model: str, neurons: NeuronSet) -> str | None:
    """Return the commit to load a hub id at: the one that the neurons were found at. None for a local model."""
    from hneurons.models.hub import is_hub_id

    revision = str(neurons.made_by.get("revision", ""))
    on_hub = is_hub_id(model) and not Path(model).exists()
    return revision if on_hub and re.fullmatch("[0-9a-f]{40}", revision) else None


def tokenizer_of(model: PreTrainedModel, thinking: bool) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a loaded model, whose chat template may let it think."""
    from hneurons.models.tokenizer import tokenizer_beside, with_thinking

    tokenizer = tokenizer_beside(model)
    return with_thinking(tokenizer) if thinking else tokenizer


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
