"""Asking a language model behind an OpenAI-compatible API: cached, within a budget, and never twice for the same thing."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tqdm import tqdm

from hneurons.config.judges import LLMSettings
from hneurons.errors import HNeuronsError
from hneurons.judges.cache import PaidReply, ReplyCache

# Rough, for the expected price alone: what was billed is counted by the server.
_CHARACTERS_PER_TOKEN = 4
# A shorter value is no key, and may stand in a reply by chance.
_SHORTEST_KEY = 8


@dataclass(frozen=True)
class JudgePrompt:
    """What a judge is asked, and the JSON schema of its reply."""

    task: str
    system: str
    user: str
    schema: str

    @property
    def text(self) -> str:
        return f"{self.system}\n\n{self.user}"


@dataclass(frozen=True)
class FailedCall:
    """A call that brought no reply, and why. It is not kept: the next run asks again."""

    why: str


class LLMClient:
    """A judge model for one study. `ask` is the only way to it."""

    def __init__(self, settings: LLMSettings, cache: str, study: str) -> None:
        self.settings = settings
        self.study = study
        self._cache_path = cache

    @property
    def name(self) -> str:
        return f"llm:{self.settings.model}"

    def key(self, prompt: JudgePrompt) -> str:
        """What makes a reply this reply: prompt, model and settings. Where the server stands does not."""
        s = self.settings
        parts = [prompt.task, prompt.system, prompt.user, prompt.schema, s.model, s.structured_output, s.max_tokens]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def price(self, prompts: Sequence[JudgePrompt]) -> float:
        """Expected price in dollars."""
        read = sum(len(p.text) + len(p.schema) for p in prompts) / _CHARACTERS_PER_TOKEN
        return self.settings.price(len(prompts), read)

    def ask(self, prompts: Sequence[JudgePrompt], description: str) -> list[PaidReply | FailedCall]:
        """A reply or a failure for every prompt, in their order; each is kept as it arrives.

        Raises HNeuronsError, one line, before any call if the study's budget does not cover those that are not cached or
        the key is missing; at once if the server refuses the key or knows no such model; if more calls fail than
        max_errors_percent allows; and if the cache cannot be used. What was paid for until then is kept.
        """
        keys = [self.key(prompt) for prompt in prompts]
        cache = ReplyCache(self._cache_path)
        try:
            found: dict[str, PaidReply | FailedCall] = dict(cache.get(keys))
            if set(keys) - set(found):
                with cache.one_writer():
                    found = dict(cache.get(keys))
                    new = {k: p for k, p in zip(keys, prompts, strict=True) if k not in found}
                    self._check_budget(cache.calls(self.study), list(new.values()), description)
                    found.update(self._call(new, cache, description))
        except sqlite3.Error as error:
            raise HNeuronsError(f"judges.cache: {self._cache_path}: {error}") from None
        finally:
            cache.close()
        return [found[key] for key in keys]

    def _check_budget(self, spent: int, new: Sequence[JudgePrompt], description: str) -> None:
        most = self.settings.max_judge_calls
        expected = f"{len(new)} calls to {self.settings.model}, about ${self.price(new):.2f}"
        if spent + len(new) > most:
            raise HNeuronsError(
                f"judges.llm.max_judge_calls: {description} needs {expected}; the study has made {spent} of {most}: "
                f"raise it, or judge with rules"
            )
        print(f"{description}: {expected}; {spent} of {most} made before", file=sys.stderr)

    def _api_key(self) -> str:
        name = self.settings.api_key_env
        if name is None:
            return ""
        if not os.environ.get(name, "").strip():
            raise HNeuronsError(
                f"judges.llm: the environment variable {name} holds no key: set it, or judge offline with `rules` "
                f"under judges"
            )
        return os.environ[name].strip()

    def _call(self, new: dict[str, JudgePrompt], cache: ReplyCache, description: str) -> dict[str, PaidReply | FailedCall]:
        import openai

        key, s = self._api_key(), self.settings
        client = openai.OpenAI(api_key=key or "none", base_url=s.base_url, timeout=s.timeout_s, max_retries=s.retries)
        found: dict[str, PaidReply | FailedCall] = {}
        allowed = int(len(new) * s.max_errors_percent / 100)
        failures: list[str] = []
        left = iter(new.items())
        with ThreadPoolExecutor(s.concurrency) as pool, tqdm(total=len(new), desc=description, unit="call") as progress:
            running: dict[Future[PaidReply | FailedCall], str] = {}
            try:
                while True:
                    # A server that is down is noticed after a few calls, not after all of them.
                    if len(failures) <= allowed:
                        running |= {
                            pool.submit(self._once, client, p): k for k, p in islice(left, s.concurrency - len(running))
                        }
                    if not running:
                        break
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        name = running.pop(future)
                        reply = found[name] = future.result()
                        if isinstance(reply, PaidReply):
                            cache.put(self.study, name, s.model, new[name].text, reply)
                        else:
                            failures.append(_without(key, reply.why))
                            found[name] = FailedCall(failures[-1])
                        progress.update()
            except openai.APIStatusError as error:
                raise HNeuronsError(_refused_by_server(error, s, key)) from None
            finally:
                # What is under way is paid for: kept too, on an interrupt or when another call was refused.
                for future, name in running.items():
                    if (
                        not future.cancel()
                        and future.exception() is None
                        and isinstance(late := future.result(), PaidReply)
                    ):
                        cache.put(self.study, name, s.model, new[name].text, late)
        paid = [reply for reply in found.values() if isinstance(reply, PaidReply)]
        tokens = sum(p.tokens_in for p in paid), sum(p.tokens_out for p in paid)
        price = s.price(len(paid), *tokens)
        print(f"{description}: {len(paid)} replies, {tokens[0]} + {tokens[1]} tokens, ${price:.2f}", file=sys.stderr)
        if len(failures) > allowed:
            raise HNeuronsError(
                f"{description}: {len(failures)} of {len(found)} calls to {s.base_url} failed, {allowed} allowed "
                f"(judges.llm.max_errors_percent); the last: {failures[-1]}. {len(found) - len(failures)} replies "
                f"are kept: run again"
            )
        return found

    def _once(self, client: Any, prompt: JudgePrompt) -> PaidReply | FailedCall:
        """One call with the client's own retries. An APIStatusError that no later call can mend goes through."""
        import openai

        s = self.settings
        options: dict[str, Any] = {}
        if s.structured_output == "json_schema":
            schema = {"name": prompt.task, "strict": True, "schema": json.loads(prompt.schema)}
            options["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif s.structured_output == "json_object":
            options["response_format"] = {"type": "json_object"}
        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
        try:
            reply = client.chat.completions.create(
                model=s.model, messages=messages, temperature=0, max_tokens=s.max_tokens, **options
            )
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError):
            raise
        except openai.BadRequestError as error:
            # A moderating server refuses a prompt by its content: asked again it will refuse again.
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
        # A server that repeats the request's headers must not bring the key into the cache.
        said = (getattr(choice.message, name, None) or "" for name in ("content", "refusal"))
        content, refusal = (_without(client.api_key, text if isinstance(text, str) else json.dumps(text)) for text in said)
        usage = reply.usage
        tokens = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
        return PaidReply(content, refusal, choice.finish_reason or "", *tokens)


_MODERATED = {"content_filter", "content_policy_violation"}


def _without(key: str, text: str) -> str:
    return text.replace(key, "***") if len(key) >= _SHORTEST_KEY else text


def _one_line(error: Any) -> str:
    return " ".join(str(getattr(error, "message", error)).split())[:200]


def _refused_by_server(error: Any, settings: LLMSettings, key: str) -> str:
    said = _without(key, _one_line(error))
    hint = {
        401: f"check the key in {settings.api_key_env}",
        403: f"check the key in {settings.api_key_env}",
        404: f"check judges.llm.model ({settings.model}) and base_url",
    }[error.status_code]
    return f"judges.llm: {settings.base_url} answers HTTP {error.status_code}: {said}; {hint}"
