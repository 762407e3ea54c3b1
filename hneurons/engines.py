"""The engine of a model: in this process, or an OpenAI-compatible server that the job starts."""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from openai import APIConnectionError, APIStatusError, OpenAI
from transformers import AutoConfig, GenerationConfig

from hneurons.config import Decoding
from hneurons.engine import Answered, Engine, Prompt, Transformers
from hneurons.errors import HNeuronsError
from hneurons.export import write_scaled
from hneurons.generation import Response
from hneurons.model_config import EngineSettings
from hneurons.models import stop_token_ids
from hneurons.prepared import Prepared
from hneurons.prompts import chat_ids, continued_ids
from hneurons.scaling import Neurons
from hneurons.server import ModelServer
from hneurons.study import parse_study

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REQUEST_S = 3600.0
_RETRIES = 4


def engine_of_study(
    config: dict[str, Any], model: str, manifest: str, gpus: int, token_budget: int
) -> AbstractContextManager[Engine]:
    """The engine that the models file names for a model; what it starts is stopped when the block ends.

    config: the study's. manifest: of the prepared model. gpus, token_budget: the job's.
    """
    settings, prepared = parse_study(config).models[model].engine, Prepared(manifest, gpus)
    return nullcontext(Transformers(prepared, token_budget)) if settings is None else Served(settings, prepared, gpus)


class Served:
    """A server started by this job: of the model as it is or, within `scaled`, of an exported checkpoint.

    It is started with the first request: a job that finds all of its work done starts nothing. A server returns text: where
    it returns no token ids, the text is tokenised again; where no log-probabilities, there are none.
    """

    def __init__(self, settings: EngineSettings, prepared: Prepared, gpus: int) -> None:
        self._settings, self._prepared, self._gpus = settings, prepared, gpus
        self._folder: Path = prepared.folder
        self._server: ModelServer | None = None

    def __enter__(self) -> Served:
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
    def scaled(self, neurons: Neurons, alpha: float) -> Iterator[None]:
        """Within the block, the server is one of a checkpoint whose columns are scaled by alpha; others are hard links."""
        self._stop()
        before = self._folder
        # Beside the weights, so that what is not scaled can be linked.
        place = Path(tempfile.mkdtemp(prefix=".scaled-", dir=self._prepared.beside))
        try:
            self._folder = write_scaled(before, neurons, alpha, place / "checkpoint", borrow=True)
            yield
        finally:
            self._stop()
            self._folder = before
            shutil.rmtree(place, ignore_errors=True)

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
        """Yield what each call returns as it comes, so many at a time; the first error ends what has not begun."""
        if not count:
            return
        if self._server is None:
            self._server = ModelServer(self._settings.command, self._folder, self._gpus, self._settings.start_timeout_s)
            self._client = OpenAI(
                base_url=f"{self._server.url}/v1", api_key="none", max_retries=_RETRIES, timeout=_REQUEST_S
            )
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            left: dict[Future[list[Response]], int] = {pool.submit(ask, i): i for i in range(count)}
            try:
                while left:
                    for done in wait(left, return_when=FIRST_COMPLETED).done:
                        yield [left.pop(done)], [done.result()]
            finally:
                pool.shutdown(cancel_futures=True)

    def _ask(
        self, ids: list[int], text: str, said: Sequence[str] | None, decoding: Decoding, seed: int, samples: int
    ) -> list[Response]:
        """Responses to one prompt. said: the turns of a chat; None where a text is completed."""
        assert self._server is not None
        try:
            if self._by_ids:
                return self._completed(ids, said is None, decoding, seed, samples)
            return [self._said(ids, text, said, decoding, seed + i) for i in range(samples)]
        except APIConnectionError as error:
            self._server.check()
            raise HNeuronsError(f"engine: the server does not answer: {error.__cause__ or error}") from None
        except APIStatusError as error:
            raise HNeuronsError(f"engine: the server refuses a request with {error.status_code}: {error.message}") from None

    def _completed(self, ids: list[int], base: bool, decoding: Decoding, seed: int, samples: int) -> list[Response]:
        """vLLM and SGLang read the prompt's own token ids, draw all its samples at once, and say log-probabilities."""
        found = self._client.completions.create(
            model=str(self._folder.resolve()),
            prompt=ids,
            n=samples,
            logprobs=0,
            seed=_seed(seed),
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            max_tokens=decoding.max_new_tokens,
            stop=["\n"] if base else None,
            extra_body={"top_k": decoding.top_k or -1, "return_token_ids": True},
        )
        responses = []
        for choice in sorted(found.choices, key=lambda c: c.index):
            returned = (choice.model_extra or {}).get("token_ids")
            token_ids = list(returned) if returned else self._tokenised(choice.text, choice.finish_reason == "stop")
            logprobs = list((choice.logprobs and choice.logprobs.token_logprobs) or [])
            aligned = [float(p) for p in logprobs] if len(logprobs) == len(token_ids) else []
            responses.append(Response(token_ids, aligned, "length" if choice.finish_reason == "length" else "stop"))
        return responses

    def _said(self, ids: list[int], text: str, said: Sequence[str] | None, decoding: Decoding, seed: int) -> Response:
        """`transformers serve` reads messages or a text and gives one response to a request."""
        greedy = decoding.temperature == 0
        drawn = {"temperature": decoding.temperature, "top_k": decoding.top_k or 0, "top_p": decoding.top_p}
        config = {
            "max_new_tokens": decoding.max_new_tokens,
            "do_sample": not greedy,
            "eos_token_id": self._stops,
            "pad_token_id": self._stops[0],
            **({} if greedy else drawn),
        }
        options: Any = {"generation_config": json.dumps(config), "seed": _seed(seed)}
        model = str(self._folder.resolve())
        done: Any
        if said is None:
            done = self._client.completions.create(model=model, prompt=text, stop=["\n"], extra_body=options)
            said_text, reason = done.choices[0].text, done.choices[0].finish_reason
        else:
            roles = ("user", "assistant")
            messages: Any = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(said)]
            done = self._client.chat.completions.create(model=model, messages=messages, extra_body=options)
            said_text, reason = done.choices[0].message.content or "", done.choices[0].finish_reason
        if done.usage and done.usage.prompt_tokens != len(ids):
            raise HNeuronsError(
                f"engine: the server read a prompt of {done.usage.prompt_tokens} tokens, which is {len(ids)} here: its "
                "chat template is another one or prints another date; use a server that takes token ids (speaks: vllm)"
            )
        return Response(self._tokenised(said_text, reason == "stop"), [], "length" if reason == "length" else "stop")

    @property
    def _by_ids(self) -> bool:
        return self._settings.speaks == "vllm"

    @cached_property
    def _stops(self) -> list[int]:
        try:
            config = GenerationConfig.from_pretrained(self._prepared.folder)
        except OSError:
            config = GenerationConfig.from_model_config(AutoConfig.from_pretrained(self._prepared.folder))
        return stop_token_ids(config, self.tokenizer)

    def _tokenised(self, text: str, ended: bool) -> list[int]:
        ids = [int(i) for i in self.tokenizer(text, add_special_tokens=False)["input_ids"]]
        return [*ids, self._stops[0]] if ended or not ids else ids

    def _stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


def _seed(seed: int) -> int:
    # Servers take 32 bits, or 63.
    return seed % 2**31
