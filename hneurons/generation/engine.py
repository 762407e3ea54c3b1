"""The interface of everything that generates, and its default implementation: transformers in this process."""

import datetime
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from transformers import PreTrainedTokenizerBase

from hneurons.config.study import Decoding
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.generation.decode import generate, generate_batch
from hneurons.generation.kv_cache import CachedRow
from hneurons.generation.prompts import begins_in_thoughts, chat_ids, continued_ids, newline_ids
from hneurons.generation.response import Response
from hneurons.generation.thoughts import taken_apart
from hneurons.models.prepared import PreparedModel
from hneurons.models.tokenizer import stop_token_ids
from hneurons.neurons.scaling import Scaling, scaled_batch

# Indices of the inputs, and the responses to each: the samples of a prompt, or the replies of a conversation.
Answered = Iterator[tuple[list[int], list[list[Response]]]]


@dataclass(frozen=True)
class Prompt:
    """A prompt, as token ids and as text: engines differ in which of the two they send.

    Attributes:
        ids: the prompt as the model reads it.
        text: the question or, if `base`, the text to complete.
        base: whether a base model completes the prompt, up to a line break.
        seed: of its samples.
        scaling: neurons to scale while the prompt is answered, and their α (eq. 5).
    """

    ids: list[int]
    text: str
    base: bool = False
    seed: int = 0
    scaling: Scaling = None


@dataclass(frozen=True)
class Conversation:
    """A conversation to hold.

    Attributes:
        turns: what the user says.
        seeds: one per turn, of the model's reply.
        decoding: how the tokens of a reply are drawn, and how many at most.
        scaling: neurons to scale while the model replies, and their α (eq. 5).
    """

    turns: Sequence[str]
    seeds: Sequence[int]
    decoding: Decoding
    scaling: Scaling = None


class Engine(Protocol):
    """Generates with one model.

    Results are yielded in any order, as soon as they are available, so that a caller can save finished work.
    """

    @property
    def identity(self) -> Mapping[str, Any]:
        """The facts about model and engine that decide the responses."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the model."""

    @property
    def parse_control_tokens(self) -> bool:
        """Whether control tokens in what a user writes act as such (`chat_ids`); if not, they are text."""

    def sample(self, prompts: Sequence[Prompt], decoding: Decoding, samples: int) -> Answered:
        """Sample every prompt; without prompts, nothing is loaded or started.

        Args:
            prompts: chat prompts and texts to complete, in any mixture.
            decoding: how tokens are drawn, and how many at most.
            samples: responses per prompt.

        Yields:
            Indices of prompts, and for each its `samples` responses.
        """

    def converse(self, conversations: Sequence[Conversation], date: datetime.date) -> Answered:
        """Hold conversations, replying to every turn of the user.

        Args:
            conversations: of any lengths and decodings, scaled alike or differently.
            date: printed by chat templates that print today's date.

        Yields:
            Indices of conversations, and for each its replies, one per turn.
        """


def with_control_tokens(identity: Mapping[str, Any], parsed: bool) -> dict[str, Any]:
    """Add to the facts that decide responses that control tokens in texts are parsed, if they are."""
    return {**identity, **({"control_tokens": "parse"} if parsed else {})}


