"""Prompts are the same on any day and on any machine, and what made them is on record."""

from __future__ import annotations

import copy
import datetime

import pytest

from hneurons import store
from hneurons.errors import HNeuronsError
from hneurons.generation.prompts import (
    base_ids,
    chat_ids,
    end_of_turn,
    newline_ids,
    prints_todays_date,
    template_hash,
)
from hneurons.models.tokenizer import load_tokenizer

# As Llama 3 and Mistral Small write today's date into the system prompt.
DATED = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}{% set date_string = strftime_now('%d %b %Y') %}"
    "{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}"
    "{{ bos_token }}Today Date: {{ date_string }}\n{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
)


@pytest.fixture
def dated(tokenizer):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = DATED
    return tokenizer


def test_todays_date_is_the_studys(dated):
    said = dated.decode(chat_ids(dated, ["Hm?"], datetime.date(2025, 1, 31)))
    assert "Today Date: 31 Jan 2025" in said
    assert dated.apply_chat_template([{"role": "user", "content": "Hm?"}], tokenize=False).count(
        f"{datetime.date.today():%d %b %Y}"
    ), "left alone it would be today's"


def test_a_date_that_cannot_be_frozen_is_refused(dated):
    dated.chat_template = "{% set f = '%Y' %}{{ strftime_now(f) }}"
    with pytest.raises(HNeuronsError, match="cannot be frozen"):
        chat_ids(dated, ["Hm?"], datetime.date(2025, 1, 31))


def test_another_template_has_another_hash(tokenizer, dated):
    assert template_hash(tokenizer) != template_hash(dated) == template_hash(copy.deepcopy(dated))


def test_a_template_that_lies_with_the_processor_is_found(tmp_path, tokenizer):
    bare = copy.deepcopy(tokenizer)
    bare.chat_template = None
    bare.save_pretrained(tmp_path)
    with pytest.raises(HNeuronsError, match="no chat template; use an instruct model"):
        chat_ids(load_tokenizer(tmp_path), ["Hm?"], datetime.date(2024, 7, 26))
    store.write_json(tmp_path / "chat_template.json", {"chat_template": DATED})
    assert template_hash(load_tokenizer(tmp_path)) == template_hash(load_tokenizer(tmp_path)) != template_hash(bare)
    assert chat_ids(load_tokenizer(tmp_path), ["Hm?"], datetime.date(2024, 7, 26))


def test_a_base_model_is_asked_to_complete(tokenizer):
    assert tokenizer.decode(base_ids(tokenizer, "Where is Lyon?"), skip_special_tokens=True) == "Where is Lyon?\nAnswer:"
    assert all("\n" in tokenizer.decode([i]) for i in newline_ids(tokenizer)) and newline_ids(tokenizer)


def test_a_turn_ends_with_the_templates_own_token(tokenizer):
    stops = [1, 2]
    assert end_of_turn(tokenizer, stops) == 2
    other = copy.deepcopy(tokenizer)
    other.chat_template = "{% for m in messages %}{{ m['content'] }}<s>{% endfor %}"
    assert end_of_turn(other, stops) == 1, "what the template writes, not the tokenizer's end token"
    other.chat_template = None
    assert end_of_turn(other, stops) == tokenizer.eos_token_id == 2


def test_a_template_that_prints_the_date_is_known(tokenizer, dated):
    assert prints_todays_date(dated) and not prints_todays_date(tokenizer)
