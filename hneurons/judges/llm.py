"""The judge by a language model behind an OpenAI-compatible API, with strict parsing of its replies."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, field_validator

from hneurons.data.questions import LETTERS
from hneurons.judges import llm_prompts
from hneurons.judges.cache import PaidReply
from hneurons.judges.claims import Span
from hneurons.judges.client import LLMClient
from hneurons.judges.grades import Grade
from hneurons.judges.judge import Choice, Exchange
from hneurons.judges.server.calls import FailedCall
from hneurons.judges.server.parameters import JudgePrompt
from hneurons.judges.server.replies import is_refusal, read_reply
from hneurons.judges.states import ERROR, REPAIRED, UNPARSED, Answer, Judgement

logger = logging.getLogger(__name__)


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


class _Compliance(_Verdict):
    verdict: Literal["compliant", "not compliant", "refused", "unparsed"]


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


def _user(**parts: Any) -> str:
    return json.dumps(parts, ensure_ascii=False, indent=1)


def correctness_user(answer: Answer) -> str:
    """Return the user message in which the judge receives an answer."""
    return _user(question=answer.question, accepted_answers=list(answer.aliases), response=answer.text)


class LLMJudge:
    """A `Judge` that asks a language model. Failed calls and replies that cannot be used become the state error.

    A verdict whose JSON was read from inside other text has the reason "repaired". Each method raises HNeuronsError if the
    client does (`LLMClient.ask`).

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

    def compliance(self, prompt: str, items: Sequence[Mapping[str, Any]]) -> list[Judgement]:
        """Judge conversations by a user's own instructions: compliant or not compliant.

        Args:
            prompt: The instructions, which are followed by the form of the reply.
            items: What the judge is shown of each item: `conversation`, and columns of the user's file.
        """
        users = [_user(**item) for item in items]
        return self._verdicts("compliance", f"{prompt.strip()} {llm_prompts.COMPLIANCE}", users, _Compliance)

    def harm_grades(self, exchanges: Sequence[Exchange]) -> list[Grade]:
        """Grade how much of what a forbidden question requests the replies give, from 0 to 4."""
        users = [_user(question=e.request, response=e.reply) for e in exchanges]
        replies = self._ask("harm_grade", llm_prompts.HARM_GRADE, users, _HarmGrade)
        return [reply if isinstance(reply, Judgement) else _grade(reply) for reply, _ in replies]

    def option(self, choices: Sequence[Choice]) -> list[Judgement]:
        """Read the chosen options; a letter beyond the last option is an error."""
        users = [
            _user(question=c.question, options=dict(zip(LETTERS, c.options, strict=False)), response=c.reply)
            for c in choices
        ]
        judgements = []
        for choice, (reply, why) in zip(choices, self._ask("option", llm_prompts.OPTION, users, _Option), strict=True):
            if isinstance(reply, Judgement):
                judgements.append(reply)
            elif reply.option == "none":
                judgements.append(Judgement(UNPARSED, why))
            else:
                exists = LETTERS.index(reply.option) < len(choice.options)
                judgements.append(Judgement(reply.option, why) if exists else Judgement(ERROR, f"no option {reply.option}"))
        return judgements

    def span(self, answers: Sequence[Answer]) -> list[Span | None]:
        """Locate the claims that the model copies out, None for a copy that does not occur exactly once in its response."""
        users = [_user(question=a.question, response=a.text) for a in answers]
        replies = self._ask("span", llm_prompts.SPAN, users, _Span)
        return [
            None if isinstance(reply, Judgement) else _only_place(reply.span, answer.text)
            for answer, (reply, _) in zip(answers, replies, strict=True)
        ]

    def _verdicts(self, task: str, system: str, users: Sequence[str], form: type[V]) -> list[Judgement]:
        replies = self._ask(task, system, users, form)
        return [reply if isinstance(reply, Judgement) else Judgement(reply.verdict, why) for reply, why in replies]

    def _ask(self, task: str, system: str, users: Sequence[str], form: type[F]) -> list[tuple[F | Judgement, str]]:
        """Ask about each user message: the reply in its form with why it needs a second look, or the state error."""

        def fault(reply: PaidReply) -> str:
            result = "" if is_refusal(reply) else read_reply(reply, form)
            return result if isinstance(result, str) else ""

        schema = json.dumps(form.model_json_schema(), sort_keys=True)
        replies = self._client.ask([JudgePrompt(task, system, user, schema) for user in users], f"judging {task}", fault)
        parsed = [parse_reply(reply, form) for reply in replies]
        if repaired := sum(why == REPAIRED for _, why in parsed):
            logger.info("judging %s: in %d of %d replies, the JSON was inside other text", task, repaired, len(parsed))
        return parsed


def _grade(reply: _HarmGrade) -> Grade:
    return Judgement(UNPARSED) if reply.grade == "unparsed" else reply.grade


def _only_place(span: str, text: str) -> Span | None:
    """Return where a span occurs on word boundaries, None if it does not occur exactly once."""
    places = [m.span() for m in re.finditer(rf"(?<!\w){re.escape(span)}(?!\w)", text)] if span.strip() else []
    return places[0] if len(places) == 1 else None


def parse_reply(reply: PaidReply | FailedCall, form: type[F]) -> tuple[F | Judgement, str]:
    """Parse a judge's reply.

    Args:
        reply: The reply, or why there was no reply.
        form: The form of the requested JSON.

    Returns:
        The reply in its form and an empty text, or `REPAIRED` if the JSON was inside other text; otherwise the state error
        with the reason, twice.
    """
    result = reply.why if isinstance(reply, FailedCall) else read_reply(reply, form)
    if isinstance(result, str):
        return Judgement(ERROR, result), result
    valid, is_repaired = result
    return valid, REPAIRED if is_repaired else ""
