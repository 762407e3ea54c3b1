"""The claim of a response by rules: which of its characters carry the answer (METHOD.md §1, "Answer span").

Conservative: a response that is a phrase is its own claim, whole; only what is clearly around a claim is taken off.
"""

from __future__ import annotations

import re

from hneurons.judges.words import Word, split_words, stem

Span = tuple[int, int]

_QUOTES = "\"“”„«»'’‘`*_"
_EDGE = _QUOTES + " \t\r\n"
_COPULA = (
    r"is|are|was|were|lies|stands|became|becomes|means|remains|belongs|originated|borders|"
    r"(?:has|have|had) been|(?:can|could|may) be|refers to|stands for|speak|speaks|uses|wrote|painted|invented|discovered|"
    r"took place|happened|occurred|played|directed|founded|made|won|died|comes?|began"
)
# In lower case and not first: "Speak softly" and "All I Want for Christmas Is You" are no sentences about something.
_VERB = re.compile(rf"(?<=\s)(?:{_COPULA})\b|(?<=\w)['’](?:s|re)\b(?=\s+(?:a|an|the|not|in|called|known|located)\b)")
# What stands between a question's words, taken up again by the response, and the claim.
_AROUND = set(
    "a an and also are as at been by called city commonly considered country currently first for from had has have he "
    "her his in into is it its known located lies main most name named of official officially often on one only or "
    "originally people primarily s she situated so spoken symbol that the their there these they this to today used "
    "usually was were which who with you would be can been where when what how did do does".split()
)
_WITHIN = {"of", "the", "and", "de", "la", "du", "da", "del", "al", "au", "von", "van", "der", "y"}
_ANSWER_IS = re.compile(r"\b(?:final |correct |right )?answer\s*(?:is|was|:)\s*:?\s*", re.IGNORECASE)
_ALSO_KNOWN = re.compile(
    r"\b(?:is|are|was|were)\s+(?:also |better |commonly |usually )*(?:known as|called|named)\s+", re.IGNORECASE
)
_OPENING = re.compile(r"^(?:It|They|He|She|This|That|These|Those|There)(?:['’]s|['’]re| is| are| was| were)\s+(?=\S)")
_IT_IS = re.compile(r"^(?:It|They|He|She|This|That|These) (?:is|are|was|were) (?=[^\Wa-z])")
# A paragraph, a list, or the same again after the claim; other lines are entries of one answer.
_NEXT_LINES = re.compile(r"[ \t]*\n(?:[ \t]*\n|[ \t]*[-*•]|[ \t]*\d+[.)])")
_SENTENCE_END = re.compile(r"(?<![A-Z])(?<!\bMrs)(?<!\b[MDJS][rt])[.!?](?=\s+[A-Z“\"(])|\n")
_SCIENTIFIC = re.compile(r"[A-Z][a-z]+(?: (?!of\b|the\b|and\b|in\b)[a-z]+){1,2}")
# Fewer words are a phrase, whatever they hold: "What Was I Made For".
_SENTENCE_WORDS = 4


def trim(text: str, start: int, end: int) -> Span:
    """A range without white space, quotation marks and Markdown around it, and without a full stop or comma at its end."""
    while True:
        before = start, end
        while start < end and text[start] in _EDGE:
            start += 1
        while start < end and text[end - 1] in _EDGE:
            end -= 1
        # A full stop after initials or an abbreviation belongs to them: "Washington, D.C.".
        while start < end and text[end - 1] in ".,;:!" and not re.search(r"\b[A-Z]\.[A-Z]\.$", text[start:end]):
            end -= 1
        if before == (start, end):
            return start, end


def first_sentence(text: str, start: int, end: int) -> Span:
    """The first sentence or line of a range."""
    match = _SENTENCE_END.search(text, start, end)
    return (start, match.start()) if match and match.start() > start else (start, end)


