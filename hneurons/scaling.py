"""Scaling neurons: z_j ← α z_j (eq. 5), by a hook or, the same thing, by the columns W_down[:, j].

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
from hneurons.models import decoder_mlps

Neurons = Mapping[int, Sequence[int]]


def _checked_down_projs(model: PreTrainedModel, neurons: Neurons, alpha: float) -> dict[int, nn.Linear]:
    """down_proj of each layer named. Raises HNeuronsError for α < 0 or a neuron that the model does not have."""
    if not 0 <= alpha < float("inf"):
        raise HNeuronsError(f"alpha must be a number >= 0, not {alpha}")
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
def scaled(model: PreTrainedModel, neurons: Neurons, alpha: float) -> Iterator[None]:
    """Within the block, the neurons' activations are multiplied by alpha; α = 1 multiplies by 1, which is exact.

    Nested blocks multiply. The hooks are removed when the block ends, also by an exception.
    """
    handles = []
    try:
        for layer, down_proj in _checked_down_projs(model, neurons, alpha).items():
            factor = torch.ones(down_proj.in_features, dtype=down_proj.weight.dtype, device=down_proj.weight.device)
            factor[list(neurons[layer])] = alpha

            def scale(_module: nn.Module, args: tuple[Any, ...], factor: torch.Tensor = factor) -> tuple[Any, ...]:
                return (args[0] * factor, *args[1:])

            handles.append(down_proj.register_forward_pre_hook(scale))
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def scale_columns(model: PreTrainedModel, neurons: Neurons, alpha: float) -> None:
    """Multiply the columns W_down[:, j] of the neurons by alpha, in place and for good."""
    for layer, down_proj in _checked_down_projs(model, neurons, alpha).items():
        down_proj.weight[:, list(neurons[layer])] *= alpha
