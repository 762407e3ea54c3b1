"""What a loaded model must be for CETT and scaling to be right, checked on a few tokens."""

from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from hneurons.errors import HNeuronsError
from hneurons.models.activations import LayerActivations, observed
from hneurons.models.decoder import layer_neurons, text_decoder
from hneurons.models.inputs import position_ids, text_inputs
from hneurons.models.mlp import DownProjection

_TOKENS = 9
_PADDING = 3
_PREFIX = 2
# Relative differences below these are rounding, which padding and other batch shapes change.
_ROUNDING = {torch.float64: 1e-3, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}


@torch.inference_mode()
def check_supported(model: PreTrainedModel) -> None:
    """Check that what the package measures and scales is what the model computes.

    Four short rows are read, once by the model and its cache, once by the text decoder alone: some tokens, the same with
    another last one, and the same padded on the left and in the middle. Two rows of neurons go through each
    down-projection.

    Raises:
        HNeuronsError: In one line, if the output of an MLP is not its down-projection's (eq. 1, up to a constant factor
            and the residual), if a column is not what its neuron contributes, if tokens depend on later ones or on padding,
            or if the cache or the decoder alone give something else.
    """
    name, layers = type(model).__name__, layer_neurons(model)
    for layer, neurons in enumerate(layers):
        for part in neurons.parts:
            if isinstance(part, DownProjection):
                _check_column(f"{name}: layer {layer}", part)
    ids, mask = _rows(model)
    dtype = torch.bfloat16 if any(neurons.packed for neurons in layers) else layers[0].parts[0].dtype
    cache = DynamicCache(config=model.config)
    # Only where all layers attend to everything before them are rows padded after a prefix that they share.
    shares_prefixes = all(type(layer) is DynamicLayer for layer in cache.layers)
    try:
        first = _outputs(model, model, ids[:, :-1], mask[:, :-1], cache)
        last = _outputs(model, model, ids[:, -1:], mask, cache)
        decoded = _outputs(text_decoder(model), model, ids, mask, None)
    except HNeuronsError as error:
        raise HNeuronsError(f"{name}: {error}") from None
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, AssertionError) as error:
        cause = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        raise HNeuronsError(f"{name} does not run on texts in a batch and with a cache: {cause}") from None
    # Rounding may send a token to another expert.
    rounding = _ROUNDING[dtype] * (2 if any(neurons.experts for neurons in layers) else 1)
    cached = torch.cat([first, last], dim=1)
    # The row with another last token has no other tokens before it.
    if _difference(first[1], first[0]) > 1e-3 or _difference(decoded[1, :-1], decoded[0, :-1]) > 1e-3:
        raise HNeuronsError(f"{name}: tokens attend to later ones (bidirectional attention): it is not a causal model")
    if _difference(decoded[2, _PADDING:], decoded[0, :-_PADDING]) > rounding:
        raise HNeuronsError(f"{name}: padding on the left changes what it computes, so its texts cannot be put in batches")
    after = _PREFIX + _PADDING
    if shares_prefixes and _difference(decoded[3, after:], decoded[0, _PREFIX:-_PADDING]) > rounding:
        raise HNeuronsError(f"{name}: padding after a shared prefix changes what it computes")
    if (
        _difference(cached[:2], decoded[:2]) > rounding
        or _difference(cached[2, _PADDING:], decoded[2, _PADDING:]) > rounding
    ):
        raise HNeuronsError(f"{name}: its text decoder alone, or its cache, gives other activations than the whole model")


