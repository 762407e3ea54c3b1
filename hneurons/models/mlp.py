"""The MLP neurons of one decoder layer: those of a linear layer, or of routed experts and what runs beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from hneurons.models.experts import Experts

PLAIN_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
# Rows of weights that are converted to float32 at a time, and unit vectors that go through a packed layer at a time.
_ROWS = 256


@dataclass(frozen=True)
class DownProjection:
    """The linear layer from the neurons of a dense MLP to its output (eq. 1).

    Attributes:
        module: the layer, whose input is z [..., d_ff].
        block: the MLP, whose output is the layer's.
        gate: for a shared expert with a gate of its own, the layer whose output is the gate's logit; else None.
        inputs: data type of z, where the weights are packed (quantised).
    """

    module: nn.Linear | Conv1D
    block: nn.Module
    gate: nn.Module | None = None
    inputs: torch.dtype = torch.float32

    @property
    def packed(self) -> bool:
        """Whether the weights are packed (quantised): then columns are what the layer makes of unit vectors."""
        return type(self.module.weight) is not nn.Parameter or self.module.weight.dtype not in PLAIN_DTYPES

    @property
    def dtype(self) -> torch.dtype:
        """Data type of z."""
        return self.inputs if self.packed else self.module.weight.dtype

    @property
    def weight(self) -> torch.Tensor:
        """W_down [d_model, d_ff], a column per neuron: a view, through which columns can be written."""
        return self.module.weight.T if isinstance(self.module, Conv1D) else self.module.weight

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.module.weight.device

    @property
    def d_ff(self) -> int:
        """Number of neurons."""
        return self.weight.shape[1] if isinstance(self.module, Conv1D) else self.module.in_features

    @property
    def d_model(self) -> int:
        """Length of a column."""
        return self.weight.shape[0] if isinstance(self.module, Conv1D) else self.module.out_features

    def columns(self, neurons: Sequence[int]) -> torch.Tensor:
        """Columns of W_down of these neurons, [d_model, neurons]: a copy, or as they act if they are packed."""
        return self.acting([[j] for j in neurons]) if self.packed else self.weight[:, list(neurons)]

    def write(self, neurons: Sequence[int], columns: torch.Tensor) -> None:
        """Replace columns of W_down by these, [d_model, neurons]; they must not be packed."""
        assert not self.packed, "packed weights are scaled by their inputs"
        self.weight[:, list(neurons)] = columns

    @torch.no_grad()
    def acting(self, groups: Sequence[Sequence[int]], unit: float = 1.0) -> torch.Tensor:
        """Sums of the columns of some groups of neurons as the layer acts on z_j = unit, bias aside, over unit.

        Returns:
            [d_model, groups] float32.
        """
        z = torch.zeros(len(groups) + 1, self.d_ff, dtype=self.dtype, device=self.device)
        for row, neurons in enumerate(groups):
            z[row, list(neurons)] = unit
        # Not through hooks, which may be measuring or scaling.
        out: torch.Tensor = self.module.forward(z).float()
        return ((out[:-1] - out[-1]) / unit).T

    def norms(self) -> torch.Tensor:
        """‖W_down[:, j]‖₂ of every neuron, [d_ff] float32."""
        if self.packed:
            parts = (range(j, min(j + _ROWS, self.d_ff)) for j in range(0, self.d_ff, _ROWS))
            return torch.cat([self.columns(part).norm(dim=0) for part in parts])
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
        return self.parts[0].d_model

    @property
    def packed(self) -> bool:
        """Whether the weights of a part are packed (quantised): then neurons are scaled by their activations."""
        return any(isinstance(part, DownProjection) and part.packed for part in self.parts)

    @property
    def experts(self) -> tuple[int, int] | None:
        """Number of routed experts and neurons of each; None for a dense layer."""
        routed = self.parts[0]
        return (routed.number, routed.d_expert) if isinstance(routed, Experts) else None

    def columns(self, neurons: Sequence[int]) -> torch.Tensor:
        """Columns of W_down of these neurons, [d_model, neurons]: a copy."""
        parts = [(places, self.parts[n].columns(indices)) for n, places, indices in self.by_part(neurons)]
        if len(parts) < 2:
            return parts[0][1] if parts else self.parts[0].columns([])
        columns = torch.empty(self.d_model, len(neurons), dtype=parts[0][1].dtype, device=parts[0][1].device)
        for places, of_part in parts:
            columns[:, places] = of_part.to(columns.device)
        return columns

    def write(self, neurons: Sequence[int], columns: torch.Tensor) -> None:
        """Replace columns of W_down by these, [d_model, neurons]."""
        for n, places, indices in self.by_part(neurons):
            self.parts[n].write(indices, columns[:, places])

    def norms(self) -> torch.Tensor:
        """‖W_down[:, j]‖₂ of every neuron, [d_ff] float32."""
        return torch.cat([part.norms() for part in self.parts])

    def by_part(self, neurons: Sequence[int]) -> Iterator[tuple[int, list[int], list[int]]]:
        """Yield the number of each part with any of them, the places of these in the list, and their indices in it."""
        for n, (part, start) in enumerate(zip(self.parts, self.starts, strict=True)):
            if places := [i for i, j in enumerate(neurons) if start <= j < start + part.d_ff]:
                yield n, places, [neurons[i] - start for i in places]
