"""One call to a judge model behind an OpenAI-compatible API: the reply, or why the call failed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hneurons.config.judges import LLMSettings
from hneurons.config.proxies import client_options, through_proxy
from hneurons.errors import HNeuronsError
from hneurons.judges.cache import PaidReply
from hneurons.judges.server import errors
from hneurons.judges.server.parameters import JudgePrompt, Parameters

_TEXT_PARTS = (None, "text", "output_text")
# Where servers put the thoughts of a model, or by mistake all of its reply.
_THOUGHTS = ("reasoning_content", "reasoning")


@dataclass(frozen=True)
class FailedCall:
    """A call without a reply. It is not cached: the next run calls again.

    Attributes:
        why: The reason, in one line.
    """

    why: str


class JudgeModel:
    """A judge model on its server. Calls may be made from several threads.

    Args:
        settings: The study's `judges.llm` section.
        api_key: The key, empty for a server without one.
        parameters: The parameters of all calls to the model.

    Raises:
        HNeuronsError: The server cannot be reached with this address or through the proxy in the environment.
    """

    def __init__(self, settings: LLMSettings, api_key: str, parameters: Parameters) -> None:
        import openai

        self._settings, self._key, self._parameters = settings, api_key, parameters
        options = client_options(settings.base_url, "judges.llm")
        try:
            http = openai.DefaultHttpxClient(**options, event_hooks={"response": [_no_retry_without_money]})
            self._client = openai.OpenAI(
                api_key=api_key or "none",
                base_url=settings.base_url,
                timeout=settings.timeout_s,
                max_retries=settings.retries,
                http_client=http,
            )
        # The client's errors about addresses have no common base.
        except Exception as error:
            message = errors.one_line(str(error), api_key)
            raise HNeuronsError(f"judges.llm: {settings.base_url}{self._route}: {message}") from None

    @property
    def _route(self) -> str:
        return through_proxy(self._settings.base_url)

    def call(self, prompt: JudgePrompt) -> PaidReply | FailedCall:
        """Make a call, with the client's retries; a parameter that the model refuses is changed, and the call repeated.

        Raises:
            HNeuronsError: At an error that every other call would meet too.
        """
        import openai

        while True:
            sent = self._parameters.of_call(prompt)
            try:
                response: Any = self._client.chat.completions.with_raw_response.create(**sent)
                status, body = 200, errors.body_of(response.http_response)
                if isinstance(body, Mapping) and body.get("choices"):
                    return self._read(body)
                status = errors.status_in(body) or status
            except openai.APITimeoutError:
                return FailedCall(f"no reply within {self._settings.timeout_s:g} s{self._route}")
            except openai.APIStatusError as error:
                status, body = error.status_code, errors.body_of(error.response)
            except (openai.OpenAIError, ValueError) as error:
                cause = f": {error.__cause__}" if error.__cause__ else ""
                message = self._line(f"{str(error).rstrip('.')}{cause}")
                return FailedCall(f"{type(error).__name__}: {message}{self._route}")
            if status not in (400, 422) or not self._parameters.adapt(sent, errors.error_words(body)):
                return self._failed(status, body)

    def _failed(self, status: int, body: Any) -> PaidReply | FailedCall:
        """What an error means for this call; raised if it means the same for every other."""
        if errors.is_moderated(body):
            # A server that moderates prompts rejects this one because of its content, and would do so again.
            return PaidReply("", "content_filter", "content_filter")
        s = self._settings
        message = self._line(errors.server_message(body))
        # Errors of proxies look like errors of the server, except those about the content of a request.
        hint = ("" if status in (400, 422) else self._route) + errors.what_to_do(status, body, s)
        if errors.is_final(status, body):
            raise HNeuronsError(f"judges.llm: {s.base_url} answers HTTP {status}: {message}{hint}")
        if status == 200:
            return FailedCall(f"a response without a reply: {message}{hint}" if message else f"an empty response{hint}")
        return FailedCall(f"HTTP {status}{f': {message}' if message else ''}{hint}")

    def _read(self, body: Mapping[str, Any]) -> PaidReply | FailedCall:
        """The reply in a response, of which servers leave out various parts."""
        choice = body["choices"][0] if isinstance(body["choices"], list) else None
        choice = choice if isinstance(choice, Mapping) else {}
        message = choice.get("message")
        finish = choice.get("finish_reason")
        if choice.get("error") or finish == "error" or not isinstance(message, Mapping):
            return self._failed(errors.status_in(choice) or 200, choice or body)
        content, refusal = _text(message.get("content")), _text(message.get("refusal"))
        thoughts = next((name for name in _THOUGHTS if message.get(name)), "")
        note = f"the server put all text into {thoughts}" if thoughts and not content.strip() else ""
        # The key must not enter the cache from a server that repeats the request's headers.
        content, refusal = errors.without_key(self._key, content), errors.without_key(self._key, refusal)
        counts = _tokens(body, "prompt_tokens"), _tokens(body, "completion_tokens")
        return PaidReply(content, refusal, finish if isinstance(finish, str) else "", *counts, note=note)

    def _line(self, text: str) -> str:
        return errors.one_line(text, self._key)


def _tokens(body: Mapping[str, Any], name: str) -> int:
    """A count of billed tokens, 0 from a server that does not count them."""
    usage = body.get("usage")
    count = usage.get(name) if isinstance(usage, Mapping) else None
    return int(count) if isinstance(count, int | float) else 0


def _text(content: Any) -> str:
    """A message's text, whose parts may be listed; thoughts are not part of it."""
    if isinstance(content, list):
        texts = [part if isinstance(part, str) else _text_of_part(part) for part in content]
        return "".join(texts)
    return content if isinstance(content, str) else json.dumps(content) if content else ""


def _text_of_part(part: Any) -> str:
    text = part.get("text") if isinstance(part, Mapping) and part.get("type") in _TEXT_PARTS else None
    return text if isinstance(text, str) else ""


def _no_retry_without_money(response: Any) -> None:
    """The client repeats a call after any status 429, also where money is missing."""
    if response.status_code == 429:
        response.read()
        if errors.needs_money(response.status_code, errors.body_of(response)):
            response.headers["x-should-retry"] = "false"