def _rows(model: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask of the rows, [4, tokens]."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    text = torch.arange(_TOKENS) * 7 % max(1, vocabulary - 3) + 2
    ids = text.repeat(4, 1)
    ids[1, -1], ids[2], ids[3, _PREFIX:] = 1, text.roll(_PADDING), text[_PREFIX:].roll(_PADDING)
    mask = torch.ones_like(ids)
    mask[2, :_PADDING] = mask[3, _PREFIX : _PREFIX + _PADDING] = 0
    return ids.to(model.device), mask.to(model.device)


def _outputs(
    module: Any, model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache | None
) -> torch.Tensor:
    """Outputs [4, tokens, d_model] of the last layer's MLP in a pass that also checks the MLPs of all layers."""
    layers = layer_neurons(model)
    # By block, what its parts have added to its output.
    added: dict[nn.Module, torch.Tensor] = {}
    last: list[torch.Tensor] = []
    problems: list[str] = []
    routed: list[tuple[nn.Module, tuple[torch.Tensor, ...], torch.Tensor]] = []

    def see(layer: int, activations: LayerActivations) -> None:
        for part, values in zip(layers[layer].parts, activations.parts, strict=True):
            added[part.block] = values.output if part.block not in added else added[part.block] + values.output
        last[:] = [activations.h]

    def compare(layer: int, block: nn.Module, args: tuple[Any, ...], options: dict[str, Any], output: Any) -> None:
        output = output[0] if isinstance(output, tuple) else output
        inputs = [value for value in (*args, *options.values()) if isinstance(value, torch.Tensor)]
        if block in added and not _is_output_of(added.pop(block), output, inputs):
            problems.append(
                f"layer {layer}: its MLP adds something to what its last linear layer gives, which would be "
                "neither measured nor scaled"
            )

    def keep(experts: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        routed.append((experts, args, output))

    with ExitStack() as stack:
        for layer, neurons in enumerate(layers):
            for block in {part.block: None for part in neurons.parts if part.block is not part.module}:
                hook = block.register_forward_hook(partial(compare, layer), with_kwargs=True)
                stack.callback(hook.remove)
            if neurons.experts:
                stack.callback(neurons.parts[0].module.register_forward_hook(keep).remove)
        stack.enter_context(observed(model, range(len(layers)), see))
        options = {"use_cache": False} if cache is None else {"past_key_values": cache, "use_cache": True}
        module(**text_inputs(module, ids, mask, position_ids(mask)[:, -ids.shape[1] :]), **options)
    for experts, args, output in routed:
        if _difference(experts(*args), output) > _ROUNDING[output.dtype]:
            problems.append(f"{type(experts).__name__}: its experts do something else than their weights say")
    if problems:
        raise HNeuronsError(problems[0])
    return last[0].reshape(*ids.shape, -1)


def _is_output_of(down: torch.Tensor, block: torch.Tensor, inputs: list[torch.Tensor]) -> bool:
    """Whether the output of a block is its down-projection's, times a constant or plus an input (the residual)."""
    a, b = (t.float().reshape(-1, t.shape[-1]) for t in (block, down))
    if a.shape != b.shape:
        return False
    scale = (a * b).sum() / (b * b).sum().clamp_min(torch.finfo(torch.float32).tiny)
    residuals = (a - b - t.float().reshape(a.shape) for t in inputs if t.numel() == a.numel())
    return any(float(remainder.norm()) <= 0.02 * float(a.norm()) for remainder in (a - scale * b, *residuals))


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """‖a − b‖ / ‖b‖."""
    a, b = a.float(), b.float()
    return float((a - b).norm() / b.norm().clamp_min(torch.finfo(torch.float32).tiny))


def _check_column(place: str, down: DownProjection) -> None:
    """Check that a unit vector through the layer gives its column, besides the bias.

    Of packed weights, whose columns are what unit vectors give, that these add up and are held: inputs that are quantised
    by a fixed scale may saturate.
    """
    last = down.d_ff - 1
    if down.packed:
        columns = down.columns([0, last]).sum(1)
        if max(_difference(down.acting([[0, last]], unit)[:, 0], columns) for unit in (1.0, 0.5)) > 0.05:
            raise HNeuronsError(f"{place}: its packed down-projection is not linear: its neurons have no columns")
        return
    neuron = down.d_ff // 2
    if _difference(down.acting([[neuron]]), down.columns([neuron])) > 0.02:
        raise HNeuronsError(f"{place}: column {neuron} of its down-projection is not what the neuron contributes")
