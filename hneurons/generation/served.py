"""The engine of a model: in this process, or an OpenAI-compatible server that the job starts."""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from openai import APIConnectionError, APIStatusError, DefaultHttpxClient, InternalServerError, OpenAI
from transformers import GenerationConfig

from hneurons import store
from hneurons.config.models import EngineSettings
from hneurons.config.setup import parse_study
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.decode import Response
from hneurons.generation.engine import Answered, Engine, LocalEngine, Prompt
from hneurons.generation.prompts import chat_ids, continued_ids, end_of_turn, messages_of, prints_todays_date
from hneurons.generation.server import ModelServer
from hneurons.models.checkpoint import Checkpoint
from hneurons.models.prepared import PreparedModel
from hneurons.models.tokenizer import stop_token_ids
from hneurons.neurons.export import write_scaled
from hneurons.neurons.scaling import NeuronsByLayer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REQUEST_S = 1800.0
_RETRIES = 2


def engine_for_study(
    config: dict[str, Any], model: str, manifest: str, gpus: int, token_budget: int
) -> AbstractContextManager[Engine]:
    """The engine that the models file names for a model; what it starts is stopped when the block ends.

    config: the study's. manifest: of the prepared model. gpus, token_budget: the job's.
    """
    settings, prepared = parse_study(config).models[model].engine, PreparedModel(manifest, gpus)
    return nullcontext(LocalEngine(prepared, token_budget)) if settings is None else ServerEngine(settings, prepared, gpus)


