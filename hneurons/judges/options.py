"""Reading the chosen option of a multiple-choice reply: text before letters, then letter or digit, else nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hneurons.judges.words import denied, negated, occurrences, split_words, word_forms

# Where a reply that reasons first announces its answer.
_ANNOUNCED = re.compile(
    r"\b(?:answer|choice|option)(?:\s+(?:is|would be|should be|must be))?\s*:\s*"
    r"|\b(?:answer|choice|option)\s+(?:is|would be|should be|must be)\s+"
    r"|\b(?:I(?:'d| would)? (?:choose|pick|select)|I(?:'ll| will) go with)\s+(?:option\s+)?|\\boxed",
    re.IGNORECASE,
)
_ANNOUNCEMENT_ENDS = re.compile(r"\n\s*\n|(?<=[a-z)])[.;]\s|\n(?=[A-Z])")

_JOIN = r"\**\s*(?:,|/|,? ?\bor\b|,? ?\band\b)\s*(?:[Oo]ption )?[*(]*"
# How a letter or number stands for an option: never as a word ("A planet") or within one ("vitamin B12").
_MARKS = (
    re.compile(r"^\W*([A-Ja-j1-9])\W*$"),  # the whole reply
    re.compile(r"(?<!\w)[(\[{]\s*([A-J])\s*[)\]}]"),  # (B), [B], {B}; a bracketed number may be a reference
    re.compile(r"^\s*\(([a-j1-9])\)", re.MULTILINE),
    re.compile(r"(?:^|(?<=[\s*_]))([A-J])\)"),  # B)
    re.compile(r"\*\*([A-J])\*\*"),
    re.compile(r"^\s*\**([A-Ja-j1-9])\**[).:](?=\s|\**\s|$)", re.MULTILINE),  # B. or 2. or b) where a line begins
    re.compile(r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter|[Aa]nswer)\s+[*\"'(]*([A-J1-9])\b(?!['’])"),
    # A or B: both are named, so that neither is chosen.
    re.compile(rf"\b([A-J1-9])\)?{_JOIN}[A-J1-9]\b(?!['’]|\s[a-z])"),
    re.compile(rf"\b[A-J1-9]\)?{_JOIN}([A-J1-9])\b(?!['’]|\s[a-z])"),
)
# Where the answer is announced a bare mark will do, if no word goes on with it.
_ANNOUNCED_MARK = re.compile(r"^[\s*_\"'(\[{$]*([A-J1-9])(?=[\s*_\"')\]}$]*(?:$|[.,:;–-]|\n|because\b|since\b|as\b|is\b))")


def _by_text(reply: str, options: Sequence[str]) -> set[int]:
    """Options whose text a reply gives and does not deny; the text of a longer option is not also a shorter one's."""
    said = split_words(reply)
    wanted = {i: word_forms(option) for i, option in enumerate(options)}
    taken: set[int] = set()
    found = set()
    for i in sorted(wanted, key=lambda i: len(wanted[i]), reverse=True):
        for start, end in occurrences(wanted[i], said):
            # One letter or digit may be the option's mark, a digit a part of a larger number.
            whole = len("".join(wanted[i])) > 1 or reply.strip(" .*()\"'") == options[i].strip()
            part = (
                reply[said[start].start - 1 : said[start].start] in ("/", "-", "−", ".")
                or reply[said[end - 1].end :][:1] == "/"
            )
            if whole and not part and not taken & set(range(start, end)):
                taken |= set(range(start, end))
                if not negated(said, start, reply) and not denied(reply, said[end - 1].end):
                    found.add(i)
    return found


def _by_mark(reply: str, count: int, announced: bool) -> set[int]:
    """Options named by their letter or number and not denied."""
    found = set()
    for pattern in (*_MARKS, *([_ANNOUNCED_MARK] if announced else [])):
        for match in pattern.finditer(reply):
            mark = match[1]
            index = int(mark) - 1 if mark.isdigit() else ord(mark.upper()) - ord("A")
            before = split_words(reply[: match.end(1)])
            if (
                index < count
                and not (before and negated(before, len(before) - 1, reply))
                and not denied(reply, match.end(1))
            ):
                found.add(index)
    return found


def parse_option(reply: str, options: Sequence[str]) -> int | None:
    """Index of the option that a reply chooses, None where it chooses none or several.

    options: their texts, in the order of their letters (A, B, …) and numbers (1, 2, …). A reply that announces its answer
    is read from its last announcement; where that says nothing, as a whole.
    """
    announcements = list(_ANNOUNCED.finditer(reply))
    tail = reply[announcements[-1].end() :] if announcements else ""
    for part, announced in ((_ANNOUNCEMENT_ENDS.split(tail, maxsplit=1)[0], True), (reply, False)):
        by_text = _by_text(part, options)
        by_mark = _by_mark(part, len(options), announced)
        for chosen in (by_text, by_text & by_mark if by_text else by_mark):
            if len(chosen) == 1:
                return chosen.pop()
    return None
