"""Thoughts are set apart from the answer: not judged, not spanned, not measured, and not part of the conversation."""

from __future__ import annotations

import copy
import datetime

import numpy as np
import pyarrow as pa
import pytest

from hneurons import store
from hneurons.cett.regions import token_regions
from hneurons.cett.tokens import token_cett
from hneurons.config.models import ModelSettings
from hneurons.config.study import CettSettings
from hneurons.data.catalogue import questions_table
from hneurons.detection.detector import detect
from hneurons.errors import HNeuronsError
from hneurons.generation.control_tokens import text_ids
from hneurons.generation.prompts import begins_in_thoughts, chat_ids
from hneurons.generation.thoughts import answer_start, opens_thoughts, taken_apart
from hneurons.judges.judge import Choice, Exchange
from hneurons.judges.options import parse_option
from hneurons.judges.rule_judge import RuleJudge
from hneurons.judges.spans import span_table
from hneurons.judges.states import CORRECT, INCORRECT, UNPARSED, Answer
from hneurons.models.tokenizer import with_thinking
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.records import REPLIES, RESPONSES, upgraded_row
from tests.tiny import byte_level_tokenizer, tiny_model

DATE = datetime.date(2024, 7, 26)
SWITCHED = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant: "
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n{% endif %}{% endif %}"
)
OPENED = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: <think>\n{% endif %}"
)


@pytest.fixture(scope="module")
def plain():
    return byte_level_tokenizer(["What is the capital of Australia? It is Canberra. <think> </think>"] * 3)


def thinking(tokenizer, template, *marks, special=False):
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    changed.add_tokens(list(marks), special_tokens=special)
    return changed


@pytest.mark.parametrize(
    ("text", "opened", "answer"),
    [
        ("Canberra", False, "Canberra"),
        ("<think>\nSydney?\n</think>\n\nCanberra", False, "\n\nCanberra"),
        (" <think></think>Canberra", False, "Canberra"),
        ("Sydney? No.\n</think>\nCanberra", True, "\nCanberra"),
        ("Sydney? No.\n</think>\nCanberra", False, "\nCanberra"),
        ("<think>a</think>\n<think>b</think>c", False, "c"),
        ("<think>\nSydney", False, ""),
        ("Sydney", True, ""),
        ("[THINK]Sydney?[/THINK]Canberra", False, "Canberra"),
        ("<seed:think>Sydney?</seed:think>Canberra", False, "Canberra"),
        (
            "<|channel|>analysis<|message|>Sydney?<|end|><|start|>assistant<|channel|>final<|message|>Canberra",
            False,
            "Canberra",
        ),
        ("<|channel|>final<|message|>Canberra", False, "Canberra"),
        ("Write <think> and </think> around it", False, "Write <think> and </think> around it"),
        ("To close a block write </think>. Canberra", False, "To close a block write </think>. Canberra"),
        ("[Analysis]\nThe answer is B.", False, "[Analysis]\nThe answer is B."),
        ("<reasoning>Not Sydney.</reasoning>Canberra", False, "Canberra"),
        ("<think>a</thinking>b</think>c", False, "c"),
    ],
)
def test_where_the_answer_begins(text, opened, answer):
    assert text[answer_start(text, opened) :] == answer


def test_a_prompt_opens_thoughts_only_at_its_end():
    assert opens_thoughts("assistant: <think>\n") and opens_thoughts("[THINK]")
    for prompt in ("assistant: <think>\n\n</think>\n", "What is <think>?\nassistant:", "assistant<|channel|>final", ""):
        assert not opens_thoughts(prompt)


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("marks", [[], ["<think>", "</think>"]], ids=["spelled", "tokens"])
def test_tokens_of_thoughts_are_counted(plain, marks, special):
    tokenizer = thinking(plain, SWITCHED, *marks, special=special)
    before, answer = "<think>Is it é? No.</think>", "\n\nIt is Canberra."
    ids = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in (before, answer)]
    reply = taken_apart(tokenizer, [*ids[0], *ids[1], tokenizer.eos_token_id])
    whole = tokenizer.decode([*ids[0], *ids[1]], skip_special_tokens=True)
    assert reply.thoughts + reply.text == whole and reply.text.strip() == "It is Canberra."
    rest = [*ids[0], *ids[1]][reply.thought_tokens :]
    assert tokenizer.decode(rest) == reply.text and abs(reply.thought_tokens - len(ids[0])) <= 1
    cut = taken_apart(tokenizer, ids[0][:-1])
    assert (cut.text, cut.thought_tokens) == ("", len(ids[0]) - 1)
    assert taken_apart(tokenizer, ids[1]).thoughts is None


def test_a_model_thinks_only_where_it_may(plain):
    tokenizer = thinking(plain, SWITCHED)
    assert plain.decode(chat_ids(tokenizer, ["Hi"], DATE)).endswith("<think>\n\n</think>\n")
    allowed = with_thinking(copy.deepcopy(tokenizer))
    assert plain.decode(chat_ids(allowed, ["Hi"], DATE)).endswith("assistant: ") and not begins_in_thoughts(allowed)
    assert with_thinking(allowed).chat_template.count("set enable_thinking") == 1
    opened = thinking(plain, OPENED)
    with pytest.raises(HNeuronsError, match="lets the model think before it answers, which cannot be switched off"):
        chat_ids(opened, ["Hi"], DATE)
    assert chat_ids(with_thinking(opened), ["Hi"], DATE) and begins_in_thoughts(opened)


