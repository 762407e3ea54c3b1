"""Sampling responses: one prefill per prompt, shared by all of its samples.

The random numbers of a prompt come from its own seed, so a prompt draws the same samples whatever batch it lands in,
up to the floating-point noise of another batch shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from hneurons.config import Decoding

# Rows that have ended are dropped once they are this share of the batch: dropping copies the cache.
DROP_SHARE = 0.125


@dataclass(frozen=True)
class Response:
    """One sampled continuation.

    token_ids: the new tokens, the end token included where one was drawn.
    logprobs: natural log-probability of each token under the model itself (temperature 1, nothing filtered).
    finish_reason: "stop" (an end token was drawn) or "length" (max_new_tokens reached).
    """

    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str


class _RoomyLayer(DynamicLayer):
    """A cache layer that appends into spare room instead of copying all keys and values for every new token."""

    keys: torch.Tensor | None
    values: torch.Tensor | None
    _keys_room: torch.Tensor | None = None
    _values_room: torch.Tensor | None = None

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._keys_room is None or self._values_room is None or end > self._keys_room.shape[-2]:
            self._keys_room = self._grown(self.keys, key_states, start, end)
            self._values_room = self._grown(self.values, value_states, start, end)
        self._keys_room[:, :, start:end] = key_states
        self._values_room[:, :, start:end] = value_states
        self.keys, self.values = self._keys_room[:, :, :end], self._values_room[:, :, :end]
        return self.keys, self.values

    @staticmethod
    def _grown(old: torch.Tensor | None, new: torch.Tensor, start: int, end: int) -> torch.Tensor:
        room = new.new_empty((*new.shape[:2], end + 32, new.shape[-1]))
        if start and old is not None:
            room[:, :, :start] = old
        return room

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)
        self._keys_room = self._values_room = None

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        super().batch_select_indices(indices)
        self._keys_room = self._values_room = None


def _new_cache(model: PreTrainedModel) -> DynamicCache:
    cache = DynamicCache(config=model.config)
    cache.layers = [_RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def left_pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, both [rows, longest], padding on the left."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.tensor(row, dtype=torch.long)
        mask[i, width - len(row) :] = 1
    return ids, mask


def position_ids(mask: torch.Tensor) -> torch.Tensor:
    """Positions that count only real tokens, [rows, width]: padding on either side leaves a row's positions alone."""
    return (mask.cumsum(-1) - 1).clamp_min(0)


def _choose(logits: torch.Tensor, decoding: Decoding, uniforms: torch.Tensor) -> torch.Tensor:
    """Next token of each row: the largest logit when greedy, else temperature, top-k, then top-p on what top-k left.

    logits [rows, vocabulary] float32; uniforms [rows] in [0, 1), used by inverse CDF.
    """
    if decoding.temperature == 0:
        return logits.argmax(-1)
    k = min(decoding.top_k or logits.shape[-1], logits.shape[-1])
    values, tokens = torch.topk(logits / decoding.temperature, k, dim=-1)
    probs = values.softmax(-1)
    before = probs.cumsum(-1) - probs
    probs = probs.masked_fill(before >= decoding.top_p, 0.0)
    cumulative = probs.cumsum(-1)
    drawn = (cumulative <= (uniforms * cumulative[:, -1])[:, None]).sum(-1).clamp_max(k - 1)
    return tokens.gather(-1, drawn[:, None])[:, 0]


def batches_by_budget(lengths: Sequence[int], token_budget: int) -> Iterator[list[int]]:
    """Indices grouped longest first so that rows × longest row stays within the budget; a batch has at least one row."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        rows = max(1, token_budget // max(1, lengths[order[start]]))
        yield order[start : start + rows]
        start += rows


def _shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many first tokens all prompts have in common, at least one token of each left over."""
    ordered = sorted(map(list, prompts))
    first, last = ordered[0], ordered[-1]  # in dictionary order: what these two share, all share
    most = min(len(p) for p in prompts) - 1
    return next((i for i in range(most) if first[i] != last[i]), most)


