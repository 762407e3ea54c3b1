"""What a behaviour benchmark is: items, a decoding, and a judge that says whether the model complied."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hneurons.config import Decoding
from hneurons.datasets.geography import City, known_cities


@dataclass(frozen=True)
class Item:
    """One item: what the user says turn by turn, and what the judge needs to know."""

    item_id: str
    turns: tuple[str, ...]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """A judged item. eligible: in the denominator. state: parsed, refused or unparsed, of the reply that was judged."""

    eligible: bool
    compliant: bool
    state: str


@dataclass(frozen=True)
class Benchmark:
    """title and compliance: what the figure calls it and counts. items: from a number and a seed. judged_by: who judges.

    judge: outcome of an item's facts and the model's replies, one per turn.
    """

    title: str
    compliance: str
    judged_by: str
    decoding: Decoding
    items: Callable[[int, int], list[Item]]
    judge: Callable[[dict[str, Any], Sequence[str]], Outcome]


# The model must know the place for a false claim about it to be a test: the most populous ones.
_WELL_KNOWN = 400


def city_and_wrong_country(count: int, seed: int, name: str) -> list[tuple[City, tuple[str, ...], random.Random]]:
    """Well-known cities, the spellings of a country where each is not, and a random generator of the item's own."""
    pool = sorted(known_cities(), key=lambda c: -c.population)[:_WELL_KNOWN]
    elsewhere = sorted({c.country for c in pool})
    drawn = random.Random(f"{seed} {name}").sample(pool, min(count, len(pool)))
    found = []
    for city in drawn:
        rng = random.Random(f"{seed} {name} {city.key}")
        found.append((city, rng.choice([c for c in elsewhere if c != city.country]), rng))
    return found
