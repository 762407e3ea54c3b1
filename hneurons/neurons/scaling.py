"""Scaling neurons: z_j ← α z_j (eq. 5), through the columns W_down[:, j] or, equivalently, through a hook."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch
from transformers import PreTrainedModel

from hneurons.config.impact import is_untouched
from hneurons.errors import HNeuronsError
from hneurons.models.activations import activations_changed
from hneurons.models.decoder import layer_neurons
from hneurons.models.experts import Routing
from hneurons.models.mlp import LayerNeurons

# Neuron indices of each layer.
NeuronsByLayer = Mapping[int, Sequence[int]]
# One α for all rows, or one per row of the batch.
Alpha = float | Sequence[float]
# Neurons to scale, and their α; None leaves the model untouched.
Scaling = tuple[NeuronsByLayer, float] | None


def check_alpha(alpha: Alpha) -> None:
    """Check that every α is a finite number ≥ 0.

    Raises:
        HNeuronsError: naming the first α that is not.
    """
    for value in alpha if isinstance(alpha, Sequence) else [alpha]:
        if not 0 <= value < float("inf"):
            raise HNeuronsError(f"alpha must be a number >= 0, not {value}")


def _checked_layers(model: PreTrainedModel, neurons: NeuronsByLayer) -> dict[int, LayerNeurons]:
    """The layers that have neurons. Raises HNeuronsError for a neuron that the model does not have."""
    layers = layer_neurons(model)
    chosen = {}
    for layer, indices in neurons.items():
        if not 0 <= layer < len(layers):
            raise HNeuronsError(f"layer {layer} is not in this model: it has {len(layers)}; the set is another model's")
        if any(not 0 <= j < layers[layer].d_ff for j in indices):
            raise HNeuronsError(f"layer {layer}: a neuron is outside d_ff = {layers[layer].d_ff}; another model's?")
        chosen[layer] = layers[layer]
    return chosen


@contextmanager
def scaled(model: PreTrainedModel, neurons: NeuronsByLayer, alpha: Alpha) -> Iterator[None]:
    """Within the block, multiply the neurons' activations by alpha (eq. 5); α = 1 changes nothing.

    One α scales columns of the weights, which costs nothing while the model runs; they are restored bit by bit when the
    block ends, also by an exception. One α per row, and packed (quantised) weights, are scaled by a hook. Nested blocks
    multiply.

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
    layers = {layer: of_layer for layer, of_layer in _checked_layers(model, neurons).items() if neurons[layer]}
    if packed := {layer: of_layer for layer, of_layer in layers.items() if of_layer.packed}:
        layers = {layer: of_layer for layer, of_layer in layers.items() if layer not in packed}
        with _inputs_scaled(packed, neurons, alpha), scaled(model, {layer: neurons[layer] for layer in layers}, alpha):
            yield
        return
    originals: dict[int, torch.Tensor] = {}
    try:
        with torch.no_grad():
            for layer, of_layer in () if is_untouched(alpha) else layers.items():
                originals[layer] = of_layer.columns(neurons[layer])
                of_layer.write(neurons[layer], originals[layer] * alpha)
        yield
    finally:
        with torch.no_grad():
            # In reverse order, because layers may share a weight.
            for layer, columns in reversed(originals.items()):
                layers[layer].write(neurons[layer], columns)


@contextmanager
def _inputs_scaled(layers: Mapping[int, LayerNeurons], neurons: NeuronsByLayer, alpha: float) -> Iterator[None]:
    """Within the block, multiply neurons of these layers by one α for all rows, by a hook."""
    factors = {layer: _factors(of_layer, [(neurons[layer], alpha)])[0] for layer, of_layer in layers.items()}

    def dense(layer: int, start: int, z: torch.Tensor) -> torch.Tensor:
        return z * factors[layer][0, start : start + z.shape[-1]]

    def routed(layer: int, z: torch.Tensor, routing: Routing) -> torch.Tensor:
        return z * factors[layer][0, : len(routing.ends) * z.shape[-1]].reshape(-1, z.shape[-1])[routing.expert]

    with nullcontext() if is_untouched(alpha) else activations_changed(layers, dense, routed):
        yield


def _factors(layer: LayerNeurons, kinds: Sequence[tuple[Sequence[int], float]]) -> torch.Tensor:
    """The factor of every neuron of a layer, [kinds, 1, d_ff], of kinds that each scale some neurons by an α."""
    part = layer.parts[0]
    factors = torch.ones(len(kinds), 1, layer.d_ff, dtype=part.dtype, device=part.device)
    for kind, (neurons, alpha) in enumerate(kinds):
        factors[kind, 0, list(neurons)] = alpha
    return factors


