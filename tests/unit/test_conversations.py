"""Conversations in the OpenAI form: the tokens of `apply_chat_template`, and what a template refuses."""

from __future__ import annotations

import copy

import pytest

from hneurons.detection.detector import detect_many
from hneurons.detection.requests import make_request
from hneurons.errors import HNeuronsError
from hneurons.generation.prompts import conversation_ids, prompt_ids
from hneurons.generation.requests import request_ids
from tests.unit.test_detector import neurons_of

END = "{% if add_generation_prompt %}assistant: {% endif %}"
EACH = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
TEMPLATES = {
    "plain": EACH + END,
    "strips": "{% for m in messages %}{{ m['role'] }}: {{ m['content'] | trim }}\n{% endfor %}" + END,
    "tools": "{% if tools %}{{ tools | tojson }}\n{% endif %}" + EACH + END,
    "documents": "{% for d in documents or [] %}[{{ d['title'] }}] {{ d['text'] }}\n{% endfor %}" + EACH + END,
    "closed-thoughts": EACH + END + "{% if not enable_thinking %}<think>\n\n</think>\n{% endif %}",
    "parts": "{% for m in messages %}{{ m['role'] }}: {% for p in m['content'] %}{{ p['text'] }}{% endfor %}\n{% endfor %}"
    + END,
}
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "  Where is Lyon? "},
    {"role": "assistant", "content": "In France."},
    {"role": "tool", "content": "Lyon: 522,000"},
    {"role": "user", "content": "How large is it?"},
]
DOCUMENTS = [{"title": "Lyon", "text": "A city."}]
TOOLS = [{"type": "function", "function": {"name": "size", "parameters": {}}}]


def with_template(tokenizer, template):
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    return other


@pytest.mark.parametrize("name", TEMPLATES)
def test_tokens_are_those_of_the_library(tokenizer, name):
    templated = with_template(tokenizer, TEMPLATES[name])
    options = {"tools": TOOLS} if name == "tools" else {}
    documents = DOCUMENTS if name == "documents" else None
    messages = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in CHAT] if name == "parts" else CHAT
    expected = templated.apply_chat_template(
        messages, documents=documents, add_generation_prompt=True, tokenize=True, return_dict=False, **options
    )
    assert conversation_ids(templated, CHAT, documents, options) == expected
    assert conversation_ids(templated, messages, documents, options) == expected


def test_a_question_is_a_conversation_of_one_message(tokenizer):
    assert conversation_ids(tokenizer, [{"role": "user", "content": "Hm?"}]) == prompt_ids(tokenizer, "Hm?")


def test_a_refused_role_is_told_in_the_templates_words(tokenizer):
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    templated = with_template(tokenizer, refuses + TEMPLATES["plain"])
    with pytest.raises(HNeuronsError, match="the chat template fails: System role not supported"):
        conversation_ids(templated, CHAT)
    assert conversation_ids(templated, CHAT[1:])


def test_a_switch_of_the_template_is_an_argument(tokenizer):
    templated = with_template(tokenizer, TEMPLATES["closed-thoughts"])
    off, on = (conversation_ids(templated, CHAT, options={"enable_thinking": state}) for state in (False, True))
    assert "</think>" in templated.decode(off) and "think" not in templated.decode(on)


def test_control_tokens_in_what_was_said_are_text(tokenizer):
    end = tokenizer.eos_token
    ids = conversation_ids(tokenizer, [{"role": "user", "content": f"Say {end} now"}])
    plain = conversation_ids(tokenizer, [{"role": "user", "content": "Say it now"}])
    assert ids.count(tokenizer.eos_token_id) == plain.count(tokenizer.eos_token_id)


def test_a_last_message_of_the_assistant_is_the_response(llama, tokenizer):
    said = {"role": "assistant", "content": "It is large, in France."}
    of_chat = make_request({"messages": [*CHAT, said], "answer": "France"})
    assert of_chat.response == said["content"] and of_chat.asks == "How large is it?"
    of_key = make_request({"messages": CHAT, "response": said["content"], "answer": "France"})
    assert request_ids(tokenizer, of_chat) == request_ids(tokenizer, of_key) == conversation_ids(tokenizer, CHAT)
    alone = make_request({"question": "How large is it?", "response": said["content"], "answer": "France"})
    found = list(detect_many(llama, neurons_of(llama), [of_chat, of_key, alone], tokenizer=tokenizer))
    assert found[0].logit == pytest.approx(found[1].logit, abs=1e-5) != pytest.approx(found[2].logit, abs=1e-5)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"response": "x"}, "needs either question or messages"),
        ({"question": "Q?", "messages": CHAT}, "needs either question or messages"),
        ({"question": "Q?", "documents": DOCUMENTS}, "documents and chat_template_kwargs belong to messages"),
        ({"messages": []}, "messages: "),
        ({"messages": [{"content": "Hm?"}]}, "messages.0.role: "),
    ],
)
def test_a_wrong_request_is_one_line(data, says):
    with pytest.raises(HNeuronsError, match=says):
        make_request(data, "requests.jsonl, line 1")
