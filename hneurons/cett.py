"""CETT: how much each MLP neuron contributes to its layer's output, averaged over a response's tokens (eqs. 2 and 3).

The average is taken inside the forward hook, so memory does not grow with layers × tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from hneurons.batching import Budget, in_batches
from hneurons.config import CettSettings
from hneurons.errors import HNeuronsError
from hneurons.generation import left_pad, position_ids
from hneurons.models import decoder_mlps, text_decoder


@dataclass(frozen=True)
class Measured:
    """One response to measure: all token ids, and for each region a mask over them [tokens] bool, not empty."""

    ids: list[int]
    regions: list[list[bool]]


def regions_of(
    prompt_ids: Sequence[int], response_ids: Sequence[int], answer_mask: Sequence[bool], settings: CettSettings
) -> Measured:
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
    return Measured([*prompt_ids, *response_ids], [answer, other])


# Tokens whose activations are turned to float32 at a time: what a hook takes does not grow with the batch.
_CHUNK = 1024


@torch.inference_mode()
def column_norms(model: PreTrainedModel) -> list[torch.Tensor]:
    """‖W_down[:, j]‖₂ of every layer, each [d_ff] float32, where the layer lies."""
    mlps: list[Any] = decoder_mlps(model)
    return [torch.linalg.vector_norm(mlp.down_proj.weight, dim=0, dtype=torch.float32) for mlp in mlps]


@contextmanager
def _measuring(
    model: PreTrainedModel, norms: Sequence[torch.Tensor], weights: torch.Tensor, found: list[torch.Tensor | None]
) -> Iterator[None]:
    """Fill found[layer] with CETT averaged by weights [rows, regions, width], as [rows, regions, d_ff] float32."""
    rows_at_once = max(1, _CHUNK // weights.shape[-1])

    def measure(layer: int, _module: Any, args: tuple[Any, ...], output: torch.Tensor) -> None:
        parts = []
        chunks = (t.split(rows_at_once) for t in (args[0], output, weights.to(output.device)))
        for z, h, chosen in zip(*chunks, strict=True):
            # z [rows, width, d_ff], h [rows, width, d_model]
            h_norm = torch.linalg.vector_norm(h, dim=-1, dtype=torch.float32).clamp_min(torch.finfo(torch.float32).tiny)
            parts.append(torch.bmm(chosen / h_norm[:, None, :], z.float().abs()))
        found[layer] = torch.cat(parts) * norms[layer]

    mlps: list[Any] = decoder_mlps(model)
    handles = [mlp.down_proj.register_forward_hook(partial(measure, i)) for i, mlp in enumerate(mlps)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def cett_batch(
    model: PreTrainedModel,
    sequences: Sequence[Measured],
    norms: Sequence[torch.Tensor] | None = None,
    padding: str = "left",
) -> np.ndarray:
    """CETT of a batch of sequences with equally many regions, [rows, regions, layers, d_ff] float32.

    norms: of the columns, where they are known. padding: the side that short rows are padded on; the result does not depend
    on it.
    """
    norms = column_norms(model) if norms is None else norms
    ids, mask = left_pad([s.ids for s in sequences], pad_id=0)
    width = ids.shape[1]
    weights = torch.zeros(len(sequences), len(sequences[0].regions), width)
    for row, s in enumerate(sequences):
        for region, chosen in enumerate(s.regions):
            weights[row, region, width - len(s.ids) :] = torch.tensor(chosen).float() / sum(chosen)
    if padding == "right":
        shifts = [-(width - len(s.ids)) for s in sequences]
        ids, mask, weights = (
            torch.stack([row.roll(shift, -1) for row, shift in zip(t, shifts, strict=True)]) for t in (ids, mask, weights)
        )
    found: list[torch.Tensor | None] = [None] * len(norms)
    ids, mask, weights = (t.to(model.device) for t in (ids, mask, weights))
    with _measuring(model, norms, weights, found):
        text_decoder(model)(input_ids=ids, attention_mask=mask, position_ids=position_ids(mask), use_cache=False)
    return torch.stack([f.cpu() for f in found if f is not None], dim=2).numpy()


def cett(
    model: PreTrainedModel, sequences: Sequence[Measured], budget: int | Budget = 8192
) -> Iterator[tuple[int, np.ndarray]]:
    """CETT of every sequence: yields (index, [regions, layers, d_ff] float32), batch by batch, longest first."""
    norms = column_norms(model)

    def run(batch: list[int]) -> np.ndarray:
        return cett_batch(model, [sequences[i] for i in batch], norms)

    for batch, values in in_batches([len(s.ids) for s in sequences], budget, run):
        yield from zip(batch, values, strict=True)
