"""Sampling that looks at what it drew only every few steps, so that a GPU need not wait for the host.

Between two looks nothing is copied from the device: tokens are drawn there, and rows that have ended run on. Every sample
has its row from the first token on. The random numbers and the rule that turns them into tokens are those of
`decode.generate_batch`, so that equal logits give equal tokens.
"""

from collections.abc import Sequence

import torch
from transformers import DynamicCache, PreTrainedModel

from hneurons.config.study import Decoding
from hneurons.generation.kv_cache import attends_to_all, select_rows
from hneurons.generation.next_token import choose
from hneurons.generation.prefill import next_logits, prefill
from hneurons.generation.response import DROP_SHARE, Response, uniform_numbers
from hneurons.models.decoder import text_decoder
from hneurons.models.inputs import check_length, prepared_mask, takes_prepared_mask
from hneurons.neurons.scaling import RowScaling

# Rows of a batch are a multiple of it after ended ones were dropped, so that few shapes occur.
_BUCKET = 8


@torch.inference_mode()
def generate_ahead(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    seeds: Sequence[int],
    stop_ids: Sequence[int],
    steps_per_look: int,
    samples: int = 1,
    scaling: RowScaling | None = None,
) -> list[list[Response]]:
    """Sample a batch of prompts.

    Args:
        model, prompts, decoding, seeds, stop_ids, samples, scaling: as in `generate_batch`.
        steps_per_look: tokens that every row draws between two looks; those after the end of a response are discarded.

    Returns:
        Responses [prompts][samples].

    Raises:
        HNeuronsError: the longest row may change the positions of all (`check_length`).
    """
    limit, device = decoding.max_new_tokens, model.device
    check_length(model, max(map(len, prompts)) + limit)
    # 1. What the loop needs, on the device
    uniforms, stops = uniform_numbers(seeds, samples, limit).to(device), torch.tensor(list(stop_ids)).to(device)
    cache, mask, positions, logits = prefill(model, prompts, int(stop_ids[0]), None, scaling)
    alone = attends_to_all(cache) and takes_prepared_mask(text_decoder(model))
    # 2. A row for every sample
    rows = torch.arange(len(prompts) * samples)
    mask, next_position, logits = _select(rows // samples, cache, scaling, mask, positions[:, -1:] + 1, logits)
    # What each response has drawn, on the host
    drawn: list[list[int]] = [[] for _ in rows]
    drawn_logprobs: list[list[float]] = [[] for _ in rows]
    for first in range(0, limit, steps_per_look):
        steps = range(first, min(first + steps_per_look, limit))
        tokens, logprobs = [], []
        each_row = torch.arange(len(rows), device=device)
        for step in steps:
            token = choose(logits, decoding, uniforms[:, step], each_row)
            tokens.append(token)
            logprobs.append(logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(-1))
            if step + 1 < limit:
                mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=-1)
                shown = prepared_mask(model, mask, 1) if alone else mask
                logits = next_logits(model, token[:, None], shown, next_position, cache)
                next_position = next_position + 1
        # 3. A look: the tokens of all steps in one copy, and the rows that go on
        of_steps, of_logprobs, ended = look(torch.stack(tokens, 1), torch.stack(logprobs, 1), stops)
        for row, response in enumerate(rows.tolist()):
            if response >= 0:
                count = int(ended[row].nonzero()[0]) + 1 if ended[row].any() else len(steps)
                drawn[response] += of_steps[row, :count].tolist()
                drawn_logprobs[response] += of_logprobs[row, :count].tolist()
        rows = torch.where(ended.any(1), -1, rows)
        going = (rows >= 0).nonzero()[:, 0]
        if not len(going):
            break
        if len(rows) - len(going) >= DROP_SHARE * len(rows):
            # Ended rows fill the last bucket.
            fill = (rows < 0).nonzero()[:, 0][: -len(going) % _BUCKET]
            kept = torch.cat([going, fill])
            mask, next_position, logits = _select(kept, cache, scaling, mask, next_position, logits)
            uniforms, rows = uniforms[kept.to(device)], rows[kept]
    stop_set = set(stop_ids)
    responses = [Response(ids, values, ids[-1] not in stop_set) for ids, values in zip(drawn, drawn_logprobs, strict=True)]
    return [responses[i * samples : (i + 1) * samples] for i in range(len(prompts))]


def look(
    tokens: torch.Tensor, logprobs: torch.Tensor, stops: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Copy to the host what was drawn since the last look, the only wait for the device.

    Args:
        tokens: [rows, steps].
        logprobs: [rows, steps] float32.
        stops: the tokens that end a response.

    Returns:
        Both on the host, and which of the tokens end a response, [rows, steps].
    """
    # As one tensor: float64 holds every token id.
    values = torch.stack([tokens.double(), logprobs.double(), torch.isin(tokens, stops).double()]).cpu()
    return values[0].long(), values[1].float(), values[2].bool()


def _select(
    indices: torch.Tensor, cache: DynamicCache, scaling: RowScaling | None, *of_rows: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Make row i of a batch what row indices[i] is now ([new rows], on the host)."""
    select_rows(cache, indices)
    if scaling is not None:
        scaling.keep(indices)
    return tuple(values[indices.to(values.device)] for values in of_rows)
