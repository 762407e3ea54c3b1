"""Scaling neurons: z_j ← α z_j (eq. 5), by the columns W_down[:, j] or, the same thing, by a hook.

Neurons are named by layer: a mapping from layer to neuron indices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from hneurons.errors import HNeuronsError
from hneurons.models.decoder import decoder_mlps

NeuronsByLayer = Mapping[int, Sequence[int]]
# One α for all, or one per row of the batch.
Alpha = float | Sequence[float]


def check_alpha(alpha: Alpha) -> None:
    """Raises HNeuronsError unless every α is a finite number >= 0."""
    for one in alpha if isinstance(alpha, Sequence) else [alpha]:
        if not 0 <= one < float("inf"):
            raise HNeuronsError(f"alpha must be a number >= 0, not {one}")


def _checked_down_projs(model: PreTrainedModel, neurons: NeuronsByLayer) -> dict[int, nn.Linear]:
    """down_proj of each layer named. Raises HNeuronsError for a neuron that the model does not have."""
    mlps = decoder_mlps(model)
    found = {}
    for layer, indices in neurons.items():
        if not 0 <= layer < len(mlps):
            raise HNeuronsError(f"layer {layer} is not in this model: it has {len(mlps)}; the neurons are another model's")
        down_proj: Any = mlps[layer].down_proj
        if any(not 0 <= j < down_proj.in_features for j in indices):
            raise HNeuronsError(f"layer {layer}: a neuron lies outside d_ff = {down_proj.in_features}; another model's?")
        found[layer] = down_proj
    return found


@contextmanager
def scaled(model: PreTrainedModel, neurons: NeuronsByLayer, alpha: Alpha) -> Iterator[None]:
    """Within the block, the neurons' activations are multiplied by alpha; α = 1 changes nothing.

    alpha: one number, or one per row of every batch that the model sees ([rows]; another number of rows raises
    HNeuronsError). One number scales columns of the weights, which costs nothing while the model runs; when the block ends,
    also by an exception, they are put back bit by bit. One per row is a hook. Nested blocks multiply.
    """
    check_alpha(alpha)
    down_projs = _checked_down_projs(model, neurons)
    by = _hooks(down_projs, neurons, alpha) if isinstance(alpha, Sequence) else _columns(down_projs, neurons, alpha)
    with by:
        yield


@contextmanager
def _columns(down_projs: Mapping[int, nn.Linear], neurons: NeuronsByLayer, alpha: float) -> Iterator[None]:
    kept: dict[int, torch.Tensor] = {}
    try:
        with torch.no_grad():
            for layer, down_proj in down_projs.items() if alpha != 1 else ():
                kept[layer] = down_proj.weight[:, list(neurons[layer])]
                down_proj.weight[:, list(neurons[layer])] *= alpha
        yield
    finally:
        with torch.no_grad():
            # Last first: layers that share a weight get back what each found.
            for layer, columns in reversed(kept.items()):
                down_projs[layer].weight[:, list(neurons[layer])] = columns


@contextmanager
def _hooks(down_projs: Mapping[int, nn.Linear], neurons: NeuronsByLayer, alphas: Sequence[float]) -> Iterator[None]:
    handles = []
    try:
        for layer, down_proj in down_projs.items():
            options: Any = {"dtype": down_proj.weight.dtype, "device": down_proj.weight.device}
            factor = torch.ones(len(alphas), 1, down_proj.in_features, **options)
            factor[:, 0, list(neurons[layer])] = torch.tensor(alphas, **options)[:, None]

            def scale(_module: nn.Module, args: tuple[Any, ...], factor: torch.Tensor = factor) -> tuple[Any, ...]:
                if len(factor) != len(args[0]):
                    raise HNeuronsError(
                        f"alpha has {len(factor)} numbers, one per row, but the batch has {len(args[0])} rows"
                    )
                return (args[0] * factor, *args[1:])

            handles.append(down_proj.register_forward_pre_hook(scale))
        yield
    finally:
        for handle in handles:
            handle.remove()