class LocalEngine:
    """An `Engine` in this process: batches within a token budget, which adapts to the available memory."""

    def __init__(
        self,
        prepared: PreparedModel,
        budget: int | TokenBudget,
        parse_control_tokens: bool = False,
        steps_per_look: int = 1,
    ) -> None:
        self._prepared, self.parse_control_tokens, self._steps_per_look = prepared, parse_control_tokens, steps_per_look
        self._budget = TokenBudget.from_tokens(budget)

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Engine.identity`."""
        return with_control_tokens(self._prepared.identity, self.parse_control_tokens)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """See `Engine.tokenizer`."""
        return self._prepared.tokenizer

    def sample(self, prompts: Sequence[Prompt], decoding: Decoding, samples: int) -> Answered:
        """See `Engine.sample`."""
        for base in (False, True):
            group = [i for i, prompt in enumerate(prompts) if prompt.base == base]
            if not group:
                continue
            stops = stop_token_ids(self._prepared.model.generation_config, self.tokenizer)
            for index, responses in generate(
                self._prepared.model,
                [prompts[i].ids for i in group],
                decoding,
                seeds=[prompts[i].seed for i in group],
                stop_ids=sorted({*stops, *newline_ids(self.tokenizer)}) if base else stops,
                samples=samples,
                budget=self._budget,
                scaled_by=[prompts[i].scaling for i in group],
                steps_per_look=self._steps_per_look,
            ):
                yield [group[index]], [responses]

    def converse(self, conversations: Sequence[Conversation], date: datetime.date) -> Answered:
        """See `Engine.converse`."""
        alike: dict[tuple[Decoding, int], list[int]] = defaultdict(list)
        for i, conversation in enumerate(conversations):
            alike[conversation.decoding, len(conversation.turns)].append(i)
        for (decoding, turns), group in alike.items():
            # A conversation's length: the user's turns, with empty replies in between, and replies of maximum length.
            without_replies = [[text for turn in conversations[i].turns for text in (turn, "")][:-1] for i in group]
            lengths = [
                len(chat_ids(self.tokenizer, texts, date, self.parse_control_tokens)) + turns * decoding.max_new_tokens
                for texts in without_replies
            ]

            def run(batch: list[int], group: list[int] = group) -> list[list[Response]]:
                return self._converse_batch([conversations[group[i]] for i in batch], date)

            for batch, replies in in_batches(lengths, self._budget, run):
                yield [group[i] for i in batch], replies

    def _converse_batch(self, conversations: Sequence[Conversation], date: datetime.date) -> list[list[Response]]:
        """Replies of a batch of conversations, alike in decoding; earlier turns stay in the key-value cache."""
        model, tokenizer, parse = self._prepared.model, self.tokenizer, self.parse_control_tokens
        stops = stop_token_ids(model.generation_config, tokenizer)
        turns: list[list[str]] = [[] for _ in conversations]
        replies: list[list[Response]] = [[] for _ in conversations]
        cached_ids: list[list[int]] = [[] for _ in conversations]
        past: list[CachedRow | None] = [None] * len(conversations)
        thoughts = [False] * len(conversations)
        opened = begins_in_thoughts(tokenizer)
        user_turns = len(conversations[0].turns)
        for turn in range(user_turns):
            prompts = []
            for i, conversation in enumerate(conversations):
                turns[i].append(conversation.turns[turn])
                # What a reply thought is not in the conversation that goes on.
                goes_on = turn > 0 and not thoughts[i]
                prompt = continued_ids(tokenizer, turns[i], date, cached_ids[i], parse) if goes_on else None
                if prompt is None:
                    prompt, past[i] = chat_ids(tokenizer, turns[i], date, parse), None
                prompts.append(prompt)
            cached_rows = [row for row in past if row is not None]
            with scaled_batch(model, [conversation.scaling for conversation in conversations]) as scaling:
                answers = generate_batch(
                    model,
                    prompts,
                    conversations[0].decoding,
                    seeds=[conversation.seeds[turn] for conversation in conversations],
                    stop_ids=stops,
                    # Rows with and without a past cannot share a batch: if one lacks it, all are read from the start.
                    past=cached_rows if len(cached_rows) == len(conversations) else None,
                    keep_past=turn + 1 < user_turns,
                    scaling=scaling,
                )
            for i, (response,) in enumerate(answers):
                cached_ids[i] = [*prompts[i], *response.unended_ids]
                past[i] = response.past
                reply = taken_apart(tokenizer, response.token_ids, opened)
                thoughts[i] = reply.thought_tokens > 0
                turns[i].append(reply.text)
                replies[i].append(response)
        return replies
