"""NonExist: questions about medicines, species, companies, events and products that do not exist.

The paper's set is unreleased. Names are composed of syllables and kept only if no list knows any of their invented words:
the words of some forty languages (wordfreq), medicines (DrugBank, MeSH and NHS names), and places (GeoNames).
"""

from __future__ import annotations

import random
from functools import cache

from hneurons.data.geography import all_place_names
from hneurons.data.opendomain import ANSWER_ONLY, text_key
from hneurons.data.questions import Question
from hneurons.errors import HNeuronsError

NO_ANSWER = "none"

_ONSETS = "b br c ch d dr f g gr h k kr l m n p pl pr r s st t th tr v vr z".split()
_VOWELS = "aeiou"
_CODAS = "d g k l m n r s t v x z nd lt rn sk".split()

# Of each kind: how a name is made of invented words ({0}, {1}), and the questions, each with one short answer.
_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "medicine": (
        ("{0}ine", "{0}ol", "{0}ex", "{0}amide", "{0}il"),
        (
            "Which company developed the medicine {name}?",
            "In which year was the medicine {name} first approved?",
            "Which disease is the medicine {name} used to treat?",
        ),
    ),
    "species": (
        ("{0}us {1}ensis", "{0}ia {1}ii", "{0}us {1}atus", "{0}ella {1}icola"),
        (
            "Who first described the species {name}?",
            "In which country was the species {name} discovered?",
            "Which family does the species {name} belong to?",
        ),
    ),
    "company": (
        ("{0} & {1}", "{0} Instruments", "{0}-{1} Shipping", "{0} Textiles", "{0} Brothers"),
        (
            "Who founded the company {name}?",
            "In which city does the company {name} have its headquarters?",
            "In which year was the company {name} founded?",
        ),
    ),
    "event": (
        ("the Battle of {0}", "the Treaty of {0}", "the {0} Uprising", "the Siege of {0}", "the {0} Congress"),
        (
            "In which year did {name} take place?",
            "Which country suffered most from {name}?",
            "Who was the most important person at {name}?",
        ),
    ),
    "product": (
        (
            "the {0} {number} camera",
            "the {0} {number} synthesizer",
            "the {0} {number} motorcycle",
            "the {0} {number} radio",
        ),
        (
            "Which company made {name}?",
            "In which year did {name} come on the market?",
            "Who designed {name}?",
        ),
    ),
}


@cache
def _known_words() -> frozenset[str]:
    import wordfreq

    known = set(all_place_names())
    for language in wordfreq.available_languages("best"):
        known.update(wordfreq.get_frequency_dict(language, "best"))
    return frozenset(known)


def is_known(word: str) -> bool:
    """Whether any list has the word, or a medicine of nearly its spelling."""
    from drug_named_entity_recognition.drugs_finder import find_drugs

    return word.casefold() in _known_words() or bool(find_drugs([word], is_fuzzy_match=True))


def _word(rng: random.Random) -> str:
    """Two syllables and a consonant or a third one: pronounceable, and long enough to be no word by chance."""
    syllables = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((2, 2, 3))))
    return (syllables + rng.choice(_CODAS)).capitalize()


def _name(form: str, rng: random.Random) -> str | None:
    """A name of the form; None if a word of it, bare or with its ending, is known."""
    first, second = _word(rng), _word(rng)
    species = " {1}" in form and "&" not in form
    name = form.format(
        first, second.lower() if species else second, number=rng.choice("ABKMRTX") + str(rng.randint(2, 90) * 10)
    )
    invented = [first, *([second] if "{1}" in form else [])]
    # With its ending an invented word may be a real one: the words of the finished name are looked up too.
    finished = [w for w in name.replace("-", " ").split() if any(w.casefold().startswith(i.casefold()) for i in invented)]
    return None if any(is_known(word) for word in {*invented, *finished}) else name


def nonexist(count: int, seed: int) -> list[Question]:
    """Questions about things that do not exist, the five kinds taking turns; each has a generator of its own by the seed.

    The right reply says that the thing is not known, so there are no aliases.
    """
    kinds = list(_KINDS)
    found: list[Question] = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        forms, asked = _KINDS[kind]
        rng = random.Random(f"{seed} nonexist {number}")
        name = next((n for _ in range(200) if (n := _name(rng.choice(forms), rng))), None)
        if name is None:
            raise HNeuronsError(f"nonexist: no unknown name of kind {kind} found for seed {seed}")
        # The same question of all things of a kind in turn, so that no wording goes with one kind of name.
        text = asked[number // len(kinds) % len(asked)].format(name=name)
        found.append(Question(text_key(text), kind, f"{text} {ANSWER_ONLY}", (), NO_ANSWER))
    return found
