"""The JSON in a judge's reply: strict about the object, lenient about thoughts, fences and sentences around it."""

import json
import re
from collections.abc import Iterator
from typing import TypeVar

from pydantic import BaseModel

from hneurons.generation.thoughts import TAG
from hneurons.judges.cache import PaidReply

_Form = TypeVar("_Form", bound=BaseModel)

_MARK = re.compile(r'\\.|["{}]', re.DOTALL)
_REFUSED = "content_filter"

NOT_THE_FORM = "the judge's reply is not the requested JSON"


def is_refusal(reply: PaidReply) -> bool:
    """Return whether the judge, or the moderation of its server, refused; asking again would buy the same."""
    return bool(reply.refusal) or reply.finish_reason == _REFUSED


def read_reply(reply: PaidReply, form: type[_Form]) -> tuple[_Form, bool] | str:
    """Read the one object of a form in a judge's reply.

    Args:
        reply: The reply.
        form: The form of the requested JSON.

    Returns:
        The object, and whether anything but white space was around it (the reply was repaired); or why the reply cannot be
        used: a judge that refuses, is cut off, writes prose or gives two different answers has not judged.
    """
    exact = None if reply.refusal else _validated(reply.content.strip(), form)
    if is_refusal(reply) and not exact:
        return "the judge refused"
    if reply.finish_reason == "length":
        return "the judge's reply was cut off: raise judges.llm.max_tokens, from which a model's thoughts are paid too"
    if not reply.content.strip():
        return f"an empty reply: {reply.note}" if reply.note else "an empty reply"
    if exact:
        return exact, False
    answer = _without_thoughts(reply.content)
    if answer is None:
        return "the judge's reply ends in its thoughts"
    objects = [valid for text in _objects(answer) if (valid := _validated(text, form))]
    if not objects:
        return NOT_THE_FORM
    if any(other != objects[0] for other in objects):
        return "the judge's reply gives two different answers"
    return objects[0], True


def _validated(text: str, form: type[_Form]) -> _Form | None:
    try:
        valid = form.model_validate_json(text)
        # Of a key that is given twice, validation sees the last.
        return valid if len(json.loads(text, object_pairs_hook=list)) == len(valid.model_fields_set) else None
    except ValueError:
        return None


def _without_thoughts(text: str) -> str | None:
    """A text without its complete blocks of thoughts; None if the last has no end. Takes linear time."""
    kept: list[str] = []
    opened, start = "", 0
    for tag in TAG.finditer(text):
        channel = (tag["channel"] or "").lower()
        name = "channel" if channel else tag["name"].lower()
        closes = tag["close"] is not None or channel == "final"
        if opened:
            if closes and name == opened:
                opened, start = "", tag.end()
        elif closes:
            # The chat template has consumed the opening tag.
            kept, start = [], tag.end()
        else:
            kept.append(text[start : tag.start()])
            opened = name
    return None if opened else " ".join([*kept, text[start:]])


def _objects(text: str) -> Iterator[str]:
    """The outermost pairs of braces in a text with what they enclose. Takes linear time."""
    depth, start, quoted = 0, 0, False
    for match in _MARK.finditer(text):
        # A backslash means something only inside a string.
        mark = match[0] if quoted else match[0][-1]
        if mark == '"' and depth:
            quoted = not quoted
        elif mark == "{" and not quoted:
            if not depth:
                start = match.end() - 1
            depth += 1
        elif mark == "}" and depth and not quoted:
            depth -= 1
            if not depth:
                yield text[start : match.end()]
