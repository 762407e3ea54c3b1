"""What a behaviour benchmark is: items with a decoding each, and a judge that says whether the model complied."""

from __future__ import annotations

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
from hneurons.judges.judge import Exchange
from hneurons.judges.panel import Judges
from hneurons.judges.refusals import declines
from hneurons.judges.states import REFUSED, UNPARSED, Judgement
from hneurons.records import ITEMS

PARSED = "parsed"


@dataclass(frozen=True)
class Item:
    """One item: what the user says turn by turn, how the replies are decoded, and what the judge needs to know.

    item_id: unique; items that vary one thing share what stands before the "/" and are resampled together.
    """

    item_id: str
    turns: tuple[str, ...]
    facts: dict[str, Any]
    decoding: Decoding


@dataclass(frozen=True)
class Outcome:
    """A judged item. eligible: in the denominator. state: parsed, refused, unparsed or error, of the reply that decides.

    why: what the judge says of it.
    """

    eligible: bool
    compliant: bool
    state: str
    why: str = ""


@dataclass(frozen=True)
class ItemDraw:
    """How many items, by which seed, away from which splits' answers, from which files.

    decoding: of the study's samples, for items that are decoded like them.
    """

    count: int
    seed: int
    splits: SplitSettings = field(default_factory=SplitSettings)
    files: tuple[Path, ...] = ()
    decoding: Decoding | None = None

    def order(self, name: str, keys: Sequence[str]) -> list[str]:
        """All keys in the seed's order: a larger draw begins with the smaller one."""
        return sorted(keys, key=lambda key: random.Random(f"{self.seed} {name} {key}").random())


Facts = dict[str, Any]
Replies = Sequence[str]


@dataclass(frozen=True)
class Benchmark:
    """One behaviour of Figure 3.

    title, compliance: what the figure calls it and what it counts. items: as drawn. judge: outcomes of items' facts and the
    model's replies, one per turn. facts hold, besides the item's own, `cut_off`: whether each reply ended at its limit.
    task: the judges' setting that says who judges; None where it is always the rules. fallback: the LLM judges
    only what the rules cannot read. fewer: there may be fewer items than asked for.
    """

    title: str
    compliance: str
    items: Callable[[ItemDraw], list[Item]]
    judge: Callable[[Sequence[Facts], Sequence[Replies], Judges], list[Outcome]]
    task: str | None = None
    fallback: bool = False
    fewer: bool = False

    def judged_by(self, judges: Judges) -> str:
        name = judges.for_task(self.task).name if self.task else RULES
        return f"{RULES}, then {name}" if self.fallback and name != RULES else name


def one_by_one(
    judge: Callable[[Facts, Replies], Outcome],
) -> Callable[[Sequence[Facts], Sequence[Replies], Judges], list[Outcome]]:
    """A judge by rules that looks at one item at a time."""

    def all_of(facts: Sequence[Facts], replies: Sequence[Replies], judges: Judges) -> list[Outcome]:
        return [judge(f, r) for f, r in zip(facts, replies, strict=True)]

    return all_of


def first_exchanges(facts: Sequence[Facts], replies: Sequence[Replies]) -> list[Exchange]:
    """The questions of items and the first replies to them."""
    return [Exchange(f["question"], r[0]) for f, r in zip(facts, replies, strict=True)]


def outcomes_of_verdicts(judged: Sequence[Judgement], complies: str, complies_not: str) -> list[Outcome]:
    """By verdict; a reply that was refused, cannot be read or could not be judged is no compliance and stays in."""
    parsed = (complies, complies_not)
    return [Outcome(True, j.verdict == complies, PARSED if j.verdict in parsed else j.verdict, j.why) for j in judged]


def unread_outcome(reply: str, eligible: bool = True) -> Outcome:
    """The outcome of a reply that names nothing the judge looks for: no compliance, declined or else unparsed."""
    return Outcome(eligible, False, REFUSED if declines(reply) else UNPARSED)


# The model must know the place for a false claim about it to be a test: the most populous ones.
_WELL_KNOWN = 500


def city_and_wrong_country(draw: ItemDraw, name: str) -> list[tuple[City, tuple[str, ...], random.Random]]:
    """Well-known cities, the spellings of a country where each is not, and a random generator of the item's own.

    No city lies in a country of the training split: the H-Neurons were not found on these answers.
    """
    pool = [c for c in known_cities()[:_WELL_KNOWN] if split_of(c.country[0], draw.seed, draw.splits) != "train"]
    elsewhere = sorted({c.country for c in pool})
    drawn = random.Random(f"{draw.seed} {name}").sample(pool, min(draw.count, len(pool)))
    found = []
    for city in drawn:
        rng = random.Random(f"{draw.seed} {name} {city.key}")
        found.append((city, rng.choice([c for c in elsewhere if c != city.country]), rng))
    return found


def read_items(path: str | Path) -> list[Item]:
    """The items that items_table wrote."""
    return [
        Item(row["item_id"], tuple(row["turns"]), json.loads(row["facts"]), Decoding.model_validate_json(row["decoding"]))
        for row in store.read_table(path, ITEMS).to_pylist()
    ]


def items_table(name: str, benchmark: Benchmark, draw: ItemDraw, max_new_tokens: int | None = None) -> pa.Table:
    """The items of a benchmark, with its own limit of new tokens or this. Raises HNeuronsError if there are too few."""
    items = benchmark.items(draw)
    if len(items) < draw.count and not (benchmark.fewer and items):
        raise HNeuronsError(f"impact.benchmarks.{name}.items: {draw.count} asked for, the benchmark has {len(items)}")
    if max_new_tokens:
        items = [replace(i, decoding=i.decoding.model_copy(update={"max_new_tokens": max_new_tokens})) for i in items]
    rows = [
        {
            "item_id": i.item_id,
            "turns": list(i.turns),
            "facts": json.dumps(i.facts, ensure_ascii=False),
            "decoding": i.decoding.model_dump_json(),
        }
        for i in items
    ]
    return pa.Table.from_pylist(rows, schema=ITEMS)