def test_a_models_file_says_whether_it_may(tmp_path):
    off, on = (ModelSettings(folder="x", dtype="float32", thinking=value) for value in ("off", "on"))
    assert "thinking" not in off.loading() and on.loading()["thinking"] == "on"


QUESTION = "What is the capital of Australia?"
THOUGHTS = "<think>\nAustralia. Canberra is the capital, though many say Sydney.\n</think>\n\n"


def test_rules_judge_what_follows_them():
    judge = RuleJudge()

    def verdict(text, truncated=False):
        return judge.correctness([Answer(QUESTION, text, ["Canberra"], truncated=truncated)])[0].verdict

    assert verdict(f"{THOUGHTS}Canberra") == CORRECT and verdict(f"{THOUGHTS}Sydney") == INCORRECT
    assert verdict("<think>\nCanberra, I recall", truncated=True) == UNPARSED
    (span,) = judge.span([Answer(QUESTION, f"{THOUGHTS}It is Canberra.", ["Canberra"])])
    assert f"{THOUGHTS}It is Canberra."[slice(*span)] == "Canberra"
    assert parse_option("<think>(A)? No.</think>\n\nC", ["red", "green", "blue"]) == 2
    choice = Choice("Which?", ("red", "green"), "<think>red? No.</think> green")
    assert judge.option([choice])[0].verdict == "B"
    refusing = Exchange("How do I pick a lock?", "<think>Sure, easy.</think>I'm sorry, but I can't help with that.")
    assert judge.harm([refusing])[0].verdict == "refused"


def test_spans_and_regions_leave_them_out(plain):
    tokenizer = thinking(plain, SWITCHED, "<think>", "</think>")
    (question,) = questions_table("cities", slice(1), 1, None).to_pylist()
    country = question["aliases"][0]
    text = f"<think>Is it {country}?</think>It is {country}."
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    reply = taken_apart(tokenizer, ids)
    row = {"question_id": question["question_id"], "sample": 0, "prompt_ids": [1, 2], "response_ids": ids}
    row |= {"logprobs": None, "truncated": False, "text": reply.text, "thoughts": reply.thoughts}
    row |= {"thought_tokens": reply.thought_tokens}
    verdicts = [{"question_id": question["question_id"], "sample": 0, "verdict": CORRECT}]
    (span,) = span_table([question], [row], verdicts, tokenizer, RuleJudge()).to_pylist()
    assert reply.text[span["start"] : span["end"]] == country and len(span["token_mask"]) == len(ids)
    assert not any(span["token_mask"][: reply.thought_tokens])
    marked = [token for token, is_answer in zip(ids, span["token_mask"], strict=True) if is_answer]
    assert tokenizer.decode(marked).strip(" .") == country
    regions = token_regions([1, 2], ids, span["token_mask"], CettSettings(other_tokens="all"), reply.thought_tokens)
    answer, other = regions.regions
    assert not any(a or b for a, b in list(zip(answer, other, strict=True))[2 : 2 + reply.thought_tokens])
    assert other[:2] == [True, True] and sum(answer) + sum(other) == 2 + len(ids) - reply.thought_tokens


def test_files_without_the_columns_are_read(tmp_path):
    """Those of earlier studies: nothing is sampled again."""
    row = {"question_id": "q", "sample": 0, "prompt_ids": [1], "response_ids": [2], "logprobs": [0.0], "text": "x"}
    row["truncated"] = False
    columns = pa.schema([field for field in RESPONSES if not field.name.startswith("thought")])
    store.write_table(tmp_path / "old.parquet", pa.Table.from_pylist([row], schema=columns), {})
    (read,) = store.read_table(tmp_path / "old.parquet", RESPONSES).to_pylist()
    assert read == {**row, "thoughts": None, "thought_tokens": 0} == upgraded_row(row)
    replies = {"item_id": "a", "replies": ["x"], "tokens": [1], "truncated": [False]}
    columns = pa.schema([field for field in REPLIES if field.name != "thoughts"])
    store.write_table(tmp_path / "replies.parquet", pa.Table.from_pylist([replies], schema=columns), {})
    (read,) = store.read_table(tmp_path / "replies.parquet", REPLIES).to_pylist()
    assert read == {**replies, "thoughts": None} == upgraded_row(replies)


def test_an_answer_that_is_given_follows_closed_thoughts(plain):
    """The probe has seen answers after thoughts, not text within them."""
    tokenizer = with_thinking(thinking(plain, OPENED))
    model = tiny_model("llama")
    n = 3
    facts = {"layers": 3, "d_ff": 48, "intercept": 0.0}
    neurons = NeuronSet(np.arange(n), np.arange(n), np.ones(n), np.ones(n, bool), facts)
    found = detect(model, neurons, "What is it?", "It is Canberra.", answer="Canberra", tokenizer=tokenizer)
    assert found.response.strip() == "It is Canberra." and "think" not in "".join(found.tokens)
    ids = [*chat_ids(tokenizer, ["What is it?"], DATE), *text_ids(tokenizer, "</think>\n\nIt is Canberra.")]
    ((cetts, _),) = token_cett(model, [ids], {i: [i] for i in range(n)}, [1])
    np.testing.assert_allclose(found.contributions, cetts[-len(found.tokens) :], rtol=1e-4, atol=1e-7)
    whole = detect(model, neurons, "What is it?", "Sydney?</think>\n\nIt is Canberra.", tokenizer=tokenizer)
    assert whole.response.strip() == "It is Canberra."