def _prefill(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], pad_id: int
) -> tuple[DynamicCache, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cache, attention mask, position ids and last logits of a batch of prompts.

    What all prompts begin with (the system prompt) is computed once. Padding then stands between it and the rest, which
    only layers that see everything before them allow: with sliding windows nothing is shared.
    """
    cache = _new_cache(model)
    shared = _shared_prefix(prompts) if all(type(layer) is _RoomyLayer for layer in cache.layers) else 0
    if len(prompts) > 1 and shared:
        head = torch.tensor([list(prompts[0][:shared])], device=model.device)
        model(input_ids=head, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(len(prompts))
    else:
        shared = 0
    ids, mask = (t.to(model.device) for t in left_pad([p[shared:] for p in prompts], pad_id))
    mask = torch.cat([mask.new_ones(len(prompts), shared), mask], dim=-1)
    positions = position_ids(mask)
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions[:, shared:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return cache, mask, positions, output.logits[:, -1].float()


@torch.inference_mode()
def generate_batch(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    seeds: Sequence[int],
    stop_ids: Sequence[int],
    samples: int = 1,
) -> list[list[Response]]:
    """All samples of a batch of prompts, whose prefill is computed once for every prompt.

    prompts: token ids per prompt, any lengths. seeds: one per prompt. Returns [prompts][samples] responses.
    """
    device = model.device
    uniforms = torch.stack(
        [torch.rand(samples, decoding.max_new_tokens, generator=torch.Generator().manual_seed(s)) for s in seeds]
    ).flatten(0, 1)
    stops = torch.tensor(list(stop_ids), dtype=torch.long, device=device)
    cache, mask, positions, logits = _prefill(model, prompts, pad_id=int(stops[0]))
    if samples > 1:
        cache.batch_repeat_interleave(samples)
        mask, positions, logits = (t.repeat_interleave(samples, 0) for t in (mask, positions, logits))
    next_position = positions[:, -1:] + 1

    total = len(prompts) * samples
    tokens = torch.full((total, decoding.max_new_tokens), -1, dtype=torch.long)
    logprobs = torch.zeros((total, decoding.max_new_tokens))
    alive = torch.arange(total)  # which of the rows each row of the shrinking batch is
    ended = torch.zeros(total, dtype=torch.bool)  # of the rows still in the batch
    for step in range(decoding.max_new_tokens):
        token = _choose(logits, decoding, uniforms[alive, step].to(device))
        logprob = logits.gather(-1, token[:, None])[:, 0] - logits.logsumexp(-1)
        going = ~ended
        tokens[alive[going], step] = token.cpu()[going]
        logprobs[alive[going], step] = logprob.cpu()[going]
        ended |= torch.isin(token, stops).cpu()
        if step + 1 == decoding.max_new_tokens or bool(ended.all()):
            break
        if ended.float().mean() >= DROP_SHARE:
            keep = (~ended).nonzero()[:, 0]
            on_device = keep.to(device)
            # From the CPU: the layers of a model that is spread over several GPUs lie on different ones.
            cache.batch_select_indices(keep)
            mask, token, next_position = mask[on_device], token[on_device], next_position[on_device]
            alive, ended = alive[keep], ended[keep]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=-1)
        output = model(
            input_ids=token[:, None],
            attention_mask=mask,
            position_ids=next_position,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = output.logits[:, -1].float()
        next_position = next_position + 1

    stop_set = {int(s) for s in stop_ids}
    responses = []
    for row_tokens, row_logprobs in zip(tokens.tolist(), logprobs.tolist(), strict=True):
        new = [t for t in row_tokens if t >= 0]
        reason = "stop" if new[-1] in stop_set else "length"
        responses.append(Response(new, row_logprobs[: len(new)], reason))
    return [responses[i * samples : (i + 1) * samples] for i in range(len(prompts))]


def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    seeds: Sequence[int],
    stop_ids: Sequence[int],
    samples: int = 1,
    token_budget: int = 8192,
) -> Iterator[tuple[int, list[Response]]]:
    """Responses of all prompts, in batches of at most token_budget tokens, longest prompts first.

    Yields (index of the prompt, its responses) batch by batch, so that a caller can keep what is done.
    """
    lengths = [(len(p) + decoding.max_new_tokens) * samples for p in prompts]
    for batch in batches_by_budget(lengths, token_budget):
        done = generate_batch(
            model,
            [prompts[i] for i in batch],
            decoding,
            seeds=[seeds[i] for i in batch],
            stop_ids=stop_ids,
            samples=samples,
        )
        yield from zip(batch, done, strict=True)
