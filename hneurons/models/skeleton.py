"""A model without weights, from its config.json: shows whether it can be measured before it is fetched or loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

from hneurons.config.weights import check_packing, read_config
from hneurons.errors import HNeuronsError
from hneurons.models.decoder import layer_neurons, widths_of
from hneurons.models.layouts import REFUSED_TYPES
from hneurons.models.mlp import LayerNeurons

_Built = TypeVar("_Built")


def with_auto_class(name: str | Path, build: Callable[[Any], _Built]) -> _Built:
    """Call build with transformers' class for language models or, for a configuration that it refuses, multimodal ones.

    Raises:
        HNeuronsError: If both refuse it, or if config.json is invalid or needs remote code.
    """
    for auto in (AutoModelForCausalLM, AutoModelForImageTextToText):
        try:
            return build(auto)
        except ValueError as error:
            if "Unrecognized configuration class" not in str(error):
                raise HNeuronsError(f"{name}: {' '.join(str(error).split())[:300]}") from None
    raise HNeuronsError(f"{name}: its config.json names a type that transformers loads as no language model")


def check_config(folder: Path) -> None:
    """Raise HNeuronsError if config.json describes packed weights, or a type that would be measured or decoded wrongly."""
    config = read_config(folder)
    check_packing(folder, config)
    if reason := REFUSED_TYPES.get(kind := config.get("model_type", "")):
        raise HNeuronsError(f"{folder}: models of type {kind} are not supported: {reason}")


def skeleton(folder: Path, trust_remote_code: bool = False) -> PreTrainedModel:
    """Build the model that a folder's config.json describes, without weights.

    Raises:
        HNeuronsError: In one line, if config.json is invalid, or describes packed weights or an unknown model.
    """
    check_config(folder)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except ValueError as error:
        # An unknown architecture, or one that needs remote code.
        raise HNeuronsError(f"{folder}/config.json: {' '.join(str(error).split())[:300]}") from None

    def build(auto: Any) -> PreTrainedModel:
        with torch.device("meta"):
            model: PreTrainedModel = auto.from_config(config, trust_remote_code=trust_remote_code)
        return model

    return with_auto_class(folder, build)


def shape_on_disk(folder: Path, trust_remote_code: bool = False) -> dict[str, Any]:
    """Return layers, d_ff, experts, d_model and vocabulary of the model that a folder's config.json describes.

    Raises:
        HNeuronsError: As `skeleton`, or if its layers cannot be measured.
    """
    model = skeleton(folder, trust_remote_code)
    layers = layer_neurons(model)
    return {
        **widths_of(layers).facts,
        "d_model": layers[0].d_model,
        "vocabulary": model.config.get_text_config().vocab_size,
    }


def named_neurons(folder: Path) -> list[tuple[LayerNeurons, list[str]]]:
    """Return the neurons of each layer, and the names of their parts in memory, which may differ from those on disk.

    Raises:
        HNeuronsError: As `shape_on_disk`.
    """
    model = skeleton(folder)
    names = {module: name for name, module in model.named_modules()}
    return [(layer, [names[part.module] for part in layer.parts]) for layer in layer_neurons(model)]
