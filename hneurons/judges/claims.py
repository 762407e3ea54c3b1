"""Locate the claim of an open answer by rules (one of the routes to an answer span; spans.py has them all).

The rules are conservative: a response that is only a phrase is taken entirely as the claim, and only text that is clearly
not part of the claim is removed.
"""

import re
from itertools import compress, pairwise

from hneurons.data.signs import sign_after
from hneurons.data.words import split_words, stem

Span = tuple[int, int]

_QUOTES = "\"“”„«»'’‘`*_"
_EDGE = _QUOTES + " \t\r\n"
_INITIALS = re.compile(r"\b[A-Z]\.[A-Z]\.$")
_COPULA = (
    r"is|are|was|were|lies|stands|became|becomes|means|remains|belongs|originated|borders|"
    r"(?:has|have|had) been|(?:can|could|may) be|refers to|stands for|speak|speaks|uses|wrote|painted|invented|discovered|"
    r"took place|happened|occurred|played|directed|founded|made|won|died|comes?|began"
)
# In lower case and not first: "Speak softly" and "All I Want for Christmas Is You" are not statements about a subject.
_VERB = re.compile(rf"(?<=\s)(?:{_COPULA})\b|(?<=\w)['’](?:s|re)\b(?=\s+(?:a|an|the|not|in|called|known|located)\b)")
# Words that connect the part of a response that repeats the question with the claim.
CONNECTING = set(
    "a an and also are as at been by called city commonly considered country currently first for from had has have he "
    "her his in into is it its known located lies main most name named of official officially often on one only or "
    "originally people primarily s she situated so spoken symbol that the their there these they this to today used "
    "usually was were which who with you would be can been where when what how did do does".split()
)
# Lower-case words within a name.
_WITHIN = {"of", "the", "and", "de", "la", "du", "da", "del", "al", "au", "von", "van", "der", "y"}
_ANSWER_IS = re.compile(r"\b(?:final |correct |right )?answer\s*(?:is\b|was\b|:)\s*:?\s*", re.IGNORECASE)
_ALSO_KNOWN = re.compile(
    r"\b(?:is|are|was|were)\s+(?:also |better |commonly |usually )*(?:known as|called|named)\s+", re.IGNORECASE
)
_OPENING = re.compile(r"^(?:It|They|He|She|This|That|These|Those|There)(?:['’]s|['’]re| is| are| was| were)\s+(?=\S)")
_IT_IS = re.compile(r"^(?:It|They|He|She|This|That|These) (?:is|are|was|were) (?=[^\Wa-z])")
# A new paragraph or a list follows the claim; other line breaks separate parts of one answer.
_NEXT_LINES = re.compile(r"\n(?:[ \t]*\n|[ \t]*[-*•]|[ \t]*\d+[.)])")
_SENTENCE_END = re.compile(r"(?<![A-Z])(?<!\bMrs)(?<!\b[MDJS][rt])[.!?](?=\s+[A-Z“\"(])|\n")
_SCIENTIFIC = re.compile(r"[A-Z][a-z]+(?: (?!of\b|the\b|and\b|in\b)[a-z]+){1,2}")
# Fewer words are a phrase, even with a verb in them: "What Was I Made For".
_SENTENCE_WORDS = 4


def _is_sign(text: str, start: int, end: int) -> bool:
    """Return whether a range of a text ends with the star of "A*"."""
    return text[end - 1] == "*" and end - 2 == start and sign_after(text, start, start + 1)[0] == "*"


def trim(text: str, start: int, end: int) -> Span:
    """Narrow a range [start, end) of a text.

    White space, quotation marks and Markdown are removed from both ends, punctuation from the end.
    """
    before = None
    while before != (before := (start, end)):
        while start < end and text[start] in _EDGE:
            start += 1
        while start < end and text[end - 1] in _EDGE and not _is_sign(text, start, end):
            end -= 1
        # A full stop after initials or an abbreviation belongs to them: "Washington, D.C.".
        while start < end and text[end - 1] in ".,;:!" and not _INITIALS.search(text, max(start, end - 5), end):
            end -= 1
    return start, end


def first_sentence(text: str, start: int, end: int) -> Span:
    """Return the first sentence or line of a range [start, end) of a text."""
    match = _SENTENCE_END.search(text, start, end)
    return (start, match.start()) if match and match.start() > start else (start, end)


def _outside_question(text: str, start: int, end: int, question: str) -> Span | None:
    """Return the first run of a sentence's words that neither repeat the question nor connect it with the claim.

    A run with a capital letter or a number takes precedence over one without. None if the sentence has no such run or does
    not repeat the question.
    """
    # 1. Words of the sentence. Parentheses explain; they are blanked, so that positions stay.
    sentence = text[start:end]
    words = split_words(re.sub(r"\([^()]*\)", lambda match: " " * len(match.group()), sentence))
    if not words:
        return None
    gaps = [sentence[word.end : following.start] for word, following in pairwise(words)]
    # 2. Words that may belong to the claim.
    question_stems = {stem(word.form) for word in split_words(question)}
    repeated = [stem(word.form) in question_stems for word in words]
    around = [word.form in CONNECTING for word in words]
    is_name = [sentence[word.start].isupper() or sentence[word.start].isdigit() for word in words]
    is_name[0] = is_name[0] and not around[0]
    if not any(r and not a for r, a in zip(repeated, around, strict=True)):
        return None
    kept = [not r and (n or not a) for r, a, n in zip(repeated, around, is_name, strict=True)]
    for i in range(1, len(words) - 1):
        # Within a name: "Republic of the Congo", "Port-au-Prince".
        later = i + 2 if words[i + 1].form in _WITHIN and i + 2 < len(words) else i + 1
        if words[i].form in _WITHIN and not is_name[i] and all(kept[k] and is_name[k] for k in (i - 1, later)):
            kept[i:later] = [True] * (later - i)
    # 3. Runs of such words, by index.
    runs: list[list[int]] = []
    for i in compress(range(len(words)), kept):
        gap = gaps[i - 1].strip(_EDGE) if i else ""
        initial = gap == "." and re.fullmatch(r"[A-Z]|St|Mt|Dr", sentence[words[i - 1].start : words[i - 1].end])
        if runs and runs[-1][-1] == i - 1 and (gap in ("", "-", "–") or initial):
            runs[-1].append(i)
        else:
            runs.append([i])
    if not runs:
        return None
    # 4. The claim, from the first name of its run.
    run = next((run for run in runs if any(is_name[i] for i in run)), runs[0])
    first, last = next((i for i in run if is_name[i]), run[0]), run[-1]
    # A name that contains a word of the question: "Mexico City", "Lao-Lao".
    while first and is_name[first - 1] and gaps[first - 1] in (" ", "-"):
        first -= 1
    while last + 1 < len(words) and gaps[last] == "-":
        last += 1
    return start + words[first].start, start + words[last].end


