"""CETT: the contribution of each MLP neuron to its layer's output, averaged over regions of a response (eqs. 2 and 3).

The average is taken inside the forward hook, so memory does not grow with layers × tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import groupby

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from hneurons.cett.regions import TokenRegions
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.generation.kv_cache import as_prefix, attends_to_all, new_cache, shared_prefix_length
from hneurons.generation.prefill import left_pad
from hneurons.models.activations import LayerActivations, PartActivations, observed
from hneurons.models.decoder import layer_neurons, text_decoder
from hneurons.models.inputs import check_length, position_ids, prepared_mask, takes_prepared_mask, text_inputs

# Tokens whose activations are converted to float32 at a time.
_CHUNK = 1024
# The same of pairs of a token and an expert, whose activations are narrower.
_PAIRS = 8192


@torch.inference_mode()
def column_norms(model: PreTrainedModel) -> list[torch.Tensor]:
    """‖W_down[:, j]‖₂ of every layer (eq. 2), each [d_ff] float32 on the layer's device."""
    return [layer.norms() for layer in layer_neurons(model)]


def output_norm(h: torch.Tensor) -> torch.Tensor:
    """‖h‖₂ of a layer's output at each token, float32, clamped above zero."""
    # A norm may widen its input's type but not narrow it.
    norm: torch.Tensor = torch.linalg.vector_norm(h, dim=-1, dtype=torch.promote_types(h.dtype, torch.float32)).float()
    return norm.clamp_min(torch.finfo(torch.float32).tiny)


@contextmanager
def _measuring(
    model: PreTrainedModel, norms: Sequence[torch.Tensor], weights: torch.Tensor
) -> Iterator[dict[int, torch.Tensor]]:
    """Sum CETT over tokens by weights [rows, regions, width].

    Yields:
        After the forward pass, by layer, [rows, regions, d_ff] float32 on the layer's device.
    """
    sums: dict[int, torch.Tensor] = {}

    def measure(layer: int, activations: LayerActivations) -> None:
        # [rows, regions, width]: weights over ‖h‖
        h = output_norm(activations.h)
        factors = weights.to(h.device) / h.reshape(len(weights), 1, -1)
        parts = [_sum_routed(part, factors) if part.routing else _sum_dense(part, factors) for part in activations.parts]
        sums[layer] = torch.cat(parts, dim=-1) * norms[layer]

    with observed(model, range(len(norms)), measure):
        yield sums


