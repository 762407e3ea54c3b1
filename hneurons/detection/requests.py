"""What `detect` is given: a question, the response to it, and the part of the response that is the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from hneurons.config.base import Settings, parse_settings
from hneurons.data.folding import find_phrase
from hneurons.data.reading import Text
from hneurons.data.text_files import parse_json_lines
from hneurons.errors import HNeuronsError
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


class DetectionRequest(Settings, extra="allow"):
    """A question or a conversation, the response to it, and the part of the response that is the answer.

    Attributes:
        question: the question; None if there are messages.
        messages: the conversation before the response; None if there is a question.
        documents: for chat templates that take documents.
        chat_template_kwargs: further arguments of the chat template.
        response: the response; None lets the model answer greedily.
        answer: the answer within the response; None uses the response's highest tokens.
    """

    question: Text | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    documents: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    response: Text | None = None
    answer: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _last_message_is_the_response(cls, data: Any) -> Any:
        """Take a last message of the assistant as the response."""
        if not isinstance(data, dict) or not isinstance(messages := data.get("messages"), list) or not messages:
            return data
        last = messages[-1]
        if isinstance(last, dict) and last.get("role") == "assistant" and data.get("response") is None:
            return {**data, "messages": messages[:-1], "response": last.get("content")}
        return data

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


def request_ids(tokenizer: PreTrainedTokenizerBase, request: DetectionRequest) -> list[int]:
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


def make_request(data: Mapping[str, Any], source: str = "request") -> DetectionRequest:
    """Check the keys of a request.

    Args:
        data: question or messages, and optionally response, answer and further keys.
        source: where the data comes from, for errors.

    Raises:
        HNeuronsError: one line, if the question is missing, a text is blank, or the response does not contain the answer.
    """
    request = parse_settings(DetectionRequest, data, source)
    if request.response and request.answer and find_phrase(request.response, request.answer) is None:
        raise HNeuronsError(f"{source}: answer {request.answer!r} does not occur in the response {request.response!r}")
    return request


def parse_requests(lines: Iterable[str], name: str) -> Iterator[DetectionRequest]:
    """Parse requests, one per line.

    Args:
        lines: JSON objects or plain questions.
        name: where the lines come from, for errors.

    Raises:
        HNeuronsError: naming the line that is not valid.
    """
    for number, value in parse_json_lines(lines, name, plain="question"):
        yield make_request(value, f"{name}, line {number}")
