"""The model behind the server: it replies to one call at a time and scores every token as it is written."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from scipy.special import expit
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons.detection.detected import Detection, NoDetection
from hneurons.detection.live import ScoredToken, generate_measured
from hneurons.detection.server.calls import ChatCall
from hneurons.detection.token_probe import TokenProbe
from hneurons.generation.prompts import begins_in_thoughts, ends_of_reply
from hneurons.generation.requests import request_ids
from hneurons.generation.thoughts import TAG, answer_start, taken_apart
from hneurons.generation.tokens import TextSoFar

# Characters with which marks of thoughts begin, and the number of characters of the longest.
_FIRST_OF_MARKS, _LONGEST_MARK = "<[◁", 32


@dataclass(frozen=True)
class StreamedToken:
    """A token as it is sent to a client.

    Attributes:
        sample: index of its reply.
        content, thoughts: what the reply and the thoughts before it gain in text; mostly one of the two is empty.
        token: the text of the token alone; None where text of tokens follows that were sent without it.
        logprob: natural log-probability at temperature 1.
        probability: p(hallucinated) of the token on its own.
    """

    sample: int
    content: str
    thoughts: str
    token: str | None = None
    logprob: float = 0.0
    probability: float = 0.0


@dataclass(frozen=True)
class ChatReply:
    """A finished reply.

    Attributes:
        content: its text, without thoughts.
        thoughts: what the model thought before it; None if nothing.
        truncated: whether it was cut off.
        tokens: number of tokens, thoughts and the end token included.
        logprobs: text and natural log-probability of each token.
        detection: what the probe says of it, or why nothing.
    """

    content: str
    thoughts: str | None
    truncated: bool
    tokens: int
    logprobs: list[tuple[str, float]]
    detection: Detection | NoDetection


class _WrittenSoFar:
    """A reply while it is written, and its thoughts apart from it.

    Args:
        tokenizer: the model's.
        opened: whether the chat template has opened thoughts.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, opened: bool) -> None:
        self._tokenizer, self._opened = tokenizer, opened
        self._ids: list[int] = []
        self._waiting: list[int] = []
        self._answers = False
        self._thoughts, self._content = TextSoFar(tokenizer), TextSoFar(tokenizer)

    def add(self, token_id: int) -> tuple[str, str]:
        """Add a token; returns what the reply and the thoughts gain, none while its first characters may be a mark."""
        self._ids.append(token_id)
        self._waiting.append(token_id)
        if self._answers:
            return self.flush(), ""
        raw: str = self._tokenizer.decode(self._ids, skip_special_tokens=False)
        start = raw.lstrip()
        if not self._opened and TAG.search(raw) is None:
            if not start or (start[0] in _FIRST_OF_MARKS and len(start) < _LONGEST_MARK):
                return "", ""
            self._answers = True
            return self.flush(), ""
        if answer_start(raw, self._opened) >= len(raw):
            return "", self._of_thoughts(len(self._waiting))
        # Once, when the answer begins: which tokens the thoughts end with.
        self._answers = True
        count = taken_apart(self._tokenizer, self._ids, self._opened).thought_tokens
        before = len(self._ids) - len(self._waiting)
        thoughts = self._of_thoughts(max(0, count - before))
        return self.flush(), thoughts

    def flush(self) -> str:
        """What the reply gains from the tokens that wait, at its end those that might have been the start of a mark."""
        text = "".join(map(self._content.add, self._waiting))
        self._waiting = []
        return text

    def _of_thoughts(self, count: int) -> str:
        text = "".join(map(self._thoughts.add, self._waiting[:count]))
        self._waiting = self._waiting[count:]
        return text


class ChatService:
    """A model with a probe, for a server.

    Args:
        name: what clients call the model.
        model: the model that the neurons were found in.
        probe: its probe.
        tokenizer: the model's.
        max_new_tokens: limit of a reply to a call that sets none.
    """

    def __init__(
        self,
        name: str,
        model: PreTrainedModel,
        probe: TokenProbe,
        tokenizer: PreTrainedTokenizerBase,
        max_new_tokens: int = 512,
    ) -> None:
        self.name = name
        self._model, self._probe, self._tokenizer, self._max_new_tokens = model, probe, tokenizer, max_new_tokens
        self._stop_ids = ends_of_reply(model, tokenizer)
        self._opened = begins_in_thoughts(tokenizer)
        self._one_at_a_time = Lock()

    def prompt(self, call: ChatCall) -> list[int]:
        """Token ids of the prompt of a call. Raises HNeuronsError if the chat template refuses it."""
        return request_ids(self._tokenizer, call.request)

    def reply(self, call: ChatCall, prompt: list[int], on_token: Callable[[StreamedToken], None]) -> list[ChatReply]:
        """Reply to a call, after those that came before it.

        Args:
            call: the call.
            prompt: what `prompt` returns.
            on_token: called with every token as soon as it is scored; what it raises ends the generation.
        """
        samples = call.n or 1
        written = [_WrittenSoFar(self._tokenizer, self._opened) for _ in range(samples)]

        def scored(token: ScoredToken) -> None:
            content, thoughts = written[token.sample].add(token.token_id)
            text, probability = self._text(token.token_id), float(expit(token.logit))
            on_token(StreamedToken(token.sample, content, thoughts, text, token.logprob, probability))

        options: dict[str, Any] = {
            "seeds": [secrets.randbits(31) if call.seed is None else call.seed % 2**63],
            "stop_ids": self._stop_ids,
            "samples": samples,
            "on_token": scored,
        }
        decoding = call.decoding(self._max_new_tokens)
        with self._one_at_a_time:
            ((_, responses),) = generate_measured(self._model, self._probe, [prompt], decoding, **options)
        for sample, of_sample in enumerate(written):
            if text := of_sample.flush():
                on_token(StreamedToken(sample, text, ""))
        replies = []
        for response in responses:
            parts = taken_apart(self._tokenizer, response.ids, self._opened)
            replies.append(
                ChatReply(
                    content=parts.text,
                    thoughts=parts.thoughts,
                    truncated=response.truncated,
                    tokens=len(response.ids) + (not response.truncated),
                    logprobs=list(zip(map(self._text, response.ids), response.logprobs.tolist(), strict=True)),
                    detection=self._probe.detection(self._tokenizer, call.request.asks, response, opened=self._opened),
                )
            )
        return replies

    def _text(self, token_id: int) -> str:
        text: str = self._tokenizer.decode([token_id])
        return text
