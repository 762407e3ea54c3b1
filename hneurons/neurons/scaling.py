"""Scaling neurons: z_j ← α z_j (eq. 5), through the columns W_down[:, j] or, equivalently, through a hook."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from hneurons.config.impact import is_untouched
from hneurons.errors import HNeuronsError
from hneurons.models.decoder import decoder_mlps

# Neuron indices of each layer.
NeuronsByLayer = Mapping[int, Sequence[int]]
# One α for all rows, or one per row of the batch.
Alpha = float | Sequence[float]


def check_alpha(alpha: Alpha) -> None:
    """Check that every α is a finite number ≥ 0.

    Raises:
        HNeuronsError: naming the first α that is not.
    """
    for value in alpha if isinstance(alpha, Sequence) else [alpha]:
        if not 0 <= value < float("inf"):
            raise HNeuronsError(f"alpha must be a number >= 0, not {value}")


def _checked_down_projs(model: PreTrainedModel, neurons: NeuronsByLayer) -> dict[int, nn.Linear]:
    """down_proj of each layer with neurons. Raises HNeuronsError for a neuron that the model does not have."""
    mlps = decoder_mlps(model)
    down_projs = {}
    for layer, indices in neurons.items():
        if not 0 <= layer < len(mlps):
            raise HNeuronsError(f"layer {layer} is not in this model: it has {len(mlps)}; the neurons are another model's")
        down_proj: Any = mlps[layer].down_proj
        if any(not 0 <= j < down_proj.in_features for j in indices):
            raise HNeuronsError(f"layer {layer}: a neuron is outside d_ff = {down_proj.in_features}; another model's?")
        down_projs[layer] = down_proj
    return down_projs


@contextmanager
def scaled(model: PreTrainedModel, neurons: NeuronsByLayer, alpha: Alpha) -> Iterator[None]:
    """Within the block, multiply the neurons' activations by alpha (eq. 5); α = 1 changes nothing.

    One α scales columns of the weights, which costs nothing while the model runs; they are restored bit by bit when the
    block ends, also by an exception. One α per row is applied by a hook. Nested blocks multiply.

    Args:
        model: the loaded model.
        neurons: neuron indices by layer.
        alpha: one factor α ≥ 0, or one per row of every batch in the block ([rows]).

    Raises:
        HNeuronsError: α < 0, the model does not have the neurons, or a batch has another number of rows than `alpha`.
    """
    if isinstance(alpha, Sequence):
        with scaled_rows(model, [(neurons, row_alpha) for row_alpha in alpha]):
            yield
        return
    check_alpha(alpha)
    down_projs = _checked_down_projs(model, neurons)
    originals: dict[int, torch.Tensor] = {}
    try:
        with torch.no_grad():
            for layer, down_proj in () if is_untouched(alpha) else down_projs.items():
                originals[layer] = down_proj.weight[:, list(neurons[layer])]
                down_proj.weight[:, list(neurons[layer])] *= alpha
        yield
    finally:
        with torch.no_grad():
            # In reverse order, because layers may share a weight.
            for layer, columns in reversed(originals.items()):
                down_projs[layer].weight[:, list(neurons[layer])] = columns


class RowScaling:
    """The α of every row of a batch, kept in step while a decoder drops ended rows or repeats prompts.

    Args:
        factors: by layer, the factor of each row and neuron, [rows, 1, d_ff].
    """

    def __init__(self, factors: dict[int, torch.Tensor]) -> None:
        self._factors = factors

    def keep(self, rows: torch.Tensor) -> None:
        """Replace the rows of the batch by those with these indices, [rows]."""
        self._factors = {layer: factor[rows.to(factor.device)] for layer, factor in self._factors.items()}

    def scale(self, layer: int, z: torch.Tensor) -> torch.Tensor:
        """Compute z_j ← α z_j (eq. 5).

        Args:
            layer: index of the layer.
            z: the input of its down_proj, [rows, tokens, d_ff].

        Raises:
            HNeuronsError: `z` has another number of rows.
        """
        factor = self._factors[layer]
        if len(factor) != len(z):
            raise HNeuronsError(f"alpha has {len(factor)} numbers, one per row, but the batch has {len(z)} rows")
        return z * factor


@contextmanager
def scaled_rows(model: PreTrainedModel, rows: Sequence[tuple[NeuronsByLayer, float]]) -> Iterator[RowScaling]:
    """Within the block, scale different neurons by a different α in each row of a batch (eq. 5), by a hook.

    Args:
        model: the loaded model.
        rows: for each row of the batch its neurons and their α.

    Yields:
        The scaling, to be updated when rows of the batch are dropped or repeated.

    Raises:
        HNeuronsError: α < 0, the model does not have the neurons, or a batch has another number of rows.
    """
    check_alpha([alpha for _, alpha in rows])
    down_projs: dict[int, nn.Linear] = {}
    for neurons, _ in rows:
        down_projs |= _checked_down_projs(model, neurons)
    factors = {}
    for layer, down_proj in down_projs.items():
        weight = down_proj.weight
        factors[layer] = torch.ones(len(rows), 1, down_proj.in_features, dtype=weight.dtype, device=weight.device)
        for factor, (neurons, alpha) in zip(factors[layer], rows, strict=True):
            factor[0, list(neurons.get(layer, ()))] = alpha
    scaling = RowScaling(factors)

    def hook(_module: nn.Module, args: tuple[Any, ...], layer: int) -> tuple[Any, ...]:
        return (scaling.scale(layer, args[0]), *args[1:])

    handles = [p.register_forward_pre_hook(partial(hook, layer=layer)) for layer, p in down_projs.items()]
    try:
        yield scaling
    finally:
        for handle in handles:
            handle.remove()
