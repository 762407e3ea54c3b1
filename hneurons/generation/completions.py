"""What a server is asked, and how its replies are read: completions of token ids, or texts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from openai import OpenAI
from transformers import GenerationConfig, PreTrainedTokenizerBase

from hneurons import store
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.control_tokens import text_ids
from hneurons.generation.prompts import end_of_turn, messages_of
from hneurons.generation.response import Response
from hneurons.models.prepared import PreparedModel
from hneurons.models.tokenizer import stop_token_ids
from hneurons.seeds import seed_of


@dataclass(frozen=True)
class Request:
    """A prompt that a server is to answer.

    Attributes:
        ids: its token ids.
        text: the question or, for a base model, the text to complete.
        turns: of a chat; None if a base model completes `text`.
        decoding: how tokens are drawn, and how many at most.
        seed: of the samples.
        samples: number of responses.
    """

    ids: list[int]
    text: str
    turns: Sequence[str] | None
    decoding: Decoding
    seed: int
    samples: int


class Completions:
    """Requests to a server of one model, and its replies as token ids.

    A server returns text: if it omits token ids, the text is tokenised again; if it omits log-probabilities,
    `Response.logprobs` is empty.

    Args:
        speaks: the server's API, as in the models file.
        prepared: the model.
    """

    def __init__(self, speaks: Literal["vllm", "transformers"], prepared: PreparedModel) -> None:
        self._prepared = prepared
        self.by_ids = speaks == "vllm"

    def ask(self, client: OpenAI, model: str, request: Request) -> list[Response]:
        """Ask for responses to one prompt.

        Args:
            client: of the server.
            model: the name by which the server knows the model, or an adapter of it.
            request: the prompt. Greedy responses to it are equal, so that one is asked for.

        Raises:
            HNeuronsError: the server read another prompt.
            APIError: of the client.
        """
        drawn = 1 if request.decoding.temperature == 0 else request.samples
        if self.by_ids:
            responses = self._from_ids(client, model, request, drawn)
        else:
            responses = [self._from_text(client, model, request, request.seed + i) for i in range(drawn)]
        return responses * (request.samples // drawn)

    def _from_ids(self, client: OpenAI, model: str, request: Request, samples: int) -> list[Response]:
        """vLLM and SGLang accept token ids, draw all samples of a prompt together, and return log-probabilities."""
        decoding, base = request.decoding, request.turns is None
        completion = client.completions.create(
            model=model,
            prompt=request.ids,
            n=samples,
            logprobs=0,
            seed=spread_seed(request.seed),
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            max_tokens=decoding.max_new_tokens,
            stop=["\n"] if base else None,
            presence_penalty=0,
            frequency_penalty=0,
            # As in LocalEngine, the sampling settings of a checkpoint's generation_config.json are not used.
            extra_body={"top_k": decoding.top_k or -1, "min_p": 0, "repetition_penalty": 1, "return_token_ids": True},
        )
        responses = []
        for choice in sorted(completion.choices, key=lambda c: c.index):
            returned = (choice.model_extra or {}).get("token_ids")
            token_ids = list(returned) if returned else self._tokenised(choice.text, choice.finish_reason == "stop", base)
            logprobs = list((choice.logprobs and choice.logprobs.token_logprobs) or [])
            aligned = [float(p) for p in logprobs] if len(logprobs) == len(token_ids) else []
            responses.append(Response(token_ids, aligned, choice.finish_reason == "length"))
        return responses

    def _from_text(self, client: OpenAI, model: str, request: Request, seed: int) -> Response:
        """`transformers serve` accepts messages or a text, and returns one response per request."""
        decoding, turns = request.decoding, request.turns
        greedy = decoding.temperature == 0
        sampling = {"temperature": decoding.temperature, "top_k": decoding.top_k, "top_p": decoding.top_p}
        config = {
            "max_new_tokens": decoding.max_new_tokens,
            "do_sample": not greedy,
            "eos_token_id": self._stops,
            "pad_token_id": self._stops[0],
            # As in LocalEngine, the sampling settings of a checkpoint's generation_config.json are not used.
            **{"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_p": 0.0, "typical_p": 1.0},
            **({} if greedy else sampling),
        }
        # It accepts seeds of 32 bits.
        options: Any = {"generation_config": json.dumps(config), "seed": seed % 2**31}
        completion: Any
        if turns is None:
            completion = client.completions.create(model=model, prompt=request.text, stop=["\n"], extra_body=options)
        else:
            messages: Any = messages_of(turns)
            completion = client.chat.completions.create(model=model, messages=messages, extra_body=options)
        tokens = len(request.ids)
        if completion.usage and completion.usage.prompt_tokens != tokens:
            raise HNeuronsError(
                f"engine: the server read a prompt of {completion.usage.prompt_tokens} tokens instead of {tokens}: its "
                "chat template differs or prints another date; use a server that takes token ids (speaks: vllm)"
            )
        choice = completion.choices[0]
        response, reason = choice.text if turns is None else choice.message.content or "", choice.finish_reason
        return Response(self._tokenised(response, reason == "stop", turns is None), [], reason == "length")

    @property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return self._prepared.tokenizer

    @cached_property
    def _stops(self) -> list[int]:
        folder = self._prepared.folder
        try:
            config = GenerationConfig.from_pretrained(folder)
        except OSError:
            config = GenerationConfig(eos_token_id=store.read_json(folder / "config.json").get("eos_token_id"))
        return stop_token_ids(config, self._tokenizer)

    def _tokenised(self, text: str, ended: bool, base: bool) -> list[int]:
        """Token ids of a text and of its omitted end: a base model's line break or the chat template's end token."""
        if base and ended:
            return text_ids(self._tokenizer, f"{text}\n")
        ids = text_ids(self._tokenizer, text)
        return [*ids, self._end_of_turn] if ended or not ids else ids

    @cached_property
    def _end_of_turn(self) -> int:
        return end_of_turn(self._tokenizer, self._stops)


def spread_seed(seed: int) -> int:
    """Spread seeds over 62 bits: vLLM draws sample i with seed + i, so that neighbouring seeds would share samples."""
    return seed_of(seed) >> 1
