"""From text to token ids: the chat template, applied once, so that no BOS token is added twice."""

from __future__ import annotations

import datetime
import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from hneurons.config.study import default_prompt_date
from hneurons.errors import HNeuronsError
from hneurons.generation.control_tokens import encode, hide_control_tokens, text_ids
from hneurons.generation.thoughts import TAG, opens_thoughts
from hneurons.models.tokenizer import THINKING_SWITCHES, stop_token_ids, thinks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

# A question that no template has a reason to change.
_PROBE = "Where is Lyon?"
_TODAY = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


def chat_ids(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[str], date: datetime.date, parse_control_tokens: bool = False
) -> list[int]:
    """Token ids of a conversation, ready for the next reply.

    Args:
        tokenizer: the model's tokenizer.
        turns: texts that alternate user, assistant, user, …
        date: the date for templates that print today's (Llama 3, Mistral Small), so that a prompt never changes.
        parse_control_tokens: whether control tokens that are written in the texts act as such; if not, they are text.

    Raises:
        HNeuronsError: the tokenizer has no chat template, or one that fails, whose date cannot be fixed, that leaves out
            what the user says, that ends the prompt with an end token, or that opens thoughts although thinking is off.
    """
    texts = _prepared_turns(tokenizer, turns, parse_control_tokens)
    return _checked_ids(tokenizer, _templated(tokenizer, messages_of(texts), date))


def conversation_ids(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, Any]],
    documents: Sequence[Mapping[str, Any]] | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[int]:
    """Token ids of a conversation in the OpenAI form, ready for the next reply: those of `apply_chat_template`.

    Control tokens that are written in the texts are text.

    Args:
        tokenizer: the model's tokenizer.
        messages: with `role` (system, user, assistant, tool, …) and `content`, a text or a list of parts.
        documents: for templates that take documents.
        options: further arguments of the chat template, such as `tools` or `enable_thinking`.

    Raises:
        HNeuronsError: as `chat_ids` does; the template's own words where it refuses a role.
    """
    hidden = [{**message, "content": _hidden(tokenizer, message)} for message in messages]
    arguments = {**(options or {}), **({"documents": list(documents)} if documents else {})}
    return _checked_ids(tokenizer, _templated(tokenizer, hidden, default_prompt_date(), options=arguments))


def _hidden(tokenizer: PreTrainedTokenizerBase, message: Mapping[str, Any]) -> Any:
    """The content of a message with its control tokens hidden."""
    content, special_only = message.get("content"), message["role"] == "assistant"
    if content is None or isinstance(content, str):
        return content and hide_control_tokens(tokenizer, content, special_only)
    return [
        {**part, "text": hide_control_tokens(tokenizer, part["text"], special_only)} if "text" in part else part
        for part in content
    ]


def _checked_ids(tokenizer: PreTrainedTokenizerBase, rendered: str) -> list[int]:
    """Token ids of what a chat template wrote, after which a reply can begin."""
    ids = encode(tokenizer, rendered)
    if ids and ids[-1] == tokenizer.eos_token_id:
        raise HNeuronsError(
            f"{tokenizer.name_or_path}: the chat template ends the prompt with the end token {tokenizer.eos_token}, after "
            "which no reply begins: it ignores add_generation_prompt"
        )
    if not thinks(tokenizer) and opens_thoughts(rendered):
        raise HNeuronsError(
            f"{tokenizer.name_or_path}: the chat template lets the model think before it answers, which cannot be switched "
            "off: allow it (thinking: on in the models file, --thinking on the command line)"
        )
    return ids


