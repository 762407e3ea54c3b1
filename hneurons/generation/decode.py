"""Sampling responses: a prompt is read once for all of its samples, and so is what several of them begin with.

The random numbers of a prompt come from a seed that belongs to it, so a prompt draws the same samples in any batch, up to
the floating-point noise of another batch shape.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel

from hneurons.config.study import Decoding
from hneurons.generation.ahead import generate_ahead
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.generation.kv_cache import CachedRow, attends_to_all, cached_row, select_rows
from hneurons.generation.next_token import choose
from hneurons.generation.prefill import next_logits, prefill
from hneurons.generation.response import DROP_SHARE, Response, uniform_numbers
from hneurons.models.inputs import check_length
from hneurons.neurons.scaling import RowScaling, Scaling, scaled_batch


@dataclass(frozen=True)
class ReadTokens:
    """Tokens that were drawn in a step and have been read by the forward pass after it.

    Attributes:
        step: how many tokens their responses have before them.
        responses: [tokens], the response of each: index of its prompt · samples + sample.
        rows: [tokens], its row in that pass, which read one token of each row.
        token_ids: [tokens].
        logprobs: [tokens], as in `Response`.
    """

    step: int
    responses: torch.Tensor
    rows: torch.Tensor
    token_ids: torch.Tensor
    logprobs: torch.Tensor


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
    watch: Callable[[ReadTokens], None] | None = None,
) -> list[list[Response]]:
    """Sample a batch of prompts; what samples of a prompt share is computed once.

    A row of the batch stands for all samples of a prompt that have drawn the same tokens so far.

    Args:
        model: the loaded model.
        prompts: token ids per prompt, of any lengths.
        decoding: how tokens are drawn, and how many at most.
        seeds: one per prompt.
        stop_ids: the tokens that end a response.
        samples: responses per prompt.
        past: the cached beginning of each prompt, from `Response.past` of an earlier turn.
        keep_past: set `Response.past`, to continue the conversation; ignored for models with sliding windows.
        scaling: set if the rows of the batch are scaled differently (`scaled_rows`).
        watch: called after every forward pass over tokens that were drawn. Every token is read then, the last one of a
            truncated response too; an end token is not.

    Returns:
        Responses [prompts][samples].

    Raises:
        HNeuronsError: the longest row may change the positions of all (`check_length`).
    """
    check_length(model, max(map(len, prompts)) + decoding.max_new_tokens)
    # 1. Draw all random numbers on the CPU, from the seed of each prompt
    device = model.device
    uniforms = uniform_numbers(seeds, samples, decoding.max_new_tokens)

    # 2. Read each prompt once
    stops = torch.tensor(list(stop_ids), dtype=torch.long)
    cache, mask, positions, logits = prefill(model, prompts, int(stops[0]), past, scaling)
    keep_past = keep_past and attends_to_all(cache)
    next_position = positions[:, -1:] + 1

    # 3. Allocate the outputs, [responses, steps]
    total = len(prompts) * samples
    tokens = torch.full((total, decoding.max_new_tokens), -1, dtype=torch.long)
    logprobs = torch.zeros((total, decoding.max_new_tokens))
    live = torch.arange(total)  # responses that have not ended
    row_of = live // samples  # their rows in the batch
    kept_past: dict[int, CachedRow] = {}

    for step in range(decoding.max_new_tokens):
        # 4. Draw a token for every response
        rows_on_device = row_of.to(device)
        token = choose(logits, decoding, uniforms[live, step].to(device), rows_on_device)
        logprob = logits[rows_on_device, token] - logits.logsumexp(-1)[rows_on_device]
        drawn, drawn_logprobs = token.cpu(), logprob.cpu()
        tokens[live, step], logprobs[live, step] = drawn, drawn_logprobs

        # 5. Take out the responses that have ended
        last = step + 1 == decoding.max_new_tokens
        ends = torch.isin(drawn, stops)
        done = ends | last
        for response, row in zip(live[done].tolist(), row_of[done].tolist(), strict=True) if keep_past else ():
            kept_past[response] = cached_row(cache, mask, row, len(prompts[response // samples]) + step)
        left = ~(done if watch is None else ends)
        live, row_of, drawn, drawn_logprobs = live[left], row_of[left], drawn[left], drawn_logprobs[left]
        if not len(live):
            break

        # 6. A row for each different beginning, in the place of the row that it continues where there is one
        parents, next_tokens, row_of = _continued(row_of, drawn, len(mask))
        if not torch.equal(parents, torch.arange(len(mask))):
            # On the CPU: the layers of a model spread over several GPUs are on different devices.
            select_rows(cache, parents)
            on_device = parents.to(device)
            mask, next_position = mask[on_device], next_position[on_device]
            if scaling is not None:
                scaling.keep(parents)

        # 7. Compute the next logits
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=-1)
        logits = next_logits(model, next_tokens[:, None].to(device), mask, next_position, cache)
        next_position = next_position + 1
        if watch is not None:
            watch(ReadTokens(step, live, row_of, drawn, drawn_logprobs))

    # 8. Collect the responses of each prompt
    stop_set = {int(s) for s in stop_ids}
    responses = []
    for i, (all_drawn, all_logprobs) in enumerate(zip(tokens.tolist(), logprobs.tolist(), strict=True)):
        new = [t for t in all_drawn if t >= 0]
        responses.append(Response(new, all_logprobs[: len(new)], new[-1] not in stop_set, kept_past.get(i)))
    return [responses[i * samples : (i + 1) * samples] for i in range(len(prompts))]


def _continued(row_of: torch.Tensor, token: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The next batch: a row for each different token that follows a row.

    The first token that follows a row stays in its place, the others take the places of rows that ended, or new ones at the
    end. Rows that ended are kept while they are few.

    Args:
        row_of: [responses], the row of each response.
        token: [responses], what it has drawn.
        rows: rows of the batch.

    Returns:
        For each row of the next batch the row that it continues and its token, and the next row of each response.
    """
    pairs, pair_of = torch.unique(torch.stack([row_of, token], dim=1), dim=0, return_inverse=True)
    parent, drawn = pairs.unbind(1)  # sorted by row
    is_first = torch.ones(len(pairs), dtype=torch.bool)
    is_first[1:] = parent[1:] != parent[:-1]
    ended = rows - int(is_first.sum())
    compact = len(pairs) > int(is_first.sum()) or ended >= DROP_SHARE * rows
    size = len(pairs) if compact else rows
    place = torch.where(is_first & (parent < size), parent, -1)
    free = torch.ones(size, dtype=torch.bool)
    free[place[place >= 0]] = False
    if compact:
        place[place < 0] = free.nonzero()[:, 0]
    parents, tokens = torch.arange(size), torch.zeros(size, dtype=torch.long)
    parents[place], tokens[place] = parent, drawn
    return parents, tokens, place[pair_of]


