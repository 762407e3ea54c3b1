"""The text decoder inside any model, and the linear layer of each layer whose columns are the neurons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hneurons.errors import HNeuronsError
from hneurons.models.layouts import BARE, BLOCKS, DOWN, LAYERS
from hneurons.models.widths import Widths

_PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class DownProjection:
    """The linear layer from the neurons of an MLP to its output (eq. 1).

    Attributes:
        module: the layer, whose input is z [..., d_ff].
        block: the MLP, whose output is the layer's.
    """

    module: nn.Linear | Conv1D
    block: nn.Module

    @property
    def weight(self) -> torch.Tensor:
        """W_down [d_model, d_ff], a column per neuron: a view, through which columns can be written."""
        return self.module.weight.T if isinstance(self.module, Conv1D) else self.module.weight

    @property
    def d_ff(self) -> int:
        """Number of neurons."""
        return self.weight.shape[1]


def model_identity(model: PreTrainedModel) -> dict[str, Any]:
    """Return `layers` and `d_ff` of a loaded model, and `model` (its name in a study) and `revision` where available."""
    return {**widths_of(down_projections(model)).facts, **getattr(model, "hneurons_identity", {})}


def widths_of(downs: Sequence[DownProjection]) -> Widths:
    """Return the number of neurons of every layer."""
    return Widths(tuple(down.d_ff for down in downs))


def text_decoder(model: PreTrainedModel) -> nn.Module:
    """Return the module that maps token ids to the last hidden states, without vision tower and language-model head.

    Raises:
        HNeuronsError: If the model has no decoder layers.
    """
    decoder: nn.Module = model.get_decoder()
    while _layers(decoder) is None:
        inner = getattr(decoder, "language_model", None) or getattr(decoder, "model", None)
        if inner is None:
            raise HNeuronsError(f"{type(model).__name__}: no decoder layers found; only decoder models are supported")
        decoder = inner
    return decoder


def _layers(decoder: nn.Module) -> nn.ModuleList | None:
    lists = (getattr(decoder, name, None) for name in LAYERS)
    return next((layers for layers in lists if isinstance(layers, nn.ModuleList)), None)


def down_projections(model: PreTrainedModel) -> list[DownProjection]:
    """Return the last linear layer of every decoder layer's MLP, in order.

    Raises:
        HNeuronsError: In one line, if a layer has none (mixtures of experts) or several, if it has routed experts besides,
            or if the weights are packed (quantised).
    """
    layers = _layers(text_decoder(model))
    assert layers is not None, "text_decoder returns a module with layers"
    name = type(model).__name__
    downs: list[DownProjection] = []
    for index, layer in enumerate(layers):
        candidates = _candidates(layer)
        if experts := next((path for path, module in layer.named_modules() if _is_expert(path, module)), None):
            raise HNeuronsError(
                f"{name}: layer {index} has routed experts ({experts}), which would be neither measured nor scaled; "
                "only layers whose one MLP is dense are supported"
            )
        if len(candidates) != 1:
            raise HNeuronsError(
                f"{name}: layer {index} ({type(layer).__name__}) has {', '.join(candidates) or 'no dense MLP'}; "
                "one MLP with one linear layer from its neurons to its output is supported"
            )
        ((path, down),) = candidates.items()
        weight = down.module.weight
        if type(weight) is not nn.Parameter or weight.dtype not in _PLAIN:
            raise HNeuronsError(
                f"layer {index}: the weights of {path} are packed or quantised ({type(weight).__name__}, {weight.dtype}): "
                "neither CETT nor scaling is defined on them; load the model in bfloat16, float16 or float32"
            )
        downs.append(down)
    if not downs:
        raise HNeuronsError(f"{name}: its decoder has no layers")
    return downs


def _candidates(layer: nn.Module) -> dict[str, DownProjection]:
    """By path, the linear layers of a decoder layer that its neurons feed."""
    by_path = {}
    for block_name in BLOCKS:
        block = getattr(layer, block_name, None)
        if not isinstance(block, nn.Module):
            continue
        for down_name in DOWN:
            module = getattr(block, down_name, None)
            if isinstance(module, (nn.Linear, Conv1D)):
                by_path[f"{block_name}.{down_name}"] = DownProjection(module, block)
    bare = getattr(layer, BARE, None)
    if isinstance(bare, nn.Linear):
        by_path[BARE] = DownProjection(bare, bare)
    return by_path


def _is_expert(path: str, module: nn.Module) -> bool:
    """Whether a part of a layer holds routed experts: transformers names either the attribute or the class after them."""
    return "expert" in path.rpartition(".")[2].lower() or "expert" in type(module).__name__.lower()
