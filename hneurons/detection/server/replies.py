"""What the server sends: chat completions and their chunks in the OpenAI form, with `hallucination` in every choice."""

import time
import uuid
from collections.abc import Sequence
from typing import Any

from hneurons.detection.server.service import ChatReply, StreamedToken


class Completion:
    """One completion, in one body or in chunks, which share id and time.

    Args:
        model: the name that clients use.
        prompt_tokens: number of tokens of the prompt.
        with_logprobs: whether log-probabilities were asked for.
    """

    def __init__(self, model: str, prompt_tokens: int, with_logprobs: bool) -> None:
        self._facts = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._prompt_tokens, self._with_logprobs = prompt_tokens, with_logprobs

    def body(self, replies: Sequence[ChatReply]) -> dict[str, Any]:
        """The body of a reply that is not streamed."""
        choices = []
        for index, reply in enumerate(replies):
            message = {"role": "assistant", "content": reply.content}
            if reply.thoughts is not None:
                message["reasoning_content"] = reply.thoughts
            logprobs = {"content": [self._logprob(*token) for token in reply.logprobs]} if self._with_logprobs else None
            choices.append({"index": index, "message": message, "logprobs": logprobs, **_ending(reply)})
        return {**self._facts, "object": "chat.completion", "choices": choices, "usage": self.usage(replies)}

    def first(self, samples: int) -> list[dict[str, Any]]:
        """The chunks that open the replies."""
        opening = {"role": "assistant", "content": ""}
        return [self._chunk({"index": i, "delta": opening, "finish_reason": None}) for i in range(samples)]

    def token(self, token: StreamedToken) -> dict[str, Any]:
        """The chunk of one token."""
        delta = {"content": token.content}
        if token.thoughts:
            delta["reasoning_content"] = token.thoughts
        choice: dict[str, Any] = {"index": token.sample, "delta": delta, "finish_reason": None}
        if token.token is None:
            return self._chunk(choice)
        choice["hallucination"] = {"tokens": [{"text": token.content, "probability": token.probability}]}
        if self._with_logprobs:
            choice["logprobs"] = {"content": [self._logprob(token.token, token.logprob)]}
        return self._chunk(choice)

    def last(self, replies: Sequence[ChatReply]) -> list[dict[str, Any]]:
        """The chunks that close the replies, each with the detection of its reply."""
        return [self._chunk({"index": i, "delta": {}, **_ending(reply)}) for i, reply in enumerate(replies)]

    def with_usage(self, replies: Sequence[ChatReply]) -> dict[str, Any]:
        """The chunk that counts tokens, for clients that ask for it."""
        return {**self._facts, "object": "chat.completion.chunk", "choices": [], "usage": self.usage(replies)}

    def usage(self, replies: Sequence[ChatReply]) -> dict[str, int]:
        """Numbers of tokens."""
        new = sum(reply.tokens for reply in replies)
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": new,
            "total_tokens": self._prompt_tokens + new,
        }

    def _chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return {**self._facts, "object": "chat.completion.chunk", "choices": [choice]}

    def _logprob(self, text: str, logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": []}


def _ending(reply: ChatReply) -> dict[str, Any]:
    """How a choice ends: why, and what the probe says of it."""
    quoted = {"question", "response"}
    scores = {key: value for key, value in reply.detection.as_dict().items() if key not in quoted}
    return {"finish_reason": "length" if reply.truncated else "stop", "hallucination": scores}


def error_body(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    """An error in the OpenAI form."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
