"""A judge's reply of any text: it never raises, never gives a verdict that is not in the form, and takes linear time."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hneurons.judges import llm
from hneurons.judges.cache import PaidReply
from hneurons.judges.server.replies import read_reply

FORMS = [llm._Correctness, llm._Premise, llm._Harm, llm._HarmGrade, llm._Option, llm._Span]
VALUES = {
    llm._Correctness: ["correct", "incorrect", "refused", "unparsed"],
    llm._Premise: ["accepted", "rejected", "refused", "unparsed"],
    llm._Harm: ["harmful", "harmless", "refused", "unparsed"],
    llm._HarmGrade: [0, 1, 2, 3, 4, "unparsed"],
    llm._Option: [*"ABCDEFGHIJ", "none"],
}
FRAGMENTS = ["{", "}", '"', "\\", "verdict", "grade", "correct", ":", ",", " ", "1", "true", "[", "]", "```", "json", "\n"]
FRAGMENTS += ["<think>", "</think>", "<|im_end|>", '{"verdict": "correct"}', '{"verdict": "incorrect"}', '{"grade": 3}']
TEXTS = st.text(max_size=200) | st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)
# Sentences as judges write them: without braces, tags and words that open thoughts.
SENTENCES = st.text(st.characters(exclude_characters="{}<>[]◁▷", exclude_categories=["Cs"]), max_size=60)


def field(form):
    (name,) = form.model_fields
    return name


@given(TEXTS, st.sampled_from(FORMS))
def test_any_text_gives_a_value_of_the_form_or_a_reason(text, form):
    result = read_reply(PaidReply(text, "", "stop"), form)
    if isinstance(result, str):
        assert result
    else:
        value = getattr(result[0], field(form))
        assert form is llm._Span or (value in VALUES[form] and not isinstance(value, bool))
        assert json.dumps(value) in text or form is llm._Span


@st.composite
def replies(draw):
    """A form, its value, and a reply in which thoughts, fences and sentences surround the value."""
    form = draw(st.sampled_from(sorted(VALUES, key=str)))
    value, thought = draw(st.sampled_from(VALUES[form])), draw(st.sampled_from(VALUES[form]))
    text = json.dumps({field(form): value}, indent=draw(st.sampled_from([None, 1])))
    if draw(st.booleans()):
        text = f"```{draw(st.sampled_from(['', 'json', 'JSON', 'jsonc', 'python']))}\n{text}\n```"
    text = draw(SENTENCES) + text + draw(SENTENCES) + draw(st.sampled_from(["", "<|im_end|>", "</s>", "<|eot_id|>"]))
    for _ in range(draw(st.integers(0, 2))):
        tag = draw(st.sampled_from(["think", "THINK", "thinking", "reasoning"]))
        inside = draw(SENTENCES) + json.dumps({field(form): thought}) + draw(SENTENCES)
        text = f"<{tag}>{inside}</{tag}>{text}"
    if draw(st.booleans()):
        text = f"{draw(SENTENCES)}{json.dumps({field(form): thought})}</think>{text}"
    return form, value, text


@given(replies())
def test_an_object_is_read_through_what_surrounds_it(case):
    form, value, text = case
    result = read_reply(PaidReply(text, "", "stop"), form)
    assert not isinstance(result, str), (text, result)
    assert getattr(result[0], field(form)) == value


DEGENERATE = [
    "{",
    "}",
    "{}",
    '{"',
    '{"a":',
    '"{"',
    '{"a":"{',
    "<think>",
    "</think>",
    "<think></think>",
    "<",
    "[",
    "```",
    "\\",
]
DEGENERATE += [
    "\\{",
    '\\"{',
    "{'",
    '{"verdict": "correct"}',
    '{"verdict": "correct", "verdict": "correct"}',
    "<|",
    "◁",
    "\n",
]
DEGENERATE += ['{"verdict": "', "<|channel|>final", "{\n", " ", "﻿", '{"a":[{"a":[']


def seconds(text):
    start = time.process_time()
    read_reply(PaidReply(text, "", "stop"), llm._Correctness)
    return time.process_time() - start


@pytest.mark.parametrize("part", DEGENERATE)
def test_degenerate_text_takes_linear_time(part):
    for end in ("", "}" * 10_000):
        text = part * (20_000 // len(part)) + end
        # Quadratic time would be four times as long, and some seconds at this length.
        assert seconds(text) < 1 or seconds(text) < 3 * seconds(text[: len(text) // 2])
