"""CETT of selected neurons at every token (eq. 2): of texts that are there, or while they are generated."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from transformers import PreTrainedModel

from hneurons.cett.measure import output_norm
from hneurons.generation.kv_cache import as_prefix, attends_to_all, new_cache, shared_prefix_length
from hneurons.generation.prefill import left_pad
from hneurons.models.activations import LayerActivations, observed
from hneurons.models.decoder import layer_neurons
from hneurons.models.inputs import check_length, last_logits_only, position_ids, text_inputs


@contextmanager
def cett_of_passes(model: PreTrainedModel, neurons: Mapping[int, Sequence[int]]) -> Iterator[Callable[[], torch.Tensor]]:
    """Within the block, measure CETT of selected neurons in every forward pass (eq. 2).

    Args:
        model: the model.
        neurons: indices by layer; columns follow this order.

    Yields:
        A function that returns the CETT of the pass that ran last, [tokens of all rows, neurons] float32, on the device of
        the first layer.
    """
    layers = layer_neurons(model)
    norms = {layer: layers[layer].columns(indices).float().norm(dim=0) for layer, indices in neurons.items()}
    by_layer: dict[int, torch.Tensor] = {}

    def measure(layer: int, activations: LayerActivations) -> None:
        z = activations.of_neurons(neurons[layer])
        by_layer[layer] = z.abs() * norms[layer] / output_norm(activations.h)[:, None]

    def measured() -> torch.Tensor:
        values = [by_layer[layer] for layer in neurons]
        return torch.cat([of_layer.to(values[0].device) for of_layer in values], dim=-1)

    with observed(model, neurons, measure):
        yield measured


@torch.inference_mode()
def token_cett(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    neurons: Mapping[int, Sequence[int]],
    responses: Sequence[int],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Measure CETT of selected neurons at every token (eq. 2), and the log-probability of the last tokens.

    Args:
        model: the model.
        sequences: token ids of each.
        neurons: indices by layer; columns follow this order.
        responses: number of tokens at the end of each sequence, at least one and not all, that get a log-probability.

    Returns:
        Per sequence CETT [tokens, neurons] float32, which averaged over a region's tokens equals what `cett` yields; and
        natural log-probabilities [response tokens] float32 at temperature 1.
    """
    check_length(model, max(map(len, sequences)))
    # 1. What all prompts begin with is read once; the token before a response is not a part of it, for its logits.
    prompts = [sequence[: len(sequence) - n] for sequence, n in zip(sequences, responses, strict=True)]
    shared = shared_prefix_length(list(map(list, prompts))) if len(prompts) > 1 and attends_to_all(new_cache(model)) else 0
    ids, mask = left_pad([sequence[shared:] for sequence in sequences], pad_id=0)
    mask = torch.cat([mask.new_ones(len(mask), shared), mask], dim=-1)
    ids, mask = ids.to(model.device), mask.to(model.device)
    # Rows are padded on the left, so all responses end at the last token.
    longest = max(responses)
    cache, of_prefix = None, np.zeros((0, sum(map(len, neurons.values()))), np.float32)
    with cett_of_passes(model, neurons) as measured:
        if shared:
            read = new_cache(model)
            prefix = torch.tensor([sequences[0][:shared]], device=model.device)
            model(input_ids=prefix, past_key_values=read, use_cache=True, **last_logits_only(model, 1))
            cache, of_prefix = as_prefix(model, read), measured().cpu().numpy()
        # 2. The rest of every sequence
        inputs = {**text_inputs(model, ids, mask, position_ids(mask)[:, shared:]), **last_logits_only(model, longest + 1)}
        logits = model(**inputs, past_key_values=cache, use_cache=shared > 0).logits[:, -longest - 1 :]
        values = measured().reshape(*ids.shape, -1).cpu().numpy()
    # Row by row: float32 copies of all logits may not fit.
    of_tokens = []
    for row, targets in zip(logits[:, :-1], ids[:, -longest:].to(logits.device), strict=True):
        row = row.float()
        of_tokens.append((row.gather(1, targets[:, None])[:, 0] - row.logsumexp(-1)).cpu().numpy())
    return [
        (np.concatenate([of_prefix, row[len(row) - len(s) + shared :]]), of_row[longest - n :])
        for row, s, of_row, n in zip(values, sequences, of_tokens, responses, strict=True)
    ]