def begins_in_thoughts(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether replies to `chat_ids` begin within thoughts, whose opening mark the chat template has written."""
    return thinks(tokenizer) and opens_thoughts(_templated(tokenizer, messages_of([_PROBE]), default_prompt_date()))


def end_of_thoughts(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the mark that ends the thoughts which the chat template has opened, for an answer without thoughts."""
    *_, opening = TAG.finditer(_templated(tokenizer, messages_of([_PROBE]), default_prompt_date()))
    mark = opening[0]
    return f"{mark[0]}/{mark[1:]}\n\n"


def messages_of(turns: Sequence[str]) -> list[dict[str, Any]]:
    """Turns that alternate user, assistant, user, …, in the format of chat templates and servers."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]


def _in_parts(content: Any) -> Any:
    """A text as a list of parts, as templates of multimodal models expect, of which the only one is a text."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def text_of(content: Any) -> str:
    """Return the text of a message's content, which may be a list of parts."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())


def _prepared_turns(tokenizer: PreTrainedTokenizerBase, turns: Sequence[str], parse_control_tokens: bool) -> list[str]:
    if parse_control_tokens:
        return list(turns)
    return [hide_control_tokens(tokenizer, text, special_only=i % 2 == 1) for i, text in enumerate(turns)]


def _templated(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, Any]],
    date: datetime.date,
    reply: bool = True,
    options: Mapping[str, Any] | None = None,
) -> str:
    """The text of a conversation that the chat template writes, from plain texts or else from lists of parts."""
    name = tokenizer.name_or_path
    if not tokenizer.chat_template:
        raise HNeuronsError(f"{name}: the tokenizer has no chat template; use an instruct model")
    texts = [text_of(message["content"]) for message in messages if message["role"] == "user"]
    failures: list[str] = []
    for parts in (False, True):
        try:
            rendered = _applied(tokenizer, messages, date, reply, parts, options)
            left_out = [text for text in texts if not _writes(rendered, text)]
            if not left_out:
                return rendered
            # A template may also change some texts, for example by removing a mark; then it still writes a plain one.
            if _writes(_applied(tokenizer, messages_of([_PROBE]), date, True, parts), _PROBE):
                logger.warning("%s: the chat template changes what the user says: %r", name, left_out[0][:60])
                return rendered
        except (TemplateError, ValueError, TypeError, LookupError) as error:
            failures.append(f"the chat template fails: {' '.join(str(error).split())[:200]}")
    raise HNeuronsError(f"{name}: {next(iter(failures), 'the chat template does not write what the user says')}")


def _applied(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, Any]],
    date: datetime.date,
    reply: bool,
    parts: bool,
    options: Mapping[str, Any] | None = None,
) -> str:
    rendered: str = tokenizer.apply_chat_template(
        [{**message, "content": _in_parts(message["content"])} for message in messages] if parts else list(messages),
        add_generation_prompt=reply,
        tokenize=False,
        chat_template=_with_fixed_date(tokenizer.get_chat_template(), date),
        # Templates without such a switch ignore it.
        **{**({} if thinks(tokenizer) else dict.fromkeys(THINKING_SWITCHES, False)), **(options or {})},
    )
    return rendered


def _writes(rendered: str, text: str) -> bool:
    return "".join(text.split()) in "".join(rendered.split())


def continued_ids(
    tokenizer: PreTrainedTokenizerBase,
    turns: Sequence[str],
    date: datetime.date,
    read: Sequence[int],
    parse_control_tokens: bool = False,
) -> list[int] | None:
    """Token ids of a continued conversation: those already in the cache, then what the template adds.

    Args:
        tokenizer: the model's tokenizer.
        turns: as in `chat_ids`; the last two are new.
        date: as in `chat_ids`.
        read: ids of the previous prompt and of the reply to it, without the end token.
        parse_control_tokens: as in `chat_ids`.

    Returns:
        None if the template now writes earlier turns differently than when they were last (thoughts removed, spaces
        stripped): the conversation must then be encoded from the start, by `chat_ids`.
    """
    texts = _prepared_turns(tokenizer, turns, parse_control_tokens)
    earlier = _templated(tokenizer, messages_of(texts[:-2]), date) + texts[-2]
    conversation = _templated(tokenizer, messages_of(texts), date)
    if not conversation.startswith(earlier):
        return None
    return [*read, *encode(tokenizer, conversation[len(earlier) :])]


def _with_fixed_date(template: str, date: datetime.date) -> str:
    """A chat template that prints `date` instead of today's. Raises HNeuronsError for an unknown way of printing it."""
    frozen = _TODAY.sub(lambda call: repr(date.strftime(call[2])), template)
    if "strftime_now(" in frozen:
        raise HNeuronsError("the chat template prints today's date in a way that cannot be frozen; give it a fixed date")
    return frozen


def base_ids(tokenizer: PreTrainedTokenizerBase, question: str, parse_control_tokens: bool = False) -> list[int]:
    """Token ids of a question that a base model completes with its answer (docs/method.md).

    Args:
        tokenizer: the model's tokenizer.
        question: the question.
        parse_control_tokens: as in `chat_ids`.
    """
    (text,) = _prepared_turns(tokenizer, [base_text(question)], parse_control_tokens)
    return encode(tokenizer, text, begin=True)


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
        ids = encode(tokenizer, _templated(tokenizer, messages_of(["a", "b"]), datetime.date.min, reply=False))
        if ends := [i for i in ids if i in set(stop_ids)]:
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


def given_ids(tokenizer: PreTrainedTokenizerBase, responses: Sequence[str | None]) -> list[list[int]]:
    """Token ids of responses from elsewhere: they follow `prompt_ids`, and thoughts that the template has opened.

    Args:
        tokenizer: the model's tokenizer.
        responses: the texts; one that is missing has no tokens.
    """
    # A base model's prompt ends in "Answer:", and what follows begins with a space.
    lead = "" if tokenizer.chat_template else " "
    if begins_in_thoughts(tokenizer):
        # A response from elsewhere is an answer, which follows the thoughts.
        lead = end_of_thoughts(tokenizer)
    leads = ["" if text and lead.strip() and lead.strip() in text else lead for text in responses]
    return [text_ids(tokenizer, before + text) if text else [] for before, text in zip(leads, responses, strict=True)]


def ends_of_reply(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a reply to `prompt_ids`: the end tokens and, for a base model, every line break."""
    stops = stop_token_ids(model.generation_config, tokenizer)
    return stops if tokenizer.chat_template else sorted({*stops, *newline_ids(tokenizer)})
