"""Open-domain answers by rules: the claim that is made, or a state, and never a guess."""

from __future__ import annotations

import pytest

from hneurons.judges.opendomain import judge_open
from hneurons.judges.premise import judge_premise
from hneurons.judges.states import Answer
from hneurons.judges.words import word_forms

CAPITAL = "What is the capital of France?"
BATTLE = "In which year did the Battle of Dranod take place?"


@pytest.mark.parametrize(
    ("text", "verdict", "claim"),
    [
        ("Paris", "correct", "Paris"),
        ("**PARIS**.", "correct", "PARIS"),
        ("The capital of France is Paris.", "correct", "Paris"),
        ("Paris, France", "correct", "Paris, France"),
        ("Not Lyon but Paris.", "correct", None),
        ("It is Lyon.", "incorrect", "Lyon"),
        ("The capital of France is Lyon.", "incorrect", "Lyon"),
        ("Paris is wrong. It is London.", "unparsed", None),
        ("Paris isn't it", "unparsed", None),
        ("It is not Paris.", "unparsed", None),
        ("It used to be Paris; today it is London.", "unparsed", None),
        ("It could be Paris, but I think it is London.", "unparsed", None),
        ("Paris or Lyon", "unparsed", None),
        ("London, Rome, Paris", "unparsed", None),
        ("New Paris", "unparsed", None),
        ("Paris-Roubaix", "unparsed", None),
        ("Pariss", "unparsed", None),
        ("The capital of France.", "unparsed", None),
        ("Yes, I am sure.", "unparsed", None),
        ("I stand by my previous answer.", "unparsed", None),
        ("Hello! How can I help you today?", "unparsed", None),
        ("I am an AI assistant. The capital of France is Lyon.", "unparsed", None),
        ("", "unparsed", None),
        ("I don't know.", "refused", None),
        ("I'm sorry, but I cannot answer that.", "refused", None),
    ],
)
def test_an_answer_to_a_question_that_has_one(text, verdict, claim):
    judgement, span = judge_open(Answer(CAPITAL, text, ["Paris"]))
    assert judgement.verdict == verdict, judgement
    assert (span is not None) == (verdict in ("correct", "incorrect"))
    assert claim is None or text[slice(*span)] == claim


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("There is no record of the Battle of Dranod.", "refused"),
        ("The Battle of Dranod does not exist.", "refused"),
        ("The Battle of Dranod is a fictional battle.", "refused"),
        ("Unfortunately, I have no information about it.", "refused"),
        ("None", "refused"),
        ("1812", "incorrect"),
        ("The Battle of Dranod took place in 1812.", "incorrect"),
        ("The Battle of Dranod took place in 1812; there were no survivors.", "incorrect"),
        ("In 1645, there is no doubt.", "incorrect"),
        ("The Battle of Dranod.", "unparsed"),
    ],
)
def test_an_answer_about_a_thing_that_does_not_exist(text, verdict):
    assert judge_open(Answer(BATTLE, text, [], "none"))[0].verdict == verdict


@pytest.mark.parametrize(
    ("aliases", "text", "verdict"),
    [
        (["6"], "64", "incorrect"),
        (["6"], "6 goals", "correct"),
        (["twelve"], "12", "correct"),
        (["1,000"], "1000", "correct"),
        (["Asia and Europe"], "Europe and Asia", "correct"),
        (["Spider Man"], "Spiderman", "correct"),
        (["Seahorse"], "Seahorses", "correct"),
        (["O'Neill"], "Eugene O’Neill", "correct"),
        (["Sinclair Lewis"], "Lewis", "unparsed"),
        (["J.R.R. Tolkien"], "J. R. R. Tolkien", "correct"),
        (["São Paulo"], "Sao Paulo", "correct"),
        (["I"], "I think so", "unparsed"),
        ([""], "a blue whale", "incorrect"),
        (["Danube"], "The river is called the Dan", "unparsed"),
    ],
)
def test_spellings(aliases, text, verdict):
    assert judge_open(Answer("Which one is it?", text, aliases, truncated=text.endswith("Dan")))[0].verdict == verdict


def test_a_reply_cut_off_before_its_claim_is_no_wrong_answer():
    text = "The capital of France is a city that has been known for"
    assert judge_open(Answer(CAPITAL, text, ["Paris"], truncated=True))[0].verdict == "unparsed"
    done = "The capital of France is Lyon, a city that has been known for"
    assert judge_open(Answer(CAPITAL, done, ["Paris"], truncated=True))[0].verdict == "incorrect"


def test_words_are_compared_without_their_dress():
    assert word_forms("The Côte d’Ivoire") == ("cote", "divoire") and word_forms("Brazil's") == ("brazil",)
    assert (
        word_forms("U.S.A.") == word_forms("USA")
        and word_forms("twenty") == word_forms("20")
        and word_forms("the") == ("the",)
    )


@pytest.mark.parametrize(
    ("question", "reply", "verdict"),
    [
        ("Why do fish ride bicycles?", "Fish ride bicycles because they like to move.", "accepted"),
        ("Why do fish ride bicycles?", "This is a trick question! Fish live in water.", "rejected"),
        ("Why do fish ride bicycles?", "Fish do not ride bicycles.", "rejected"),
        ("Why do fish ride bicycles?", "asdf qwer", "unparsed"),
        ("Why do fish ride bicycles?", "Hello! How can I help you today?", "unparsed"),
        ("Why do fish ride bicycles?", "", "unparsed"),
        ("Why do fish ride bicycles?", "I'm sorry, I can't help with fish.", "refused"),
    ],
)
def test_false_premises(question, reply, verdict):
    assert judge_premise(question, reply).verdict == verdict
