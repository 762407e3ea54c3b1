"""One answer in many forms: equal, different, or left undecided, by the normaliser and by the rule judge."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest

from hneurons.data.catalogue import vocabulary_of
from hneurons.data.comparison import DIFFERENT, EQUAL, UNDECIDED, compare_answers
from hneurons.data.folding import fold
from hneurons.data.gold_answers import connected_answers
from hneurons.data.units import _UNIT_OF, compare_quantities
from hneurons.data.vocabulary import find_mentions
from hneurons.data.words import split_words
from hneurons.judges.options import parse_option
from hneurons.judges.rule_judge import RuleJudge
from hneurons.judges.states import Answer
from tests.paths import FIXTURES, json_lines

ROWS = json_lines(FIXTURES / "answer-pairs.jsonl")
DIRECTIONS = [
    (row["kind"], row["question"], *pair, row["expected"])
    for row in ROWS
    for pair in [(row["gold"], row["said"])] + ([] if row.get("one_way") else [(row["said"], row["gold"])])
]


def test_the_fixture_has_pairs_of_every_kind_and_outcome():
    assert len(ROWS) >= 200
    kinds = Counter(row["kind"] for row in ROWS)
    assert len(kinds) >= 18 and min(kinds.values()) >= 4
    assert {row["expected"] for row in ROWS} == {"equal", "different", "unparsed"}


@pytest.mark.parametrize(("kind", "question", "gold", "said", "expected"), DIRECTIONS)
def test_the_judge_calls_equal_answers_correct_and_no_other(kind, question, gold, said, expected):
    asked = f"{question} Respond with the answer only, without any explanation."
    (judgement,) = RuleJudge().correctness([Answer(asked, said, [gold])])
    allowed = {"equal": {"correct"}, "different": {"incorrect", "unparsed"}, "unparsed": {"unparsed"}}[expected]
    assert judgement.verdict in allowed, judgement


@pytest.mark.parametrize(("kind", "question", "gold", "said", "expected"), DIRECTIONS)
def test_the_normaliser_knows_the_same(kind, question, gold, said, expected):
    if kind == "one letter":
        return  # depends on the question
    outcome = {"equal": EQUAL, "different": DIFFERENT, "unparsed": UNDECIDED}[expected]
    assert compare_answers(gold, said) == outcome


@pytest.mark.parametrize("row", [row for row in ROWS if row["expected"] == "equal" and not row.get("one_way")], ids=str)
def test_questions_with_equal_answers_are_grouped_unless_a_unit_is_converted(row):
    names = connected_answers([[row["gold"]], [row["said"]]], ["a", "b"])
    converted = {"2 hours", "3 km", "12 inches"}
    unspaced = row["kind"] == "scripts without spaces" and row["gold"] != row["said"]
    assert (names[0] == names[1]) != (row["gold"] in converted or unspaced)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It took twenty-one years", ["It", "took", "twenty-one years"]),
        ("on 4th of May 1999, in Łódź", ["on", "4th of May 1999", "in", "Łódź"]),
        ("a １½ km walk", ["a", "１½ km", "walk"]),
        ("at −40 °C or so", ["at", "−40 °C", "or", "so"]),
        ("Elizabeth the Second ruled", ["Elizabeth", "the Second", "ruled"]),
        ("C++, not C", ["C++", "not", "C"]),
        ("e\u0301te\u0301 \u200bbref", ["e\u0301te\u0301", "bref"]),
    ],
)
def test_words_keep_their_places_in_the_original_text(text, words):
    assert [text[word.start : word.end] for word in split_words(text)] == words


@pytest.mark.parametrize("text", ["Ångström ½ ﬁn ⅷ", "서울 부산", "ชียงใหม่", "İzmir", "x²y₂"])
def test_a_folded_text_has_a_place_for_every_character(text):
    for form in ("NFC", "NFD", "NFKC"):
        written = unicodedata.normalize(form, text)
        folded = fold(written)
        assert len(folded.text) == len(folded.starts) == len(folded.ends)
        assert all(0 <= s < e <= len(written) for s, e in zip(folded.starts, folded.ends, strict=True))


@pytest.mark.parametrize(
    ("question", "gold", "text", "claim"),
    [
        ("How long is the bridge?", "8 km", "The bridge is 8 kilometres long.", "8 kilometres"),
        ("When did the war begin?", "3 May 1808", "The war began on May 3rd, 1808.", "May 3rd, 1808"),
        ("Who ruled?", "James II", "The king who ruled was James the Second.", "James the Second"),
        ("What was the temperature?", "-7", "The temperature was −7.", "−7"),
    ],
)
def test_the_span_of_an_answer_holds_all_that_belongs_to_it(question, gold, text, claim):
    ((start, end),) = RuleJudge().span([Answer(question, text, [gold])])
    assert text[start:end] == claim


def test_closed_vocabularies_ignore_accents_and_width():
    text = "It is in Ｐｅｒｕ or Co\u0302te d'Ivoire."
    assert [text[m.start : m.end] for m in find_mentions(text, vocabulary_of("country"))] == [
        "Ｐｅｒｕ",
        "Co\u0302te d'Ivoire",
    ]


@pytest.mark.parametrize(
    ("reply", "options", "chosen"),
    [
        ("forty-two", ["24", "42", "-42"], 1),
        ("-42", ["24", "42", "-42"], 2),
        ("The answer is 1 hour.", ["1 minute", "1 hour"], 1),
        ("Louis the Fifteenth", ["Louis XIV", "Louis XV"], 1),
        ("C++", ["C", "C#", "C++"], 2),
        ("5,000", ["500", "5000"], 1),
        ("July 14, 1789", ["14 July 1798", "14 July 1789"], 1),
    ],
)
def test_options_are_read_by_the_same_forms(reply, options, chosen):
    assert parse_option(reply, options) == chosen


def test_all_units_can_be_compared():
    units = set(_UNIT_OF.values())
    for unit in units:
        for other in units:
            compare_quantities(f"5 {unit}", f"6 {other}")
            compare_quantities(f"5 {unit}/hour", f"6 {other}/second")
