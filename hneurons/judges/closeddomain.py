"""Judge an answer that must come from a closed vocabulary by the answers it names."""

from collections.abc import Sequence

from hneurons.data.vocabulary import Mention, Vocabulary, claimed_mentions, find_mentions
from hneurons.judges.claims import finished_end, without_last_word
from hneurons.judges.refusals import declines
from hneurons.judges.states import CORRECT, INCORRECT, REFUSED, UNPARSED


def judge_closed(
    text: str, question: str, aliases: Sequence[str], vocabulary: Vocabulary, truncated: bool = False
) -> tuple[str, Mention | None]:
    """Judge a factual answer by the answers of the vocabulary that it names.

    Args:
        text: The response.
        question: The question; answers that it names itself do not count.
        aliases: Accepted spellings of the gold answer; empty if the question has no answer.
        vocabulary: All possible answers.
        truncated: Whether the response was cut off at the token limit. Then it names nothing unless it finished
            the sentence or clause of the first answer before.

    Returns:
        The verdict and the mention that carries the claim, None if nothing is claimed. correct: the response names the gold
        answer and no other. incorrect: it names other answers only. refused: it names no answer and declines. unparsed: it
        names the gold answer and another, or it names none and does not decline.
    """
    named = claimed_mentions(text, question, vocabulary)
    if truncated:
        named = named if named and named[0].end < finished_end(text) else []
        text = without_last_word(text)
    gold = set(aliases)
    if right := [mention for mention in named if gold.intersection(mention.answer)]:
        return (CORRECT, right[0]) if len(right) == len(named) else (UNPARSED, None)
    if named:
        return INCORRECT, named[0]
    return (REFUSED if declines(text) else UNPARSED), None


def named_option(
    text: str, options: Sequence[Sequence[str]], vocabulary: Vocabulary, truncated: bool = False
) -> int | None:
    """Return the index of the one option that a reply names by its text, None if it names none or several.

    Args:
        text: The reply.
        options: The accepted spellings of each option, which must be an answer of the vocabulary.
        vocabulary: The vocabulary by which the reply is read: a reply that names Guinea-Bissau does not name Guinea.
        truncated: Whether the reply was cut off at the token limit. Then it must have finished the sentence or clause in
            which it names the option.
    """
    mentions = find_mentions(text, vocabulary)
    named = {mention.answer for mention in mentions}
    end = finished_end(text) if truncated else len(text) + 1
    finished = {mention.answer for mention in mentions if mention.end < end}
    chosen = [i for i, option in enumerate(options) if tuple(option) in named]
    return chosen[0] if len(chosen) == 1 and tuple(options[chosen[0]]) in finished else None
