"""The regions of a response over which CETT is averaged (eq. 3): the answer tokens, and the other tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from hneurons.config.study import CettSettings
from hneurons.errors import HNeuronsError


@dataclass(frozen=True)
class TokenRegions:
    """One response to measure.

    Attributes:
        ids: token ids of prompt and response.
        regions: for each region a mask [tokens] bool over them, with at least one token.
    """

    ids: list[int]
    regions: list[list[bool]]


def token_regions(
    prompt_ids: Sequence[int],
    response_ids: Sequence[int],
    answer_mask: Sequence[bool],
    settings: CettSettings,
    thought_tokens: int = 0,
) -> TokenRegions:
    """Split prompt + response into the answer tokens and the other tokens, in this order (eq. 3).

    Thoughts are in neither region.

    Args:
        prompt_ids: token ids of the prompt.
        response_ids: token ids of the response.
        answer_mask: [response tokens], true for answer tokens.
        settings: which of the remaining tokens count as other.
        thought_tokens: number of the response's first tokens that are thoughts.

    Raises:
        HNeuronsError: a region would be empty; its features are never filled in silently.
    """
    answer = [False] * len(prompt_ids) + [bool(m) for m in answer_mask]
    first = {"all": 0, "no_bos": 1, "response": len(prompt_ids)}[settings.other_tokens]
    thoughts = range(len(prompt_ids), len(prompt_ids) + thought_tokens)
    other = [i >= first and not m and i not in thoughts for i, m in enumerate(answer)]
    for name, mask in (("answer", answer), ("other", other)):
        if not any(mask):
            raise HNeuronsError(f"no {name} tokens (cett.other_tokens: {settings.other_tokens}); try other_tokens: all")
    return TokenRegions([*prompt_ids, *response_ids], [answer, other])
