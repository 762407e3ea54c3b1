"""The MLP neurons of one decoder layer: those of a linear layer, or of routed experts and what runs beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from hneurons.models.experts import Experts

# Rows of weights that are converted to float32 at a time.
_ROWS = 256


@dataclass(frozen=True)
class DownProjection:
    """The linear layer from the neurons of a dense MLP to its output (eq. 1).

    Attributes:
        module: the layer, whose input is z [..., d_ff].
        block: the MLP, whose output is the layer's.
        gate: for a shared expert with a gate of its own, the layer whose output is the gate's logit; else None.
    """

    module: nn.Linear | Conv1D
    block: nn.Module
    gate: nn.Module | None = None

    @property
    def weight(self) -> torch.Tensor:
        """W_down [d_model, d_ff], a column per neuron: a view, through which columns can be written."""
        return self.module.weight.T if isinstance(self.module, Conv1D) else self.module.weight

    @property
    def d_ff(self) -> int:
        """Number of neurons."""
        return self.weight.shape[1]

    def columns(self, neurons: Sequence[int]) -> torch.Tensor:
        """Columns of W_down of these neurons, [d_model, neurons]: a copy."""
        return self.weight[:, list(neurons)]

    def write(self, neurons: Sequence[int], columns: torch.Tensor) -> None:
        """Replace columns of W_down by these, [d_model, neurons]."""
        self.weight[:, list(neurons)] = columns

    def norms(self) -> torch.Tensor:
        """‖W_down[:, j]‖₂ of every neuron, [d_ff] float32."""
        squares = sum(rows.float().square().sum(0) for rows in torch.split(self.weight, _ROWS))
        return torch.as_tensor(squares).sqrt()


@dataclass(frozen=True)
class LayerNeurons:
    """The neurons of a decoder layer, numbered through its parts: routed experts first, then what is shared.

    Attributes:
        parts: where the neurons are.
    """

    parts: tuple[DownProjection | Experts, ...]

    @cached_property
    def starts(self) -> list[int]:
        """The first neuron of each part."""
        return [0, *accumulate(part.d_ff for part in self.parts)][:-1]

    @property
    def d_ff(self) -> int:
        """Number of neurons."""
        return sum(part.d_ff for part in self.parts)

    @property
    def d_model(self) -> int:
        """Length of a neuron's column."""
        return self.parts[0].weight.shape[-2]

    @property
    def experts(self) -> tuple[int, int] | None:
        """Number of routed experts and neurons of each; None for a dense layer."""
        routed = self.parts[0]
        return (routed.number, routed.d_expert) if isinstance(routed, Experts) else None

    def columns(self, neurons: Sequence[int]) -> torch.Tensor:
        """Columns of W_down of these neurons, [d_model, neurons]: a copy."""
        weight = self.parts[0].weight
        columns = torch.empty(self.d_model, len(neurons), dtype=weight.dtype, device=weight.device)
        for part, places, indices in self._by_part(neurons):
            columns[:, places] = part.columns(indices)
        return columns

    def write(self, neurons: Sequence[int], columns: torch.Tensor) -> None:
        """Replace columns of W_down by these, [d_model, neurons]."""
        for part, places, indices in self._by_part(neurons):
            part.write(indices, columns[:, places])

    def norms(self) -> torch.Tensor:
        """‖W_down[:, j]‖₂ of every neuron, [d_ff] float32."""
        return torch.cat([part.norms() for part in self.parts])

    def _by_part(self, neurons: Sequence[int]) -> Iterator[tuple[DownProjection | Experts, list[int], list[int]]]:
        """Each part, the places of its neurons in the list, and their indices in the part."""
        for part, start in zip(self.parts, self.starts, strict=True):
            places = [i for i, j in enumerate(neurons) if start <= j < start + part.d_ff]
            yield part, places, [neurons[i] - start for i in places]
