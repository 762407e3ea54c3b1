"""Judging by rules whether a reply goes along with a question that rests on a false premise (FalseQA).

The rules are weak, since a reply may reject a premise in words that no list contains. Tests measure their agreement with a
recorded LLM judge (docs/data-and-judges.md).
"""

import re
from collections.abc import Iterable

from hneurons.data.digits import Word
from hneurons.data.words import split_words
from hneurons.judges.refusals import declines, is_degenerate
from hneurons.judges.states import ACCEPTED, CUT_OFF, REFUSED, REJECTED, UNPARSED, Judgement

# Objections to the question itself.
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
# Only the opening of a reply, in characters and sentences, is searched for a rejection.
_OPENING = 350
_SENTENCES = 2
# A negation rejects the premise if its sentence repeats at least this share of the question's content words.
_MIN_REPEATED = 0.9


_FINISHED_SENTENCE = re.compile(r"(?<!\b[A-Z])(?<!\bMrs)(?<!\b[MDJS][rt])(?<!\d)[.!?](?=[\s\"'”’)]|$)|[^\s:][ \t]*\n\s*\S")


def _beginnings(words: Iterable[Word]) -> set[str]:
    return {word.form[:5] for word in words}


def judge_premise(question: str, reply: str, truncated: bool = False) -> Judgement:
    """Judge whether a reply accepts the false premise of a question.

    Args:
        question: The question with the false premise.
        reply: The model's reply.
        truncated: Whether the reply was cut off at the token limit.

    Returns:
        rejected: the opening of the reply objects to the question, or one of its first sentences denies what the question
        is about. accepted: neither is the case. refused: the reply declines to answer at all. unparsed: it is degenerate,
        does not concern the question, or was cut off in its first sentence without a rejection.
    """
    if is_degenerate(reply):
        return Judgement(UNPARSED, "says nothing")
    text = re.sub(r"[*_#]", "", reply)
    opening = text[:_OPENING]
    topic = _beginnings(w for w in split_words(question) if w.form not in _COMMON)
    if match := _OBJECTS.search(opening):
        return Judgement(REJECTED, match.group().lower())
    if not _AGREES.match(opening):
        for sentence in re.split(r"(?<=[.!?])\s+|\n+", opening)[:_SENTENCES]:
            repeated = topic & _beginnings(split_words(sentence))
            if (match := _DENIES.search(sentence)) and len(repeated) >= max(2, _MIN_REPEATED * len(topic)):
                return Judgement(REJECTED, match.group().lower())
    if not topic & _beginnings(split_words(text)):
        return Judgement(UNPARSED, "not about the question")
    if declines(opening) and len(text) < _OPENING:
        return Judgement(REFUSED)
    if truncated and not _FINISHED_SENTENCE.search(text):
        return Judgement(UNPARSED, CUT_OFF)
    return Judgement(ACCEPTED)
