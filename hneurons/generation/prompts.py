"""From what is said to token ids: the chat template, applied once, so that no BOS token is added twice."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hneurons.errors import HNeuronsError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons.config.study import default_prompt_date
from hneurons.models.tokenizer import stop_token_ids

_TODAY = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


def chat_ids(tokenizer: PreTrainedTokenizerBase, said: Sequence[str], date: datetime.date) -> list[int]:
    """Token ids of a conversation whose turns alternate user, assistant, user, …, ready for the next reply.

    date: what a template that prints today's date prints (Llama 3, Mistral Small), so that a prompt never changes.
    """
    return [int(i) for i in _templated(tokenizer, said, date, tokenize=True)["input_ids"]]


def messages_of(said: Sequence[str]) -> list[dict[str, str]]:
    """A conversation whose turns alternate user, assistant, user, …, as chat templates and servers read it."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)]


def _templated(
    tokenizer: PreTrainedTokenizerBase, said: Sequence[str], date: datetime.date, tokenize: bool, reply: bool = True
) -> Any:
    if not tokenizer.chat_template:
        raise HNeuronsError(f"{tokenizer.name_or_path}: the tokenizer has no chat template; use an instruct model")
    # Templates that can open a chain of thought (Qwen 3) are told not to; the others do not know the word.
    return tokenizer.apply_chat_template(
        messages_of(said),
        add_generation_prompt=reply,
        tokenize=tokenize,
        return_dict=tokenize,
        enable_thinking=False,
        chat_template=_on(date, tokenizer.get_chat_template()),
    )


def continued_ids(
    tokenizer: PreTrainedTokenizerBase, said: Sequence[str], date: datetime.date, read: Sequence[int]
) -> list[int] | None:
    """Token ids of a conversation that goes on: those that were read and said, then what the template adds.

    said: as in chat_ids, the last two turns new. read: the last prompt and the reply to it, without its end token. None
    where the template writes earlier turns otherwise than it did when they were last (thoughts left out, spaces cut): then
    the conversation has to be read anew, by chat_ids.
    """
    before = _templated(tokenizer, said[:-2], date, tokenize=False) + said[-2]
    whole = _templated(tokenizer, said, date, tokenize=False)
    if not whole.startswith(before):
        return None
    return [*read, *tokenizer(whole[len(before) :], add_special_tokens=False)["input_ids"]]


def _on(date: datetime.date, template: str) -> str:
    """A template that prints today's date, made to print this one.

    Raises HNeuronsError for one that asks for it in another way than all known ones do.
    """
    frozen = _TODAY.sub(lambda call: repr(date.strftime(call[2])), template)
    if "strftime_now(" in frozen:
        raise HNeuronsError("the chat template prints today's date in a way that cannot be frozen; give it a fixed date")
    return frozen


def base_ids(tokenizer: PreTrainedTokenizerBase, question: str) -> list[int]:
    """Token ids of a question that a base model completes with its answer (METHOD.md §3)."""
    return [int(i) for i in tokenizer(base_text(question))["input_ids"]]


def base_text(question: str) -> str:
    return f"{question}\nAnswer:"


def newline_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token whose text holds a line break: a base model's answer ends there."""
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return [i for i, text in enumerate(texts) if "\n" in text]


def end_of_turn(tokenizer: PreTrainedTokenizerBase, stop_ids: Sequence[int]) -> int:
    """The token that the chat template ends a turn with; of a template that ends none, the tokenizer's end token."""
    if tokenizer.chat_template:
        said = _templated(tokenizer, ["a", "b"], datetime.date.min, tokenize=True, reply=False)["input_ids"]
        if ends := [int(i) for i in said if i in set(stop_ids)]:
            return ends[-1]
    return int(tokenizer.eos_token_id) if tokenizer.eos_token_id is not None else stop_ids[0]


def prints_todays_date(tokenizer: PreTrainedTokenizerBase) -> bool:
    return bool(tokenizer.chat_template) and "strftime_now(" in tokenizer.get_chat_template()


def template_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of the chat template, beginning: which template made a prompt."""
    return hashlib.sha256(str(tokenizer.chat_template or "").encode()).hexdigest()[:16]


def prompt_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """A chat turn or, without a chat template, what a base model completes."""
    return chat_ids(tokenizer, [text], default_prompt_date()) if tokenizer.chat_template else base_ids(tokenizer, text)


def ends_of_reply(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a reply to prompt_ids: end tokens, and of a base model every line break."""
    stops = stop_token_ids(model.generation_config, tokenizer)
    return stops if tokenizer.chat_template else sorted({*stops, *newline_ids(tokenizer)})