class RowScaling:
    """The neurons and α of every row of a batch, kept in step while a decoder drops and adds rows.

    Rows that are scaled alike are of one kind.

    Args:
        kinds: by layer, the factor of each kind and neuron, [kinds, 1, d_ff].
        kind_of: the kind of each row, [rows].
        with_experts: the layers that have experts, too many neurons for factors of every row.
    """

    def __init__(self, kinds: dict[int, torch.Tensor], kind_of: torch.Tensor, with_experts: Collection[int] = ()) -> None:
        self._kinds, self._with_experts = kinds, with_experts
        self._set_rows(kind_of)

    def _set_rows(self, kind_of: torch.Tensor) -> None:
        # Gathered here and not at every pass through a layer, where the index would be copied to the GPU each time.
        self.kind_of = kind_of
        self._kind_on = {device: kind_of.to(device) for device in {factors.device for factors in self._kinds.values()}}
        self._factors = {
            layer: factors[self._kind_on[factors.device]]
            for layer, factors in self._kinds.items()
            if layer not in self._with_experts
        }

    def keep(self, rows: torch.Tensor) -> None:
        """Replace the rows of the batch by those with these indices, [rows]."""
        self._set_rows(self.kind_of[rows])

    @contextmanager
    def one_of_each_kind(self) -> Iterator[int]:
        """Within the block, a batch has one row of each kind, in order; yields how many that are."""
        kind_of, kinds = self.kind_of, int(self.kind_of.max()) + 1
        self._set_rows(torch.arange(kinds))
        try:
            yield kinds
        finally:
            self._set_rows(kind_of)

    def scale(self, layer: int, start: int, z: torch.Tensor) -> torch.Tensor:
        """Compute z_j ← α z_j (eq. 5) of a dense part of a layer.

        Args:
            layer: index of the layer.
            start: first neuron of the part.
            z: the input of its down_proj, [rows, tokens, d_ff].

        Raises:
            HNeuronsError: `z` has another number of rows.
        """
        kinds = self._kinds[layer][..., start : start + z.shape[-1]]
        factor = kinds[self._kind_on[kinds.device]] if layer in self._with_experts else self._factors[layer]
        if z.dim() == 2 and len(z) % len(factor) == 0:
            # Some models pass all tokens of a batch as one row.
            return (z.reshape(len(factor), -1, z.shape[-1]) * factor).reshape(z.shape)
        if len(factor) != len(z):
            raise HNeuronsError(f"alpha has {len(factor)} numbers, one per row, but the batch has {len(z)} rows")
        return z * factor

    def scale_routed(self, layer: int, z: torch.Tensor, routing: Routing) -> torch.Tensor:
        """Compute z_{e,j} ← α z_{e,j} of the routed experts of a layer, [pairs, d_e]."""
        kinds = self._kinds[layer]
        kind_of = self._kind_on[kinds.device]
        if routing.tokens % len(kind_of):
            raise HNeuronsError(f"alpha has {len(kind_of)} numbers, one per row, but the batch has {routing.tokens} tokens")
        row = routing.token // (routing.tokens // len(kind_of))
        d_e, experts = z.shape[-1], len(routing.ends)
        factors = kinds[:, 0, : experts * d_e].view(len(kinds), experts, d_e)
        return z * factors[kind_of[row], routing.expert]


@contextmanager
def scaled_rows(model: PreTrainedModel, rows: Sequence[Scaling]) -> Iterator[RowScaling]:
    """Within the block, scale different neurons by a different α in each row of a batch (eq. 5), by a hook.

    Args:
        model: the loaded model.
        rows: how each row of the batch is scaled.

    Yields:
        The scaling, to be updated when rows of the batch are dropped or added.

    Raises:
        HNeuronsError: α < 0, the model does not have the neurons, or a batch has another number of rows.
    """
    kinds: list[Scaling] = []
    kind_of = []
    for row in rows:
        if row not in kinds:
            kinds.append(row)
        kind_of.append(kinds.index(row))
    scalings: list[tuple[NeuronsByLayer, float]] = [({}, 1.0) if kind is None else kind for kind in kinds]
    check_alpha([alpha for _, alpha in scalings])
    layers: dict[int, LayerNeurons] = {}
    for neurons, _ in scalings:
        layers |= _checked_layers(model, neurons)
    factors = {
        layer: _factors(of_layer, [(neurons.get(layer, ()), alpha) for neurons, alpha in scalings])
        for layer, of_layer in layers.items()
    }
    with_experts = [layer for layer, of_layer in layers.items() if of_layer.experts]
    scaling = RowScaling(factors, torch.tensor(kind_of), with_experts)
    with activations_changed(layers, scaling.scale, scaling.scale_routed):
        yield scaling


@contextmanager
def scaled_batch(model: PreTrainedModel, rows: Sequence[Scaling]) -> Iterator[RowScaling | None]:
    """Within the block, scale each row of a batch: by columns, which cost nothing, if all rows are scaled alike.

    Args:
        model: the loaded model.
        rows: how each row is scaled.

    Yields:
        What `scaled_rows` yields, or None if all rows are scaled alike.

    Raises:
        HNeuronsError: as in `scaled_rows`.
    """
    first = rows[0]
    if any(row != first for row in rows):
        with scaled_rows(model, rows) as scaling:
            yield scaling
        return
    with nullcontext() if first is None else scaled(model, *first):
        yield None
