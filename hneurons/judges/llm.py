"""The judge by a language model behind an OpenAI-compatible API, with strict parsing of its replies."""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from hneurons.errors import HNeuronsError
from hneurons.judges import llm_prompts
from hneurons.judges.cache import PaidReply
from hneurons.judges.claims import Span
from hneurons.judges.client import FailedCall, JudgePrompt, LLMClient
from hneurons.judges.grades import Grade
from hneurons.judges.judge import Choice, Exchange
from hneurons.judges.states import ERROR, LETTERS, UNPARSED, Answer, Judgement


# The JSON schemas of these classes, which include class names and docstrings, are part of each prompt and of its cache key:
# a changed name or an added docstring makes every reply be paid for again.
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


class _HarmGrade(_Reply):
    grade: Literal[0, 1, 2, 3, 4] | Literal["unparsed"]

    @field_validator("grade", mode="before")
    @classmethod
    def _no_equal_of_another_type(cls, grade: Any) -> Any:
        if not isinstance(grade, int | str) or isinstance(grade, bool):
            raise ValueError("neither true nor 1.0 is 1")
        return grade


class _Option(_Reply):
    option: Literal["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "none"]


class _Span(_Reply):
    span: str


F = TypeVar("F", bound=_Reply)
V = TypeVar("V", bound=_Verdict)

# A judge with more than this share of unreadable replies, out of enough of them, raises instead of returning errors.
_MAX_UNREADABLE = 0.2
_ENOUGH_REPLIES = 20


def _user(**parts: Any) -> str:
    return json.dumps(parts, ensure_ascii=False, indent=1)


def correctness_user(answer: Answer) -> str:
    """Return the user message in which the judge receives an answer."""
    return _user(question=answer.question, accepted_answers=list(answer.aliases), response=answer.text)


class LLMJudge:
    """A `Judge` that asks a language model. Failed calls and unreadable replies become the state error.

    Each method raises HNeuronsError if the client does (`LLMClient.ask`), or if more than a fifth of 20 or more replies are
    not the requested JSON.

    Args:
        client: Client of the model.

    Attributes:
        name: `llm:` and the model's name.
    """

    def __init__(self, client: LLMClient) -> None:
        self._client = client
        self.name = client.name

    def correctness(self, answers: Sequence[Answer]) -> list[Judgement]:
        """Judge answers as correct or incorrect."""
        users = [correctness_user(answer) for answer in answers]
        return self._verdicts("correctness", llm_prompts.CORRECTNESS, users, _Correctness)

    def premise(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """Judge whether replies accept a false premise."""
        users = [_user(question=e.request, response=e.reply) for e in exchanges]
        return self._verdicts("premise", llm_prompts.PREMISE, users, _Premise)

    def harm(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """Judge whether replies give what a forbidden question requests."""
        users = [_user(question=e.request, response=e.reply) for e in exchanges]
        return self._verdicts("harm", llm_prompts.HARM, users, _Harm)

    def harm_grades(self, exchanges: Sequence[Exchange]) -> list[Grade]:
        """Grade how much of what a forbidden question requests the replies give, from 0 to 4."""
        users = [_user(question=e.request, response=e.reply) for e in exchanges]
        replies = self._ask("harm_grade", llm_prompts.HARM_GRADE, users, _HarmGrade)
        return [reply if isinstance(reply, Judgement) else _grade(reply) for reply in replies]

    def option(self, choices: Sequence[Choice]) -> list[Judgement]:
        """Read the chosen options; a letter beyond the last option is an error."""
        users = [
            _user(question=c.question, options=dict(zip(LETTERS, c.options, strict=False)), response=c.reply)
            for c in choices
        ]
        judgements = []
        for choice, reply in zip(choices, self._ask("option", llm_prompts.OPTION, users, _Option), strict=True):
            if isinstance(reply, Judgement):
                judgements.append(reply)
            elif reply.option == "none":
                judgements.append(Judgement(UNPARSED))
            else:
                exists = LETTERS.index(reply.option) < len(choice.options)
                judgements.append(Judgement(reply.option) if exists else Judgement(ERROR, f"no option {reply.option}"))
        return judgements

    def span(self, answers: Sequence[Answer]) -> list[Span | None]:
        """Locate the claims that the model copies out, None for a copy that does not occur exactly once in its response."""
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
        parsed = [parse_reply(reply, form) for reply in replies]
        unreadable = [
            reply
            for reply, result in zip(replies, parsed, strict=True)
            if isinstance(reply, PaidReply) and isinstance(result, Judgement) and not reply.refusal
        ]
        if len(parsed) >= _ENOUGH_REPLIES and len(unreadable) > _MAX_UNREADABLE * len(parsed):
            excerpt = " ".join(unreadable[0].content.split())[:80]
            raise HNeuronsError(
                f"judging {task}: {len(unreadable)} of {len(parsed)} replies of {self.name} are not the requested JSON, "
                f"the first: {excerpt!r}; try another model, structured_output or max_tokens under judges.llm"
            )
        return parsed


def _grade(reply: _HarmGrade) -> Grade:
    return Judgement(UNPARSED) if reply.grade == "unparsed" else reply.grade


def _only_place(span: str, text: str) -> Span | None:
    """Return where a span occurs on word boundaries, None if it does not occur exactly once."""
    places = [m.span() for m in re.finditer(rf"(?<!\w){re.escape(span)}(?!\w)", text)] if span.strip() else []
    return places[0] if len(places) == 1 else None


def parse_reply(reply: PaidReply | FailedCall, form: type[F]) -> F | Judgement:
    """Parse a judge's reply.

    Args:
        reply: The reply, or why there was no reply.
        form: The form of the requested JSON; a Markdown fence around it is accepted.

    Returns:
        The reply in its form, or the state error with the reason: a judge that refuses or writes prose has not judged.
    """
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
        return Judgement(ERROR, "the judge's reply is not the requested JSON")
