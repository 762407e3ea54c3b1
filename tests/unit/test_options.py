"""The option parser on replies read by hand."""

from __future__ import annotations

import pytest

from hneurons.impact.benchmarks import BENCHMARKS
from hneurons.judges.judge import Choice
from hneurons.judges.options import parse_option
from hneurons.judges.rule_judge import RuleJudge
from tests.paths import FIXTURES, json_lines

ROWS = json_lines(FIXTURES / "options.jsonl")


def test_there_are_a_hundred_replies_of_all_kinds():
    assert len(ROWS) >= 100
    assert {len(row["options"]) for row in ROWS} >= {3, 4, 5}
    assert sum(row["chosen"] is None for row in ROWS) >= 25


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{len(row['options'])}: {row['reply'][:40]}")
def test_the_option_read_is_the_one_meant(row):
    assert parse_option(row["reply"], row["options"]) == row["chosen"]


OPTIONS = ["oxygen", "nitrogen", "carbon dioxide", "carbon"]


@pytest.mark.parametrize(
    ("reply", "chosen"),
    [
        # Announced before the cut.
        ("The answer is (B)", 1),
        ("The answer is **B**", 1),
        ("The answer is B.", 1),
        ("The answer is B because nitrogen is", 1),
        ("The answer is nitrogen, which", 1),
        ("The answer is carbon dioxide,", 2),
        ("Answer: C) carbon diox", 2),
        ("The answer is (A). Unlike nitrogen, oxygen", 0),
        ("**Answer:** (D) carbon\n\nReason: the", 3),
        ("Oxygen is a gas. Therefore I would choose option D) carb", 3),
        # The announcement may go on.
        ("The answer is B", None),
        ("The answer is (B", None),
        ("The answer is (B) or", None),
        ("The answer is nitro", None),
        ("The answer is nitrogen", None),
        ("The answer is carbon di", None),
        ("The answer is carbon dioxide", None),
        ("The answer is the one that explains oxygen's role in", None),
        ("The answer is not (A), but", None),
        # Nothing is announced.
        ("B", None),
        ("(B)", None),
        ("Nitrogen.", None),
        ("A) Oxygen is a gas that", None),
        ("Let us look at nitrogen first. It", None),
        ("", None),
    ],
)
def test_a_reply_that_is_cut_off_chooses_what_it_announced(reply, chosen):
    assert parse_option(reply, OPTIONS, truncated=True) == chosen


@pytest.mark.parametrize(
    ("reply", "truncated", "verdict", "why"),
    [
        ("B", False, "B", ""),
        ("B", True, "unparsed", "cut off"),
        ("The answer is (B)", True, "B", ""),
        ("Hmm", False, "unparsed", ""),
    ],
)
def test_the_rule_judge_knows_which_choices_are_cut_off(reply, truncated, verdict, why):
    (judgement,) = RuleJudge().option([Choice("Which gas?", tuple(OPTIONS), reply, truncated)])
    assert (judgement.verdict, judgement.why) == (verdict, why)


@pytest.mark.parametrize(
    ("facts", "state", "why"),
    [
        ({"truncated": [True]}, "unparsed", "cut off"),
        ({"truncated": [False]}, "parsed", ""),
        ({}, "parsed", ""),
    ],
)
def test_faitheval_knows_which_replies_are_cut_off(facts, state, why):
    (outcome,) = BENCHMARKS["faitheval"].judge([{"options": OPTIONS, "counterfactual": 1, **facts}], [["(B)"]], None)
    assert (outcome.state, outcome.why) == (state, why)


@pytest.mark.parametrize(
    "reply",
    [
        r"\boxed{C}",
        r"\boxed{\text{C}}",
        r"$\boxed{\mathbf{C}}$",
        r"So the answer is $\boxed{C}$.",
        r"\boxed{C) carbon dioxide}",
        "<answer>C</answer>",
        "Let me see.\n<answer>\n(C)\n</answer>",
        "<option>c</option>",
        "<final_answer>C. carbon dioxide</final_answer>",
        '"C"',
        "'C'",
        "“C”",
        "`C`",
        "I would say `C`.",
        "**C**",
        "**C.**",
        "__C__",
        "*C*",
        "(C)",
        "[C]",
        "{C}",
        "【C】",
        "Ｃ",
        "（Ｃ）",
        "Answer：Ｃ",
        "Final answer: C.",
        "**Answer**: C",
        "**Answer:** C",
        "The answer is option C",
        '{"answer": "C"}',
        '```json\n{"answer": "C", "reason": "A and B are elements"}\n```',
        "{'choice': 'C'}",
    ],
)
def test_a_mark_is_read_in_what_models_put_around_it(reply):
    assert parse_option(reply, OPTIONS) == 2


@pytest.mark.parametrize(
    "reply",
    [
        "A planet has no such thing.",
        "I think it depends.",
        "It contains vitamin B12.",
        "See section C4 of the report.",
        "Class A drugs are illegal.",
        r"\boxed{?}",
        r"\boxed{A or C}",
        "<answer></answer>",
        '{"answer": null}',
        "C or A",
        "It's an A-level question.",
    ],
)
def test_a_letter_that_is_no_mark_chooses_nothing(reply):
    assert parse_option(reply, OPTIONS) is None


@pytest.mark.parametrize(
    ("options", "reply", "chosen"),
    [
        (["3/4", "6/8"], "6/8", 1),
        (["1/2", "2/4", "3/4"], "The answer is 2/4", 1),
        (["1.1", "1.10"], "1.10", 1),
        (["iPhone 5s", "iPhone 5"], "iPhone 5", 1),
        (["50s", "1950s"], "The 1950s", 1),
        (["15:00", "3 pm"], "3 p.m.", 1),
        (["Part II", "Part 2"], "Part II.", 0),
        (["Part II", "Part 2"], "Part Two", None),
        (["0.5", "1/2"], "one half", None),
    ],
)
def test_of_options_with_one_form_the_one_that_is_written_so_is_chosen(options, reply, chosen):
    assert parse_option(reply, options) == chosen
