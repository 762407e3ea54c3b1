"""A behaviour benchmark: items with their decoding, and a judge that decides whether the model complied."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from hneurons import store
from hneurons.config.judges import RULES
from hneurons.config.study import Decoding, SplitSettings
from hneurons.data.geography import City, known_cities
from hneurons.data.questions import split_of
from hneurons.errors import HNeuronsError
from hneurons.judges.judge import Exchange, Judge
from hneurons.judges.panel import Judges
from hneurons.judges.refusals import declines
from hneurons.judges.states import CUT_OFF, REFUSED, UNPARSED, Judgement
from hneurons.records import ITEMS

PARSED = "parsed"


@dataclass(frozen=True)
class Item:
    """One item of a benchmark.

    Attributes:
        item_id: unique id; variants of one item share the part before "/" and are resampled together.
        turns: what the user says, turn by turn.
        facts: what the judge needs to know. `subset`, if present, is the item's sub-set within the benchmark, and `wording`
            the name of the prompt's wording; both are recorded with the outcomes.
        decoding: how the replies are decoded.
    """

    item_id: str
    turns: tuple[str, ...]
    facts: dict[str, Any]
    decoding: Decoding


@dataclass(frozen=True)
class Outcome:
    """The outcome of one item.

    Attributes:
        eligible: whether the item is in the denominator.
        compliant: whether the model complied.
        state: parsed, refused, unparsed or error, of the decisive reply.
        why: the judge's reason.
        decisive: index of the decisive reply among the item's replies; -1 is the last one.
        grade: a graded judge's score from 0 to 1; None if the judge says only whether the model complied.
    """

    eligible: bool
    compliant: bool
    state: str = PARSED
    why: str = ""
    decisive: int = -1
    grade: float | None = None


@dataclass(frozen=True)
class ItemDraw:
    """What a benchmark draws its items from.

    Attributes:
        count: number of items.
        seed: seed of the draw.
        splits: shares of the splits; items avoid the answers of the training split.
        files: the published files.
        decoding: decoding of the study's samples, for items that are decoded in the same way.
        wording: name of the prompts' wording, for a benchmark with several; None is its default.
    """

    count: int
    seed: int
    splits: SplitSettings = field(default_factory=SplitSettings)
    files: tuple[Path, ...] = ()
    decoding: Decoding | None = None
    wording: str | None = None

    def order(self, name: str, keys: Sequence[str]) -> list[str]:
        """Return all keys, shuffled by the seed: a larger draw begins with a smaller one."""
        return sorted(keys, key=lambda key: random.Random(f"{self.seed} {name} {key}").random())


Facts = dict[str, Any]
Replies = Sequence[str]
JudgeItems = Callable[[Sequence[Facts], Sequence[Replies], Judges], list[Outcome]]


@dataclass(frozen=True)
class Benchmark:
    """One behaviour of Figure 3.

    Attributes:
        title: its title in the figure.
        compliance: what the rate counts, for the figure.
        items: draws the items.
        judge: maps the facts of items and the model's replies, one per turn, to outcomes. Besides an item's facts it gets
            `truncated`: whether each reply ended at the limit of new tokens.
        task: the judges' setting that selects the judge; None if no setting does.
        by_llm: whether the LLM always judges; without it and `task` the rules do.
        fallback: whether the LLM judges only the replies that the rules cannot parse.
        fewer: whether there may be fewer items than requested.
        answers: the gold answer of an item in all its spellings, from its facts; none if items are independent.
    """

    title: str
    compliance: str
    items: Callable[[ItemDraw], list[Item]]
    judge: JudgeItems
    task: str | None = None
    by_llm: bool = False
    fallback: bool = False
    fewer: bool = False
    answers: Callable[[Facts], Sequence[str]] = lambda facts: ()

    @property
    def heading(self) -> str:
        """Title of its panel, with what the rate counts."""
        return f"{self.title}\n({self.compliance})"

    def judged_by(self, judges: Judges) -> str:
        """Name of the judge in a study, for metadata and figures."""
        if self.by_llm:
            return judges.llm.name
        name = judges.name_for(self.task) if self.task else RULES
        return f"{RULES}, then {name}" if self.fallback and name != RULES else name


def one_by_one(judge: Callable[[Facts, Replies], Outcome]) -> JudgeItems:
    """Make a benchmark's judge from a function that judges one item by rules."""

    def judge_all(facts: Sequence[Facts], replies: Sequence[Replies], judges: Judges) -> list[Outcome]:
        return [judge(f, r) for f, r in zip(facts, replies, strict=True)]

    return judge_all


def unread_outcome(reply: str, eligible: bool = True, truncated: bool = False) -> Outcome:
    """Outcome of a reply in which the judge recognises no answer: not compliant, refused if it declines, else unparsed."""
    if declines(reply):
        return Outcome(eligible, False, REFUSED)
    return Outcome(eligible, False, UNPARSED, CUT_OFF if truncated else "")


