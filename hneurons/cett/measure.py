"""CETT: how much each MLP neuron contributes to its layer's output, averaged over a response's tokens (eqs. 2 and 3).

The average is taken inside the forward hook, so memory does not grow with layers × tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from hneurons.config.study import CettSettings
from hneurons.errors import HNeuronsError
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.generation.decode import left_pad, position_ids
from hneurons.generation.kv_cache import as_prefix, attends_to_all, new_cache, shared_prefix_length
from hneurons.models.decoder import decoder_mlps, text_decoder


@dataclass(frozen=True)
class TokenRegions:
    """One response to measure: all token ids, and for each region a mask over them [tokens] bool, not empty."""

    ids: list[int]
    regions: list[list[bool]]


def token_regions(
    prompt_ids: Sequence[int], response_ids: Sequence[int], answer_mask: Sequence[bool], settings: CettSettings
) -> TokenRegions:
    """The answer and the other tokens of prompt + response, in this order (eq. 3).

    answer_mask: one per response token. Raises HNeuronsError if a region would be empty: no features silently stand in.
    """
    prompt = len(prompt_ids)
    answer = [False] * prompt + [bool(m) for m in answer_mask]
    first = {"all": 0, "no_bos": 1, "response": prompt}[settings.other_tokens]
    other = [i >= first and not m for i, m in enumerate(answer)]
    for name, mask in (("answer", answer), ("other", other)):
        if not any(mask):
            raise HNeuronsError(f"no {name} tokens (cett.other_tokens: {settings.other_tokens}); try other_tokens: all")
    return TokenRegions([*prompt_ids, *response_ids], [answer, other])


# Tokens whose activations are turned to float32 at a time, and rows of weights: what is taken does not grow with either.
_CHUNK = 1024


@torch.inference_mode()
def column_norms(model: PreTrainedModel) -> list[torch.Tensor]:
    """‖W_down[:, j]‖₂ of every layer, each [d_ff] float32, where the layer lies."""
    mlps: list[Any] = decoder_mlps(model)
    return [sum(rows.float().square().sum(0) for rows in mlp.down_proj.weight.split(_CHUNK // 4)).sqrt() for mlp in mlps]


def _norm(h: torch.Tensor) -> torch.Tensor:
    """‖h‖₂ of a layer's output at each token, float32, never zero."""
    norm: torch.Tensor = torch.linalg.vector_norm(h, dim=-1, dtype=torch.float32)
    return norm.clamp_min(torch.finfo(torch.float32).tiny)


