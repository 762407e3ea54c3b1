"""Drawing the next token from the logits of a batch."""

import math

import torch

from hneurons.config.study import Decoding


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


def choose(logits: torch.Tensor, decoding: Decoding, uniforms: torch.Tensor, row_of: torch.Tensor) -> torch.Tensor:
    """Choose the next token of each response: the largest logit when greedy, else by temperature, top-k, then top-p.

    Args:
        logits: [rows, vocabulary] float32.
        decoding: how the token is drawn.
        uniforms: [responses], numbers in [0, 1) that select by inverse CDF.
        row_of: [responses], the row of each.

    Returns:
        Tokens, [responses].
    """
    if decoding.temperature == 0:
        return logits.argmax(-1)[row_of]
    k = min(decoding.top_k or logits.shape[-1], logits.shape[-1])
    values, tokens = top_k(logits, k)
    probs = (values / decoding.temperature).softmax(-1)
    larger = probs.cumsum(-1) - probs  # probability of all larger tokens
    probs = probs.masked_fill(larger >= decoding.top_p, 0.0)
    cumulative = probs.cumsum(-1)[row_of]
    drawn = (cumulative <= (uniforms * cumulative[:, -1])[:, None]).sum(-1).clamp_max(k - 1)
    return tokens[row_of, drawn]