def _outside_question(text: str, start: int, end: int, question: str) -> Span | None:
    """The first stretch of a sentence that neither repeats the question nor joins; None where there is none.

    A stretch with a capital letter or a number goes before one without.
    """
    asked = {stem(w.form) for w in split_words(question)}
    # What stands in parentheses explains; blanked, so that no place moves.
    said = split_words(re.sub(r"\([^()]*\)", lambda m: " " * len(m.group()), text[start:end]))
    if not said:
        return None
    echo = [stem(w.form) in asked for w in said]
    name = [text[start + w.start].isupper() or text[start + w.start].isdigit() for w in said]
    name[0] = name[0] and said[0].form not in _AROUND
    if not any(e and w.form not in _AROUND for w, e in zip(said, echo, strict=True)):
        return None
    kept = [not e and (n or w.form not in _AROUND) for w, e, n in zip(said, echo, name, strict=True)]
    for i in range(1, len(said) - 1):
        # Within a name: "Republic of the Congo", "Port-au-Prince".
        later = i + 2 if said[i + 1].form in _WITHIN and i + 2 < len(said) else i + 1
        if said[i].form in _WITHIN and not name[i] and kept[i - 1] and kept[later] and name[i - 1] and name[later]:
            kept[i:later] = [True] * (later - i)
    runs: list[list[Word]] = [[]]
    for i, word in enumerate(said):
        gap = text[start + said[i - 1].end : start + word.start].strip(_EDGE) if i else ""
        initial = gap == "." and re.fullmatch(r"[A-Z]|St|Mt|Dr", text[start + said[i - 1].start : start + said[i - 1].end])
        if not kept[i] or (gap not in ("", "-", "–") and not initial):
            runs.append([])
        if kept[i]:
            runs[-1].append(word)
    runs = [run for run in runs if run]
    named = [run for run in runs if any(name[said.index(w)] for w in run)]
    for run in (named or runs)[:1]:
        while named and not name[said.index(run[0])]:
            run.pop(0)
        first, last = said.index(run[0]), said.index(run[-1])
        # A name that holds a word of the question: "Mexico City", "Lao-Lao".
        while first and name[first - 1] and text[start + said[first - 1].end : start + said[first].start] in (" ", "-"):
            first -= 1
        while last + 1 < len(said) and text[start + said[last].end : start + said[last + 1].start] == "-":
            last += 1
        return start + said[first].start, start + said[last].end
    return None


def claim_span(text: str, question: str) -> Span:
    """Characters [start, end) of a response that carry its claim; empty for a response of no words.

    In this order: what follows "the answer is"; of a list or of several lines the first entry; of a sentence that takes up
    the question, what the question does not hold; else the whole response, trimmed.
    """
    whole = trim(text, 0, len(text))
    if said := list(_ANSWER_IS.finditer(text)):
        start, end = first_sentence(text, said[-1].end(), len(text))
        if (found := trim(text, start, end))[0] < found[1]:
            return found
    start, end = whole
    if match := _NEXT_LINES.search(text, start, end):
        start, end = trim(text, start, match.start())
    start, end = _without_asides(text, start, end)
    sentence = trim(text, *first_sentence(text, start, end))
    inner = text[sentence[0] : sentence[1]]
    if (match := _IT_IS.match(inner)) and len(split_words(inner)) < _SENTENCE_WORDS:
        return trim(text, sentence[0] + match.end(), sentence[1])
    if len(split_words(inner)) >= _SENTENCE_WORDS and (_VERB.search(inner) or _OPENING.match(inner)):
        if match := _ALSO_KNOWN.search(inner):
            return trim(text, sentence[0] + match.end(), sentence[1])
        if found_span := _outside_question(text, *sentence, question):
            return trim(text, *found_span)
        if match := _OPENING.match(inner):
            return trim(text, sentence[0] + match.end(), sentence[1])
    return start, end


def _without_asides(text: str, start: int, end: int) -> Span:
    """Without a parenthesis that is a symbol, a scientific name or another script, and without the claim said again."""
    inner = text[start:end]
    match = re.fullmatch(r"(.*\S)\s+\(\s*\*?([^()]*?)\*?\s*\)", inner, re.DOTALL)
    if match and (re.fullmatch("[A-Z]", match[2]) or _SCIENTIFIC.fullmatch(match[2]) or _other_script(match[1], match[2])):
        return trim(text, start, start + match.end(1))
    if match := re.fullmatch(r"(.{2,}?)\s*(?:\n| and | or )\s*\1", inner, re.DOTALL):
        return trim(text, start, start + match.end(1))
    return start, end


def _other_script(name: str, aside: str) -> bool:
    return name.isascii() != aside.isascii() and any(ord(c) > 0x36F for c in name + aside)
