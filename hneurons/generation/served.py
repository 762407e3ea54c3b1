"""The engine that is an OpenAI-compatible server started by the job."""

import datetime
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from openai import APIConnectionError, APIStatusError, DefaultHttpxClient, InternalServerError, OpenAI
from transformers import GenerationConfig, PreTrainedTokenizerBase

from hneurons import store
from hneurons.config.models import EngineSettings
from hneurons.config.proxies import client_options
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.control_tokens import text_ids
from hneurons.generation.decode import Response
from hneurons.generation.engine import Answered, Conversation, Prompt, with_control_tokens
from hneurons.generation.prompts import chat_ids, continued_ids, end_of_turn, messages_of, prints_todays_date
from hneurons.generation.server import ModelServer
from hneurons.models.checkpoint import Checkpoint
from hneurons.models.prepared import PreparedModel
from hneurons.models.tokenizer import stop_token_ids
from hneurons.neurons.export import write_scaled
from hneurons.neurons.scaling import Scaling

_REQUEST_TIMEOUT_S = 1800.0
_RETRIES = 2


class ServerEngine:
    """An `Engine` that is a server started by this job: of the model or, to scale neurons, of an exported checkpoint.

    Requests that are scaled alike go to one server. The export and the server start with the first request, so a job with
    no work left does neither. A server returns text: if it omits token ids, the text is tokenised again; if it omits
    log-probabilities, `Response.logprobs` is empty.

    Args:
        settings: the engine's settings in the models file.
        prepared: the model.
        gpus: number of GPUs of the job.
        parse_control_tokens: as in `Engine`.
    """

    def __init__(
        self, settings: EngineSettings, prepared: PreparedModel, gpus: int, parse_control_tokens: bool = False
    ) -> None:
        self._settings, self._prepared, self._gpus = settings, prepared, gpus
        self.parse_control_tokens = parse_control_tokens
        self._scaling: Scaling = None
        self._scaled_folder: Path | None = None
        self._server: ModelServer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Engine.identity`."""
        identity = with_control_tokens(self._prepared.identity, self.parse_control_tokens)
        return {**identity, "engine": self._settings.speaks}

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """See `Engine.tokenizer`."""
        return self._prepared.tokenizer

    def sample(self, prompts: Sequence[Prompt], decoding: Decoding, samples: int) -> Answered:
        """See `Engine.sample`."""

        def request(i: int) -> list[Response]:
            turns = None if prompts[i].base else [prompts[i].text]
            return self._request(prompts[i].ids, prompts[i].text, turns, decoding, prompts[i].seed, samples)

        yield from self._concurrently(request, [prompt.scaling for prompt in prompts])

    def converse(self, conversations: Sequence[Conversation], date: datetime.date) -> Answered:
        """See `Engine.converse`."""

        parse = self.parse_control_tokens

        def hold_conversation(i: int) -> list[Response]:
            turns: list[str] = []
            replies: list[Response] = []
            earlier_ids: list[int] = []
            for text, seed in zip(conversations[i].turns, conversations[i].seeds, strict=True):
                turns.append(text)
                # With token ids, earlier turns are sent exactly as generated; a server of text tokenises them again.
                continued = (
                    continued_ids(self.tokenizer, turns, date, earlier_ids, parse) if replies and self._by_ids else None
                )
                ids = continued or chat_ids(self.tokenizer, turns, date, parse)
                (response,) = self._request(ids, text, turns, conversations[i].decoding, seed, 1)
                replies.append(response)
                earlier_ids = [*ids, *response.unended_ids]
                turns.append(self.tokenizer.decode(response.token_ids, skip_special_tokens=True))
            return replies

        yield from self._concurrently(hold_conversation, [conversation.scaling for conversation in conversations])

    def _concurrently(self, call: Callable[[int], list[Response]], scalings: Sequence[Scaling]) -> Answered:
        """Yield the result of each call as it finishes, `concurrency` at a time; the first error cancels the rest."""
        left = list(range(len(scalings)))
        while left:
            # First what the running server can answer.
            scaling = self._scaling if self._scaling in (scalings[i] for i in left) else scalings[left[0]]
            alike = [i for i in left if scalings[i] == scaling]
            left = [i for i in left if scalings[i] != scaling]
            if self._server is None or scaling != self._scaling:
                self._stop()
                self._start(scaling)
            # `transformers serve` has one random state for all of its requests.
            with ThreadPoolExecutor(self._settings.concurrency if self._by_ids else 1) as pool:
                index_of = {pool.submit(call, i): i for i in alike}
                try:
                    for future in as_completed(index_of):
                        yield [index_of[future]], [future.result()]
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    # Leaving the pool waits for running requests, which end with the server.
                    self._stop()
                    raise

    def _start(self, scaling: Scaling) -> None:
        """Start a server of the model, scaled so."""
        if not self._by_ids and prints_todays_date(self.tokenizer):
            raise HNeuronsError(
                "engine: the chat template prints today's date, which this server would read from its clock; use a server "
                "that takes token ids (speaks: vllm)"
            )
        folder, self._scaling = self._prepared.folder, scaling
        if scaling is not None:
            # On the disk of the weights, so that unscaled files can be hard links.
            self._scaled_folder = Path(tempfile.mkdtemp(prefix=".scaled-", dir=self._prepared.study_folder))
            folder = write_scaled(Checkpoint(folder), *scaling, self._scaled_folder / "checkpoint", borrow=True)
        self._model = str(folder.resolve())
        settings, dtype = self._settings, self._prepared.identity["dtype"]
        self._server = ModelServer(
            settings.command, settings.start_timeout_s, folder=self._model, gpus=self._gpus, dtype=dtype
        )
        self._client = OpenAI(
            base_url=f"{self._server.url}/v1",
            api_key="none",
            max_retries=_RETRIES,
            timeout=_REQUEST_TIMEOUT_S,
            http_client=DefaultHttpxClient(**client_options(self._server.url, "engine")),
        )

    def _stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self._scaled_folder is not None:
            shutil.rmtree(self._scaled_folder, ignore_errors=True)
            self._scaled_folder = None

    def _request(
        self, ids: list[int], text: str, turns: Sequence[str] | None, decoding: Decoding, seed: int, samples: int
    ) -> list[Response]:
        """Responses to one prompt. turns: of a chat; None if a base model completes `text`."""
        server = self._server
        assert server is not None
        try:
            if self._by_ids:
                return self._from_ids(ids, turns is None, decoding, seed, samples)
            return [self._from_text(ids, text, turns, decoding, seed + i) for i in range(samples)]
        except (APIConnectionError, InternalServerError) as error:
            raise server.failed(f"the server does not answer: {error.__cause__ or error}") from None
        except APIStatusError as error:
            raise HNeuronsError(f"engine: the server refuses a request with {error.status_code}: {error.message}") from None

    def _from_ids(self, ids: list[int], base: bool, decoding: Decoding, seed: int, samples: int) -> list[Response]:
        """vLLM and SGLang accept token ids, draw all samples of a prompt together, and return log-probabilities."""
        completion = self._client.completions.create(
            model=self._model,
            prompt=ids,
            n=samples,
            logprobs=0,
            seed=_seed(seed),
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

    def _from_text(self, ids: list[int], text: str, turns: Sequence[str] | None, decoding: Decoding, seed: int) -> Response:
        """`transformers serve` accepts messages or a text, and returns one response per request."""
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
        options: Any = {"generation_config": json.dumps(config), "seed": _seed(seed)}
        model = self._model
        completion: Any
        if turns is None:
            completion = self._client.completions.create(model=model, prompt=text, stop=["\n"], extra_body=options)
        else:
            messages: Any = messages_of(turns)
            completion = self._client.chat.completions.create(model=model, messages=messages, extra_body=options)
        if completion.usage and completion.usage.prompt_tokens != len(ids):
            raise HNeuronsError(
                f"engine: the server read a prompt of {completion.usage.prompt_tokens} tokens instead of {len(ids)}: its "
                "chat template differs or prints another date; use a server that takes token ids (speaks: vllm)"
            )
        choice = completion.choices[0]
        response, reason = choice.text if turns is None else choice.message.content or "", choice.finish_reason
        return Response(self._tokenised(response, reason == "stop", turns is None), [], reason == "length")

    @property
    def _by_ids(self) -> bool:
        return self._settings.speaks == "vllm"

    @cached_property
    def _stops(self) -> list[int]:
        folder = self._prepared.folder
        try:
            config = GenerationConfig.from_pretrained(folder)
        except OSError:
            config = GenerationConfig(eos_token_id=store.read_json(folder / "config.json").get("eos_token_id"))
        return stop_token_ids(config, self.tokenizer)

    def _tokenised(self, text: str, ended: bool, base: bool) -> list[int]:
        """Token ids of a text and of its omitted end: a base model's line break or the chat template's end token."""
        if base and ended:
            return text_ids(self.tokenizer, f"{text}\n")
        ids = text_ids(self.tokenizer, text)
        return [*ids, self._end_of_turn] if ended or not ids else ids

    @cached_property
    def _end_of_turn(self) -> int:
        return end_of_turn(self.tokenizer, self._stops)


def _seed(seed: int) -> int:
    # Servers accept seeds of 32 or of 63 bits.
    return seed % 2**31
