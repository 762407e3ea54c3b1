"""Judge an open-domain answer by its accepted spellings, word by word; a near match is left unparsed."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace

from hneurons.data.comparison import EQUAL, UNDECIDED, compare_answers
from hneurons.data.words import answer_words, singular, split_words, stem, word_forms
from hneurons.judges.claims import Span, claim_span, finished_end, first_sentence, trim, without_last_word
from hneurons.judges.expected import expects_entity, is_entity
from hneurons.judges.mentions import WEAK, accepted_mentions
from hneurons.judges.refusals import decline_span, is_degenerate
from hneurons.judges.stances import addresses_user, claims_nothing, converses, hedged, qualified, without_stances
from hneurons.judges.states import CORRECT, CUT_OFF, INCORRECT, REFUSED, UNPARSED, Answer, Judgement

# The model speaks about itself.
_ABOUT_ITSELF = re.compile(
    r"\bI(?:['’]m| am) (?:here to (?:help|assist|provide)|an? (?:AI|(?:helpful|virtual|language|creative) \w+))\b"
    r"|\bas an? (?:helpful |large )?(?:AI|chatbot|language model)\b|\bI(?:['’]m| am) [A-Z]\w+, an? "
)
# Numbers in a list; the order of a score or a ratio counts.
_LISTS = re.compile(r",|&|\band\b")
# From this similarity to an accepted spelling (`difflib`'s ratio) an answer is a near match.
_MIN_SIMILARITY = 0.84


def _stems(forms: Sequence[str]) -> set[str]:
    """Return the stems of all words but the weak ones."""
    return {stem(form) for form in forms if form not in WEAK}


def _spelt_otherwise(answer: Answer, claim: str) -> bool:
    """Return whether a claim is an accepted answer but for spaces, a plural or the order of a list ("Asia and Europe")."""

    if not word_forms(claim):
        return False
    letters, entries = _joined(word_forms(claim)), _entries(claim)
    for alias in answer.aliases:
        forms = word_forms(alias)
        if forms and letters == _joined(forms):
            return True
        if entries == _entries(alias) and (_LISTS.search(claim) or not all(entry[0].isdigit() for entry in entries)):
            return True
        if compare_answers(alias, claim) == EQUAL:
            return True
    return False


def _entries(text: str) -> list[str]:
    """Return the words of an answer without their order."""
    return sorted(singular(form) for form in word_forms(text) if form != "and")


def _joined(forms: Sequence[str]) -> str:
    """Return words without the spaces between them; between two numbers the space stays ("2-1" is not 21)."""
    return re.sub(r"(?<!\d) | (?!\d)", "", " ".join(forms))


def _near_match(answer: Answer, claim: str) -> bool:
    """Return whether the claim is almost an accepted spelling, or a part of one, or may be one in another form."""
    claimed = word_forms(claim)
    letters = "".join(claimed)
    content = set(_parts(claim)) - WEAK
    # No similar number or date is nearly the same.
    is_figure = all(form[0] in "-0123456789" for form in claimed)
    matcher = difflib.SequenceMatcher(None)
    for alias in {word_forms(alias) for alias in answer.aliases}:
        fewer = min(len(claimed), len(alias))
        if fewer >= 3 and 3 * len(set(claimed) & set(alias) - {"and"}) >= 2 * fewer:
            return True
        matcher.set_seqs(letters, "".join(alias))
        # The first ratio is a bound by length, so that a long claim is not compared.
        if len(letters) > 3 and not is_figure and matcher.real_quick_ratio() >= _MIN_SIMILARITY <= matcher.ratio():
            return True
    if content and any(len(content) < len(parts) and content <= set(parts) for parts in map(_parts, answer.aliases)):
        return True
    return any(compare_answers(alias, claim) == UNDECIDED for alias in answer.aliases)


def _parts(text: str) -> list[str]:
    """Return the words of an answer, Roman numerals and ordinals in figures."""
    return [word.numeral or word.form for word in answer_words(text)]


def _claimed_before(answer: Answer, claim: Span, declined: int) -> bool:
    """Return whether the response claims something before character `declined`, where the words that decline begin.

    Either the located claim ends before them, or the first clause is a number or a few new words ("Asthma. No evidence …").
    """
    if claim[0] < claim[1] <= declined:
        return True
    head = re.match(r"\s*+([^.;,!?\n]+)[.;,!?\n]", answer.text[:declined])
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
    words = split_words(answer.text)
    # A long number in words repeats some of them.
    if not words or (len(words) > 1 and is_degenerate(answer.text)):
        return Judgement(UNPARSED, "says nothing"), None
    if not answer.truncated:
        return _judge_finished(answer, answer.text)
    finished = replace(answer, text=answer.text[: finished_end(answer.text)])
    # Words before the last may decline.
    judgement, claim = _judge_finished(finished, without_last_word(answer.text))
    alternative = claim and re.match(r"\W*or\b", answer.text[claim[1] :])
    return (Judgement(UNPARSED, CUT_OFF), None) if judgement.verdict == UNPARSED or alternative else (judgement, claim)


def _judge_finished(answer: Answer, written: str) -> tuple[Judgement, Span | None]:
    """Judge what a response finished; `written` also holds the words of its last, unfinished sentence."""
    text = answer.text
    words = split_words(text)
    if words and any(compare_answers(alias, text) == EQUAL for alias in answer.aliases):
        return Judgement(CORRECT), trim(text, 0, len(text))
    about_question = without_stances(text)
    claim = claim_span(about_question, answer.question)
    mentions, doubts = accepted_mentions(answer, words, claim)
    # 1. An accepted answer.
    if mentions:
        inside = [mention for mention in mentions if claim[0] <= mention[0] and mention[1] <= claim[1]]
        phrase = claim[1] - claim[0] > 0.6 * len(text.strip()) and first_sentence(text, *claim) == claim
        return Judgement(CORRECT), claim if inside and phrase else (inside or mentions)[0]
    if _spelt_otherwise(answer, about_question[slice(*claim)]):
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
    if _near_match(answer, text[slice(*claim)]):
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