def claim_span(text: str, question: str) -> Span:
    """Locate the characters of a response that carry its claim.

    If the response announces its answer ("the answer is"), the claim is the sentence that follows. Otherwise only the first
    entry of a list or the first paragraph counts. If it is a sentence that repeats the question, the claim is the part that
    the question does not contain; else it is all of the entry, trimmed.

    Args:
        text: The response.
        question: The question.

    Returns:
        Characters [start, end) of the text; empty for a response without words.
    """
    start, end = trim(text, 0, len(text))
    if announcements := list(_ANSWER_IS.finditer(text)):
        announced = trim(text, *first_sentence(text, announcements[-1].end(), len(text)))
        if announced[0] < announced[1]:
            return announced
    if match := _NEXT_LINES.search(text, start, end):
        start, end = trim(text, start, match.start())
    start, end = _without_asides(text, start, end)
    sentence = trim(text, *first_sentence(text, start, end))
    inner = text[slice(*sentence)]
    is_sentence = len(split_words(inner)) >= _SENTENCE_WORDS
    match = None if is_sentence else _IT_IS.match(inner)
    if is_sentence and (_VERB.search(inner) or _OPENING.match(inner)):
        match = _ALSO_KNOWN.search(inner)
        if not match and (claim := _outside_question(text, *sentence, question)):
            return trim(text, *claim)
        match = match or _OPENING.match(inner)
    return trim(text, sentence[0] + match.end(), sentence[1]) if match else (start, end)


# What joins an answer and its repetition.
_JOINS = re.compile(r"\s+(?:(?:and|or)\s+)?")
_REPEATS = re.compile(r"\s*(?:\n| and | or )\s*")


def _without_asides(text: str, start: int, end: int) -> Span:
    """Remove a final parenthesis with a symbol, a scientific name or another script, or a repetition of the claim."""
    inner = text[start:end]
    opening = inner.rfind("(")
    name, aside = inner[:opening].rstrip(), inner[opening + 1 : -1]
    if opening > len(name) > 0 and inner.endswith(")") and ")" not in aside:
        aside = aside.strip().removeprefix("*").removesuffix("*")
        if re.fullmatch("[A-Z]", aside) or _SCIENTIFIC.fullmatch(aside) or _other_script(name, aside):
            return trim(text, start, start + len(name))
    for match in _JOINS.finditer(inner):
        length = match.start()
        if 2 <= length == len(inner) - match.end() and _REPEATS.fullmatch(match.group()):
            return trim(text, start, start + length) if inner[:length] == inner[match.end() :] else (start, end)
    return start, end


def _other_script(name: str, aside: str) -> bool:
    return name.isascii() != aside.isascii() and any(ord(c) > 0x36F for c in name + aside)


# What explains a claim: "Lyon, which is …", "Lyon (France)", "Lyon – the second city", "Lyon, I think".
_EXPLANATION = re.compile(
    r"(?<!\s)\s*[(\[;\n]|(?<!\s)\s+[–—-]\s|(?:,|(?<!\s))\s+(?:because|which|who|whose)\b"
    r"|,\s+(?=(?:an?|the|where|when|located|born|although|though|as|since|in|on|at|from|of|by|with|also|is|was|now|not|I)\b)"
)
# A sentence or clause ends with one of these marks, but not within a number, or after an initial or a title.
_FINISHED = re.compile(r"(?<!\b[A-Z])(?<!\bMrs)(?<!\b[MDJS][rt])[.!?;,](?=[\s\"'”’)\]*_]|$)|\n")


def decisive_part(claim: str) -> str:
    """Return a claim without what explains it: "Lyon" for "Lyon, which is in France"."""
    start, end = first_sentence(claim, 0, len(claim))
    part = _EXPLANATION.split(claim[start:end], maxsplit=1)[0]
    return part[slice(*trim(part, 0, len(part)))]


def finished_end(text: str) -> int:
    """Return the end of the last sentence or clause that a reply cut off at the token limit finished, 0 without one."""
    ends = [match.end() for match in _FINISHED.finditer(text)]
    # "1," and "3." at the cut may be the first digits of a longer number.
    if ends and ends[-1] == len(text) and re.search(r"\d[.,]$", text[-2:]):
        ends.pop()
    return ends[-1] if ends else 0


def without_last_word(text: str) -> str:
    """Return a reply that was cut off at the token limit without its last word, which may be unfinished."""
    return text[: -len(text.split()[-1])] if text.strip() and not text[-1].isspace() else text
