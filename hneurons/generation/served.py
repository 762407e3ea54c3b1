"""The engine that is an OpenAI-compatible server started by the job."""

import datetime
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from openai import APIConnectionError, APIStatusError, DefaultHttpxClient, InternalServerError, OpenAI
from transformers import PreTrainedTokenizerBase

from hneurons.config.impact import UNTOUCHED_ALPHA
from hneurons.config.models import ADAPTER_RANKS, EngineSettings
from hneurons.config.proxies import client_options
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.completions import Completions, Request
from hneurons.generation.engine import Answered, Conversation, Prompt, with_control_tokens
from hneurons.generation.prompts import begins_in_thoughts, chat_ids, continued_ids, prints_todays_date
from hneurons.generation.response import Response
from hneurons.generation.server import ModelServer
from hneurons.generation.thoughts import taken_apart
from hneurons.models.checkpoint import Checkpoint
from hneurons.models.prepared import PreparedModel
from hneurons.neurons.adapters import adapter_rank, write_adapter
from hneurons.neurons.export import write_scaled
from hneurons.neurons.scaling import NeuronsByLayer, Scaling

_REQUEST_TIMEOUT_S = 1800.0
_RETRIES = 2
# As an adapter.
_UNTOUCHED: tuple[NeuronsByLayer, float] = ({0: [0]}, UNTOUCHED_ALPHA)
logger = logging.getLogger(__name__)


