"""Routed experts: the neurons of every expert of a mixture, and a forward pass that shows and scales their activations."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

_NAME = "hneurons"
# What transformers' decorator for experts sets on a module, and the tensors that it then has.
_MARKS = ("has_gate", "has_bias", "is_transposed", "num_experts", "down_proj")


@dataclass(frozen=True)
class Routing:
    """Pairs of a token and an expert that it is routed to, sorted by expert.

    Attributes:
        token: index of the token among all tokens of the batch, [pairs].
        expert: index of the expert, [pairs].
        g: the factor of the expert's output, [pairs].
        ends: by expert, the end of its pairs.
        tokens: number of tokens of the batch.
    """

    token: torch.Tensor
    expert: torch.Tensor
    g: torch.Tensor
    ends: list[int]
    tokens: int


# Called with z [pairs, d_e] and the routing; what it returns takes the place of z.
Change = Callable[[torch.Tensor, Routing], torch.Tensor]
# Called with z [pairs, d_e], the routing and the output [tokens, d_model].
See = Callable[[torch.Tensor, Routing, torch.Tensor], None]
_Function = TypeVar("_Function")
_changes: WeakKeyDictionary[nn.Module, list[Change]] = WeakKeyDictionary()
_sees: WeakKeyDictionary[nn.Module, list[See]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Experts:
    """The routed experts of a layer. Neuron j of expert e is number e · d_e + j.

    Attributes:
        module: transformers' module of all experts.
        block: the MLP that it is in.
        factor: what the block multiplies their output by.
    """

    module: nn.Module
    block: nn.Module
    factor: float = 1.0

    @property
    def weight(self) -> torch.Tensor:
        """W_down of every expert, [experts, d_model, d_e]: a view."""
        module: Any = self.module
        weight: torch.Tensor = module.down_proj
        return weight.transpose(1, 2) if _scales_inputs(module) or module.is_transposed else weight

    @property
    def dtype(self) -> torch.dtype:
        """Data type of z."""
        return self.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.weight.device

    @property
    def d_model(self) -> int:
        """Length of a column."""
        return self.weight.shape[1]

    @property
    def number(self) -> int:
        """Number of experts."""
        return self.weight.shape[0]

    @property
    def d_expert(self) -> int:
        """Neurons of an expert."""
        return self.weight.shape[2]

    @property
    def d_ff(self) -> int:
        """Neurons of all experts."""
        return self.number * self.d_expert

    def columns(self, neurons: Sequence[int]) -> torch.Tensor:
        """Columns of W_down of these neurons, [d_model, neurons]: a copy."""
        expert, j = self._places(neurons)
        return self.weight[expert, :, j].T

    def write(self, neurons: Sequence[int], columns: torch.Tensor) -> None:
        """Replace columns of W_down by these, [d_model, neurons]."""
        expert, j = self._places(neurons)
        self.weight[expert, :, j] = columns.T

    def norms(self) -> torch.Tensor:
        """‖W_down^e[:, j]‖₂ of every neuron, [d_ff] float32."""
        return torch.cat([matrix.float().square().sum(0).sqrt() for matrix in self.weight])

    def _places(self, neurons: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        index = torch.as_tensor(list(neurons), dtype=torch.long, device=self.device)
        return index // self.d_expert, index % self.d_expert


def is_experts(module: nn.Module) -> bool:
    """Whether a module holds experts that transformers runs by an experts function, in a form that has columns."""
    if _scales_inputs(module):
        return True
    # With a norm after each expert, columns do not add up to its output.
    return all(hasattr(module, mark) for mark in _MARKS) and not module.has_post_expert_norm


def _scales_inputs(module: nn.Module) -> bool:
    """Whether a module is Llama 4's, which runs all experts on all tokens, times 0 where one is not routed."""
    return type(module).__name__ == "Llama4TextExperts"


@contextmanager
def changed(module: nn.Module, change: Change) -> Iterator[None]:
    """Within the block, `change` replaces the activations of experts before they are projected down."""
    with _listed(_changes, module, change):
        yield


@contextmanager
def seen(module: nn.Module, see: See) -> Iterator[None]:
    """Within the block, `see` is shown the activations of experts and their output after every pass through them."""
    with _listed(_sees, module, see):
        yield


