"""Reading prompts: nothing that rows of a batch share is read twice, and a row may continue what is in a cache."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from transformers import DynamicCache, PreTrainedModel

from hneurons.generation.kv_cache import (
    CachedRow,
    attends_to_all,
    batch_cache,
    new_cache,
    select_rows,
    shared_prefix_length,
)
from hneurons.models.inputs import last_logits_only, position_ids, text_inputs
from hneurons.neurons.scaling import RowScaling


def left_pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad rows on the left; returns token ids and attention mask, both [rows, longest row]."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(row, dtype=torch.long)
        mask[i, width - len(row) :] = 1
    return ids, mask


def prefill(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    pad_id: int,
    past: Sequence[CachedRow] | None,
    scaling: RowScaling | None,
) -> tuple[DynamicCache, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Read a batch of prompts.

    Nothing is computed twice: neither the past of each prompt nor, without one, the prefix that all prompts share (the
    system prompt). Padding then separates it from the rest of a row, which works only in models whose layers all attend to
    everything before them: with sliding windows nothing is shared. The prefix is read once for each way in which rows are
    scaled, since its keys and values differ.

    Args:
        model: the loaded model.
        prompts: token ids per prompt, of any lengths.
        pad_id: the token that fills short rows.
        past: the cached beginning of each prompt, or None.
        scaling: set if the rows are scaled differently.

    Returns:
        Cache, attention mask [rows, width], position ids [rows, width], and last logits [rows, vocabulary] float32.
    """
    cache = new_cache(model)
    cached_mask = torch.zeros((len(prompts), 0), dtype=torch.long, device=model.device)
    shared = shared_prefix_length([list(p) for p in prompts]) if len(prompts) > 1 else 0
    if past is not None:
        cache, cached_mask = batch_cache(model, past)
    elif shared and attends_to_all(cache):
        prefix = torch.tensor([list(prompts[0][:shared])], device=model.device)
        with nullcontext(1) if scaling is None else scaling.one_of_each_kind() as kinds:
            ids = prefix.expand(kinds, -1)
            model(input_ids=ids, past_key_values=cache, use_cache=True, **last_logits_only(model, 1))
        rows = torch.zeros(len(prompts), dtype=torch.long) if scaling is None else scaling.kind_of
        select_rows(cache, rows)
        cached_mask = cached_mask.new_ones(len(prompts), shared)
    new_ids = [prompt[length:] for prompt, length in zip(prompts, cached_mask.sum(-1).tolist(), strict=True)]
    ids, mask = (t.to(model.device) for t in left_pad(new_ids, pad_id))
    mask = torch.cat([cached_mask, mask], dim=-1)
    positions = position_ids(mask)
    return cache, mask, positions, next_logits(model, ids, mask, positions[:, cached_mask.shape[1] :], cache)


def next_logits(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache
) -> torch.Tensor:
    """Read tokens that follow those in the cache, and return the last logits, [rows, vocabulary] float32.

    Args:
        model: the loaded model.
        ids: the new tokens, [rows, new].
        mask: attention mask over cached and new tokens, [rows, width].
        positions: position ids of the new tokens, [rows, new].
        cache: extended by the new tokens.
    """
    inputs = {**text_inputs(model, ids, mask, positions), **last_logits_only(model, 1)}
    logits: torch.Tensor = model(**inputs, past_key_values=cache, use_cache=True).logits[:, -1].float()
    return logits
