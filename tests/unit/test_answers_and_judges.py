"""Spans and verdicts: word boundaries, characters to tokens, and no guess where nothing can be told."""

from __future__ import annotations

import pytest

from hneurons.answers import Vocabulary, claimed, mentions, token_mask, token_offsets
from hneurons.datasets import vocabulary
from hneurons.examples import label_of
from hneurons.judges import chosen_option, declines, judge_answer

COUNTRIES = vocabulary("country")
SYMBOLS = vocabulary("element-symbol")
STATES = vocabulary("us-state")


def named(text, of=COUNTRIES):
    return [text[m.start : m.end] for m in mentions(text, of)]


@pytest.mark.parametrize(
    ("text", "of", "found"),
    [
        ("It lies in Papua New Guinea, not in Guinea.", COUNTRIES, ["Papua New Guinea", "Guinea"]),
        ("Nigeria is not Niger.", COUNTRIES, ["Nigeria", "Niger"]),
        ("the people's republic of china", COUNTRIES, ["people's republic of china"]),
        ("China's capital", COUNTRIES, ["China"]),
        ("Romania and Oman", COUNTRIES, ["Romania", "Oman"]),
        ("New Jersey", COUNTRIES, []),
        ("the Democratic Republic of the Congo", COUNTRIES, ["Democratic Republic of the Congo"]),
        ("Arkansas, West Virginia", STATES, ["Arkansas", "West Virginia"]),
        ("In the table I'm sorry, it is In.", SYMBOLS, ["In"]),
        ("The symbol is Fe.", SYMBOLS, ["Fe"]),
        ("Fe", SYMBOLS, ["Fe"]),
        ("feather", SYMBOLS, []),
    ],
)
def test_mentions_stand_on_word_boundaries(text, of, found):
    assert named(text, of) == found


def test_an_empty_alias_matches_nothing():
    assert mentions("anything at all", Vocabulary((("",), ("  ",)))) == []


def test_what_the_question_names_is_not_claimed():
    assert claimed("Peru borders Chile.", "What borders Peru?", COUNTRIES)[0].answer[0] == "Chile"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("The city of Lyon is located in France.", "correct"),
        ("It is in france, in the south of FRANCE", "correct"),
        ("It is in Spain.", "incorrect"),
        ("It is in Spain, not in France.", "unparsed"),
        ("It is a city in the south.", "unparsed"),
        ("I'm sorry, I don't know that city.", "refused"),
        ("I'm sorry, but it is in Spain.", "incorrect"),
        ("", "unparsed"),
    ],
)
def test_verdicts(text, verdict):
    found, mention = judge_answer(text, "Where is Lyon?", ["France"], COUNTRIES)
    assert found == verdict
    assert (mention is not None) == (verdict in ("correct", "incorrect"))
    if mention:
        assert text[mention.start : mention.end].casefold() in ("france", "spain")


def test_a_question_without_an_answer_is_never_answered_rightly():
    assert judge_answer("It is in Spain.", "Where is Barabury?", [], COUNTRIES)[0] == "incorrect"
    assert judge_answer("There is no city of that name.", "Where is Barabury?", [], COUNTRIES)[0] == "refused"


def test_the_consistency_filter_keeps_unanimous_questions_only():
    assert label_of(["correct"] * 5, answerable=True) == 0
    assert label_of(["incorrect"] * 5, answerable=True) == 1
    for mixed in (["correct"] * 4 + ["unparsed"], ["incorrect"] * 4 + ["refused"], ["refused"] * 5):
        assert label_of(mixed, answerable=True) is None
    assert label_of(["refused"], answerable=False) == 0


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("carbon dioxide", 3),
        ("(B)", 1),
        ("B. argon", 1),
        ("The answer is (C) helium.", 2),
        ("(C) argon", 1),  # the text counts before the letter
        ("argon, not helium", None),
        ("A nice question.", None),
        ("I cannot tell.", None),
        ("", None),
    ],
)
def test_options_by_text_before_letters(text, index):
    options = [["oxygen"], ["argon"], ["helium"], ["carbon dioxide", "CO2"]]
    assert chosen_option(text, options) == index


@pytest.mark.parametrize(
    "text",
    ["I'm sorry, but I can't help with that.", "I cannot assist you.", "It is a fictional city.", "I don't know."],
)
def test_refusals_are_seen(text):
    assert declines(text)


@pytest.mark.parametrize("text", ["Sure, here it is.", "The city is in Peru.", "Sorry seems to be the hardest word"])
def test_answers_are_not_refusals(text):
    assert not declines(text)


@pytest.mark.parametrize("answer", ["São Paulo", "Côte d'Ivoire", "20 °C", "東京", "Brasília’s", "🙂 yes"])
def test_the_token_mask_of_a_span_decodes_back_to_it(tokenizer, answer):
    text = f"It is in {answer}, they say. Again: {answer}"
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    decoded, offsets = token_offsets(tokenizer, ids)
    assert decoded == text
    assert offsets[-1][0] == offsets[-1][1], "the end token has no text"
    start = text.rindex(answer)
    mask = token_mask(offsets, start, start + len(answer))
    assert tokenizer.decode([i for i, m in zip(ids, mask, strict=True) if m]).strip() == answer
    assert not any(mask[: len(ids) // 2])
