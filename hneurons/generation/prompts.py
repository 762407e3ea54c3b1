"""From text to token ids: the chat template, applied once, so that no BOS token is added twice."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hneurons.config.study import default_prompt_date
from hneurons.errors import HNeuronsError
from hneurons.models.tokenizer import stop_token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_TODAY = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


def chat_ids(tokenizer: PreTrainedTokenizerBase, turns: Sequence[str], date: datetime.date) -> list[int]:
    """Token ids of a conversation, ready for the next reply.

    Args:
        tokenizer: the model's tokenizer.
        turns: texts that alternate user, assistant, user, …
        date: the date for templates that print today's (Llama 3, Mistral Small), so that a prompt never changes.

    Raises:
        HNeuronsError: the tokenizer has no chat template, or one whose date cannot be fixed.
    """
    return [int(i) for i in _templated(tokenizer, turns, date, tokenize=True)["input_ids"]]


def messages_of(turns: Sequence[str]) -> list[dict[str, str]]:
    """Turns that alternate user, assistant, user, …, in the format of chat templates and servers."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]


def _templated(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[str], date: datetime.date, tokenize: bool, reply: bool = True
) -> Any:
    if not tokenizer.chat_template:
        raise HNeuronsError(f"{tokenizer.name_or_path}: the tokenizer has no chat template; use an instruct model")
    # enable_thinking=False keeps Qwen 3 from opening a chain of thought; other templates ignore it.
    return tokenizer.apply_chat_template(
        messages_of(turns),
        add_generation_prompt=reply,
        tokenize=tokenize,
        return_dict=tokenize,
        enable_thinking=False,
        chat_template=_with_fixed_date(tokenizer.get_chat_template(), date),
    )


def continued_ids(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[str], date: datetime.date, read: Sequence[int]
) -> list[int] | None:
    """Token ids of a continued conversation: those already in the cache, then what the template adds.

    Args:
        tokenizer: the model's tokenizer.
        turns: as in `chat_ids`; the last two are new.
        date: as in `chat_ids`.
        read: ids of the previous prompt and of the reply to it, without the end token.

    Returns:
        None if the template now writes earlier turns differently than when they were last (thoughts removed, spaces
        stripped): the conversation must then be encoded from the start, by `chat_ids`.
    """
    earlier = _templated(tokenizer, turns[:-2], date, tokenize=False) + turns[-2]
    conversation = _templated(tokenizer, turns, date, tokenize=False)
    if not conversation.startswith(earlier):
        return None
    return [*read, *tokenizer(conversation[len(earlier) :], add_special_tokens=False)["input_ids"]]


def _with_fixed_date(template: str, date: datetime.date) -> str:
    """A chat template that prints `date` instead of today's. Raises HNeuronsError for an unknown way of printing it."""
    frozen = _TODAY.sub(lambda call: repr(date.strftime(call[2])), template)
    if "strftime_now(" in frozen:
        raise HNeuronsError("the chat template prints today's date in a way that cannot be frozen; give it a fixed date")
    return frozen


def base_ids(tokenizer: PreTrainedTokenizerBase, question: str) -> list[int]:
    """Token ids of a question that a base model completes with its answer (docs/method.md)."""
    return [int(i) for i in tokenizer(base_text(question))["input_ids"]]


def base_text(question: str) -> str:
    """The text that a base model completes with the answer to a question."""
    return f"{question}\nAnswer:"


def newline_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token whose text contains a line break, where a base model's answer ends."""
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return [i for i, text in enumerate(texts) if "\n" in text]


def end_of_turn(tokenizer: PreTrainedTokenizerBase, stop_ids: Sequence[int]) -> int:
    """The token with which the chat template ends a turn.

    If the template does not end turns, the tokenizer's end token, or else the first of `stop_ids`.
    """
    if tokenizer.chat_template:
        ids = _templated(tokenizer, ["a", "b"], datetime.date.min, tokenize=True, reply=False)["input_ids"]
        if ends := [int(i) for i in ids if i in set(stop_ids)]:
            return ends[-1]
    return int(tokenizer.eos_token_id) if tokenizer.eos_token_id is not None else stop_ids[0]


def prints_todays_date(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether the chat template prints today's date."""
    return bool(tokenizer.chat_template) and "strftime_now(" in tokenizer.get_chat_template()


def template_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the chat template: identifies the template behind a prompt."""
    return hashlib.sha256(str(tokenizer.chat_template or "").encode()).hexdigest()[:16]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a user turn or, if the tokenizer has no chat template, of a question that a base model completes."""
    return chat_ids(tokenizer, [text], default_prompt_date()) if tokenizer.chat_template else base_ids(tokenizer, text)


def ends_of_reply(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a reply to `prompt_ids`: the end tokens and, for a base model, every line break."""
    stops = stop_token_ids(model.generation_config, tokenizer)
    return stops if tokenizer.chat_template else sorted({*stops, *newline_ids(tokenizer)})
