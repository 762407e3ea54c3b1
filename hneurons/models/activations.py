"""Activations of MLP neurons, seen or changed while a model runs, in dense layers and in experts alike."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from hneurons.errors import HNeuronsError
from hneurons.models.decoder import layer_neurons, text_decoder
from hneurons.models.experts import Experts, Routing, changed, seen
from hneurons.models.mlp import DownProjection, LayerNeurons


@dataclass(frozen=True)
class PartActivations:
    """What one part of a layer's neurons did in a forward pass.

    Attributes:
        start: the part's first neuron.
        z: the activations: [tokens, d_ff], or [pairs of token and expert, d_e] of experts.
        output: what the part adds to the output of the MLP, g included, [tokens, d_model].
        g: factor of a shared expert's output, [tokens]; None without a gate.
        routing: the pairs, of experts.
    """

    start: int
    z: torch.Tensor
    output: torch.Tensor
    g: torch.Tensor | None = None
    routing: Routing | None = None


@dataclass(frozen=True)
class LayerActivations:
    """What the neurons of a layer did in a forward pass, token after token of all rows.

    Attributes:
        neurons: the layer's neurons.
        parts: by part, in the order of the neurons.
    """

    neurons: LayerNeurons
    parts: list[PartActivations]

    @property
    def h(self) -> torch.Tensor:
        """The output of the whole MLP (eq. 1), [tokens, d_model]."""
        if len(self.parts) == 1:
            return self.parts[0].output
        return torch.stack([part.output.float() for part in self.parts]).sum(0)

    def of_neurons(self, neurons: Sequence[int]) -> torch.Tensor:
        """g z of some neurons at every token, [tokens, neurons] float32; 0 where a token is not routed to the expert."""
        values = torch.zeros(len(self.parts[0].output), len(neurons), device=self.parts[0].z.device)
        for n, places, indices in self.neurons.by_part(neurons):
            part = self.parts[n]
            if part.routing is None:
                z = part.z[:, indices].float()
                values[:, places] = z if part.g is None else z * part.g[:, None]
                continue
            ends = [0, *part.routing.ends]
            for place, (expert, j) in zip(places, (divmod(index, part.z.shape[-1]) for index in indices), strict=True):
                pairs = slice(ends[expert], ends[expert + 1])
                values[part.routing.token[pairs], place] = part.z[pairs, j].float() * part.routing.g[pairs].float()
        return values


@contextmanager
def observed(model: PreTrainedModel, layers: Iterable[int], see: Callable[[int, LayerActivations], None]) -> Iterator[None]:
    """Call see(layer, activations) when the neurons of a layer have run, in every forward pass within the block.

    Raises:
        HNeuronsError: a layer did not run, as those of cross-attention do without an image, or ran twice in a pass.
    """
    neurons = layer_neurons(model)
    passes = {layer: _Pass(layer, neurons[layer], see) for layer in sorted(layers)}

    def begin(*_: Any) -> None:
        for one_pass in passes.values():
            one_pass.complete = False

    with ExitStack() as stack:
        stack.callback(text_decoder(model).register_forward_pre_hook(begin).remove)
        for one_pass in passes.values():
            one_pass.listen(stack)
        yield
    for layer, one_pass in passes.items():
        if not one_pass.complete:
            raise HNeuronsError(f"layer {layer}: its MLP did not run in a forward pass over text, so it has no CETT")


@contextmanager
def activations_changed(
    layers: Mapping[int, LayerNeurons],
    dense: Callable[[int, int, torch.Tensor], torch.Tensor],
    routed: Callable[[int, torch.Tensor, Routing], torch.Tensor],
) -> Iterator[None]:
    """Within the block, replace activations before they are projected down.

    Args:
        layers: the layers whose activations change.
        dense: called with a layer, the first neuron of a part of it, and the part's z [rows, tokens, d_ff].
        routed: called with a layer, z [pairs, d_e] of its experts, and the pairs.
    """

    def hook(layer: int, start: int, _module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (dense(layer, start, args[0]), *args[1:])

    with ExitStack() as stack:
        for layer, neurons in layers.items():
            for start, part in zip(neurons.starts, neurons.parts, strict=True):
                if isinstance(part, Experts):
                    stack.enter_context(changed(part.module, partial(routed, layer)))
                else:
                    stack.callback(part.module.register_forward_pre_hook(partial(hook, layer, start)).remove)
        yield


@dataclass
class _Pass:
    """The parts of a layer that have run in a forward pass."""

    layer: int
    neurons: LayerNeurons
    see: Callable[[int, LayerActivations], None]
    parts: dict[int, PartActivations] = field(default_factory=dict)
    dense: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    gates: dict[int, torch.Tensor] = field(default_factory=dict)
    complete: bool = False

    def listen(self, stack: ExitStack) -> None:
        """Hook every part."""
        for start, part in zip(self.neurons.starts, self.neurons.parts, strict=True):
            if isinstance(part, Experts):
                stack.enter_context(seen(part.module, partial(self._routed, part.factor, start)))
                continue
            stack.callback(part.module.register_forward_hook(partial(self._projected, part, start)).remove)
            if part.gate is not None:
                stack.callback(part.gate.register_forward_hook(partial(self._gated, start)).remove)

    def _routed(self, factor: float, start: int, z: torch.Tensor, routing: Routing, output: torch.Tensor) -> None:
        if factor != 1:
            routing, output = replace(routing, g=routing.g * factor), output * factor
        self._add(PartActivations(start, z, output, routing=routing))

    def _projected(
        self, part: DownProjection, start: int, _module: Any, args: tuple[Any, ...], output: torch.Tensor
    ) -> None:
        z, output = _flat(args[0]), _flat(output)
        if part.gate is None:
            self._add(PartActivations(start, z, output))
            return
        self._once(start in self.dense)
        self.dense[start] = z, output
        self._join(start)

    def _gated(self, start: int, _module: Any, _args: Any, output: torch.Tensor) -> None:
        self._once(start in self.gates)
        self.gates[start] = output.float().sigmoid().flatten()
        self._join(start)

    def _join(self, start: int) -> None:
        if start in self.dense and start in self.gates:
            (z, output), g = self.dense[start], self.gates[start]
            self._add(PartActivations(start, z, output * g[:, None].to(output.dtype), g))

    def _once(self, again: bool) -> None:
        if again or self.complete:
            raise HNeuronsError(f"layer {self.layer}: its MLP ran twice in one forward pass, for which CETT is not defined")

    def _add(self, part: PartActivations) -> None:
        self._once(part.start in self.parts)
        self.parts[part.start] = part
        if len(self.parts) == len(self.neurons.parts):
            self.complete = True
            activations = LayerActivations(self.neurons, [self.parts[start] for start in self.neurons.starts])
            # Released as soon as they were seen.
            self.parts, self.dense, self.gates = {}, {}, {}
            self.see(self.layer, activations)


def _flat(values: torch.Tensor) -> torch.Tensor:
    """[tokens, …] of [rows, tokens, …] or of [tokens, …], as some models pass all tokens of a batch as one row."""
    return values.reshape(-1, values.shape[-1])
