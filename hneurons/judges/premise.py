"""Judging by rules whether a reply goes along with a question that rests on a false premise (FalseQA).

Weak by nature: a reply may reject a premise in words that no list holds. Its agreement with a recorded LLM judge is
measured in the tests and stands in the documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hneurons.judges.refusals import declines, is_degenerate
from hneurons.judges.states import ACCEPTED, REFUSED, REJECTED, UNPARSED, Judgement
from hneurons.judges.words import Word, split_words

# Said of the question itself.
_OBJECTS = re.compile(
    r"\b(?:trick question|misconception|misunderstanding|urban legend"
    r"|(?:common|persistent|popular) myth|(?:actually|completely|just) a myth"
    r"|no such thing|(?:is|are|'s|’s|was|were) (?:\w+ )?(?:impossible|false|incorrect|nonsens\w*)|not (?:\w+ )?possible"
    r"|do(?:es)?n['’]t (?:actually |really |even )?(?:exist|make sense)|does not exist"
    r"|neither|none of (?:them|these|those|the)|there (?:is|was|were) (?:actually |simply )?no"
    r"|false premise|incorrect premise|flawed)\b",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\b(?:not|cannot|never|(?:do|does|did|is|are|was|were|could|would|has|have|should)n['’]t|can['’]t|won['’]t)\b",
    re.IGNORECASE,
)
_AGREES = re.compile(r"^\W*(?:yes|sure|absolutely|certainly|of course)\b", re.IGNORECASE)
_COMMON = set(
    "a an the of in on at to for from by with and or is are was were be do does did can could will would should have "
    "has had it its what which who whom whose why how when where list name tell me you your i my we our they them "
    "their this that these those if many much one two three some any more most there than as not no".split()
)
# A premise is rejected in the opening of a reply or not at all.
_OPENING = 350
_SENTENCES = 2
# How much of the question a sentence must take up for its denial to be of the premise.
_MOST = 0.9


def _beginnings(said: Iterable[Word]) -> set[str]:
    return {word.form[:5] for word in said}


def judge_premise(question: str, reply: str) -> Judgement:
    """accepted or rejected; refused where the reply declines to answer at all; unparsed where it says nothing.

    Rejected: the opening objects to the question, or one of its first sentences denies what the question is about.
    """
    if is_degenerate(reply):
        return Judgement(UNPARSED, "says nothing")
    text = re.sub(r"[*_#]", "", reply)
    opening = text[:_OPENING]
    about = _beginnings(w for w in split_words(question) if w.form not in _COMMON)
    if match := _OBJECTS.search(opening):
        return Judgement(REJECTED, match.group().lower())
    if not _AGREES.match(opening):
        for sentence in re.split(r"(?<=[.!?])\s+|\n+", opening)[:_SENTENCES]:
            held = about & _beginnings(split_words(sentence))
            if (match := _DENIES.search(sentence)) and len(held) >= max(2, _MOST * len(about)):
                return Judgement(REJECTED, match.group().lower())
    if not about & _beginnings(split_words(text)):
        return Judgement(UNPARSED, "not about the question")
    if declines(opening) and len(text) < _OPENING:
        return Judgement(REFUSED)
    return Judgement(ACCEPTED)