class ServerEngine:
    """An `Engine` that is a server started by this job.

    Neurons are scaled by adapters, which one server applies request by request, if its command has {lora_rank}; else, and
    where servers take no such adapter (too many neurons in a layer, experts), by a server of an exported checkpoint. Files
    are written and servers started with the first request that needs them, so a job with no work left does neither.

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
        self._completions = Completions(settings.speaks, prepared)
        self._server: ModelServer | None = None
        # Of the running server: how its checkpoint is scaled, the highest rank that it takes, and its adapters.
        self._checkpoint: Scaling = None
        self._rank = 0
        self._adapters: list[tuple[Scaling, str]] = []
        self._written: Path | None = None

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
            prompt = prompts[i]
            turns = None if prompt.base else [prompt.text]
            return self._ask(prompt.scaling, Request(prompt.ids, prompt.text, turns, decoding, prompt.seed, samples))

        yield from self._concurrently(request, [prompt.scaling for prompt in prompts])

    def converse(self, conversations: Sequence[Conversation], date: datetime.date) -> Answered:
        """See `Engine.converse`."""

        parse, by_ids = self.parse_control_tokens, self._completions.by_ids
        opened = begins_in_thoughts(self.tokenizer)

        def hold_conversation(i: int) -> list[Response]:
            conversation = conversations[i]
            turns: list[str] = []
            replies: list[Response] = []
            earlier_ids: list[int] = []
            for text, seed in zip(conversation.turns, conversation.seeds, strict=True):
                turns.append(text)
                # With token ids, earlier turns are sent exactly as generated; a server of text tokenises them again.
                continued = (
                    continued_ids(self.tokenizer, turns, date, earlier_ids, parse) if earlier_ids and by_ids else None
                )
                ids = continued or chat_ids(self.tokenizer, turns, date, parse)
                request = Request(ids, text, list(turns), conversation.decoding, seed, 1)
                (response,) = self._ask(conversation.scaling, request)
                replies.append(response)
                reply = taken_apart(self.tokenizer, response.token_ids, opened)
                # What a reply thought is not in the conversation that goes on.
                earlier_ids = [] if reply.thought_tokens else [*ids, *response.unended_ids]
                turns.append(reply.text)
            return replies

        yield from self._concurrently(hold_conversation, [conversation.scaling for conversation in conversations])

    def _concurrently(self, call: Callable[[int], list[Response]], scalings: Sequence[Scaling]) -> Answered:
        """Yield the result of each call as it finishes, `concurrency` at a time; the first error cancels the rest."""
        checkpoints = [None if self._is_adapter(scaling) else scaling for scaling in scalings]
        left = list(range(len(scalings)))
        while left:
            # First what the running server can answer.
            checkpoint = self._checkpoint if self._checkpoint in (checkpoints[i] for i in left) else checkpoints[left[0]]
            alike = [i for i in left if checkpoints[i] == checkpoint]
            left = [i for i in left if checkpoints[i] != checkpoint]
            adapted = [s for i in alike if (s := scalings[i]) is not None] if checkpoint is None else []
            self._serve(checkpoint, adapted)
            # `transformers serve` has one random state for all of its requests.
            with ThreadPoolExecutor(self._settings.concurrency if self._completions.by_ids else 1) as pool:
                index_of = {pool.submit(call, i): i for i in alike}
                try:
                    for future in as_completed(index_of):
                        yield [index_of[future]], [future.result()]
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    # Leaving the pool waits for running requests, which end with the server.
                    self._stop()
                    raise

    def _is_adapter(self, scaling: Scaling) -> bool:
        """Whether these neurons are scaled by an adapter."""
        return scaling is not None and self._settings.takes_adapters and not self._needs_checkpoint(scaling[0])

    def _needs_checkpoint(self, neurons: NeuronsByLayer) -> str:
        """Why servers take no adapter for these neurons; empty if they do."""
        if "experts" in self._prepared.identity:
            return "servers load adapters of experts in other forms"
        if (rank := adapter_rank(neurons)) > ADAPTER_RANKS[-1]:
            return f"{rank} neurons of one layer are more than an adapter can scale ({ADAPTER_RANKS[-1]})"
        return ""

    def _serve(self, checkpoint: Scaling, adapted: Sequence[tuple[NeuronsByLayer, float]]) -> None:
        """Have a server of the model, scaled as its checkpoint, that knows the adapters of further scalings."""
        needed = max((adapter_rank(neurons) for neurons, _ in adapted), default=1)
        if self._server is None or checkpoint != self._checkpoint or needed > self._rank:
            self._stop()
            self._start(checkpoint, next(rank for rank in ADAPTER_RANKS if rank >= needed))
        # vLLM 0.32 on a CPU answers a request without an adapter by one of its batch: beside others the untouched model is
        # an adapter too, which adds zero.
        for scaling in [None, *adapted] if adapted else []:
            if scaling not in (registered for registered, _ in self._adapters):
                self._register(scaling)

    def _start(self, checkpoint: Scaling, rank: int) -> None:
        if not self._completions.by_ids and prints_todays_date(self.tokenizer):
            raise HNeuronsError(
                "engine: the chat template prints today's date, which this server would read from its clock; use a server "
                "that takes token ids (speaks: vllm)"
            )
        folder, self._checkpoint, self._rank = self._prepared.folder, checkpoint, rank
        if checkpoint is not None:
            if self._settings.takes_adapters:
                logger.warning("engine: %s: a checkpoint is exported", self._needs_checkpoint(checkpoint[0]))
            folder = write_scaled(Checkpoint(folder), *checkpoint, self._room() / "checkpoint", borrow=True)
        self._model = str(folder.resolve())
        values = {"folder": self._model, "gpus": self._gpus, "dtype": self._prepared.identity["dtype"], "lora_rank": rank}
        self._server = ModelServer(self._settings.command, self._settings.start_timeout_s, **values)
        self._client = OpenAI(
            base_url=f"{self._server.url}/v1",
            api_key="none",
            max_retries=_RETRIES,
            timeout=_REQUEST_TIMEOUT_S,
            http_client=DefaultHttpxClient(**client_options(self._server.url, "engine")),
        )

    def _register(self, scaling: Scaling) -> None:
        """Write the adapter of a scaling and make it known to the server."""
        name = f"scaled-{len(self._adapters)}"
        folder = self._room() / name
        folder.mkdir()
        write_adapter(Checkpoint(self._prepared.folder), *(scaling or _UNTOUCHED), folder)
        with self._one_line_errors():
            self._client.post(
                "/load_lora_adapter", cast_to=str, body={"lora_name": name, "lora_path": str(folder.resolve())}
            )
        self._adapters.append((scaling, name))

    def _room(self) -> Path:
        """The folder for checkpoints and adapters of the running server, deleted with it."""
        if self._written is None:
            # On the disk of the weights, so that unscaled files can be hard links.
            self._written = Path(tempfile.mkdtemp(prefix=".scaled-", dir=self._prepared.study_folder))
        return self._written

    def _stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self._written is not None:
            shutil.rmtree(self._written, ignore_errors=True)
            self._written = None
        self._adapters = []

    def _ask(self, scaling: Scaling, request: Request) -> list[Response]:
        """Responses of the model or the adapter that is scaled so."""
        model = next((name for registered, name in self._adapters if registered == scaling), self._model)
        with self._one_line_errors():
            return self._completions.ask(self._client, model, request)

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        server = self._server
        assert server is not None
        try:
            yield
        except (APIConnectionError, InternalServerError) as error:
            raise server.failed(f"the server does not answer: {error.__cause__ or error}") from None
        except APIStatusError as error:
            raise HNeuronsError(f"engine: the server refuses a request with {error.status_code}: {error.message}") from None
