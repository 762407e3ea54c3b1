"""The judge behind an OpenAI-compatible API: its replies are parsed strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from hneurons.errors import HNeuronsError
from hneurons.judges import llm_prompts
from hneurons.judges.cache import PaidReply
from hneurons.judges.claims import Span
from hneurons.judges.client import FailedCall, JudgePrompt, LLMClient
from hneurons.judges.judge import Choice, Exchange
from hneurons.judges.states import ERROR, UNPARSED, Answer, Judgement


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Verdict(_Reply):
    verdict: str


class _Correctness(_Verdict):
    verdict: Literal["correct", "incorrect", "refused", "unparsed"]


class _Premise(_Verdict):
    verdict: Literal["accepted", "rejected", "refused", "unparsed"]


class _Harm(_Verdict):
    verdict: Literal["harmful", "harmless", "refused", "unparsed"]


class _Option(_Reply):
    option: Literal["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "none"]


class _Span(_Reply):
    span: str


F = TypeVar("F", bound=_Reply)
V = TypeVar("V", bound=_Verdict)


def _user(**parts: Any) -> str:
    return json.dumps(parts, ensure_ascii=False, indent=1)


def correctness_user(answer: Answer) -> str:
    """What the judge is given of an answer."""
    return _user(question=answer.question, accepted_answers=list(answer.aliases), response=answer.text)


class LLMJudge:
    """Asks the client's model for every judgement; a failed call, or a reply that is not what was asked for, is error."""

    def __init__(self, client: LLMClient) -> None:
        self._client = client
        self.name = client.name

    def correctness(self, answers: Sequence[Answer]) -> list[Judgement]:
        users = [correctness_user(answer) for answer in answers]
        return self._verdicts("correctness", llm_prompts.CORRECTNESS, users, _Correctness)

    def premise(self, asked: Sequence[Exchange]) -> list[Judgement]:
        users = [_user(question=e.request, response=e.reply) for e in asked]
        return self._verdicts("premise", llm_prompts.PREMISE, users, _Premise)

    def harm(self, asked: Sequence[Exchange]) -> list[Judgement]:
        users = [_user(question=e.request, response=e.reply) for e in asked]
        return self._verdicts("harm", llm_prompts.HARM, users, _Harm)

    def option(self, asked: Sequence[Choice]) -> list[Judgement]:
        users = [
            _user(
                question=c.question, options={chr(ord("A") + i): text for i, text in enumerate(c.options)}, response=c.reply
            )
            for c in asked
        ]
        found = []
        for choice, reply in zip(asked, self._ask("option", llm_prompts.OPTION, users, _Option), strict=True):
            if isinstance(reply, Judgement):
                found.append(reply)
            elif reply.option == "none":
                found.append(Judgement(UNPARSED))
            else:
                known = ord(reply.option) - ord("A") < len(choice.options)
                found.append(Judgement(reply.option) if known else Judgement(ERROR, f"no option {reply.option}"))
        return found

    def span(self, answers: Sequence[Answer]) -> list[Span | None]:
        """A span that is no verbatim part of its response, or stands there more than once, is none."""
        users = [_user(question=a.question, response=a.text) for a in answers]
        replies = self._ask("span", llm_prompts.SPAN, users, _Span)
        return [
            None if isinstance(r, Judgement) else _only_place(r.span, a.text) for a, r in zip(answers, replies, strict=True)
        ]

    def _verdicts(self, task: str, system: str, users: Sequence[str], form: type[V]) -> list[Judgement]:
        replies = self._ask(task, system, users, form)
        return [reply if isinstance(reply, Judgement) else Judgement(reply.verdict) for reply in replies]

    def _ask(self, task: str, system: str, users: Sequence[str], form: type[F]) -> list[F | Judgement]:
        schema = json.dumps(form.model_json_schema(), sort_keys=True)
        replies = self._client.ask([JudgePrompt(task, system, user, schema) for user in users], f"judging {task}")
        found = [parse_reply(reply, form) for reply in replies]
        wrong = [
            r
            for r, f in zip(replies, found, strict=True)
            if isinstance(r, PaidReply) and isinstance(f, Judgement) and not r.refusal
        ]
        if len(found) >= _ENOUGH and len(wrong) > _UNUSABLE * len(found):
            shown = " ".join(wrong[0].content.split())[:80]
            raise HNeuronsError(
                f"judging {task}: {len(wrong)} of {len(found)} replies of {self.name} are not the JSON that was asked for, "
                f"the first: {shown!r}; try another model, structured_output or max_tokens under judges.llm"
            )
        return found


# A judge whose replies cannot be read is told of, not put into a table as errors.
_UNUSABLE = 0.2
_ENOUGH = 20


def _only_place(span: str, text: str) -> Span | None:
    places = [m.span() for m in re.finditer(rf"(?<!\w){re.escape(span)}(?!\w)", text)] if span.strip() else []
    return places[0] if len(places) == 1 else None


def parse_reply(reply: PaidReply | FailedCall, form: type[F]) -> F | Judgement:
    """A reply as its form, or the state error and why: a judge that refuses or writes prose has not judged."""
    if isinstance(reply, FailedCall):
        return Judgement(ERROR, reply.why)
    if reply.refusal:
        return Judgement(ERROR, "the judge refused")
    if not reply.content.strip() and reply.finish_reason != "length":
        return Judgement(ERROR, "an empty reply")
    if reply.finish_reason == "length":
        return Judgement(ERROR, "the judge's reply was cut off")
    fenced = re.fullmatch(r"\s*```(?:json)?\s*(.*?)\s*```\s*", reply.content, re.DOTALL)
    try:
        return form.model_validate_json(fenced[1] if fenced else reply.content.strip())
    except ValidationError:
        return Judgement(ERROR, "the judge's reply is not the JSON that was asked for")
