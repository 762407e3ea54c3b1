"""What `detect` is given: a question, the response to it, and the part of the response that is the answer."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import model_validator

from hneurons.config.base import parse_settings
from hneurons.data.folding import find_phrase
from hneurons.data.reading import Text
from hneurons.data.text_files import parse_json_lines
from hneurons.errors import HNeuronsError
from hneurons.generation.requests import PromptRequest


class DetectionRequest(PromptRequest):
    """A question or a conversation, the response to it, and the part of the response that is the answer.

    Attributes:
        response: the response; None lets the model answer greedily.
        answer: the answer within the response; None uses the response's highest tokens.
    """

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
