"""Thoughts: what a thinking model writes before its answer, between marks that differ from family to family."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hneurons.generation.tokens import decoded_offsets

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Tags around the thoughts of a model, and the channels of gpt-oss.
TAG = re.compile(
    r"[<\[◁]\|?(?P<close>/|end_(?:of_)?)?(?:start_|begin_of_)?(?:seed:)?"
    r"(?P<name>think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad)\|?[>\]▷]"
    r"|<\|channel\|>(?P<channel>analysis|commentary|final)(?:<\|message\|>)?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Reply:
    """A response, taken apart.

    Attributes:
        thoughts: what the model wrote before its answer, marks included; None if it wrote none.
        text: the answer; empty if the thoughts have no end.
        thought_tokens: number of the response's first tokens that are thoughts.
    """

    thoughts: str | None
    text: str
    thought_tokens: int


def answer_start(text: str, opened: bool = False) -> int:
    """Return where the answer begins in what a model wrote: after its thoughts; at the end if they have no end.

    Thoughts are what is between marks at the beginning. The opening one may be in the prompt.

    Args:
        text: what the model wrote, with its control tokens if it has marks among them.
        opened: whether the prompt ended with an opening mark.
    """
    start, inside = 0, opened
    for tag in TAG.finditer(text):
        closes = tag["close"] is not None or (tag["channel"] or "").lower() == "final"
        if inside:
            if closes:
                start, inside = tag.end(), False
        elif not text[start : tag.start()].strip() and not closes:
            inside = True
        elif closes and start == 0:
            # The chat template has written the opening mark.
            start = tag.end()
        else:
            break
    return len(text) if inside else start


def opens_thoughts(prompt: str) -> bool:
    """Tell whether a prompt ends within thoughts, just after their opening mark."""
    *_, last = [None, *TAG.finditer(prompt)]
    return last is not None and last["close"] is None and last["channel"] is None and not prompt[last.end() :].strip()


def taken_apart(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], opened: bool = False) -> Reply:
    """Decode a response and set its thoughts apart.

    Args:
        tokenizer: the model's tokenizer.
        ids: token ids of the response.
        opened: whether the prompt ended with an opening mark.
    """
    raw = tokenizer.decode(list(ids), skip_special_tokens=False)
    if not opened and TAG.search(raw) is None:
        return Reply(None, tokenizer.decode(list(ids), skip_special_tokens=True), 0)
    raw, offsets = decoded_offsets(tokenizer, ids, skip_special_tokens=False)
    start = answer_start(raw, opened)
    # A token that ends the last mark and holds white space besides belongs to the thoughts.
    count = sum(begin < start and not raw[start:end].strip() for begin, end in offsets)
    thoughts, text = (tokenizer.decode(list(part), skip_special_tokens=True) for part in (ids[:count], ids[count:]))
    return Reply(thoughts if count else None, text, count)
