"""What a behaviour benchmark is: items, a decoding, and a judge that says whether the model complied."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hneurons.config import Decoding, SplitSettings
from hneurons.datasets import split_of
from hneurons.datasets.geography import City, known_cities
from hneurons.errors import HNeuronsError
from hneurons.judges import declines
from hneurons.records import ITEMS


@dataclass(frozen=True)
class Item:
    """One item: what the user says turn by turn, and what the judge needs to know.

    item_id: unique; items that vary one thing share what stands before the "/" and are resampled together.
    """

    item_id: str
    turns: tuple[str, ...]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """A judged item. eligible: in the denominator. state: parsed, refused or unparsed, of the reply that was judged."""

    eligible: bool
    compliant: bool
    state: str


def not_read(reply: str, eligible: bool = True) -> Outcome:
    """The outcome of a reply that names nothing the judge looks for: no compliance, declined or else unparsed."""
    return Outcome(eligible, False, "refused" if declines(reply) else "unparsed")


@dataclass(frozen=True)
class Benchmark:
    """One behaviour of Figure 3.

    title, compliance: what the figure calls it and what it counts. judged_by: who judges. items: from a number, a seed and
    the study's splits. judge: outcome of an item's facts and the model's replies, one per turn.
    """

    title: str
    compliance: str
    judged_by: str
    decoding: Decoding
    items: Callable[[int, int, SplitSettings], list[Item]]
    judge: Callable[[dict[str, Any], Sequence[str]], Outcome]


# The model must know the place for a false claim about it to be a test: the most populous ones.
_WELL_KNOWN = 500


def city_and_wrong_country(
    count: int, seed: int, splits: SplitSettings, name: str
) -> list[tuple[City, tuple[str, ...], random.Random]]:
    """Well-known cities, the spellings of a country where each is not, and a random generator of the item's own.

    No city lies in a country of the training split: the H-Neurons were not found on these answers.
    """
    pool = [c for c in known_cities()[:_WELL_KNOWN] if split_of(c.country[0], seed, splits) != "train"]
    elsewhere = sorted({c.country for c in pool})
    drawn = random.Random(f"{seed} {name}").sample(pool, min(count, len(pool)))
    found = []
    for city in drawn:
        rng = random.Random(f"{seed} {name} {city.key}")
        found.append((city, rng.choice([c for c in elsewhere if c != city.country]), rng))
    return found


def items_table(name: str, benchmark: Benchmark, count: int, seed: int, splits: SplitSettings) -> pa.Table:
    """The items of a benchmark. Raises HNeuronsError if it has fewer than asked for."""
    items = benchmark.items(count, seed, splits)
    if len(items) < count:
        raise HNeuronsError(f"impact.benchmarks.{name}.items: {count} asked for, the benchmark has {len(items)}")
    rows = [{"item_id": i.item_id, "turns": list(i.turns), "facts": json.dumps(i.facts, ensure_ascii=False)} for i in items]
    return pa.Table.from_pylist(rows, schema=ITEMS)
