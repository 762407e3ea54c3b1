"""What CETT and scaling are by definition, from nothing but a model's modules and their names."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

# The MLP block of a layer, and in it the path of its last linear layer or of the experts' tensor; "bare" is that layer
# itself. Some layers have two blocks, whose outputs they add.
_DOWN = r"down_proj|c_proj|fc2|fc_out|w2|dense_4h_to_h|output_linear"
_MLP = re.compile(
    rf"(?P<layer>\d+)\.(?:(?P<block>mlp|feed_forward|ffn|mlp_block|block_sparse_moe|moe|mixer)\.(?P<path>"
    rf"(?:shared_\w+\.)?(?:{_DOWN})|experts)|(?P<shared>shared_mlp)\.(?P<last>{_DOWN})|(?P<bare>fc2))$"
)
_ELSEWHERE = re.compile(r"vision|visual|audio|image|tower|resampler|encoder\.|\bmtp\b|qformer|vqmodel")


@dataclass
class MLP:
    """The MLP of a layer.

    Attributes:
        blocks: modules whose outputs add up to its output.
        downs: where its neurons are, routed experts first: a block's place in the list and the path of a module in it.
    """

    blocks: list[nn.Module]
    downs: list[tuple[int, str]]

    def columns(self, blocks: list[nn.Module]) -> list[torch.Tensor]:
        """W_down of each expert and layer [d_model, neurons] in the order of the neurons: views of these blocks."""
        views = []
        for place, path in self.downs:
            module = blocks[place].get_submodule(path)
            if path == "experts":
                transposed = getattr(module, "is_transposed", "Llama4" in type(module).__name__)
                views += [weight.T if transposed else weight for weight in module.down_proj]
            else:
                views.append(module.weight.T if isinstance(module, Conv1D) else module.weight)
        return views

    @property
    def has_adapters(self) -> bool:
        """Whether its layers are of torch's own kind."""
        return not any(isinstance(self.blocks[place].get_submodule(path), Conv1D) for place, path in self.downs)


def mlps(model: PreTrainedModel) -> list[MLP]:
    """The MLP of every layer of the text decoder in order."""
    modules = dict(model.named_modules())
    of_layer: dict[int, dict[str, list[str]]] = {}
    for name in modules:
        if (match := _MLP.search(name)) and not _ELSEWHERE.search(name):
            path = match["path"] or match["last"] or ""
            # These add the residual in the block.
            if model.config.model_type in ("bloom", "mpt"):
                path = ""
            block = name.removesuffix(path).removesuffix(".") if path else name
            of_layer.setdefault(int(match["layer"]), {}).setdefault(block, []).append(path)
    result = []
    for i in sorted(of_layer):
        blocks = sorted(of_layer[i], key=lambda block: "experts" not in of_layer[i][block])
        downs = [(n, path) for n, block in enumerate(blocks) for path in sorted(of_layer[i][block])]
        result.append(MLP([modules[block] for block in blocks], sorted(downs, key=lambda down: down[1] != "experts")))
    return result


@torch.no_grad()
def cett_by_definition(model: PreTrainedModel, ids: list[int], regions: list[list[bool]]) -> Iterator[torch.Tensor]:
    """By layer [regions, d_ff] float64: how far a neuron's column moves the MLP's output, over the output, on average."""
    calls: dict[int, _Call] = {}
    layers = mlps(model)

    def keep(layer: int, _module: nn.Module, args: tuple[object, ...], options: dict[str, object]) -> None:
        calls[layer] = list(args), options

    handles = [
        mlp.blocks[0].register_forward_pre_hook(partial(keep, layer), with_kwargs=True) for layer, mlp in enumerate(layers)
    ]
    logits(model, ids)
    for handle in handles:
        handle.remove()
    for i, mlp in enumerate(layers):
        blocks, call = [copy.deepcopy(block).double() for block in mlp.blocks], _in(torch.float64, calls[i])
        for module in (module for block in blocks for module in block.modules() if hasattr(module, "has_gate")):
            # The only way of running experts in float64.
            module.config._experts_implementation = "eager"
        try:
            out = _sum(blocks, call)
        except RuntimeError:
            # Some routers are written for float32 alone.
            blocks, call = [block.float() for block in blocks], _in(torch.float32, calls[i])
            out = _sum(blocks, call)
        moved = []
        for weight in mlp.columns(blocks):
            for j in range(weight.shape[1]):
                column = weight[:, j].clone()
                weight[:, j] = 0
                moved.append((out - _sum(blocks, call)).norm(dim=-1) / out.norm(dim=-1))
                weight[:, j] = column
        yield torch.stack([torch.stack(moved)[:, torch.tensor(tokens)].mean(-1) for tokens in regions])


# Arguments of a module, by place and by name.
_Call = tuple[list[object], dict[str, object]]


def _in(dtype: torch.dtype, call: _Call) -> _Call:
    """A call whose tensors of numbers have another data type."""

    def converted(value: object) -> object:
        return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    return [converted(value) for value in call[0]], {key: converted(value) for key, value in call[1].items()}


def _sum(blocks: list[nn.Module], call: _Call) -> torch.Tensor:
    """The outputs [tokens, d_model] of blocks that are called alike, added."""
    outputs = (block(*call[0], **call[1]) for block in blocks)
    first = (output[0] if isinstance(output, tuple) else output for output in outputs)
    return sum(output.reshape(-1, output.shape[-1]) for output in first)


@torch.no_grad()
def logits(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    """Logits [tokens, vocabulary] of one pass over a text, without a cache."""
    return model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long(), use_cache=False).logits[0]


def scaled_logits(model: PreTrainedModel, ids: list[int], neurons: dict[int, list[int]], alpha: float) -> torch.Tensor:
    """Logits [tokens, vocabulary] of a copy whose columns are multiplied."""
    changed = copy.deepcopy(model)
    layers = mlps(changed)
    with torch.no_grad():
        for layer, indices in neurons.items():
            for weight in layers[layer].columns(layers[layer].blocks):
                weight[:, [j for j in indices if 0 <= j < weight.shape[1]]] *= alpha
                indices = [j - weight.shape[1] for j in indices]
    return logits(changed, ids)
