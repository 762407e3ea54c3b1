"""What generates: one small interface, and the engine that is the default, transformers in this process."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hneurons.config.study import Decoding
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.generation.decode import Response, generate, generate_batch
from hneurons.generation.kv_cache import CachedRow
from hneurons.generation.prompts import chat_ids, continued_ids, newline_ids
from hneurons.models.prepared import PreparedModel
from hneurons.models.tokenizer import stop_token_ids
from hneurons.neurons.scaling import NeuronsByLayer, scaled

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Indices of what was asked, and the responses to each: the samples of a prompt, or the replies of a conversation.
Answered = Iterator[tuple[list[int], list[list[Response]]]]


@dataclass(frozen=True)
class Prompt:
    """ids: the prompt as the model reads it. text: the question, or what a base model completes up to a newline."""

    ids: list[int]
    text: str
    base: bool = False


class Engine(Protocol):
    """Generates with one model. What it yields comes in any order and as it is done, so that a caller can keep it."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What of model and engine decides the responses."""
        ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

    def scaled(self, neurons: NeuronsByLayer, alpha: float) -> AbstractContextManager[None]:
        """Within the block, the neurons are scaled by alpha (eq. 5)."""
        ...

    def sample(self, prompts: Sequence[Prompt], decoding: Decoding, *, seeds: Sequence[int], samples: int) -> Answered:
        """So many responses to each prompt. seeds: one per prompt."""
        ...

    def converse(
        self,
        conversations: Sequence[Sequence[str]],
        decoding: Decoding,
        *,
        date: datetime.date,
        seeds: Sequence[Sequence[int]],
    ) -> Answered:
        """The reply to every turn of the user's; conversations have equally many. seeds: one per turn, of each."""
        ...


class LocalEngine:
    """The engine in this process: batches within a budget of tokens, which adapts to the memory that there is."""

    def __init__(self, prepared: PreparedModel, budget: int | TokenBudget) -> None:
        self._prepared = prepared
        self._budget = TokenBudget.from_tokens(budget)

    @property
    def identity(self) -> Mapping[str, Any]:
        return self._prepared.identity

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._prepared.tokenizer

    def scaled(self, neurons: NeuronsByLayer, alpha: float) -> AbstractContextManager[None]:
        return scaled(self._prepared.model, neurons, alpha)

    def sample(self, prompts: Sequence[Prompt], decoding: Decoding, *, seeds: Sequence[int], samples: int) -> Answered:
        for base in (False, True):
            group = [i for i, prompt in enumerate(prompts) if prompt.base == base]
            if not group:
                continue
            stops = stop_token_ids(self._prepared.model.generation_config, self.tokenizer)
            for index, responses in generate(
                self._prepared.model,
                [prompts[i].ids for i in group],
                decoding,
                seeds=[seeds[i] for i in group],
                stop_ids=sorted({*stops, *newline_ids(self.tokenizer)}) if base else stops,
                samples=samples,
                budget=self._budget,
            ):
                yield [group[index]], [responses]

    def converse(
        self,
        conversations: Sequence[Sequence[str]],
        decoding: Decoding,
        *,
        date: datetime.date,
        seeds: Sequence[Sequence[int]],
    ) -> Answered:
        def run(batch: list[int]) -> list[list[Response]]:
            return self._hold([conversations[i] for i in batch], decoding, date, [seeds[i] for i in batch])

        # Their own words count as nothing here, the model's replies as the longest that there may be.
        spoken = [[text for turn in turns for text in (turn, "")][:-1] for turns in conversations]
        replies = len(conversations[0]) * decoding.max_new_tokens
        lengths = [len(chat_ids(self.tokenizer, said, date)) + replies for said in spoken]
        yield from in_batches(lengths, self._budget, run)

    def _hold(
        self,
        conversations: Sequence[Sequence[str]],
        decoding: Decoding,
        date: datetime.date,
        seeds: Sequence[Sequence[int]],
    ) -> list[list[Response]]:
        """The conversations of a batch. What was read and said stays in the key-value cache from turn to turn."""
        tokenizer, stops = self.tokenizer, stop_token_ids(self._prepared.model.generation_config, self.tokenizer)
        said: list[list[str]] = [[] for _ in conversations]
        replies: list[list[Response]] = [[] for _ in conversations]
        read: list[list[int]] = [[] for _ in conversations]
        past: list[CachedRow | None] = [None] * len(conversations)
        turns = len(conversations[0])
        for turn in range(turns):
            prompts = []
            for i, conversation in enumerate(conversations):
                said[i].append(conversation[turn])
                prompt = continued_ids(tokenizer, said[i], date, read[i]) if turn else None
                if prompt is None:
                    prompt, past[i] = chat_ids(tokenizer, said[i], date), None
                prompts.append(prompt)
            known = [row for row in past if row is not None]
            answers = generate_batch(
                self._prepared.model,
                prompts,
                decoding,
                seeds=[of_turns[turn] for of_turns in seeds],
                stop_ids=stops,
                # Rows that begin anew and rows that go on would not share a batch: then all begin anew.
                past=known if len(known) == len(conversations) else None,
                keep_past=turn + 1 < turns,
            )
            for i, (response,) in enumerate(answers):
                read[i] = [*prompts[i], *response.unended_ids]
                past[i] = response.past
                said[i].append(tokenizer.decode(response.token_ids, skip_special_tokens=True))
                replies[i].append(response)
        return replies
