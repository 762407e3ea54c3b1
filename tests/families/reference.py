"""What CETT and scaling are by definition, from nothing but a model's modules and their names."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

# The MLP block of a layer and the path of its last linear layer in it; "" is that layer itself.
_MLP = re.compile(
    r"(?P<layer>\d+)\.(?:"
    r"(?P<block>mlp|feed_forward|ffn|mlp_block|shared_mlp|mixer)\."
    r"(?P<down>down_proj|c_proj|fc2|fc_out|w2|dense_4h_to_h|output_linear)|(?P<bare>fc2))$"
)
_ELSEWHERE = re.compile(r"vision|visual|audio|image|tower|encoder\.|\bmtp\b|qformer|vqmodel")


def mlps(model: PreTrainedModel) -> list[tuple[nn.Module, nn.Module]]:
    """The MLP block and its last linear layer, of every layer of the text decoder in order."""
    modules = dict(model.named_modules())
    of_layer = {}
    for name in modules:
        if (match := _MLP.search(name)) and not _ELSEWHERE.search(name):
            # These add the residual in the block.
            alone = match["bare"] or model.config.model_type in ("bloom", "mpt")
            block = name if alone else name[: -len(match["down"]) - 1]
            of_layer[int(match["layer"])] = (modules[block], modules[name])
    return [of_layer[i] for i in sorted(of_layer)]


def columns(down: nn.Module) -> torch.Tensor:
    """W_down [d_model, d_ff], a view."""
    return down.weight.T if isinstance(down, Conv1D) else down.weight


@torch.no_grad()
def cett_by_definition(model: PreTrainedModel, ids: list[int], tokens: list[bool]) -> Iterator[torch.Tensor]:
    """By layer [d_ff] float64: how far a neuron's column moves the MLP's output, over the output, averaged over tokens."""
    inputs: dict[int, torch.Tensor] = {}
    blocks = mlps(model)

    def keep(layer: int, _module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        inputs[layer] = args[0]

    handles = [block.register_forward_pre_hook(partial(keep, layer)) for layer, (block, _) in enumerate(blocks)]
    logits(model, ids)
    for handle in handles:
        handle.remove()
    for i, (block, down) in enumerate(blocks):
        wide, x = copy.deepcopy(block).double(), inputs[i].double().reshape(len(ids), -1)[torch.tensor(tokens)]
        path = next(name for name, module in block.named_modules() if module is down)
        weight = columns(wide.get_submodule(path))
        out = wide(x[None])[0]
        moved = []
        for j in range(weight.shape[1]):
            column = weight[:, j].clone()
            weight[:, j] = 0
            moved.append((out - wide(x[None])[0]).norm(dim=-1) / out.norm(dim=-1))
            weight[:, j] = column
        yield torch.stack(moved).mean(-1)


@torch.no_grad()
def logits(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    """Logits [tokens, vocabulary] of one pass over a text, without a cache."""
    return model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long(), use_cache=False).logits[0]


def scaled_logits(model: PreTrainedModel, ids: list[int], neurons: dict[int, list[int]], alpha: float) -> torch.Tensor:
    """Logits [tokens, vocabulary] of a copy whose columns are multiplied."""
    changed = copy.deepcopy(model)
    blocks = mlps(changed)
    with torch.no_grad():
        for layer, indices in neurons.items():
            columns(blocks[layer][1])[:, indices] *= alpha
    return logits(changed, ids)
