"""NonExist: questions about medicines, species, companies, events and products that do not exist.

The paper's set is unreleased. Names are composed of syllables and kept only if none of their invented words occurs in a
list: the words of some forty languages (wordfreq), medicines (DrugBank, MeSH and NHS names), and places (GeoNames).
"""

import random
from functools import cache
from pathlib import Path

from hneurons.config.base import read_yaml
from hneurons.data.geography import all_place_names
from hneurons.data.opendomain import ANSWER_ONLY, text_key
from hneurons.data.questions import Question
from hneurons.errors import HNeuronsError

NO_ANSWER = "none"

_ONSETS = "b br c ch d dr f g gr h k kr l m n p pl pr r s st t th tr v vr z".split()
_VOWELS = "aeiou"
_CODAS = "d g k l m n r s t v x z nd lt rn sk".split()

# Kind → forms of a name, with invented words {0} and {1}, and questions about it, each with one short answer.
_KINDS: dict[str, dict[str, list[str]]] = read_yaml(Path(__file__).with_name("nonexist.yaml"))


@cache
def _known_words() -> frozenset[str]:
    import wordfreq

    words = set(all_place_names())
    for language in wordfreq.available_languages("best"):
        words.update(wordfreq.get_frequency_dict(language, "best"))
    return frozenset(words)


def is_known(word: str) -> bool:
    """Return whether a list contains the word, or a medicine with a similar spelling."""
    from drug_named_entity_recognition.drugs_finder import find_drugs

    return word.casefold() in _known_words() or bool(find_drugs([word], is_fuzzy_match=True))


def _word(rng: random.Random) -> str:
    """Two or three syllables and final consonants: pronounceable, and too long to be a real word by chance."""
    syllables = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((2, 2, 3))))
    return (syllables + rng.choice(_CODAS)).capitalize()


def _name(form: str, rng: random.Random) -> str | None:
    """A name of the form; None if one of its invented words exists, with or without its ending."""
    first, second = _word(rng), _word(rng)
    species = " {1}" in form and "&" not in form
    name = form.format(
        first, second.lower() if species else second, number=rng.choice("ABKMRTX") + str(rng.randint(2, 90) * 10)
    )
    invented = [first, *([second] if "{1}" in form else [])]
    # An ending may turn an invented word into a real one, so the words of the finished name are checked too.
    finished = [w for w in name.replace("-", " ").split() if any(w.casefold().startswith(i.casefold()) for i in invented)]
    return None if any(is_known(word) for word in {*invented, *finished}) else name


def nonexist(count: int, seed: int) -> list[Question]:
    """Generate questions about things that do not exist, the five kinds alternating.

    The right reply states that the thing is unknown, so the questions have no aliases.

    Args:
        count: Number of questions.
        seed: Seed of the names. Every question has a separate generator, so a larger set begins with the smaller one.

    Raises:
        HNeuronsError: If 200 attempts give no unknown name.
    """
    kinds = list(_KINDS)
    questions: list[Question] = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        forms, wordings = _KINDS[kind]["names"], _KINDS[kind]["questions"]
        rng = random.Random(f"{seed} nonexist {number}")
        name = next((n for _ in range(200) if (n := _name(rng.choice(forms), rng))), None)
        if name is None:
            raise HNeuronsError(f"nonexist: no unknown name of kind {kind} found for seed {seed}")
        # Rotate through a kind's questions, so that no wording is tied to one form of name.
        text = wordings[number // len(kinds) % len(wordings)].format(name=name)
        questions.append(Question(text_key(text), kind, text, (), NO_ANSWER, ANSWER_ONLY))
    return questions
