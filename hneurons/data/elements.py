"""Chemical elements and their symbols, from the package periodictable: this set stands in for BioASQ."""

from functools import cache

import periodictable

from hneurons.data.questions import Question
from hneurons.data.vocabulary import Vocabulary

# American spelling, the name in questions → British spelling, also accepted.
_SPELLINGS = {"aluminum": "aluminium", "cesium": "caesium", "sulfur": "sulphur"}


@cache
def _element_rows() -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """(atomic number, symbol, spellings of the name), hydrogen first."""
    rows = []
    for element in periodictable.elements:
        if element.number:
            name = {british: american for american, british in _SPELLINGS.items()}.get(element.name, element.name)
            rows.append((element.number, element.symbol, (name, *filter(None, [_SPELLINGS.get(name)]))))
    return tuple(sorted(rows))


@cache
def element_names() -> Vocabulary:
    """Return the vocabulary of element names."""
    return Vocabulary(tuple(spellings for _, _, spellings in _element_rows()))


@cache
def element_symbols() -> Vocabulary:
    """Return the case-sensitive vocabulary of element symbols."""
    return Vocabulary(tuple((symbol,) for _, symbol, _ in _element_rows()), case_sensitive=True)


def elements(count: int, seed: int) -> list[Question]:
    """Generate questions element → symbol and symbol → element, alternating, by atomic number.

    Args:
        count: Number of questions.
        seed: Unused, as the order is fixed.

    Returns:
        The questions, fewer than `count` once the elements run out.
    """
    questions = []
    for number, symbol, spellings in _element_rows():
        questions += [
            Question(
                f"{number}-symbol",
                "element-symbol",
                f"What is the chemical symbol of the element {spellings[0]}?",
                (symbol,),
                "element-symbol",
                "Answer with the symbol only.",
            ),
            Question(
                f"{number}-name",
                "symbol-element",
                f"Which chemical element has the symbol {symbol}?",
                spellings,
                "element",
                "Answer with the name of the element only.",
            ),
        ]
    return questions[:count]
