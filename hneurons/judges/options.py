"""Read the chosen option of a multiple-choice reply: first by the text of the options, then by their letter or number."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

from hneurons.data.digits import Word
from hneurons.data.folding import fold
from hneurons.data.words import answer_words, count_words, denied, index_words, negated, occurrences, split_words
from hneurons.generation.thoughts import answer_start

# How a reply that reasons first announces its answer.
_ANNOUNCED = re.compile(
    r"\b(?:answer|choice|option)(?:\s+(?:is|would be|should be|must be))?[\"'*_`]*\s*:\s*"
    r"|\b(?:answer|choice|option)\s+(?:is|would be|should be|must be)\s+"
    r"|\b(?:I(?:'d| would)? (?:choose|pick|select)|I(?:'ll| will) go with)\s+(?:option\s+)?"
    r"|\\boxed(?:\{\\[a-z]+)?|<(?:final_)?(?:answer|choice|option)>\s*",
    re.IGNORECASE,
)
_ANNOUNCEMENT_ENDS = re.compile(r"\n\s*\n|(?<=[a-z)])[.;]\s|\n(?=[A-Z])")

_JOIN = r"\**\s*(?:,|/|,? ?\bor\b|,? ?\band\b)\s*(?:[Oo]ption )?[*(]*"
# How a letter or number marks an option; not as a word ("A planet") or within one ("vitamin B12").
_MARKS = (
    re.compile(r"^[\W_]*([A-Ja-j1-9])[\W_]*$"),  # the entire reply
    re.compile(r"(?<!\w)[(\[{【]\s*([A-J])\s*[)\]}】]"),  # (B), [B], {B}; a bracketed number may be a reference
    re.compile(r"^[^\S\n]*\(([a-j1-9])\)", re.MULTILINE),
    re.compile(r"(?:^|(?<=[\s*_]))([A-J])\)"),  # B)
    re.compile(r"(?:\*\*|__)([A-J])[.:]?(?:\*\*|__)"),
    re.compile(r"`([A-J])`"),
    re.compile(r"\\boxed\s*\{(?:\\[a-z]+\s*\{)?\s*\(?([A-Ja-j1-9])[).]*\s*\}"),
    re.compile(r"<(?:final_)?(?:answer|choice|option)>\s*\(?([A-Ja-j1-9])[).]*\s*<", re.IGNORECASE),
    re.compile(r"^[^\S\n]*\**([A-Ja-j1-9])\**[).:](?=\s|\**\s|$)", re.MULTILINE),  # B. or 2. or b) at the start of a line
    re.compile(r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter|[Aa]nswer)\s+[*\"'(]*([A-J1-9])\b(?!['’])"),
    # A or B: both are named, so neither is chosen.
    re.compile(rf"\b([A-J1-9])\)?{_JOIN}[A-J1-9]\b(?!['’]|\s[a-z])"),
    re.compile(rf"\b[A-J1-9]\)?{_JOIN}([A-J1-9])\b(?!['’]|\s[a-z])"),
)
# After an announcement a bare mark is enough if its phrase ends there.
_ANNOUNCED_MARK = re.compile(
    r"^[\s*_\"'`(\[{【$]*([A-J1-9])(?=[\s*_\"'`)\]}】$]*(?:$|[<.,:;–-]|\n|because\b|since\b|as\b|is\b))"
)


def _by_text(reply: str, words: Sequence[Word], options: Sequence[str]) -> set[int]:
    """Return the options whose text a reply gives without denying it; each word counts for the longest option only."""
    places = index_words(words)
    # Several options may have the same form: 3/4 and 0.75.
    at_place: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i in sorted(range(len(options)), key=lambda i: count_words(options[i]), reverse=True):
        phrase = answer_words(options[i])
        # One letter or digit may be the option's mark instead of its text.
        is_text = sum(len(word.form) for word in phrase) > 1 or reply.strip(" .*()\"'") == options[i].strip()
        for start, end in occurrences(phrase, words, places, plurals=False) if is_text else ():
            first, last = words[start].start, words[end - 1].end
            in_number = reply[first - 1 : first] in ("/", "-", "−", ".") or reply[last : last + 1] == "/"
            if not in_number:
                at_place[start, end].append(i)
    used_words: set[int] = set()
    chosen: set[int] = set()
    for (start, end), named in at_place.items():
        first, last = words[start].start, words[end - 1].end
        if used_words.isdisjoint(range(start, end)):
            used_words |= set(range(start, end))
            if not negated(words, start, reply) and not denied(reply, last):
                chosen.update(_as_written(reply[first:last], named, options))
    return chosen


def _as_written(text: str, named: Sequence[int], options: Sequence[str]) -> Sequence[int]:
    """Return the options, of those with the form of a text, that are written as it is; all of them if none is."""

    def letters(text: str) -> str:
        return "".join(character for character in text.casefold() if character.isalnum())

    for spelling in (str.casefold, letters):
        if same := [i for i in named if spelling(options[i].strip(" .")) == spelling(text.strip(" ."))]:
            return same
    return named


def _by_mark(reply: str, words: Sequence[Word], count: int, announced: bool) -> set[int]:
    """Return the options that a reply names by letter or number without denying them."""
    starts = [word.start for word in words]
    chosen = set()
    for pattern in (*_MARKS, *([_ANNOUNCED_MARK] if announced else [])):
        for match in pattern.finditer(reply):
            mark = match[1]
            index = int(mark) - 1 if mark.isdigit() else ord(mark.upper()) - ord("A")
            word = bisect_right(starts, match.start(1)) - 1
            if index < count and not (word >= 0 and negated(words, word, reply)) and not denied(reply, match.end(1)):
                chosen.add(index)
    return chosen


# What follows the announced option is a reason or a description, which may name other options.
_REASON = re.compile(r"\b(?:that|which|one|because|since|as|where|who|when)\b|[,;:.\n]")


def _announced_before_cut(tail: str, options: Sequence[str]) -> str:
    """Return the option that a cut-off reply announced in its last, unfinished sentence; empty if it may be another one.

    The last word counts only if something follows it: "(B)" and "helium," but neither "B" nor "heli".

    Args:
        tail: What follows the announcement.
        options: Texts of the options.
    """
    phrase = _REASON.split(tail, maxsplit=1)[0]
    if phrase != tail:
        return phrase + " "
    if re.search(r"\b(?:or|and|not)\W*$", tail):
        return ""
    # "carbon di" begins "carbon dioxide" and does not name carbon.
    end = tail[-max(map(len, options), default=0) :].casefold()
    beginnings = (option[:n].casefold() for option in options for n in range(1, len(option) + 1))
    unfinished = max((len(text) for text in beginnings if end.endswith(text)), default=0)
    return re.sub(r"\w+$", "", tail[: len(tail) - unfinished] if " " in tail[len(tail) - unfinished :] else tail)


def parse_option(reply: str, options: Sequence[str], truncated: bool = False) -> int | None:
    """Return the index of the option that a reply chooses, None if it chooses none or several.

    A reply that announces its answer is read from the last announcement on, and from its start if that yields nothing.

    Args:
        reply: The reply; thoughts before it choose nothing.
        options: Texts of the options, in the order of their letters (A, B, …) and numbers (1, 2, …).
        truncated: Whether the reply was cut off at the token limit. Then it chooses only what it announced before.
    """
    reply = fold(reply[answer_start(reply) :]).text  # letters in full width
    announcements = list(_ANNOUNCED.finditer(reply))
    tail = reply[announcements[-1].end() :] if announcements else ""
    announcement = _ANNOUNCEMENT_ENDS.split(tail, maxsplit=1)[0]
    if truncated and announcement == tail:
        announcement = _announced_before_cut(tail, options)
    for part, announced in ((announcement, True), *([] if truncated else [(reply, False)])):
        words = split_words(part)
        by_text = _by_text(part, words, options)
        by_mark = _by_mark(part, words, len(options), announced)
        for chosen in (by_text, by_text & by_mark if by_text else by_mark):
            if len(chosen) == 1:
                return chosen.pop()
    return None
