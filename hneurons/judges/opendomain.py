"""Judge an open-domain answer by its accepted spellings, word by word; a near match is left unparsed."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace

from hneurons.data.words import ARTICLES, Word, denied, negated, occurrences, singular, split_words, stem, word_forms
from hneurons.judges.claims import Span, claim_span, finished_end, first_sentence
from hneurons.judges.expected import expects_entity, is_entity
from hneurons.judges.refusals import decline_span, is_degenerate
from hneurons.judges.stances import addresses_user, claims_nothing, converses, hedged, qualified, without_stances
from hneurons.judges.states import CORRECT, CUT_OFF, INCORRECT, REFUSED, UNPARSED, Answer, Judgement

# An alias of one such word is not searched within a longer reply.
_WEAK = ARTICLES | set("it is in on of to and or no yes i he she they we you us one my your his her their".split())
# The model speaks about itself.
_ABOUT_ITSELF = re.compile(
    r"\bI(?:['’]m| am) (?:here to (?:help|assist|provide)|an? (?:AI|(?:helpful|virtual|language|creative) \w+))\b"
    r"|\bas an? (?:helpful |large )?(?:AI|chatbot|language model)\b|\bI(?:['’]m| am) [A-Z]\w+, an? "
)
# Before a name they make it a different name: "New York" is not York.
_NAME_PREFIXES = set(
    "new north south east west northern southern eastern western upper lower saint st san santa great little".split()
)
# After a name they make it a longer one: "San José de Asunción".
_NAME_PARTICLES = {"de", "del", "da", "di", "du", "la", "von", "van"}
# From this similarity to an accepted spelling (`difflib`'s ratio) an answer is a near match.
_MIN_SIMILARITY = 0.84
_HEDGED = re.compile(r"\b(?:used to be|could be|might be|may be|may have been|could have been)\s+(?:\w+\s+)?$")
# A mention that the model gives up: "I was wrong to say Paris".
_GIVEN_UP = re.compile(
    r"\b(?:wrong|mistaken|incorrect|error|mistake)\s+(?:to|about|with|in|when|that)\s+(?:\w+\s+){0,3}$", re.IGNORECASE
)


def _capital(text: str, word: Word) -> bool:
    return text[word.start].isupper()


def _longer_name(text: str, words: Sequence[Word], i: int, j: int, question_words: set[str]) -> bool:
    """Return whether words [i, j) belong to a longer name: "New York" for York, "Guinea-Bissau" for Guinea.

    A neighbouring word of the question is not part of the name: for "Which river …?", "Columbia River" is Columbia.
    """
    if i and singular(words[i - 1].form) not in question_words:
        gap = text[words[i - 1].end : words[i].start]
        prefix = words[i - 1].form in _NAME_PREFIXES and _capital(text, words[i - 1])
        if gap == "-" or (gap == " " and prefix):
            return True
    if j == len(words) or singular(words[j].form) in question_words:
        return False
    gap = text[words[j - 1].end : words[j].start]
    particle = words[j].form in _NAME_PARTICLES and j + 1 < len(words) and _capital(text, words[j + 1])
    capitals = _capital(text, words[j]) and _capital(text, words[j - 1]) and not text[words[j].start :].isupper()
    return gap == "-" or (gap == " " and (particle or capitals))


def _alternative(text: str, start: int, end: int) -> bool:
    """Return whether a mention is offered as an alternative to another answer: "Lima or Quito"."""
    return bool(re.match(r"\s*,?\s+or\s+\S", text[end:]) or re.search(r"\S\s*,?\s+or\s+(?:the\s+)?$", text[:start]))


def _mentions(answer: Answer, words: Sequence[Word], claim: Span) -> tuple[list[Span], set[str]]:
    """Return where a response gives an accepted answer, and why other mentions of one do not count."""
    text = answer.text
    question_words = set(word_forms(answer.question))
    claimed = word_forms(text[slice(*claim)])
    mentions: list[Span] = []
    doubts: set[str] = set()
    singulars = [replace(word, form=singular(word.form)) for word in words]
    aliases = {word_forms(alias) for alias in answer.aliases}
    for alias in sorted(aliases, key=lambda alias: (len(alias), alias), reverse=True):
        if len(alias) == 1 and (alias[0] in _WEAK or (len(alias[0]) == 1 and not alias[0].isdigit())) and claimed != alias:
            continue
        in_question = set(alias) <= question_words
        for i, j in occurrences([singular(form) for form in alias], singulars):
            start, end = words[i].start, words[j - 1].end
            outside = not (claim[0] <= start and end <= claim[1])
            if any(s <= start and end <= e for s, e in mentions):
                continue
            if in_question and outside:
                if " or " in answer.question and start < claim[0]:
                    doubts.add("that the question holds too")
                continue
            if in_question and len((question_words & set(claimed)) - set(alias) - _WEAK) > 1:
                doubts.add("that the question holds too")
            elif negated(words, i, text) or denied(text, end):
                doubts.add("denied")
            elif _GIVEN_UP.search(text[:start]):
                doubts.add("given up")
            elif _HEDGED.search(text[:start]):
                doubts.add("held possible")
            elif _listed_late(text, start, claim, alias):
                doubts.add("in a list of others")
            elif _longer_name(text, words, i, j, {singular(form) for form in question_words}):
                doubts.add("within a longer name")
            elif _alternative(text, start, end) and " or " not in answer.question:
                doubts.add("alongside another answer")
            else:
                mentions.append((start, end))
    return mentions, doubts


def _stems(forms: Sequence[str]) -> set[str]:
    """Return the stems of all words but the weak ones."""
    return {stem(form) for form in forms if form not in _WEAK}


def _listed_late(text: str, start: int, claim: Span, alias: Sequence[str]) -> bool:
    """Return whether a mention is a later entry of a list of three or more: "London, Rome, Madrid" for Rome."""
    entries = re.split(r",\s*(?:and\s+|or\s+)?", text[slice(*claim)])
    short = all(0 < len(word_forms(entry)) <= 3 for entry in entries)
    return len(entries) >= 3 and short and word_forms(entries[0]) != alias and start > claim[0]


def _spelt_otherwise(answer: Answer, claimed: Sequence[str]) -> bool:
    """Return whether only spaces, a plural or the order of a list ("Asia and Europe") separate the claim from an alias."""

    def letters_and_entries(forms: Sequence[str]) -> tuple[str, list[str]]:
        return "".join(forms), sorted(singular(form) for form in forms if form != "and")

    letters, entries = letters_and_entries(claimed)
    spellings = [letters_and_entries(word_forms(alias)) for alias in answer.aliases]
    return any(letters == alias_letters or entries == parts for alias_letters, parts in spellings if parts)


def _near_match(answer: Answer, claimed: Sequence[str]) -> bool:
    """Return whether the claim is almost an accepted spelling, or a part of one."""
    letters = "".join(claimed)
    content = [form for form in claimed if form not in _WEAK]
    for alias in {word_forms(alias) for alias in answer.aliases}:
        if content and len(content) < len(alias) and set(content) <= set(alias):
            return True
        fewer = min(len(claimed), len(alias))
        if fewer >= 3 and 3 * len(set(claimed) & set(alias) - {"and"}) >= 2 * fewer:
            return True
        close = len(letters) > 3 and not letters.isdigit()
        if close and difflib.SequenceMatcher(None, letters, "".join(alias)).ratio() >= _MIN_SIMILARITY:
            return True
    return False


def _claimed_before(answer: Answer, claim: Span, declined: int) -> bool:
    """Return whether the response claims something before character `declined`, where the words that decline begin.

    Either the located claim ends before them, or the first clause is a number or a few new words ("Asthma. No evidence …").
    """
    if claim[0] < claim[1] <= declined:
        return True
    head = re.match(r"\s*([^.;,!?\n]+)[.;,!?\n]", answer.text[:declined])
    if not head:
        return False
    forms = word_forms(head[1])
    new_stems = _stems(forms) - _stems(word_forms(answer.question))
    return (
        bool(new_stems)
        and not converses(head[1])
        and (any(form[0].isdigit() for form in forms) or (len(forms) <= 3 and "," not in head[0]))
    )


def judge_open(answer: Answer) -> tuple[Judgement, Span | None]:
    """Judge an open-domain answer and locate its claim.

    Sentences that hold firm, concede or hedge claim nothing. Of a response cut off at the token limit only what it finished
    before the cut is read.

    Args:
        answer: The answer. If it has no aliases, its question has no answer: refused is right, and any claim is incorrect.

    Returns:
        The judgement and the characters [start, end) of the claim, None if nothing is claimed. correct: the response gives
        an accepted answer without denying it, offering an alternative, or making it part of a longer name. incorrect: it
        gives something else, a short entity of the expected kind, in the answer's place. refused: it gives no accepted
        answer and declines. unparsed: the rules cannot decide.
    """
    if is_degenerate(answer.text) or not split_words(answer.text):
        return Judgement(UNPARSED, "says nothing"), None
    if not answer.truncated:
        return _judge_finished(answer, answer.text)
    finished = replace(answer, text=answer.text[: finished_end(answer.text)])
    # The last word may be cut off; the words before it may decline.
    judgement, claim = _judge_finished(finished, re.sub(r"\S+$", "", answer.text))
    alternative = claim and re.match(r"\W*or\b", answer.text[claim[1] :])
    return (Judgement(UNPARSED, CUT_OFF), None) if judgement.verdict == UNPARSED or alternative else (judgement, claim)


def _judge_finished(answer: Answer, written: str) -> tuple[Judgement, Span | None]:
    """Judge what a response finished; `written` also holds the words of its last, unfinished sentence."""
    text = answer.text
    words = split_words(text)
    spellings = {word_forms(alias) for alias in answer.aliases}
    about_question = text if word_forms(text) in spellings else without_stances(text)
    claim = claim_span(about_question, answer.question)
    mentions, doubts = _mentions(answer, words, claim)
    claimed = word_forms(about_question[slice(*claim)])
    # 1. An accepted answer.
    if mentions:
        inside = [mention for mention in mentions if claim[0] <= mention[0] and mention[1] <= claim[1]]
        phrase = claim[1] - claim[0] > 0.6 * len(text.strip()) and first_sentence(text, *claim) == claim
        return Judgement(CORRECT), claim if inside and phrase else (inside or mentions)[0]
    if claimed and _spelt_otherwise(answer, claimed):
        return Judgement(CORRECT, "spelt otherwise"), claim
    # 2. A refusal.
    declined = decline_span(without_stances(written), exists=bool(answer.aliases))
    if declined and not _claimed_before(replace(answer, text=about_question), claim, declined[0]):
        return Judgement(REFUSED), None
    # 3. An accepted answer in doubt, or no claim.
    if doubts:
        return Judgement(UNPARSED, f"an accepted answer {' and '.join(sorted(doubts))}"), None
    if why := _no_claim(answer, about_question, claim):
        return Judgement(UNPARSED, why), None
    # 4. Another answer.
    return Judgement(INCORRECT), claim


def _is_remark(claim: str) -> bool:
    return converses(claim) if len(word_forms(claim)) <= 5 else claims_nothing(claim)


def _no_claim(answer: Answer, text: str, claim: Span) -> str:
    """Return why a response that gives no accepted answer claims no other one; empty if it does.

    Args:
        answer: The answer.
        text: Its text without sentences that hold firm, concede or hedge.
        claim: Characters [start, end) of what may be a claim.
    """
    claimed = word_forms(text[slice(*claim)])
    new_stems = _stems(claimed) - _stems(word_forms(answer.question))
    if not claimed or _ABOUT_ITSELF.search(text[: claim[1]]) or _is_remark(text[slice(*claim)]):
        return "claims nothing"
    if not new_stems and " or " not in answer.question:
        return "repeats the question"
    if hedged(text, claim[0]):
        return "held possible"
    if _near_match(answer, claimed):
        return "nearly an accepted answer"
    if not answer.aliases:
        return "claims nothing" if addresses_user(text[slice(*first_sentence(text, *claim))], answer.question) else ""
    if not expects_entity(answer.question, answer.aliases):
        return "no short answer is accepted"
    if qualified(text, *claim):
        return "qualified"
    if not is_entity(text[claim[0] : claim[1] + 1], answer.question, answer.aliases):
        return "no short answer of the expected kind"
    return ""
