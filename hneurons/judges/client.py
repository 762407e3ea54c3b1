"""Ask a language model behind an OpenAI-compatible API, with a budget and a cache: no prompt is paid for twice."""

import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tqdm import tqdm

from hneurons.config.judges import LLMSettings
from hneurons.errors import HNeuronsError
from hneurons.judges.cache import PaidReply, ReplyCache

logger = logging.getLogger(__name__)

# A rough value for the expected price; the server reports the tokens that it bills.
_CHARACTERS_PER_TOKEN = 4
# A shorter value is not a real key and may occur in a reply by chance.
_SHORTEST_KEY = 8
_MODERATED = {"content_filter", "content_policy_violation"}


@dataclass(frozen=True)
class JudgePrompt:
    """One prompt of a judge.

    Attributes:
        task: Name of the task, which is also the name of the schema.
        system: The system prompt.
        user: The user message.
        schema: JSON schema of the reply, as text.
    """

    task: str
    system: str
    user: str
    schema: str

    @property
    def text(self) -> str:
        """The system prompt and the user message."""
        return f"{self.system}\n\n{self.user}"


@dataclass(frozen=True)
class FailedCall:
    """A call without a reply. It is not cached: the next run calls again.

    Attributes:
        why: The reason, in one line.
    """

    why: str


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

    @property
    def name(self) -> str:
        """`llm:` and the model's name."""
        return f"llm:{self.settings.model}"

    def key(self, prompt: JudgePrompt) -> str:
        """Return the cache key of a prompt: a hash of prompt, model and settings, but not of the server's address."""
        s = self.settings
        parts = [prompt.task, prompt.system, prompt.user, prompt.schema, s.model, s.structured_output, s.max_tokens]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def price(self, prompts: Sequence[JudgePrompt]) -> float:
        """Return the expected price of prompts in dollars."""
        tokens_in = sum(len(p.text) + len(p.schema) for p in prompts) / _CHARACTERS_PER_TOKEN
        return self.settings.price(len(prompts), tokens_in)

    def ask(self, prompts: Sequence[JudgePrompt], description: str) -> list[PaidReply | FailedCall]:
        """Return the replies to prompts, from the cache or from the server; each new reply is cached on arrival.

        Args:
            prompts: The prompts; equal ones are sent once.
            description: What the calls are for, in messages and on the progress bar.

        Returns:
            A reply or a failure for each prompt, in their order.

        Raises:
            HNeuronsError: Before any call, the study's budget does not cover the prompts that are not cached, or the key is
                missing; at once, the server rejects the key or does not know the model; later, more calls fail than
                max_errors_percent allows; or the cache cannot be used. Replies paid for until then are cached.
        """
        keys = [self.key(prompt) for prompt in prompts]
        cache = ReplyCache(self._cache_path)
        try:
            replies: dict[str, PaidReply | FailedCall] = dict(cache.get(keys))
            if set(keys) - set(replies):
                with cache.one_writer():
                    # Another job may have added replies in the meantime.
                    replies = dict(cache.get(keys))
                    new = {k: p for k, p in zip(keys, prompts, strict=True) if k not in replies}
                    self._check_budget(cache.spent(self.study)[0], list(new.values()), description)
                    replies.update(self._send(new, cache, description))
        except sqlite3.Error as error:
            raise HNeuronsError(f"judges.cache: {self._cache_path}: {error}") from None
        finally:
            cache.close()
        return [replies[key] for key in keys]

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

    def _send(self, new: dict[str, JudgePrompt], cache: ReplyCache, description: str) -> dict[str, PaidReply | FailedCall]:
        """Send new prompts, by their keys, from several threads."""
        import openai

        api_key, s = self._api_key(), self.settings
        client = openai.OpenAI(api_key=api_key or "none", base_url=s.base_url, timeout=s.timeout_s, max_retries=s.retries)
        replies: dict[str, PaidReply | FailedCall] = {}
        allowed = int(len(new) * s.max_errors_percent / 100)
        failures: list[str] = []
        waiting = iter(new.items())
        running: dict[Future[PaidReply | FailedCall], str] = {}

        def keep(call: Future[PaidReply | FailedCall]) -> None:
            """Take what a finished call returned; a reply that was paid for is cached at once."""
            key, reply = running.pop(call), call.result()
            if isinstance(reply, PaidReply):
                cache.put(self.study, key, s.model, new[key].text, reply)
            else:
                reply = FailedCall(_without(api_key, reply.why))
                failures.append(reply.why)
            replies[key] = reply

        with ThreadPoolExecutor(s.concurrency) as pool, tqdm(total=len(new), desc=description, unit="call") as progress:
            try:
                while True:
                    # Only a few calls are submitted at a time, so that a server that is down is noticed early.
                    if len(failures) <= allowed:
                        batch = islice(waiting, s.concurrency - len(running))
                        running |= {pool.submit(self._call_once, client, prompt): key for key, prompt in batch}
                    if not running:
                        break
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for call in done:
                        keep(call)
                        progress.update()
            except openai.APIStatusError as error:
                raise HNeuronsError(_refused_by_server(error, s, api_key)) from None
            finally:
                # Calls in flight are paid for, so their replies are cached too after an interrupt or a rejected call.
                for call in list(running):
                    if not call.cancel() and call.exception() is None:
                        keep(call)
        paid = [reply for reply in replies.values() if isinstance(reply, PaidReply)]
        tokens = sum(p.tokens_in for p in paid), sum(p.tokens_out for p in paid)
        logger.info("%s: %d replies, %d + %d tokens, $%.2f", description, len(paid), *tokens, s.price(len(paid), *tokens))
        if len(failures) > allowed:
            raise HNeuronsError(
                f"{description}: {len(failures)} of {len(replies)} calls to {s.base_url} failed, {allowed} allowed "
                f"(judges.llm.max_errors_percent); the last: {failures[-1]}. {len(paid)} replies are kept: run again"
            )
        return replies

    def _call_once(self, client: Any, prompt: JudgePrompt) -> PaidReply | FailedCall:
        """Make one call, with the client's own retries. An APIStatusError that another call would meet too is raised."""
        import openai

        s = self.settings
        schema = {"name": prompt.task, "strict": True, "schema": json.loads(prompt.schema)}
        formats = {"json_schema": {"type": "json_schema", "json_schema": schema}, "json_object": {"type": "json_object"}}
        options = {"response_format": formats[s.structured_output]} if s.structured_output in formats else {}
        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
        try:
            reply = client.chat.completions.create(
                model=s.model, messages=messages, temperature=0, max_tokens=s.max_tokens, **options
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError):
            raise
        except openai.BadRequestError as error:
            # A server that moderates prompts rejects this one because of its content, and would do so again.
            if error.code in _MODERATED:
                return PaidReply("", f"{error.code}", "content_filter")
            return FailedCall(f"HTTP 400: {_one_line(error)}")
        except openai.APITimeoutError:
            return FailedCall(f"no reply within {s.timeout_s:g} s")
        except openai.APIStatusError as error:
            return FailedCall(f"HTTP {error.status_code}")
        except (openai.OpenAIError, ValueError) as error:
            return FailedCall(f"{type(error).__name__}: {_one_line(error)}")
        choice = (getattr(reply, "choices", None) or [None])[0]
        if choice is None:
            return FailedCall("an empty reply")
        # The key must not enter the cache from a server that repeats the request's headers.
        texts = (getattr(choice.message, name, None) or "" for name in ("content", "refusal"))
        content, refusal = (_without(client.api_key, text if isinstance(text, str) else json.dumps(text)) for text in texts)
        usage = reply.usage
        tokens = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
        return PaidReply(content, refusal, choice.finish_reason or "", *tokens)


def _without(key: str, text: str) -> str:
    """Mask an API key in a text."""
    return text.replace(key, "***") if len(key) >= _SHORTEST_KEY else text


def _one_line(error: Any) -> str:
    return " ".join(str(getattr(error, "message", error)).split())[:200]


def _refused_by_server(error: Any, settings: LLMSettings, key: str) -> str:
    """Return the message for a status that stops all calls, with a hint at the setting to check."""
    message = _without(key, _one_line(error))
    hint = f"check the key in {settings.api_key_env}"
    if error.status_code == 404:
        hint = f"check judges.llm.model ({settings.model}) and base_url"
    return f"judges.llm: {settings.base_url} answers HTTP {error.status_code}: {message}; {hint}"
