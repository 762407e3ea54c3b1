"""Sampling responses: one prefill per prompt, shared by all of its samples.

The random numbers of a prompt come from a seed that belongs to it, so a prompt draws the same samples in any batch, up to
the floating-point noise of another batch shape.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from hneurons.config.study import Decoding
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.generation.kv_cache import CachedRow, attends_to_all, batch_cache, cached_row, new_cache, shared_prefix_length
from hneurons.neurons.scaling import NeuronsByLayer, RowScaling, scaled_rows

# Ended rows are dropped once they are this share of the batch: dropping copies the cache.
DROP_SHARE = 0.125


@dataclass(frozen=True)
class Response:
    """One sampled continuation of a prompt.

    Attributes:
        token_ids: the new tokens, including the end token where one was drawn.
        logprobs: natural log-probability of each token under the unmodified distribution (temperature 1, no filtering).
        truncated: whether it was cut at max_new_tokens; otherwise it ends with an end token.
        past: keys and values of the prompt and of all new tokens but the last, if requested and supported by the model.
    """

    token_ids: list[int]
    logprobs: list[float]
    truncated: bool
    past: CachedRow | None = field(default=None, repr=False, compare=False)

    @property
    def unended_ids(self) -> list[int]:
        """`token_ids` without the end token."""
        return self.token_ids if self.truncated else self.token_ids[:-1]


def left_pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad rows on the left; returns token ids and attention mask, both [rows, longest row]."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(row, dtype=torch.long)
        mask[i, width - len(row) :] = 1
    return ids, mask


def position_ids(mask: torch.Tensor) -> torch.Tensor:
    """Positions [rows, width] that count real tokens only, so that padding on either side does not change them."""
    return (mask.cumsum(-1) - 1).clamp_min(0)


def top_k(logits: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the k largest logits of each row.

    They are all in the k blocks with the largest maxima, so only a small part of a large vocabulary is sorted.

    Args:
        logits: [rows, vocabulary].
        k: how many to find, at most the size of the vocabulary.

    Returns:
        The values, largest first, and their tokens, both [rows, k].
    """
    rows, vocabulary = logits.shape
    block_size = max(1, math.isqrt(vocabulary // k))
    block_count = -(-vocabulary // block_size)
    if block_count <= k:
        return torch.topk(logits, k, dim=-1)
    padded = torch.nn.functional.pad(logits, (0, block_count * block_size - vocabulary), value=-torch.inf)
    blocks = padded.view(rows, block_count, block_size)
    best_blocks = blocks.amax(-1).topk(k, dim=-1).indices
    candidates = blocks.gather(1, best_blocks[:, :, None].expand(-1, -1, block_size)).flatten(1)
    values, slots = candidates.topk(k, dim=-1)
    return values, best_blocks.gather(1, slots // block_size) * block_size + slots % block_size


def _choose(logits: torch.Tensor, decoding: Decoding, uniforms: torch.Tensor) -> torch.Tensor:
    """Next token of each row: the largest logit when greedy, else temperature, top-k, then top-p on the top-k tokens.

    logits [rows, vocabulary] float32; uniforms [rows] in [0, 1) select by inverse CDF.
    """
    if decoding.temperature == 0:
        return logits.argmax(-1)
    k = min(decoding.top_k or logits.shape[-1], logits.shape[-1])
    values, tokens = top_k(logits, k)
    probs = (values / decoding.temperature).softmax(-1)
    larger = probs.cumsum(-1) - probs  # probability of all larger tokens
    probs = probs.masked_fill(larger >= decoding.top_p, 0.0)
    cumulative = probs.cumsum(-1)
    drawn = (cumulative <= (uniforms * cumulative[:, -1])[:, None]).sum(-1).clamp_max(k - 1)
    return tokens.gather(-1, drawn[:, None])[:, 0]


def _prefill(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    pad_id: int,
    past: Sequence[CachedRow] | None,
    share_prefix: bool,
) -> tuple[DynamicCache, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cache, attention mask, position ids and last logits of a batch of prompts.

    Nothing is computed twice: neither the past of each prompt nor, without one, the prefix that all prompts share (the
    system prompt). Padding then separates it from the rest of a row, which works only in models whose layers all attend to
    everything before them: with sliding windows nothing is shared. share_prefix: False if rows are scaled by different α:
    the keys and values of the prefix then differ too.
    """
    cache = new_cache(model)
    cached_mask = torch.zeros((len(prompts), 0), dtype=torch.long, device=model.device)
    shared = shared_prefix_length([list(p) for p in prompts]) if share_prefix and len(prompts) > 1 else 0
    if past is not None:
        cache, cached_mask = batch_cache(model, past)
    elif shared and attends_to_all(cache):
        prefix = torch.tensor([list(prompts[0][:shared])], device=model.device)
        model(input_ids=prefix, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(len(prompts))
        cached_mask = cached_mask.new_ones(len(prompts), shared)
    new_ids = [prompt[length:] for prompt, length in zip(prompts, cached_mask.sum(-1).tolist(), strict=True)]
    ids, mask = (t.to(model.device) for t in left_pad(new_ids, pad_id))
    mask = torch.cat([cached_mask, mask], dim=-1)
    positions = position_ids(mask)
    return cache, mask, positions, _next_logits(model, ids, mask, positions[:, cached_mask.shape[1] :], cache)


def _next_logits(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache
) -> torch.Tensor:
    """Read tokens that follow those in the cache, and return the last logits, [rows, vocabulary] float32."""
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    logits: torch.Tensor = model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1].float()
    return logits


@torch.inference_mode()
def generate_batch(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    seeds: Sequence[int],
    stop_ids: Sequence[int],
    samples: int = 1,
    past: Sequence[CachedRow] | None = None,
    keep_past: bool = False,
    scaling: RowScaling | None = None,
) -> list[list[Response]]:
    """Sample a batch of prompts; the prefill of a prompt is computed once for all of its samples.

    Args:
        model: the loaded model.
        prompts: token ids per prompt, of any lengths.
        decoding: how tokens are drawn, and how many at most.
        seeds: one per prompt.
        stop_ids: the tokens that end a response.
        samples: responses per prompt.
        past: the cached beginning of each prompt, from `Response.past` of an earlier turn.
        keep_past: set `Response.past`, to continue the conversation; ignored for models with sliding windows.
        scaling: set if each row of the batch is scaled by an α that belongs to it (`scaled_rows`).

    Returns:
        Responses [prompts][samples].
    """
    # 1. Draw all random numbers on the CPU, from the seed of each prompt
    device = model.device
    uniforms = torch.stack(
        [torch.rand(samples, decoding.max_new_tokens, generator=torch.Generator().manual_seed(s)) for s in seeds]
    ).flatten(0, 1)

    # 2. Prefill each prompt once, then repeat its row for its samples
    stops = torch.tensor(list(stop_ids), dtype=torch.long, device=device)
    cache, mask, positions, logits = _prefill(model, prompts, int(stops[0]), past, scaling is None)
    keep_past = keep_past and attends_to_all(cache)
    if samples > 1:
        cache.batch_repeat_interleave(samples)
        mask, positions, logits = (t.repeat_interleave(samples, 0) for t in (mask, positions, logits))
        if scaling is not None:
            scaling.keep(torch.arange(len(prompts)).repeat_interleave(samples))
    next_position = positions[:, -1:] + 1

    # 3. Allocate the outputs; the batch shrinks as rows end, the outputs do not
    total = len(prompts) * samples
    tokens = torch.full((total, decoding.max_new_tokens), -1, dtype=torch.long)
    logprobs = torch.zeros((total, decoding.max_new_tokens))
    batch_rows = torch.arange(total)  # output row of each row of the batch
    ended = torch.zeros(total, dtype=torch.bool)  # of the rows in the batch
    kept_past: dict[int, CachedRow] = {}

    def keep_rows(selected: torch.Tensor) -> None:
        for i in selected.nonzero()[:, 0].tolist() if keep_past else ():
            row = int(batch_rows[i])
            length = len(prompts[row // samples]) + int((tokens[row] >= 0).sum()) - 1
            kept_past[row] = cached_row(cache, mask, i, length)

    for step in range(decoding.max_new_tokens):
        # 4. Draw a token for every row and record it for the rows that have not ended
        token = _choose(logits, decoding, uniforms[batch_rows, step].to(device))
        logprob = logits.gather(-1, token[:, None])[:, 0] - logits.logsumexp(-1)
        active = ~ended
        tokens[batch_rows[active], step] = token.cpu()[active]
        logprobs[batch_rows[active], step] = logprob.cpu()[active]
        ended |= torch.isin(token, stops).cpu()
        if step + 1 == decoding.max_new_tokens or bool(ended.all()):
            break

        # 5. Drop ended rows once there are enough of them
        if ended.float().mean() >= DROP_SHARE:
            keep_rows(ended)
            remaining = (~ended).nonzero()[:, 0]
            on_device = remaining.to(device)
            # Indices on the CPU: the layers of a model spread over several GPUs are on different devices.
            cache.batch_select_indices(remaining)
            mask, token, next_position = mask[on_device], token[on_device], next_position[on_device]
            batch_rows, ended = batch_rows[remaining], ended[remaining]
            if scaling is not None:
                scaling.keep(remaining)

        # 6. Compute the next logits
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=-1)
        logits = _next_logits(model, token[:, None], mask, next_position, cache)
        next_position = next_position + 1

    # 7. Collect the responses of each prompt
    keep_rows(torch.ones(len(batch_rows), dtype=torch.bool))
    stop_set = {int(s) for s in stop_ids}
    responses = []
    for row, (row_tokens, row_logprobs) in enumerate(zip(tokens.tolist(), logprobs.tolist(), strict=True)):
        new = [t for t in row_tokens if t >= 0]
        responses.append(Response(new, row_logprobs[: len(new)], new[-1] not in stop_set, kept_past.get(row)))
    return [responses[i * samples : (i + 1) * samples] for i in range(len(prompts))]


def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    seeds: Sequence[int],
    stop_ids: Sequence[int],
    samples: int = 1,
    budget: int | TokenBudget = 8192,
    scaled_by: Sequence[tuple[NeuronsByLayer, float]] | None = None,
) -> Iterator[tuple[int, list[Response]]]:
    """Sample all prompts, longest first, in batches of at most `budget` tokens.

    Args:
        model, prompts, decoding, seeds, stop_ids, samples: as in `generate_batch`.
        budget: tokens per batch, padding included.
        scaled_by: for each prompt the neurons that are scaled while it is answered, and their α.

    Yields:
        The index of a prompt and its responses, batch by batch, so that a caller can save finished work.
    """

    def run(batch: list[int]) -> list[list[Response]]:
        options: dict[str, Any] = {"seeds": [seeds[i] for i in batch], "stop_ids": stop_ids, "samples": samples}
        with nullcontext() if scaled_by is None else scaled_rows(model, [scaled_by[i] for i in batch]) as scaling:
            return generate_batch(model, [prompts[i] for i in batch], decoding, scaling=scaling, **options)

    lengths = [(len(p) + decoding.max_new_tokens) * samples for p in prompts]
    for batch, responses in in_batches(lengths, budget, run):
        yield from zip(batch, responses, strict=True)
