"""What a model is asked on the command line and by clients: a question, or a conversation in the OpenAI form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from hneurons.config.base import Settings, parse_settings
from hneurons.data.reading import Text
from hneurons.data.text_files import parse_json_lines
from hneurons.generation.prompts import conversation_ids, prompt_ids, text_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Message(Settings, extra="allow"):
    """A message of a conversation, in the OpenAI form.

    Attributes:
        role: system, user, assistant, tool, or what else the chat template knows.
        content: a text, or a list of parts.
    """

    role: Text
    content: str | list[dict[str, Any]] | None = None


class PromptRequest(Settings, extra="allow"):
    """A question or a conversation to which the model replies.

    Attributes:
        question: the question; None if there are messages.
        messages: the conversation before the reply; None if there is a question.
        documents: for chat templates that take documents.
        chat_template_kwargs: further arguments of the chat template.
    """

    question: Text | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    documents: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _asks_once(self) -> Self:
        if (self.question is None) == (self.messages is None):
            raise ValueError("needs either question or messages")
        if self.messages is None and (self.documents or self.chat_template_kwargs):
            raise ValueError("documents and chat_template_kwargs belong to messages")
        return self

    @property
    def asks(self) -> str:
        """The question, or the text of the last message that is not the assistant's."""
        if self.question is not None:
            return self.question
        texts = [text_of(message.content) for message in self.messages or () if message.role != "assistant"]
        return texts[-1] if texts else ""

    @property
    def other_keys(self) -> dict[str, Any]:
        """Further keys of the request, such as an id, for the caller to pass on."""
        return self.model_extra or {}


class Unanswered(PromptRequest):
    """A request that holds no reply, since the model is to give it."""

    @model_validator(mode="after")
    def _holds_no_reply(self) -> Self:
        if self.messages is not None and self.messages[-1].role == "assistant":
            raise ValueError("the last message is the assistant's; end with what the model replies to")
        if misplaced := {"response", "answer"} & set(self.other_keys):
            raise ValueError(f"{misplaced.pop()} is a key for `hneurons detect`; here the model replies")
        return self


def request_ids(tokenizer: PreTrainedTokenizerBase, request: PromptRequest) -> list[int]:
    """Token ids of what a request asks, ready for the response.

    Args:
        tokenizer: the model's tokenizer.
        request: the request.

    Raises:
        HNeuronsError: if the chat template refuses the messages.
    """
    if request.messages is None:
        return prompt_ids(tokenizer, request.asks)
    messages = [message.model_dump(exclude_unset=True) for message in request.messages]
    return conversation_ids(tokenizer, messages, request.documents, request.chat_template_kwargs)


def parse_prompts(lines: Iterable[str], name: str) -> Iterator[Unanswered]:
    """Parse requests without replies, one per line.

    Args:
        lines: JSON objects or plain questions.
        name: where the lines come from, for errors.

    Raises:
        HNeuronsError: naming the line that is not valid.
    """
    for number, value in parse_json_lines(lines, name, plain="question"):
        yield parse_settings(Unanswered, value, f"{name}, line {number}")