class ServerEngine:
    """A server started by this job: of the model as it is or, within `scaled`, of an exported checkpoint.

    Nothing is exported or started before the first request: a job that finds all of its work done does neither. A server
    returns text: where it returns no token ids, the text is tokenised again; where no log-probabilities, there are none.
    """

    def __init__(self, settings: EngineSettings, prepared: PreparedModel, gpus: int) -> None:
        self._settings, self._prepared, self._gpus = settings, prepared, gpus
        self._scaling: tuple[NeuronsByLayer, float] | None = None
        self._place: Path | None = None
        self._server: ModelServer | None = None

    def __enter__(self) -> ServerEngine:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop()

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**self._prepared.identity, "engine": self._settings.speaks}

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._prepared.tokenizer

    @contextmanager
    def scaled(self, neurons: NeuronsByLayer, alpha: float) -> Iterator[None]:
        """Within the block, the server is one of a checkpoint whose columns are scaled by alpha."""
        if self._scaling:
            raise HNeuronsError("engine: a checkpoint is exported for one set of neurons at a time")
        self._stop()
        self._scaling = neurons, alpha
        try:
            yield
        finally:
            self._stop()
            self._scaling = None

    def sample(self, prompts: Sequence[Prompt], decoding: Decoding, *, seeds: Sequence[int], samples: int) -> Answered:
        def ask(i: int) -> list[Response]:
            said = None if prompts[i].base else [prompts[i].text]
            return self._ask(prompts[i].ids, prompts[i].text, said, decoding, seeds[i], samples)

        yield from self._at_once(ask, len(prompts))

    def converse(
        self,
        conversations: Sequence[Sequence[str]],
        decoding: Decoding,
        *,
        date: datetime.date,
        seeds: Sequence[Sequence[int]],
    ) -> Answered:
        def hold(i: int) -> list[Response]:
            said: list[str] = []
            replies: list[Response] = []
            read: list[int] = []
            for text, seed in zip(conversations[i], seeds[i], strict=True):
                said.append(text)
                # Where token ids are sent, what was said goes on as it was; text is tokenised anew by the server.
                goes_on = continued_ids(self.tokenizer, said, date, read) if replies and self._by_ids else None
                ids = goes_on or chat_ids(self.tokenizer, said, date)
                (response,) = self._ask(ids, text, said, decoding, seed, 1)
                replies.append(response)
                read = [*ids, *response.unended_ids]
                said.append(self.tokenizer.decode(response.token_ids, skip_special_tokens=True))
            return replies

        yield from self._at_once(hold, len(conversations))

    def _at_once(self, ask: Callable[[int], list[Response]], count: int) -> Answered:
        """Yield what each call returns as it comes, so many at a time; the first error ends the others."""
        if not count:
            return
        if self._server is None:
            self._start()
        # `transformers serve` seeds all of its requests together.
        with ThreadPoolExecutor(self._settings.concurrency if self._by_ids else 1) as pool:
            left = {pool.submit(ask, i): i for i in range(count)}
            try:
                for done in as_completed(left):
                    yield [left[done]], [done.result()]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                # Requests under way would keep the job for as long as they take.
                self._stop()
                raise

    def _start(self) -> None:
        if not self._by_ids and prints_todays_date(self.tokenizer):
            raise HNeuronsError(
                "engine: the chat template prints today's date, and this server would print its own; use one that takes "
                "token ids (speaks: vllm)"
            )
        folder = self._prepared.folder
        if self._scaling:
            # Beside the weights, so that what is not scaled can be linked.
            self._place = Path(tempfile.mkdtemp(prefix=".scaled-", dir=self._prepared.study_folder))
            folder = write_scaled(Checkpoint(folder), *self._scaling, self._place / "checkpoint", borrow=True)
        self._model = str(folder.resolve())
        settings, dtype = self._settings, self._prepared.identity["dtype"]
        self._server = ModelServer(
            settings.command, settings.start_timeout_s, folder=self._model, gpus=self._gpus, dtype=dtype
        )
        self._client = OpenAI(
            base_url=f"{self._server.url}/v1",
            api_key="none",
            max_retries=_RETRIES,
            timeout=_REQUEST_S,
            # It is on this machine, whatever proxy leads out of it.
            http_client=DefaultHttpxClient(trust_env=False),
        )

    def _stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)
            self._place = None

    def _ask(
        self, ids: list[int], text: str, said: Sequence[str] | None, decoding: Decoding, seed: int, samples: int
    ) -> list[Response]:
        """Responses to one prompt. said: the turns of a chat; None where a text is completed."""
        server = self._server
        assert server is not None
        try:
            if self._by_ids:
                return self._completed(ids, said is None, decoding, seed, samples)
            return [self._said(ids, text, said, decoding, seed + i) for i in range(samples)]
        except (APIConnectionError, InternalServerError) as error:
            raise server.failed(f"it does not answer: {error.__cause__ or error}") from None
        except APIStatusError as error:
            raise HNeuronsError(f"engine: the server refuses a request with {error.status_code}: {error.message}") from None

    def _completed(self, ids: list[int], base: bool, decoding: Decoding, seed: int, samples: int) -> list[Response]:
        """vLLM and SGLang read the prompt's own token ids, draw all its samples at once, and say log-probabilities."""
        found = self._client.completions.create(
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
            # As in the job itself, nothing else of a checkpoint's generation_config.json counts.
            extra_body={"top_k": decoding.top_k or -1, "min_p": 0, "repetition_penalty": 1, "return_token_ids": True},
        )
        responses = []
        for choice in sorted(found.choices, key=lambda c: c.index):
            returned = (choice.model_extra or {}).get("token_ids")
            token_ids = list(returned) if returned else self._tokenised(choice.text, choice.finish_reason == "stop", base)
            logprobs = list((choice.logprobs and choice.logprobs.token_logprobs) or [])
            aligned = [float(p) for p in logprobs] if len(logprobs) == len(token_ids) else []
            responses.append(Response(token_ids, aligned, "length" if choice.finish_reason == "length" else "stop"))
        return responses

    def _said(self, ids: list[int], text: str, said: Sequence[str] | None, decoding: Decoding, seed: int) -> Response:
        """`transformers serve` reads messages or a text and gives one response to a request."""
        greedy = decoding.temperature == 0
        drawn = {"temperature": decoding.temperature, "top_k": decoding.top_k, "top_p": decoding.top_p}
        config = {
            "max_new_tokens": decoding.max_new_tokens,
            "do_sample": not greedy,
            "eos_token_id": self._stops,
            "pad_token_id": self._stops[0],
            # As in the job itself, nothing else of a checkpoint's generation_config.json counts.
            **{"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_p": 0.0, "typical_p": 1.0},
            **({} if greedy else drawn),
        }
        options: Any = {"generation_config": json.dumps(config), "seed": _seed(seed)}
        model = self._model
        done: Any
        if said is None:
            done = self._client.completions.create(model=model, prompt=text, stop=["\n"], extra_body=options)
            said_text, reason = done.choices[0].text, done.choices[0].finish_reason
        else:
            messages: Any = messages_of(said)
            done = self._client.chat.completions.create(model=model, messages=messages, extra_body=options)
            said_text, reason = done.choices[0].message.content or "", done.choices[0].finish_reason
        if done.usage and done.usage.prompt_tokens != len(ids):
            raise HNeuronsError(
                f"engine: the server read a prompt of {done.usage.prompt_tokens} tokens, which is {len(ids)} here: its "
                "chat template is another one or prints another date; use a server that takes token ids (speaks: vllm)"
            )
        return Response(
            self._tokenised(said_text, reason == "stop", said is None), [], "length" if reason == "length" else "stop"
        )

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
        """Token ids of a text, with what ended it: the line break of a base model, the template's end of a turn."""
        if base and ended:
            return [int(i) for i in self.tokenizer(f"{text}\n", add_special_tokens=False)["input_ids"]]
        ids = [int(i) for i in self.tokenizer(text, add_special_tokens=False)["input_ids"]]
        return [*ids, self._end_of_turn] if ended or not ids else ids

    @cached_property
    def _end_of_turn(self) -> int:
        return end_of_turn(self.tokenizer, self._stops)


def _seed(seed: int) -> int:
    # Servers take 32 bits, or 63.
    return seed % 2**31