@contextmanager
def _listed(lists: WeakKeyDictionary[nn.Module, list[_Function]], module: nn.Module, function: _Function) -> Iterator[None]:
    is_first = not (_changes.get(module) or _sees.get(module))
    lists.setdefault(module, []).append(function)
    try:
        with ExitStack() as stack:
            if not _scales_inputs(module):
                stack.enter_context(_registered(module))
            elif is_first:
                stack.callback(module.register_forward_hook(_scaled_inputs_forward).remove)
            yield
    finally:
        lists[module].remove(function)


@contextmanager
def _registered(module: Any) -> Iterator[None]:
    """Within the block, transformers runs these experts by `_forward`."""
    before = module.config._experts_implementation
    module.config._experts_implementation = _NAME
    try:
        yield
    finally:
        module.config._experts_implementation = before


def _forward(experts: Any, hidden: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor) -> torch.Tensor:
    """Σ_e g_e W_down^e z_e of the experts that each token is routed to.

    Args:
        experts: transformers' module.
        hidden: [tokens, d_model].
        top_k_index: the experts of each token, [tokens, k].
        top_k_weights: g, [tokens, k].

    Returns:
        [tokens, d_model].
    """
    chosen = top_k_index.reshape(-1)
    order = chosen.argsort(stable=True)
    ends = torch.bincount(chosen, minlength=experts.num_experts).cumsum(0)[: experts.num_experts].tolist()
    # What is sent to no expert (a number after the last one) adds nothing.
    sent = order[: ends[-1]]
    routing = Routing(sent // top_k_index.shape[-1], chosen[sent], top_k_weights.reshape(-1)[sent], ends, len(hidden))
    x = hidden[routing.token]
    up = "gate_up_proj" if experts.has_gate else "up_proj"
    act = experts._apply_gate if experts.has_gate else experts.act_fn
    z = _by_expert(ends, lambda e, part: act(_linear(experts, up, e, x[part])))
    for change in _changes.get(experts, ()):
        z = change(z, routing)
    out = _by_expert(ends, lambda e, part: _linear(experts, "down_proj", e, z[part])) * routing.g[:, None]
    unsorted = out.new_zeros(len(order), out.shape[-1])
    unsorted[sent] = out
    output = unsorted.view(*top_k_index.shape, -1).sum(1).to(hidden.dtype)
    for see in _sees.get(experts, ()):
        see(z, routing, output)
    return output


def _scaled_inputs_forward(experts: Any, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    """What `_forward` does, of experts whose inputs [experts · tokens, d_model] were multiplied by the routing: g is 1."""
    x = args[0].view(experts.num_experts, -1, args[0].shape[-1])
    gate, up = torch.bmm(x, experts.gate_up_proj).chunk(2, dim=-1)
    z = up * experts.act_fn(gate)
    sent = x.ne(0).any(-1)
    expert, token = sent.nonzero().T
    routing = Routing(token, expert, torch.ones_like(token, dtype=z.dtype), sent.sum(1).cumsum(0).tolist(), x.shape[1])
    pairs = z[expert, token]
    if changes := _changes.get(experts, []):
        for change in changes:
            pairs = change(pairs, routing)
        z = torch.zeros_like(z)
        z[expert, token] = pairs
        output = torch.bmm(z, experts.down_proj).view_as(output)
    for see in _sees.get(experts, ()):
        see(pairs, routing, output.view_as(x).sum(0))
    return output


def _by_expert(ends: list[int], compute: Callable[[int, slice], torch.Tensor]) -> torch.Tensor:
    """The results of all experts that have tokens, one below the other; of none, nothing of the first."""
    starts = [0, *ends]
    busy = [e for e, end in enumerate(ends) if end > starts[e]] or [0]
    return torch.cat([compute(e, slice(starts[e], ends[e])) for e in busy])


def _linear(experts: Any, name: str, expert: int, x: torch.Tensor) -> torch.Tensor:
    weight = getattr(experts, name)[expert]
    bias = getattr(experts, f"{name}_bias")[expert] if experts.has_bias else None
    return nn.functional.linear(x.to(weight.dtype), weight.T if experts.is_transposed else weight, bias)


ALL_EXPERTS_FUNCTIONS.register(_NAME, _forward)
