"""Ask a language model behind an OpenAI-compatible API, with a budget and a cache: no usable reply is paid for twice."""

import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from tqdm import tqdm

from hneurons.config.judges import LLMSettings
from hneurons.errors import HNeuronsError
from hneurons.judges.cache import PaidReply, ReplyCache
from hneurons.judges.server.calls import FailedCall, JudgeModel
from hneurons.judges.server.errors import one_line
from hneurons.judges.server.parameters import JudgePrompt, Parameters

logger = logging.getLogger(__name__)

# A rough value for the expected price; the server reports the tokens that it bills.
_CHARACTERS_PER_TOKEN = 4
# A judge with more than this share of unusable replies, out of enough of them, is not a judge.
_MAX_UNUSABLE = 0.2
_ENOUGH_REPLIES = 20
_LONGEST_EXCERPT = 80

# Why a reply cannot be used; empty if it can be.
Fault = Callable[[PaidReply], str]


class LLMClient:
    """Client of a judge model for one study; all calls go through `ask`.

    Args:
        settings: The study's `judges.llm` section.
        cache: Path of the reply cache.
        study: Name of the study, under which calls are counted.
    """

    def __init__(self, settings: LLMSettings, cache: str, study: str) -> None:
        self.settings = settings
        self.study = study
        self._cache_path = cache
        self._parameters = Parameters(settings)

    @property
    def name(self) -> str:
        """`llm:` and the model's name."""
        return f"llm:{self.settings.model}"

    def key(self, prompt: JudgePrompt) -> str:
        """Return the cache key of a prompt: a hash of prompt, model and settings, but not of the server's address."""
        s = self.settings
        parts: list[object] = [prompt.task, prompt.system, prompt.user, prompt.schema]
        parts += [s.model, s.structured_output, s.max_tokens]
        parts += [changed] if (changed := s.changed_sampling()) else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def price(self, prompts: Sequence[JudgePrompt]) -> float:
        """Return the expected price of prompts in dollars."""
        tokens_in = sum(len(p.text) + len(p.schema) for p in prompts) / _CHARACTERS_PER_TOKEN
        return self.settings.price(len(prompts), tokens_in)

    def ask(self, prompts: Sequence[JudgePrompt], description: str, fault: Fault) -> list[PaidReply | FailedCall]:
        """Return the replies to prompts, from the cache or from the server; each new usable reply is cached on arrival.

        A reply that cannot be used is paid for and counted, but the next run asks again.

        Args:
            prompts: The prompts; equal ones are sent once.
            description: What the calls are for, in messages and on the progress bar.
            fault: Returns why a reply cannot be used, or an empty text.

        Returns:
            A reply, usable or not, or a failure for each prompt, in their order.

        Raises:
            HNeuronsError: Before any call, the study's budget does not cover the prompts that are not cached, the key is
                missing, or the proxy in the environment cannot be used; at once, the server rejects the key, does not know
                the model or wants to be paid, or none of the first 20 replies can be used; later, more calls fail than
                max_errors_percent allows, or more than a fifth of 20 or more replies cannot be used; or the cache cannot be
                used. Usable replies paid for until then are cached.
        """
        keys = [self.key(prompt) for prompt in prompts]
        cache = ReplyCache(self._cache_path)
        try:
            replies: dict[str, PaidReply | FailedCall] = dict(_usable(cache.get(keys), fault))
            if set(keys) - set(replies):
                with cache.one_writer():
                    # Another job may have added replies in the meantime.
                    cached = cache.get(keys)
                    replies = dict(_usable(cached, fault))
                    if len(cached) > len(replies):
                        logger.info("%s: %d cached replies cannot be used", description, len(cached) - len(replies))
                    new = {k: p for k, p in zip(keys, prompts, strict=True) if k not in replies}
                    self._check_budget(cache.spent(self.study)[0], list(new.values()), description)
                    replies.update(self._send(new, cache, description, fault))
        except sqlite3.Error as error:
            raise HNeuronsError(f"judges.cache: {self._cache_path}: {error}") from None
        finally:
            cache.close()
        returned = [replies[key] for key in keys]
        unusable = [reply for reply in returned if isinstance(reply, PaidReply) and fault(reply)]
        if len(keys) >= _ENOUGH_REPLIES and len(unusable) > _MAX_UNUSABLE * len(keys):
            raise self._no_judge(unusable, len(keys), description, fault)
        return returned

    def _no_judge(self, unusable: Sequence[PaidReply], count: int, description: str, fault: Fault) -> HNeuronsError:
        first = unusable[0]
        excerpt = one_line(first.content)[:_LONGEST_EXCERPT]
        return HNeuronsError(
            f"{description}: {len(unusable)} of {count} replies of {self.name} cannot be used; the first: {fault(first)}, "
            f"{excerpt!r}; try another model, structured_output or max_tokens under judges.llm; these replies are paid and "
            f"will be asked again"
        )

    def _check_budget(self, spent: int, new: Sequence[JudgePrompt], description: str) -> None:
        limit = self.settings.max_judge_calls
        expected = f"{len(new)} calls to {self.settings.model}, about ${self.price(new):.2f}"
        if spent + len(new) > limit:
            raise HNeuronsError(
                f"judges.llm.max_judge_calls: {description} needs {expected}; the study has made {spent} of {limit}: "
                f"raise it, or judge with rules"
            )
        logger.info("%s: %s; %d of %d calls made before", description, expected, spent, limit)

    def _api_key(self) -> str:
        name = self.settings.api_key_env
        key = os.environ.get(name, "").strip() if name else ""
        if name and not key:
            raise HNeuronsError(
                f"judges.llm: the environment variable {name} holds no key: set it, or judge offline with `rules` "
                f"under judges"
            )
        return key

    def _send(
        self, new: Mapping[str, JudgePrompt], cache: ReplyCache, description: str, fault: Fault
    ) -> dict[str, PaidReply | FailedCall]:
        """Send new prompts, by their keys, from several threads."""
        s = self.settings
        judge = JudgeModel(s, self._api_key(), self._parameters)
        replies: dict[str, PaidReply | FailedCall] = {}
        allowed = int(len(new) * s.max_errors_percent / 100)
        failures: list[str] = []
        unusable: list[PaidReply] = []
        waiting = iter(new.items())
        running: dict[Future[PaidReply | FailedCall], str] = {}

        def keep(call: Future[PaidReply | FailedCall]) -> None:
            """Take what a finished call returned; a reply that was paid for is cached or counted at once."""
            key, reply = running.pop(call), call.result()
            if isinstance(reply, FailedCall):
                failures.append(reply.why)
            else:
                if faulty := bool(fault(reply)):
                    unusable.append(reply)
                cache.put(self.study, key, s.model, new[key].text, reply, keep=not faulty)
            replies[key] = reply

        def is_no_judge() -> bool:
            """Whether enough replies have come, and none of them can be used."""
            return len(unusable) >= _ENOUGH_REPLIES and len(unusable) + len(failures) == len(replies)

        with ThreadPoolExecutor(s.concurrency) as pool, tqdm(total=len(new), desc=description, unit="call") as progress:
            try:
                while True:
                    # Only a few calls are submitted at a time, so that a server that is down is noticed early.
                    if len(failures) <= allowed and not is_no_judge():
                        batch = islice(waiting, s.concurrency - len(running))
                        running |= {pool.submit(judge.call, prompt): key for key, prompt in batch}
                    if not running:
                        break
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for call in done:
                        keep(call)
                        progress.update()
            finally:
                # Calls in flight are paid for, so their replies are cached too after an interrupt or a rejected call.
                for call in list(running):
                    if not call.cancel() and call.exception() is None:
                        keep(call)
        paid = [reply for reply in replies.values() if isinstance(reply, PaidReply)]
        tokens = sum(p.tokens_in for p in paid), sum(p.tokens_out for p in paid)
        logger.info("%s: %d replies, %d + %d tokens, $%.2f", description, len(paid), *tokens, s.price(len(paid), *tokens))
        if unusable:
            why = fault(unusable[0])
            counts = len(unusable), len(paid)
            logger.warning("%s: %d of %d replies cannot be used, the first: %s", description, *counts, why)
        if is_no_judge():
            raise self._no_judge(unusable, len(replies), description, fault)
        if len(failures) > allowed:
            raise HNeuronsError(
                f"{description}: {len(failures)} of {len(replies)} calls to {s.base_url} failed, {allowed} allowed "
                f"(judges.llm.max_errors_percent); the last: {failures[-1]}. {len(paid) - len(unusable)} replies are kept: "
                f"run again"
            )
        return replies


def _usable(replies: Mapping[str, PaidReply], fault: Fault) -> dict[str, PaidReply]:
    return {key: reply for key, reply in replies.items() if not fault(reply)}
