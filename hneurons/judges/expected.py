"""What kind of short answer a question expects, and whether a claim is one: only such a claim can be a wrong answer."""

import re
from collections.abc import Sequence

from hneurons.data.words import count_words, split_words, stem, word_forms
from hneurons.judges.claims import decisive_part
from hneurons.judges.stances import converses

# The kinds of expected answers.
PERSON, NUMBER, PLACE, PHRASE = "person", "number", "place", "phrase"
_BEFORE = r"^\W*(?:(?:by|to|for|from|of|with|in|on|at|since|until|about|and|so)\s+)?"
_VERBS = r"(?:is|are|was|were|did|do|does|has|have|had|will|would|can|could|should|may|might)"
_KINDS = (
    (
        NUMBER,
        rf"\bhow (?:many|much|old|long|tall|far|high|deep|fast|wide|heavy)\b|{_BEFORE}when (?:{_VERBS})\b"
        r"|\b(?:what|which)(?: [a-z]+)? (?:years?(?! old)|decade|century|date|month|day of|age|percentage)\b",
    ),
    (
        PLACE,
        rf"{_BEFORE}where\b|\b(?:what|which)(?: \w+)? (?:country|countries|continent|nation|city|town|capital)\b"
        r"|\bwhat(?:['’]s| is| was) the capital\b",
    ),
    (PERSON, rf"{_BEFORE}(?:who|whom|whose)\b|\b(?:by|of|to|for|with) whom\b"),
)
_DATE_WORDS = set(
    "hundred hundreds thousand thousands million millions billion dozen half quarter once twice january february march "
    "april may june july august september october november december monday tuesday wednesday thursday friday saturday "
    "sunday spring summer autumn winter century none never bc ad".split()
)
# Lower-case words of names: "Joan of Arc", "The Lion, the Witch and the Wardrobe".
_SMALL = set(
    "a an the of and or nor but il in on at to for from by with into over under upon de la le les las los el du da "
    "das dos do "
    "del des van von der den di y e et al bin ibn as vs v n".split()
)
# In a phrase other than a name they make a statement, a hedge or a remark.
_NOT_IN_PHRASES = set(
    "i me my you your he him his she her it its we us our they them their this that these those there is are was were "
    "am be "
    "been do does did has have had can could will would should may might must cannot not never maybe perhaps possibly "
    "probably likely unlikely because if although though whether since unless yes im ive id ill youre thats its "
    "theres dont "
    "isnt wasnt arent cant".split()
)
_PREPOSITIONS = set(
    "in on at during after before as about while when for with from to under between through up out off".split()
)
# What opens a sentence before its claim: "In 1812, the city …".
_SCENE = re.compile(r"\W*(?:In|On|At|During|After|Before|Since|When|While|As|For|With)\b[^.!?\n,]*,")
_TOKEN = re.compile(r"[^\W_]+(?:['’`´ʻ.-][^\W_]+)*")
_ARTICLE = re.compile(r"^\W*(?:an?|the)\s+", re.IGNORECASE)
# Statements are accepted if at least one in eight accepted answers restates the question.
_FEW = 8
# The most words of a phrase, of a name, of a number, of an ordinal, and of one entry of a list.
_PHRASE_WORDS, _NAME_WORDS, _NUMBER_WORDS, _ORDINAL_WORDS, _ENTRY_WORDS = 5, 10, 8, 4, 3


def expected_kind(question: str) -> str:
    """Return the kind of answer that a question expects: a person, a number or date, a place, or any short phrase.

    A question with several question words, or without any, expects a phrase.
    """
    kinds = [kind for kind, regex in _KINDS if re.search(regex, question, re.IGNORECASE)]
    return kinds[0] if len(kinds) == 1 else PHRASE


def is_name(text: str) -> bool:
    """Return whether all words of a text but the small ones begin with a capital letter or a digit."""
    tokens = _TOKEN.findall(text)
    capital = [not token[0].islower() or not token.islower() for token in tokens]
    return any(capital) and all(c or token.lower() in _SMALL for token, c in zip(tokens, capital, strict=True))


