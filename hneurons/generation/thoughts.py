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
# Of these, the ones that people do not write by hand.
_MARK = re.compile(
    r"</?think(?:ing)?>|</?seed:think>|\[/?THINK\]|◁/?think▷|<\|(?:begin|start|end)_of_thought\|>|<\|channel\|>.*",
    re.DOTALL,
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

    Thoughts are what is between marks at the beginning. The opening one may be in the prompt. Marks that are words in
    brackets as people write them ("[Analysis]") open thoughts only where they are closed too.

    Args:
        text: what the model wrote, with its control tokens if it has marks among them.
        opened: whether the prompt ended with an opening mark.
    """
    # The name of the open block, "" if the prompt has opened it; and where the answer begins if it is never closed.
    inside: str | None = "" if opened else None
    start, unclosed = 0, len(text)
    for tag in TAG.finditer(text):
        name = "channel" if tag["channel"] else tag["name"].lower()
        closes = tag["close"] is not None or (tag["channel"] or "").lower() == "final"
        is_mark = _MARK.fullmatch(tag[0]) is not None
        if inside is not None:
            if closes and inside in ("", name):
                start, inside = tag.end(), None
        elif not closes and not text[start : tag.start()].strip():
            inside, unclosed = name, len(text) if is_mark else start
        elif closes and is_mark and start == 0 and _begins_line(text, tag.start()):
            # The chat template has written the opening mark.
            start = tag.end()
        else:
            break
    return start if inside is None else unclosed


def _begins_line(text: str, place: int) -> bool:
    return text[:place].rstrip(" ")[-1:] in ("", "\n")


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