def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    seeds: Sequence[int],
    stop_ids: Sequence[int],
    samples: int = 1,
    budget: int | TokenBudget = 8192,
    scaled_by: Sequence[Scaling] | None = None,
    watch: Callable[[ReadTokens], None] | None = None,
    steps_per_look: int = 1,
) -> Iterator[tuple[int, list[Response]]]:
    """Sample all prompts, longest first, in batches of at most `budget` tokens.

    Args:
        model, prompts, decoding, seeds, stop_ids, samples: as in `generate_batch`.
        budget: tokens per batch, padding included.
        scaled_by: how neurons are scaled while each prompt is answered.
        watch: as in `generate_batch`; a batch that ran out of memory is read again from the first step.
        steps_per_look: more than one draws as `generate_ahead` does, unless there is a `watch`.

    Yields:
        The index of a prompt and its responses, batch by batch, so that a caller can save finished work.
    """

    def run(batch: list[int]) -> list[list[Response]]:
        options: dict[str, Any] = {"seeds": [seeds[i] for i in batch], "stop_ids": stop_ids, "samples": samples}
        if watch is not None:
            prompt_of = torch.tensor(batch)

            def watch_batch(read: ReadTokens) -> None:
                of_all = prompt_of[read.responses // samples] * samples + read.responses % samples
                watch(replace(read, responses=of_all))

            options["watch"] = watch_batch
        with scaled_batch(model, [scaled_by[i] if scaled_by else None for i in batch]) as scaling:
            if steps_per_look > 1 and watch is None:
                ids = [prompts[i] for i in batch]
                return generate_ahead(model, ids, decoding, scaling=scaling, steps_per_look=steps_per_look, **options)
            return generate_batch(model, [prompts[i] for i in batch], decoding, scaling=scaling, **options)

    lengths = [(len(p) + decoding.max_new_tokens) * samples for p in prompts]
    for batch, responses in in_batches(lengths, budget, run):
        yield from zip(batch, responses, strict=True)
