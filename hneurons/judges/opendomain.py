"""Judging an open-domain answer by its accepted spellings, word by word; what is nearly one of them is left unparsed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace

from hneurons.judges.claims import Span, claim_span, first_sentence
from hneurons.judges.refusals import decline_span, is_degenerate
from hneurons.judges.states import CORRECT, INCORRECT, REFUSED, UNPARSED, Answer, Judgement
from hneurons.judges.words import ARTICLES, Word, denied, negated, occurrences, singular, split_words, stem, word_forms

# Alone they say too little to be found within a longer reply.
_WEAK = ARTICLES | set("it is in on of to and or no yes i he she they we you us one my your his her their".split())
# Words of replies that answer nothing: "Yes, I am sure.", "Hello! How can I help you today?".
_PHRASES = set(
    "sure certain positive correct right indeed certainly absolutely answer response stand previous earlier original "
    "remain same still final stick confirm believe think am was be been by for from with that this these hello hi how can "
    "help assist today here apologize apologies sorry confusion mistake understand question please let know thank glad "
    "happy course ok okay good great interesting unfortunately however well so".split()
)
_OF_ITSELF = re.compile(
    r"\bI(?:['’]m| am) (?:here to (?:help|assist|provide)|an? (?:AI|(?:helpful|virtual|language|creative) \w+))\b"
    r"|\bas an? (?:helpful |large )?(?:AI|chatbot|language model)\b|\bI(?:['’]m| am) [A-Z]\w+, an? "
)
# Before a name they make another name of it: "New York" is not York.
_OTHERS = set(
    "new north south east west northern southern eastern western upper lower saint st san santa great little".split()
)
# After a name they make a longer one of it: "San José de Asunción".
_JOINTS = {"de", "del", "da", "di", "du", "la", "von", "van"}
# How alike two spellings must be to be left unparsed: letters in common, of all.
_NEARLY = 0.84


def _capital(text: str, word: Word) -> bool:
    return text[word.start].isupper()


def _longer_name(text: str, said: Sequence[Word], i: int, j: int, asked: set[str]) -> bool:
    """Whether words [i, j) are a part of a longer name: "New York" for York, "Guinea-Bissau" for Guinea, "Victoria Falls".

    A word of the question says nothing new: asked for a river, "Columbia River" is Columbia.
    """
    if i and text[said[i - 1].end : said[i].start] in (" ", "-") and singular(said[i - 1].form) not in asked:
        hyphen = text[said[i].start - 1] == "-"
        if hyphen or (said[i - 1].form in _OTHERS and _capital(text, said[i - 1])):
            return True
    if j < len(said) and text[said[j - 1].end : said[j].start] in (" ", "-") and singular(said[j].form) not in asked:
        hyphen = text[said[j].start - 1] == "-"
        joined = said[j].form in _JOINTS and j + 1 < len(said) and _capital(text, said[j + 1])
        return (
            hyphen
            or joined
            or (_capital(text, said[j]) and _capital(text, said[j - 1]) and not text[said[j].start :].isupper())
        )
    return False


def _alternative(text: str, start: int, end: int) -> bool:
    """Whether a mention stands beside another answer: "Lima or Quito"."""
    return bool(re.match(r"\s*,?\s+or\s+\S", text[end:]) or re.search(r"\S\s*,?\s+or\s+(?:the\s+)?$", text[:start]))


def _mentions(a: Answer, said: Sequence[Word], claim: Span) -> tuple[list[Span], set[str]]:
    """Where a response gives an accepted answer, and why other places that hold one do not count."""
    asked = set(word_forms(a.question))
    claimed = word_forms(a.text[slice(*claim)])
    found: list[Span] = []
    doubts: set[str] = set()
    one = [replace(word, form=singular(word.form)) for word in said]
    for alias in sorted({word_forms(alias) for alias in a.aliases}, key=len, reverse=True):
        if len(alias) == 1 and (alias[0] in _WEAK or (len(alias[0]) == 1 and not alias[0].isdigit())) and claimed != alias:
            continue
        for i, j in occurrences([singular(form) for form in alias], one):
            start, end = said[i].start, said[j - 1].end
            if any(s <= start and end <= e for s, e in found):
                continue
            if set(alias) <= asked:
                if not (claim[0] <= start and end <= claim[1]):
                    continue
                if len((asked & set(claimed)) - set(alias) - _WEAK) > 1:
                    doubts.add("that the question holds too")
                    continue
            if negated(said, i, a.text) or denied(a.text, end):
                doubts.add("denied")
            elif _HEDGED.search(a.text[:start]):
                doubts.add("held possible")
            elif _listed_late(a.text, start, claim, alias):
                doubts.add("in a list of others")
            elif _longer_name(a.text, said, i, j, {singular(form) for form in asked}):
                doubts.add("within a longer name")
            elif _alternative(a.text, start, end) and " or " not in a.question:
                doubts.add("beside another answer")
            else:
                found.append((start, end))
    return found, doubts


def _stems(said: Sequence[str]) -> set[str]:
    """Stems of the words that say something."""
    return {stem(form) for form in said if form not in _WEAK}


_HEDGED = re.compile(r"\b(?:used to be|could be|might be|may be|may have been|could have been)\s+(?:\w+\s+)?$")


def _listed_late(text: str, start: int, claim: Span, alias: Sequence[str]) -> bool:
    """Whether a mention is an entry, not the first, of a list of three or more: "London, Rome, Madrid" for Rome."""
    entries = re.split(r",\s*(?:and\s+|or\s+)?", text[slice(*claim)])
    short = all(0 < len(word_forms(entry)) <= 3 for entry in entries)
    return len(entries) >= 3 and short and word_forms(entries[0]) != alias and start > claim[0]


_NOTHING = _stems(tuple(_PHRASES))


def _spelt_otherwise(a: Answer, claimed: Sequence[str]) -> bool:
    """Whether the claim is an accepted spelling but for spaces, a plural or the order of a list: "Asia and Europe"."""

    def written(form: Sequence[str]) -> tuple[str, list[str]]:
        return "".join(form), sorted(singular(f) for f in form if f != "and")

    letters, entries = written(claimed)
    return any(
        (spelt and letters == spelt) or entries == parts
        for spelt, parts in (written(word_forms(x)) for x in a.aliases)
        if parts
    )


def _near(a: Answer, claimed: Sequence[str]) -> bool:
    """Whether the claim is nearly an accepted spelling, or a part of one."""
    letters = "".join(claimed)
    for alias in {word_forms(alias) for alias in a.aliases}:
        content = [form for form in claimed if form not in _WEAK]
        if content and len(content) < len(alias) and set(content) <= set(alias):
            return True
        close = len(letters) > 3 and not letters.isdigit()
        if close and difflib.SequenceMatcher(None, letters, "".join(alias)).ratio() >= _NEARLY:
            return True
    return False


def _claimed_before(a: Answer, claim: Span, declined: int) -> bool:
    """Whether a claim comes before the words that decline: then it stands, whatever is said to be unknown after it.

    It is one that was told from the question, or a first clause of a number or a few new words ("Asthma. No evidence …").
    """
    if claim[1] <= declined:
        return True
    head = re.match(r"\s*([^.;,!?\n]+)[.;,!?\n]", a.text[:declined])
    if not head:
        return False
    said = word_forms(head[1])
    new = _stems(said) - _stems(word_forms(a.question)) - _NOTHING
    return bool(new) and (any(form[0].isdigit() for form in said) or (len(said) <= 3 and "," not in head[0]))


def judge_open(a: Answer) -> tuple[Judgement, Span | None]:
    """Judgement of an answer and the characters that carry its claim, None where nothing is claimed.

    correct: it gives an accepted answer that it does not deny, put beside another, or make part of a longer name.
    incorrect: it claims something else. refused: it gives none and declines. unparsed: all that cannot be told by rules.
    A question without aliases has no answer: refused is right, and any claim incorrect.
    """
    said = split_words(a.text)
    if not said or is_degenerate(a.text):
        return Judgement(UNPARSED, "says nothing"), None
    claim = claim_span(a.text, a.question)
    found, doubts = _mentions(a, said, claim)
    claimed = word_forms(a.text[slice(*claim)])
    if found:
        inside = [s for s in found if claim[0] <= s[0] and s[1] <= claim[1]]
        phrase = claim[1] - claim[0] > 0.6 * len(a.text.strip()) and first_sentence(a.text, *claim) == claim
        return Judgement(CORRECT), claim if inside and phrase else (inside or found)[0]
    if claimed and _spelt_otherwise(a, claimed):
        return Judgement(CORRECT, "spelt otherwise"), claim
    declined = decline_span(a.text, exists=bool(a.aliases))
    if declined and not _claimed_before(a, claim, declined[0]):
        return Judgement(REFUSED), None
    if doubts:
        return Judgement(UNPARSED, f"an accepted answer {' and '.join(sorted(doubts))}"), None
    new = _stems(claimed) - _stems(word_forms(a.question))
    if not new and " or " not in a.question:
        return Judgement(UNPARSED, "repeats the question"), None
    if (new and new <= _NOTHING) or _OF_ITSELF.search(a.text[: claim[1]]):
        return Judgement(UNPARSED, "claims nothing"), None
    if _near(a, claimed):
        return Judgement(UNPARSED, "nearly an accepted answer"), None
    goes_on = re.match(r"[\"'”’*_)]*\s*[,;.(!\n]", a.text[claim[1] :])
    if a.cut_off and not goes_on and not re.search(r"[.!?\n]", a.text.strip()):
        return Judgement(UNPARSED, "cut off in its first sentence"), None
    return Judgement(INCORRECT), claim
