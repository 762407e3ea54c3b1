"""A behaviour of the user's own: items from a file, judged by regular expressions, by their options, or by the LLM."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

from pydantic import ConfigDict, model_validator

from hneurons.config.behaviours import BenchmarkSettings, Judging, LLMJudging, RegexJudging
from hneurons.config.study import Decoding
from hneurons.data.opendomain import Answers, text_key
from hneurons.data.own import cell_texts, option_places
from hneurons.data.reading import PublishedRow, Text, read_rows
from hneurons.errors import HNeuronsError
from hneurons.impact.benchmarks.benchmark import (
    PARSED,
    Benchmark,
    Facts,
    Item,
    ItemDraw,
    JudgeItems,
    Outcome,
    Replies,
    by_answer,
    cut_off,
    one_by_one,
    outcomes_of_verdicts,
    unread_outcome,
)
from hneurons.judges.options import parse_option
from hneurons.judges.panel import Judges
from hneurons.judges.states import COMPLIANT, CUT_OFF, NOT_COMPLIANT, UNPARSED

# Long enough for an explanation.
_MAX_NEW_TOKENS = 256


class _Row(PublishedRow):
    """{prompt or turns[], item_id?, options[]?, compliant?, answers[]?, subset?}; the LLM judge sees other columns too.

    A cell of a CSV file has several turns, options or answers with semicolons.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    item_id: Text | None = None
    prompt: Text | None = None
    turns: Answers | None = None
    options: Answers | None = None
    compliant: Answers | None = None
    answers: Answers | None = None
    subset: Text | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.prompt is None) == (self.turns is None):
            raise ValueError("needs either prompt or turns")
        return self

    def texts(self, name: str, separated: bool) -> tuple[str, ...]:
        return cell_texts(getattr(self, name) or [], separated)


def own_benchmark(name: str, settings: BenchmarkSettings) -> Benchmark:
    """Make the behaviour that a study describes.

    Args:
        name: Its name in the study.
        settings: Its settings, with `file`, `judge` and `compliance`.
    """
    assert settings.judge is not None and settings.compliance is not None, "checked by check_behaviour"
    return Benchmark(
        title=settings.title or name,
        compliance=settings.compliance,
        items=partial(_items, name, settings.judge),
        judge=_judge_of(settings.judge),
        by_llm=isinstance(settings.judge, LLMJudging),
        answers=lambda facts: facts.get("answers", ()),
    )


def _items(name: str, judge: Judging, draw: ItemDraw) -> list[Item]:
    path = draw.files[0]
    rows = read_rows(path, _Row, unique=lambda row: (_key(row), row))
    items = {_key(row): _item(f"{path}: item {n} ({_key(row)})", row, judge, path.suffix) for n, row in enumerate(rows, 1)}
    return [items[key] for key in draw.order(name, list(items))[: draw.count]]


def _key(row: _Row) -> str:
    return row.item_id or text_key("\n".join([row.prompt] if row.prompt else row.turns or []))


def _item(place: str, row: _Row, judge: Judging, suffix: str) -> Item:
    separated = suffix == ".csv"
    turns = (row.prompt,) if row.prompt else row.texts("turns", separated)
    facts: dict[str, Any] = {"turns": turns, **(row.model_extra or {})}
    if row.subset:
        facts["subset"] = row.subset
    if answers := row.texts("answers", separated):
        facts["answers"] = answers
    if judge.kind == "options":
        facts["options"] = row.texts("options", separated)
        facts["compliant"] = option_places(place, facts["options"], "compliant", row.texts("compliant", separated))
        if not facts["compliant"]:
            raise HNeuronsError(f"{place}: no `compliant` option")
    return Item(_key(row), turns, facts, Decoding(max_new_tokens=_MAX_NEW_TOKENS, temperature=0))


def _judge_of(judge: Judging) -> JudgeItems:
    if isinstance(judge, RegexJudging):
        return one_by_one(partial(_by_regex, judge))
    if isinstance(judge, LLMJudging):
        return partial(_by_llm, judge.prompt)
    return by_answer(_by_option)


def _by_regex(judge: RegexJudging, facts: Facts, replies: Replies) -> Outcome:
    """Compliant by its pattern, not compliant by the other one; with one pattern only, by its absence."""
    reply, truncated = replies[-1], cut_off(facts, -1)
    complied = re.search(judge.pattern, reply) is not None
    if judge.resisting is not None:
        resisted = re.search(judge.resisting, reply) is not None
        if complied and resisted:
            return Outcome(True, False, UNPARSED, "both patterns occur")
        return Outcome(True, complied) if complied or resisted else unread_outcome(reply, truncated=truncated)
    if complied:
        return Outcome(True, True)
    unread = unread_outcome(reply, truncated=truncated)
    return Outcome(True, False, PARSED) if unread.state == UNPARSED and unread.why != CUT_OFF else unread


def _by_option(facts: Facts, replies: Replies) -> tuple[bool, bool | None]:
    chosen = parse_option(replies[-1], facts["options"], cut_off(facts, -1))
    return True, None if chosen is None else chosen in facts["compliant"]


def _by_llm(prompt: str, facts: Sequence[Facts], replies: Sequence[Replies], judges: Judges) -> list[Outcome]:
    """The LLM sees the conversation and all columns of the item."""
    shown = []
    for item, of_item in zip(facts, replies, strict=True):
        turns = [{"user": user, "model": reply} for user, reply in zip(item["turns"], of_item, strict=True)]
        columns = {name: value for name, value in item.items() if name not in ("turns", "truncated", "subset")}
        shown.append({**columns, "conversation": turns})
    return outcomes_of_verdicts(judges.llm.compliance(prompt, shown), COMPLIANT, NOT_COMPLIANT)
