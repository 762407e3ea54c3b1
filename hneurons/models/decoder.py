"""The text decoder inside any model, and the neurons of each of its layers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hneurons.errors import HNeuronsError
from hneurons.models.experts import Experts, is_experts
from hneurons.models.layouts import BARE, BLOCKS, DOWN, LAYERS, SCALED_AFTER_EXPERTS, SHARED_EXPERTS, SHARED_GATE
from hneurons.models.mlp import PLAIN_DTYPES, DownProjection, LayerNeurons
from hneurons.models.widths import Widths


def model_identity(model: PreTrainedModel) -> dict[str, Any]:
    """Return `layers`, `d_ff`, `experts` of a loaded model; `model` (its name in a study), `revision` where available."""
    return {**widths_of(layer_neurons(model)).facts, **getattr(model, "hneurons_identity", {})}


def widths_of(layers: Sequence[LayerNeurons]) -> Widths:
    """Return the number of neurons of every layer, and how experts share them."""
    return Widths(tuple(layer.d_ff for layer in layers), tuple(layer.experts for layer in layers))


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


def layer_neurons(model: PreTrainedModel) -> list[LayerNeurons]:
    """Return the neurons of every decoder layer, in order.

    Raises:
        HNeuronsError: In one line, if a layer has no MLP or several, experts in a form that transformers runs otherwise, or
            packed (quantised) ones.
    """
    layers = _layers(text_decoder(model))
    assert layers is not None, "text_decoder returns a module with layers"
    name = type(model).__name__
    facts = model.config.get_text_config().model_type in SCALED_AFTER_EXPERTS, model.dtype
    neurons = [_neurons_of(f"{name}: layer {index}", layer, *facts) for index, layer in enumerate(layers)]
    if not neurons:
        raise HNeuronsError(f"{name}: its decoder has no layers")
    return neurons


def _neurons_of(place: str, layer: nn.Module, scaled_after: bool, dtype: torch.dtype) -> LayerNeurons:
    experts = {path: module for path, module in layer.named_modules() if is_experts(module)}
    dense = _dense(layer, dtype)
    if len(experts) > 1 or any("." not in path for path in experts):
        raise HNeuronsError(f"{place} has experts beside its MLP ({', '.join(experts)}), which is not supported")
    parts: dict[str, DownProjection | Experts] = {}
    if experts:
        ((path, module),) = experts.items()
        block_path = path.rpartition(".")[0]
        block: Any = layer.get_submodule(block_path)
        beside = {f"{block_path}.{key}": part for key, part in _shared(block, dtype).items()}
        dense = {key: part for key, part in dense.items() if not key.startswith(f"{block_path}.")}
        if others := [key for key in dense if key.split(".")[0] not in SHARED_EXPERTS]:
            raise HNeuronsError(f"{place} has experts beside an MLP ({others[0]}), which is not supported")
        weight = module.down_proj
        if type(weight) is not nn.Parameter or weight.dtype not in PLAIN_DTYPES:
            raise HNeuronsError(
                f"{place}: the weights of {path} are packed or quantised ({type(weight).__name__}, {weight.dtype}), which "
                "is not supported of experts; load the model in bfloat16, float16 or float32"
            )
        factor = float(block.routed_scaling_factor) if scaled_after else 1.0
        parts = {path: Experts(module, block, factor), **beside}
    elif len(dense) != 1:
        raise HNeuronsError(
            f"{place} ({type(layer).__name__}) has {', '.join(dense) or 'no dense MLP'}; "
            "one MLP with one linear layer from its neurons to its output, or one mixture of experts, is supported"
        )
    parts |= dense
    if unknown := next(_unknown_experts(layer, parts), None):
        raise HNeuronsError(
            f"{place} has routed experts ({unknown}) in a form that would be neither measured nor scaled; "
            "what transformers runs by its experts functions is supported"
        )
    return LayerNeurons(tuple(parts.values()))


def _dense(layer: nn.Module, dtype: torch.dtype) -> dict[str, DownProjection]:
    """By path, the linear layers of a decoder layer that its neurons feed, experts aside."""
    by_path = {path: DownProjection(module, block, inputs=dtype) for path, block, module in _last_linear(layer, BLOCKS)}
    bare = getattr(layer, BARE, None)
    if isinstance(bare, nn.Linear):
        by_path[BARE] = DownProjection(bare, bare, inputs=dtype)
    return by_path


def _shared(block: nn.Module, dtype: torch.dtype) -> dict[str, DownProjection]:
    """By path, the down-projections of the MLPs that a mixture of experts applies to every token."""
    gate = getattr(block, SHARED_GATE, None)
    return {path: DownProjection(module, block, gate, dtype) for path, _, module in _last_linear(block, SHARED_EXPERTS)}


def _last_linear(module: nn.Module, names: Iterable[str]) -> Iterator[tuple[str, nn.Module, nn.Linear | Conv1D]]:
    """Path, MLP and last linear layer of the MLPs that a module has under these names."""
    for name in names:
        mlp = getattr(module, name, None)
        for down in DOWN:
            linear = getattr(mlp, down, None)
            if isinstance(mlp, nn.Module) and isinstance(linear, (nn.Linear, Conv1D)):
                yield f"{name}.{down}", mlp, linear


def _unknown_experts(layer: nn.Module, parts: Mapping[str, Any]) -> Iterator[str]:
    """Paths of modules that are named as experts are, in the attribute or the class, and hold none of these parts."""
    supported = {path if isinstance(part, Experts) else path.rpartition(".")[0] for path, part in parts.items()}
    for path, module in layer.named_modules():
        name = path.rpartition(".")[2]
        if (
            "expert" not in f"{name} {type(module).__name__}".lower()
            or name == SHARED_GATE
            or next(module.parameters(), None) is None
        ):
            continue
        if not any(path == other or path.startswith(f"{other}.") for other in supported):
            yield path