def _is_number(text: str) -> bool:
    count = count_words(text)
    # A phrase may have an ordinal: "the first man on the moon".
    ordinals = count <= _ORDINAL_WORDS
    figures = (
        (form[0].isdigit() and (ordinals or not form.endswith("th"))) or form in _DATE_WORDS for form in word_forms(text)
    )
    return count <= _NUMBER_WORDS and any(figures)


def _states(text: str, question: str) -> bool:
    """Whether an accepted answer is a statement, such as "You grow tired" or one that begins as the question does."""
    forms = word_forms(text)
    if len(forms) < 3 or is_name(text):
        return False
    speaks = not (_NOT_IN_PHRASES - _DATE_WORDS).isdisjoint(forms)
    return speaks or stem(forms[0]) in {stem(form) for form in word_forms(question)}


def is_sentence(text: str, question: str) -> bool:
    """Return whether an accepted answer is a statement or a long phrase, so that no short claim can be called wrong."""
    text = re.sub(r"\s*\([^()]*\)?", "", text) or text
    forms = word_forms(text)
    if forms[:1] in (("yes",), ("no",)) or (len(forms) >= 3 and converses(text)) or _states(text, question):
        return True
    return len(forms) > _PHRASE_WORDS and not is_name(text) and not _is_number(text)


def _restates(text: str, question: str) -> bool:
    """Return whether an accepted answer is a statement with at least two of the question's words."""
    content = {stem(form) for form in word_forms(text) if form not in _SMALL | _NOT_IN_PHRASES}
    return _states(text, question) and len(content & {stem(form) for form in word_forms(question)}) >= 2


def expects_entity(question: str, aliases: Sequence[str]) -> bool:
    """Return whether a question's accepted answers are short: most are names, numbers or phrases, and few restate it.

    Spellings in lower case are left out where others have capitals: they repeat those without their punctuation.
    """
    spelt = [alias for alias in aliases if alias != alias.lower()] or aliases
    sentences = [alias for alias in spelt if is_sentence(alias, question)]
    restating = sum(_restates(alias, question) for alias in sentences)
    return 2 * len(sentences) < len(spelt) and _FEW * restating < len(spelt)


def _is_phrase(text: str, place: bool = False) -> bool:
    words = [word.form for word in split_words(text)]
    begins = bool(words) and (place or words[0] not in _PREPOSITIONS)
    return begins and count_words(text) <= _PHRASE_WORDS and _NOT_IN_PHRASES.isdisjoint(words)


def is_entity(claim: str, question: str, aliases: Sequence[str]) -> bool:
    """Return whether a claim is a short entity of the kind that a question expects.

    Args:
        claim: The words that claim, with the mark after them. What explains them ("Lyon, which …") is not needed.
        question: The question.
        aliases: Its accepted answers. If none is of the kind that the question seems to expect, a short phrase is expected.
    """
    kind = expected_kind(question)
    sets_scene = kind in (PERSON, PHRASE) and _SCENE.match(claim)
    claim = decisive_part(claim)
    if sets_scene or not word_forms(claim) or converses(claim):
        return False
    if kind == NUMBER and any(map(_is_number, aliases)):
        return _is_number(claim) and (is_name(claim) or (_NOT_IN_PHRASES - _DATE_WORDS).isdisjoint(word_forms(claim)))
    name = is_name(claim) and len(word_forms(claim)) <= _NAME_WORDS
    if kind in (PERSON, PLACE) and any(map(is_name, aliases)):
        return name and any(t[0].isupper() and t.lower() not in _SMALL for t in _TOKEN.findall(claim))
    entries = re.split(r"[,;/\n]\s*(?:and\s+|or\s+)?|(?<!\s)\s+(?:and|or|&)\s+", claim)
    listed = len(entries) > 1 and all(
        count_words(_ARTICLE.sub("", e)) <= _ENTRY_WORDS and _is_phrase(e) for e in entries if e.strip()
    )
    return name or listed or _is_phrase(claim, place=kind == PLACE)
