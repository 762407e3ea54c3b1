"""A sampled response, and the random numbers that draw it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from hneurons.generation.kv_cache import CachedRow

# Ended rows are dropped once they are this share of the batch: dropping copies a part of the cache.
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


def uniform_numbers(seeds: Sequence[int], samples: int, steps: int) -> torch.Tensor:
    """The random numbers of all responses, [prompts · samples, steps] in [0, 1), from the seed of each prompt."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.rand(samples, steps, generator=generator) for generator in generators]).flatten(0, 1)