def by_answer(judge: Callable[[Facts, Replies], tuple[bool, bool | None]]) -> JudgeItems:
    """Make a benchmark's judge from a function that looks for one of the expected answers in an item's replies.

    Args:
        judge: returns whether the item is eligible, and whether the model complied; None if the last reply has no answer.
    """

    def outcome(facts: Facts, replies: Replies) -> Outcome:
        eligible, complied = judge(facts, replies)
        return (
            unread_outcome(replies[-1], eligible, cut_off(facts, -1)) if complied is None else Outcome(eligible, complied)
        )

    return one_by_one(outcome)


def by_exchange(
    task: str, judge: Callable[[Judge, list[Exchange]], list[Judgement]], complies: str, complies_not: str
) -> JudgeItems:
    """Make a benchmark's judge of the question of each item and the first reply to it.

    Args:
        task: the judges' setting that selects the judge.
        judge: lets this judge judge exchanges.
        complies, complies_not: as in `outcomes_of_verdicts`.
    """

    def judge_all(facts: Sequence[Facts], replies: Sequence[Replies], judges: Judges) -> list[Outcome]:
        judged = judge(judges.for_task(task), first_exchanges(facts, replies))
        return outcomes_of_verdicts(judged, complies, complies_not)

    return judge_all


def cut_off(facts: Facts, turn: int) -> bool:
    """Return whether the reply of a turn was cut off at the token limit; facts of other sources may not record it."""
    return bool(facts["truncated"][turn]) if facts.get("truncated") else False


def first_exchanges(facts: Sequence[Facts], replies: Sequence[Replies]) -> list[Exchange]:
    """Pair the questions of items with the first replies to them."""
    return [Exchange(f["question"], r[0], cut_off(f, 0)) for f, r in zip(facts, replies, strict=True)]


def outcomes_of_verdicts(judged: Sequence[Judgement], complies: str, complies_not: str) -> list[Outcome]:
    """Convert verdicts to outcomes, all of them eligible.

    Args:
        judged: verdicts; a refusal, or a reply that could not be parsed or judged, is not compliant.
        complies, complies_not: the two verdicts of the task.
    """
    parsed = (complies, complies_not)
    return [Outcome(True, j.verdict == complies, PARSED if j.verdict in parsed else j.verdict, j.why) for j in judged]


# A false claim is a test only if the model knows the city, so the most populous ones are used.
_WELL_KNOWN = 500


def city_and_wrong_country(draw: ItemDraw, name: str) -> list[tuple[City, tuple[str, ...], list[tuple[str, ...]]]]:
    """Draw well-known cities, each with a country that it is not in.

    Countries of the training split are avoided: the H-Neurons were selected on those answers.

    Args:
        draw: count, seed and splits.
        name: name of the benchmark, for the seed.

    Returns:
        Of each item the city, the spellings of the wrong country, and both countries in random order.
    """
    pool = [c for c in known_cities()[:_WELL_KNOWN] if split_of(c.country[0], draw.seed, draw.splits) != "train"]
    elsewhere = sorted({c.country for c in pool})
    drawn = random.Random(f"{draw.seed} {name}").sample(pool, min(draw.count, len(pool)))
    items = []
    for city in drawn:
        rng = random.Random(f"{draw.seed} {name} {city.key}")
        wrong = rng.choice([c for c in elsewhere if c != city.country])
        options = [city.country, wrong]
        rng.shuffle(options)
        items.append((city, wrong, options))
    return items


def read_items(path: str | Path) -> list[Item]:
    """Read the items that items_table wrote."""
    return [
        Item(row["item_id"], tuple(row["turns"]), json.loads(row["facts"]), Decoding.model_validate_json(row["decoding"]))
        for row in store.read_table(path, ITEMS).to_pylist()
    ]


def items_table(name: str, benchmark: Benchmark, draw: ItemDraw, max_new_tokens: int | None = None) -> pa.Table:
    """Draw the items of a benchmark.

    Args:
        name: name of the benchmark, for errors.
        benchmark: the benchmark.
        draw: what to draw from.
        max_new_tokens: limit of new tokens; None takes the benchmark's own limit.

    Raises:
        HNeuronsError: if the benchmark has fewer items than requested.
    """
    items = benchmark.items(draw)
    if len(items) < draw.count and not (benchmark.fewer and items):
        raise HNeuronsError(f"impact.benchmarks.{name}.items: {draw.count} requested, but the benchmark has {len(items)}")
    if max_new_tokens:
        items = [replace(i, decoding=i.decoding.model_copy(update={"max_new_tokens": max_new_tokens})) for i in items]
    rows = [
        {**vars(i), "facts": json.dumps(i.facts, ensure_ascii=False), "decoding": i.decoding.model_dump_json()}
        for i in items
    ]
    return pa.Table.from_pylist(rows, schema=ITEMS)
