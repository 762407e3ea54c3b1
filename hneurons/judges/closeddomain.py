"""Judging an answer that must be one of a known vocabulary, by the answers it names."""

from __future__ import annotations

from collections.abc import Sequence

from hneurons.data.vocabulary import Mention, Vocabulary, claimed_mentions, find_mentions
from hneurons.judges.refusals import declines
from hneurons.judges.states import CORRECT, INCORRECT, REFUSED, UNPARSED


def judge_closed(text: str, question: str, aliases: Sequence[str], vocabulary: Vocabulary) -> tuple[str, Mention | None]:
    """Verdict on a factual answer by the answers it names, and the mention that carries its claim.

    correct: it names the gold answer and no other. incorrect: it names others only. refused: it names none and declines.
    unparsed: it names the gold answer and another, or none. The mention is None where nothing is claimed.
    """
    named = claimed_mentions(text, question, vocabulary)
    gold = set(aliases)
    right = [m for m in named if gold.intersection(m.answer)]
    if right:
        return (CORRECT, right[0]) if len(right) == len(named) else (UNPARSED, None)
    if named:
        return INCORRECT, named[0]
    return (REFUSED if declines(text) else UNPARSED), None


def named_option(text: str, options: Sequence[Sequence[str]], vocabulary: Vocabulary) -> int | None:
    """Index of the one option that a reply names by its text; None where it names none or several.

    options: the accepted spellings of each, all of them answers of the vocabulary, in which the text is read: a reply that
    names Guinea-Bissau does not name Guinea.
    """
    named = {m.answer for m in find_mentions(text, vocabulary)}
    chosen = [i for i, option in enumerate(options) if tuple(option) in named]
    return chosen[0] if len(chosen) == 1 else None