def _sum_dense(part: PartActivations, factors: torch.Tensor) -> torch.Tensor:
    """Σ_t factors_t |z_t| of a dense part, [rows, regions, d_ff]; g of a shared expert is a factor too."""
    rows, _, width = factors.shape
    if part.g is not None:
        factors = factors * part.g.reshape(rows, 1, width)
    rows_at_once = max(1, _CHUNK // width)
    sums = []
    batches = (torch.split(t, rows_at_once) for t in (part.z.reshape(rows, width, -1), factors))
    for z, factor in zip(*batches, strict=True):
        # z [rows, width, d_ff], factor [rows, regions, width]
        chunks = zip(torch.split(factor, _CHUNK, -1), torch.split(z, _CHUNK, 1), strict=True)
        sums.append(reduce(torch.add, (torch.bmm(factor, z.float().abs()) for factor, z in chunks)))
    return torch.cat(sums)


def _sum_routed(part: PartActivations, factors: torch.Tensor) -> torch.Tensor:
    """Σ_t factors_t g_{t,e} |z_{t,e}| of routed experts, [rows, regions, experts · d_e]; a token elsewhere counts 0."""
    routing = part.routing
    assert routing is not None
    rows, regions, width = factors.shape
    experts = len(routing.ends)
    sums = torch.zeros(regions, rows * experts, part.z.shape[-1], device=factors.device)
    chunks = (torch.split(t, _PAIRS) for t in (part.z, routing.token, routing.expert, routing.g))
    for z, token, expert, g in zip(*chunks, strict=True):
        row = token // width
        scaled = factors[row, :, token % width] * g.float().abs()[:, None]
        for region in range(regions):
            sums[region].index_add_(0, row * experts + expert, z.float().abs() * scaled[:, region, None])
    return sums.reshape(regions, rows, -1).transpose(0, 1)


def _stacked(sums: Mapping[int, torch.Tensor], dim: int) -> torch.Tensor:
    """The layers' tensors [..., d_ff] as one on the host, with zeros after the last neuron of a narrower layer.

    The device is waited for once, or once for each of several devices.
    """
    widest = max(values.shape[-1] for values in sums.values())
    padded = [torch.nn.functional.pad(sums[layer], (0, widest - sums[layer].shape[-1])) for layer in sorted(sums)]
    by_device = groupby(padded, key=lambda values: values.device)
    return torch.cat([torch.stack(list(of_device), dim=dim).cpu() for _, of_device in by_device], dim=dim)


@dataclass(frozen=True)
class SharedPrefix:
    """The first tokens that all sequences share, read once.

    Attributes:
        length: number of tokens.
        cache: their keys and values.
        sums: CETT summed over the tokens of each region, [regions, layers, d_ff] float32.
    """

    length: int
    cache: DynamicCache
    sums: torch.Tensor


@torch.inference_mode()
def read_prefix(
    model: PreTrainedModel, sequences: Sequence[TokenRegions], norms: Sequence[torch.Tensor]
) -> SharedPrefix | None:
    """Read the first tokens that all sequences share, in the same regions.

    Args:
        model: the model.
        sequences: responses with the same number of regions.
        norms: what column_norms returns.

    Returns:
        None if the sequences share no tokens, or if later tokens cannot attend to them all (sliding windows).
    """
    if len(sequences) < 2 or not attends_to_all(new_cache(model)):
        return None
    length = shared_prefix_length([list(zip(s.ids, *s.regions, strict=True)) for s in sequences])
    if not length:
        return None
    cache = new_cache(model)
    weights = torch.tensor([[region[:length] for region in sequences[0].regions]], device=model.device).float()
    ids = torch.tensor([sequences[0].ids[:length]], device=model.device)
    with _measuring(model, norms, weights) as sums:
        text_decoder(model)(input_ids=ids, past_key_values=cache, use_cache=True)
    return SharedPrefix(length, as_prefix(model, cache), _stacked(sums, dim=2)[0])


@torch.inference_mode()
def cett_batch(
    model: PreTrainedModel,
    sequences: Sequence[TokenRegions],
    norms: Sequence[torch.Tensor] | None = None,
    prefix: SharedPrefix | None = None,
    padding: str = "left",
) -> np.ndarray:
    """Measure CETT of a batch of sequences (eqs. 2 and 3).

    Args:
        model: the model.
        sequences: responses with the same number of regions.
        norms: what column_norms returns; None computes them.
        prefix: the shared first tokens, if they were read before.
        padding: the side on which short rows are padded, "left" or "right"; the result does not depend on it.

    Returns:
        [rows, regions, layers, d_ff] float32, d_ff that of the widest layer; zero after a narrower one's last neuron.

    Raises:
        HNeuronsError: the longest sequence would change the positions of all (`check_length`).
    """
    check_length(model, max(len(s.ids) for s in sequences))
    # 1. Pad what follows the prefix
    norms = column_norms(model) if norms is None else norms
    skip = prefix.length if prefix else 0
    ids, mask = left_pad([s.ids[skip:] for s in sequences], pad_id=0)
    width = ids.shape[1]
    # 2. Averaging weights: 1 / tokens of the region
    counts = torch.tensor([[sum(region) for region in s.regions] for s in sequences]).float()
    weights = torch.zeros(len(sequences), len(sequences[0].regions), width)
    for row, s in enumerate(sequences):
        for region, tokens in enumerate(s.regions):
            weights[row, region, width - len(s.ids) + skip :] = torch.tensor(tokens[skip:]).float() / counts[row, region]
    if padding == "right":
        shifts = [-(width - len(s.ids) + skip) for s in sequences]
        ids, mask, weights = (
            torch.stack([row.roll(shift, -1) for row, shift in zip(t, shifts, strict=True)]) for t in (ids, mask, weights)
        )
    # 3. Forward pass, with the hooks summing
    unpadded = len({len(s.ids) for s in sequences}) == 1
    mask = torch.cat([mask.new_ones(len(mask), skip), mask], dim=-1)
    ids, mask, weights = (t.to(model.device) for t in (ids, mask, weights))
    with _measuring(model, norms, weights) as sums:
        decoder = text_decoder(model)
        prepares = takes_prepared_mask(decoder) and attends_to_all(new_cache(model))
        if prepares and unpadded and prefix is None:
            # Without a mask the fastest kernels of attention are used.
            decoder(input_ids=ids, use_cache=False)
        else:
            shown = prepared_mask(model, mask, width) if prepares else mask
            inputs = text_inputs(decoder, ids, shown, position_ids(mask)[:, skip:])
            decoder(**inputs, past_key_values=prefix.cache if prefix else None, use_cache=prefix is not None)
    # 4. The prefix's share of the averages
    values = _stacked(sums, dim=2)
    return (values + prefix.sums / counts[:, :, None, None] if prefix else values).numpy()


def cett(
    model: PreTrainedModel,
    sequences: Sequence[TokenRegions],
    budget: int | TokenBudget = 8192,
    norms: Sequence[torch.Tensor] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Measure CETT of every sequence (eqs. 2 and 3), batch by batch, longest first.

    The tokens that all sequences begin with (the template, the system prompt) are read once.

    Args:
        model: the model.
        sequences: responses with the same number of regions.
        budget: tokens per batch, padding included.
        norms: what column_norms returns; None computes them.

    Yields:
        The index of a sequence and its CETT, [regions, layers, d_ff] float32.
    """
    norms = column_norms(model) if norms is None else norms
    prefix = read_prefix(model, sequences, norms)
    skip = prefix.length if prefix else 0

    def run(batch: list[int]) -> np.ndarray:
        return cett_batch(model, [sequences[i] for i in batch], norms, prefix)

    for batch, values in in_batches([len(s.ids) - skip for s in sequences], budget, run):
        yield from zip(batch, values, strict=True)
