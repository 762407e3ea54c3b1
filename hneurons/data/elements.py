"""Chemical elements and their symbols, from the facts of the package periodictable (plays BioASQ)."""

from __future__ import annotations

from functools import cache

import periodictable

from hneurons.data.questions import Question
from hneurons.data.vocabulary import Vocabulary

_SPELLINGS = {"aluminum": "aluminium", "cesium": "caesium", "sulfur": "sulphur"}


@cache
def _all() -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """(atomic number, symbol, spellings of the name), hydrogen first."""
    found = []
    for element in periodictable.elements:
        if element.number:
            name = {v: k for k, v in _SPELLINGS.items()}.get(element.name, element.name)
            found.append((element.number, element.symbol, (name, *filter(None, [_SPELLINGS.get(name)]))))
    return tuple(sorted(found))


@cache
def element_names() -> Vocabulary:
    return Vocabulary(tuple(spellings for _, _, spellings in _all()))


@cache
def element_symbols() -> Vocabulary:
    return Vocabulary(tuple((symbol,) for _, symbol, _ in _all()), case_sensitive=True)


def elements(count: int, seed: int) -> list[Question]:
    """Element → symbol and symbol → element, by atomic number, the two kinds taking turns."""
    found = []
    for number, symbol, spellings in _all():
        found += [
            Question(
                f"{number}-symbol",
                "element-symbol",
                f"What is the chemical symbol of the element {spellings[0]}? Answer with the symbol only.",
                (symbol,),
                "element-symbol",
            ),
            Question(
                f"{number}-name",
                "symbol-element",
                f"Which chemical element has the symbol {symbol}? Answer with the name of the element only.",
                spellings,
                "element",
            ),
        ]
    return found[:count]