@contextmanager
def _hooked(model: PreTrainedModel, layers: Iterable[int], measure: Callable[..., None]) -> Iterator[None]:
    """Within the block, measure(layer, module, inputs, output) is called after each of these layers' down_proj."""
    mlps: list[Any] = decoder_mlps(model)
    handles = [mlps[layer].down_proj.register_forward_hook(partial(measure, layer)) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _measuring(
    model: PreTrainedModel, norms: Sequence[torch.Tensor], weights: torch.Tensor, found: list[torch.Tensor | None]
) -> Iterator[None]:
    """Fill found[layer] with CETT summed by weights [rows, regions, width], as [rows, regions, d_ff] float32."""
    rows_at_once = max(1, _CHUNK // weights.shape[-1])

    def measure(layer: int, _module: Any, args: tuple[Any, ...], output: torch.Tensor) -> None:
        parts = []
        chunks = (t.split(rows_at_once) for t in (args[0], output, weights.to(output.device)))
        for z, h, chosen in zip(*chunks, strict=True):
            # z [rows, width, d_ff], h [rows, width, d_model]
            per_token = zip((chosen / _norm(h)[:, None, :]).split(_CHUNK, -1), z.split(_CHUNK, 1), strict=True)
            parts.append(reduce(torch.add, (torch.bmm(weight, some.float().abs()) for weight, some in per_token)))
        found[layer] = (torch.cat(parts) * norms[layer]).cpu()

    with _hooked(model, range(len(norms)), measure):
        yield


@dataclass(frozen=True)
class SharedPrefix:
    """What all sequences begin with, read once. sums: CETT summed over its tokens, [regions, layers, d_ff] float32."""

    length: int
    cache: DynamicCache
    sums: torch.Tensor


@torch.inference_mode()
def read_prefix(
    model: PreTrainedModel, sequences: Sequence[TokenRegions], norms: Sequence[torch.Tensor]
) -> SharedPrefix | None:
    """The first tokens that all sequences share, in the same regions. None where there are none, or where layers with
    sliding windows do not see them from everywhere."""
    if len(sequences) < 2 or not attends_to_all(new_cache(model)):
        return None
    length = shared_prefix_length([list(zip(s.ids, *s.regions, strict=True)) for s in sequences])
    if not length:
        return None
    cache = new_cache(model)
    weights = torch.tensor([[region[:length] for region in sequences[0].regions]], device=model.device).float()
    found: list[torch.Tensor | None] = [None] * len(norms)
    ids = torch.tensor([sequences[0].ids[:length]], device=model.device)
    with _measuring(model, norms, weights, found):
        text_decoder(model)(input_ids=ids, past_key_values=cache, use_cache=True)
    return SharedPrefix(length, as_prefix(model, cache), torch.stack([f[0] for f in found if f is not None], dim=1))


@torch.inference_mode()
def cett_batch(
    model: PreTrainedModel,
    sequences: Sequence[TokenRegions],
    norms: Sequence[torch.Tensor] | None = None,
    prefix: SharedPrefix | None = None,
    padding: str = "left",
) -> np.ndarray:
    """CETT of a batch of sequences with equally many regions, [rows, regions, layers, d_ff] float32.

    norms: of the columns, where they are known. prefix: what the sequences begin with, where it was read before. padding:
    the side that short rows are padded on; the result does not depend on it.
    """
    norms = column_norms(model) if norms is None else norms
    known = prefix.length if prefix else 0
    ids, mask = left_pad([s.ids[known:] for s in sequences], pad_id=0)
    width = ids.shape[1]
    counts = torch.tensor([[sum(region) for region in s.regions] for s in sequences]).float()
    weights = torch.zeros(len(sequences), len(sequences[0].regions), width)
    for row, s in enumerate(sequences):
        for region, chosen in enumerate(s.regions):
            weights[row, region, width - len(s.ids) + known :] = torch.tensor(chosen[known:]).float() / counts[row, region]
    if padding == "right":
        shifts = [-(width - len(s.ids) + known) for s in sequences]
        ids, mask, weights = (
            torch.stack([row.roll(shift, -1) for row, shift in zip(t, shifts, strict=True)]) for t in (ids, mask, weights)
        )
    mask = torch.cat([mask.new_ones(len(mask), known), mask], dim=-1)
    found: list[torch.Tensor | None] = [None] * len(norms)
    ids, mask, weights = (t.to(model.device) for t in (ids, mask, weights))
    with _measuring(model, norms, weights, found):
        text_decoder(model)(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position_ids(mask)[:, known:],
            past_key_values=prefix.cache if prefix else None,
            use_cache=prefix is not None,
        )
    values = torch.stack([f for f in found if f is not None], dim=2)
    return (values + prefix.sums / counts[:, :, None, None] if prefix else values).numpy()


def cett(
    model: PreTrainedModel, sequences: Sequence[TokenRegions], budget: int | TokenBudget = 8192
) -> Iterator[tuple[int, np.ndarray]]:
    """CETT of every sequence: yields (index, [regions, layers, d_ff] float32), batch by batch, longest first.

    What all sequences begin with (the template, the system prompt) is read once.
    """
    norms = column_norms(model)
    prefix = read_prefix(model, sequences, norms)
    known = prefix.length if prefix else 0

    def run(batch: list[int]) -> np.ndarray:
        return cett_batch(model, [sequences[i] for i in batch], norms, prefix)

    for batch, values in in_batches([len(s.ids) - known for s in sequences], budget, run):
        yield from zip(batch, values, strict=True)


@torch.inference_mode()
def token_cett(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], neurons: Mapping[int, Sequence[int]]
) -> list[np.ndarray]:
    """CETT (eq. 2) of some neurons at every token, one [tokens, neurons] float32 per sequence of token ids.

    neurons: indices by layer; columns come in this order. Averaged over a region's tokens this is what `cett` gives.
    """
    ids, mask = left_pad(sequences, pad_id=0)
    found: dict[int, torch.Tensor] = {}

    def measure(layer: int, module: Any, args: tuple[Any, ...], output: torch.Tensor) -> None:
        columns = torch.as_tensor(list(neurons[layer]), device=args[0].device)
        norms = module.weight[:, columns].float().norm(dim=0)
        found[layer] = (args[0][..., columns].float().abs() * norms / _norm(output)[..., None]).cpu()

    ids, mask = ids.to(model.device), mask.to(model.device)
    with _hooked(model, neurons, measure):
        text_decoder(model)(input_ids=ids, attention_mask=mask, position_ids=position_ids(mask), use_cache=False)
    values = torch.cat([found[layer] for layer in neurons], dim=-1).numpy()
    return [row[len(row) - len(s) :] for row, s in zip(values, sequences, strict=True)]
