"""Judging a response by rules: never a guess, whatever cannot be told is a state of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hneurons.answers import Mention, Vocabulary, claimed, mentions

RULES = "rules"

CORRECT, INCORRECT, REFUSED, UNPARSED = "correct", "incorrect", "refused", "unparsed"

_REFUSAL = re.compile(
    r"\bI(?:['’]m| am)(?: very| really| so)? (?:sorry|afraid|unable|"
    r"not (?:sure|able|aware|familiar|capable|equipped|comfortable))"
    r"|\bI (?:do not|don['’]t|cannot|can['’]t|can not|could not|couldn['’]t|will not|won['’]t) "
    r"(?:know|help|assist|provide|answer|find|recall|recommend|support|"
    r"have (?:any |enough |the )?(?:information|ability|capability))"
    r"|\b(?:there is no|no such|does not exist|doesn['’]t exist|is not a real|isn['’]t a real|fictional|unknown)\b"
    r"|\b(?:against my|not appropriate|inappropriate|not ethical|unethical)\b",
    re.IGNORECASE,
)


def declines(text: str) -> bool:
    """Whether a reply refuses, apologises instead of answering, or says that it does not know or there is none."""
    return bool(_REFUSAL.search(text))


def judge_answer(text: str, question: str, aliases: Sequence[str], vocabulary: Vocabulary) -> tuple[str, Mention | None]:
    """Verdict on a factual answer by the answers it names, and the mention that carries its claim.

    correct: it names the gold answer and no other. incorrect: it names others only. refused: it names none and declines.
    unparsed: it names the gold answer and another, or none. The mention is None where nothing is claimed.
    """
    named = claimed(text, question, vocabulary)
    gold = set(aliases)
    right = [m for m in named if gold.intersection(m.answer)]
    if right:
        return (CORRECT, right[0]) if len(right) == len(named) else (UNPARSED, None)
    if named:
        return INCORRECT, named[0]
    return (REFUSED if declines(text) else UNPARSED), None


def chosen_option(text: str, options: Sequence[Sequence[str]], letters: str = "ABCDE") -> int | None:
    """Index of the one option that a reply names: by its text, else by its letter or digit; None where that is not one.

    options: the accepted spellings of each.
    """
    listed = Vocabulary(tuple(tuple(o) for o in options))
    by_text = {m.answer for m in mentions(text, listed)}
    if by_text:
        return listed.answers.index(by_text.pop()) if len(by_text) == 1 else None
    marks = letters[: len(options)]
    found = re.findall(rf"\(([{marks}])\)|\b([{marks}])[).:]|^\s*([{marks}])\s*$|\boption ([{marks}])\b", text)
    by_letter = {next(m for m in groups if m) for groups in found}
    return marks.index(by_letter.pop()) if len(by_letter) == 1 else None
