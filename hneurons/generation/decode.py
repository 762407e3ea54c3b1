"""Sampling responses: one prefill per prompt, shared by all of its samples.

The random numbers of a prompt come from its own seed, so a prompt draws the same samples whatever batch it lands in,
up to the floating-point noise of another batch shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from transformers import DynamicCache, PreTrainedModel

from hneurons.config.study import Decoding
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.generation.kv_cache import CachedRow, attends_to_all, batch_cache, cached_row, new_cache, shared_prefix_length

# Rows that have ended are dropped once they are this share of the batch: dropping copies the cache.
DROP_SHARE = 0.125


@dataclass(frozen=True)
class Response:
    """One sampled continuation.

    token_ids: the new tokens, the end token included where one was drawn.
    logprobs: natural log-probability of each token under the model itself (temperature 1, nothing filtered).
    finish_reason: "stop" (an end token was drawn) or "length" (max_new_tokens reached).
    past: keys and values of the prompt and of all tokens but the last, where they were to be kept and can be.
    """

    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str
    past: CachedRow | None = field(default=None, repr=False, compare=False)

    @property
    def unended_ids(self) -> list[int]:
        """token_ids without the end token."""
        return self.token_ids[:-1] if self.finish_reason == "stop" else self.token_ids


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


def top_k(logits: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest logits of each row, largest first, and their tokens, both [rows, k].

    They lie in the k blocks with the largest maxima: of a large vocabulary few logits are sorted.
    """
    rows, vocabulary = logits.shape
    block = max(1, math.isqrt(vocabulary // k))
    blocks = -(-vocabulary // block)
    if blocks <= k:
        values, tokens = torch.topk(logits, k, dim=-1)
        return values, tokens
    padded = torch.nn.functional.pad(logits, (0, blocks * block - vocabulary), value=-torch.inf)
    places = padded.view(rows, blocks, block)
    best = places.amax(-1).topk(k, dim=-1).indices
    candidates = places.gather(1, best[:, :, None].expand(-1, -1, block)).flatten(1)
    values, found = candidates.topk(k, dim=-1)
    return values, best.gather(1, found // block) * block + found % block


def _choose(logits: torch.Tensor, decoding: Decoding, uniforms: torch.Tensor) -> torch.Tensor:
    """Next token of each row: the largest logit when greedy, else temperature, top-k, then top-p on what top-k left.

    logits [rows, vocabulary] float32; uniforms [rows] in [0, 1), used by inverse CDF.
    """
    if decoding.temperature == 0:
        return logits.argmax(-1)
    k = min(decoding.top_k or logits.shape[-1], logits.shape[-1])
    values, tokens = top_k(logits, k)
    probs = (values / decoding.temperature).softmax(-1)
    before = probs.cumsum(-1) - probs
    probs = probs.masked_fill(before >= decoding.top_p, 0.0)
    cumulative = probs.cumsum(-1)
    drawn = (cumulative <= (uniforms * cumulative[:, -1])[:, None]).sum(-1).clamp_max(k - 1)
    return tokens.gather(-1, drawn[:, None])[:, 0]


def _prefill(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], pad_id: int, past: Sequence[CachedRow] | None
) -> tuple[DynamicCache, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cache, attention mask, position ids and last logits of a batch of prompts.

    What was computed before is not computed again: the past of each prompt or, without one, what all prompts begin with
    (the system prompt). Padding then stands between it and the rest, which only layers that see everything before them
    allow: with sliding windows nothing is shared.
    """
    cache = new_cache(model)
    before = torch.zeros((len(prompts), 0), dtype=torch.long, device=model.device)
    known = [0] * len(prompts)
    if past is not None:
        cache, before = batch_cache(model, past)
        known = before.sum(-1).tolist()
    elif len(prompts) > 1 and attends_to_all(cache) and (shared := shared_prefix_length([list(p) for p in prompts])):
        head = torch.tensor([list(prompts[0][:shared])], device=model.device)
        model(input_ids=head, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(len(prompts))
        before = before.new_ones(len(prompts), shared)
        known = [shared] * len(prompts)
    ids, mask = (t.to(model.device) for t in left_pad([p[n:] for p, n in zip(prompts, known, strict=True)], pad_id))
    mask = torch.cat([before, mask], dim=-1)
    positions = position_ids(mask)
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions[:, before.shape[1] :],
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
    past: Sequence[CachedRow] | None = None,
    keep_past: bool = False,
) -> list[list[Response]]:
    """All samples of a batch of prompts, whose prefill is computed once for every prompt.

    prompts: token ids per prompt, any lengths. seeds: one per prompt. past: what is known of the beginning of each prompt,
    as an earlier response keeps it. keep_past: keep it of these, for a conversation that goes on; not kept by models with
    sliding windows. Returns [prompts][samples] responses.
    """
    device = model.device
    uniforms = torch.stack(
        [torch.rand(samples, decoding.max_new_tokens, generator=torch.Generator().manual_seed(s)) for s in seeds]
    ).flatten(0, 1)
    stops = torch.tensor(list(stop_ids), dtype=torch.long, device=device)
    cache, mask, positions, logits = _prefill(model, prompts, int(stops[0]), past)
    keep_past = keep_past and attends_to_all(cache)
    if samples > 1:
        cache.batch_repeat_interleave(samples)
        mask, positions, logits = (t.repeat_interleave(samples, 0) for t in (mask, positions, logits))
    next_position = positions[:, -1:] + 1

    total = len(prompts) * samples
    tokens = torch.full((total, decoding.max_new_tokens), -1, dtype=torch.long)
    logprobs = torch.zeros((total, decoding.max_new_tokens))
    alive = torch.arange(total)  # which of the rows each row of the shrinking batch is
    ended = torch.zeros(total, dtype=torch.bool)  # of the rows still in the batch
    kept: dict[int, CachedRow] = {}

    def keep_rows(which: torch.Tensor) -> None:
        for i in which.nonzero()[:, 0].tolist() if keep_past else ():
            row = int(alive[i])
            known = len(prompts[row // samples]) + int((tokens[row] >= 0).sum()) - 1
            kept[row] = cached_row(cache, mask, i, known)

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
            keep_rows(ended)
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

    keep_rows(torch.ones(len(alive), dtype=torch.bool))
    stop_set = {int(s) for s in stop_ids}
    responses = []
    for row, (row_tokens, row_logprobs) in enumerate(zip(tokens.tolist(), logprobs.tolist(), strict=True)):
        new = [t for t in row_tokens if t >= 0]
        reason = "stop" if new[-1] in stop_set else "length"
        responses.append(Response(new, row_logprobs[: len(new)], reason, kept.get(row)))
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
) -> Iterator[tuple[int, list[Response]]]:
    """Responses of all prompts, in batches of at most so many tokens, longest prompts first.

    Yields (index of the prompt, its responses) batch by batch, so that a caller can keep what is done.
    """

    def run(batch: list[int]) -> list[list[Response]]:
        some, their_seeds = [prompts[i] for i in batch], [seeds[i] for i in batch]
        return generate_batch(model, some, decoding, seeds=their_seeds, stop_ids=stop_ids, samples=samples)

    lengths = [(len(p) + decoding.max_new_tokens) * samples for p in prompts]
    for batch, done in in_batches(lengths, budget, run):
        yield from zip(batch, done, strict=True)
