"""The server of `hneurons serve`, asked by the openai client over a socket: replies, their scores, and what it refuses."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager

import numpy as np
import pytest
import uvicorn
from openai import BadRequestError, NotFoundError, OpenAI

from hneurons.detection.detector import detect_many
from hneurons.detection.requests import make_request
from hneurons.detection.server.app import create_app
from hneurons.detection.server.service import ChatService, _WrittenSoFar
from hneurons.detection.token_probe import TokenProbe
from hneurons.models.tokenizer import with_thinking
from tests.unit.test_cli import both, run  # noqa: F401
from tests.unit.test_conversations import CHAT, TEMPLATES, with_template
from tests.unit.test_detector import neurons_of

GREEDY = {"model": "tiny", "messages": CHAT, "temperature": 0, "max_tokens": 9}


@contextmanager
def serving(service):
    """A client of a server that runs within the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(service, "<p>page</p>"), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def service(llama, tokenizer):
    return ChatService("tiny", llama, TokenProbe.from_set(neurons_of(llama), llama), tokenizer, max_new_tokens=9)


@pytest.fixture
def client(service):
    with serving(service) as client:
        yield client


def fetched(url, body=None):
    """Status and text of a reply, to a POST if there is a body."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_reply_carries_what_detect_says_of_it(client, llama, tokenizer):
    completion = client.chat.completions.create(**GREEDY, logprobs=True)
    (choice,) = completion.choices
    own = next(
        detect_many(llama, neurons_of(llama), [make_request({"messages": CHAT})], tokenizer=tokenizer, max_new_tokens=9)
    )
    assert choice.message.content == own.response and choice.finish_reason == "length"
    said = choice.hallucination
    assert said["probability"] == pytest.approx(own.probability, abs=1e-4)
    assert [token["text"] for token in said["tokens"]] == own.tokens
    np.testing.assert_allclose([token["probability"] for token in said["tokens"]], own.token_probabilities, atol=1e-4)
    assert [(n["layer"], n["neuron"]) for n in said["neurons"]] == [(n["layer"], n["neuron"]) for n in own.strongest()]
    np.testing.assert_allclose([token.logprob for token in choice.logprobs.content], own.logprobs, atol=1e-4)
    assert completion.usage.completion_tokens == 9 and completion.model == "tiny"


def test_a_streamed_reply_is_the_whole_reply(client):
    whole = client.chat.completions.create(**GREEDY)
    chunks = list(client.chat.completions.create(**GREEDY, stream=True, stream_options={"include_usage": True}))
    *body, usage = chunks
    assert "".join(c.choices[0].delta.content or "" for c in body) == whole.choices[0].message.content
    scored = [token for c in body[1:-1] for token in c.choices[0].hallucination["tokens"]]
    of_whole = whole.choices[0].hallucination
    np.testing.assert_allclose(
        [t["probability"] for t in scored], [t["probability"] for t in of_whole["tokens"]], atol=1e-4
    )
    assert body[-1].choices[0].hallucination == of_whole and body[-1].choices[0].finish_reason == "length"
    assert usage.usage == whole.usage


def test_replies_to_one_call_differ_and_a_seed_repeats_them(client):
    sampled = {**GREEDY, "temperature": 1.5, "n": 3, "seed": 5}
    first, again = ([c.message.content for c in client.chat.completions.create(**sampled).choices] for _ in range(2))
    assert first == again and len(set(first)) == 3
    unseeded = {**sampled, "seed": None}
    assert first != [c.message.content for c in client.chat.completions.create(**unseeded).choices]
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**sampled, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == first


def test_thoughts_are_apart_from_the_reply(llama, tokenizer, monkeypatch):
    """The model is made to think one word and to answer another; how it comes to them is not what is tested."""
    from hneurons.generation import decode

    thinking = with_thinking(with_template(tokenizer, TEMPLATES["plain"] + "{% if enable_thinking %}<think>\n{% endif %}"))
    script = tokenizer("hm</think>In France.", add_special_tokens=False)["input_ids"]
    drawn = []

    def scripted(logits, *_):
        drawn.append(script[len(drawn) % len(script)])
        return logits.new_tensor([drawn[-1]]).long()

    monkeypatch.setattr(decode, "choose", scripted)
    service = ChatService("tiny", llama, TokenProbe.from_set(neurons_of(llama), llama), thinking)
    asked = {**GREEDY, "max_tokens": len(script)}
    with serving(service) as client:
        whole = client.chat.completions.create(**asked).choices[0]
        chunks = [c.choices[0].delta for c in client.chat.completions.create(**asked, stream=True)]
    assert whole.message.content == "In France." == "".join(delta.content or "" for delta in chunks)
    assert "hm" in whole.message.reasoning_content
    assert "hm" in "".join((delta.model_extra or {}).get("reasoning_content", "") for delta in chunks)
    assert "".join(token["text"] for token in whole.hallucination["tokens"]) == "In France."


@pytest.mark.parametrize(
    ("pieces", "opened", "content", "thoughts"),
    [
        (["In", " France", "."], False, "In France.", ""),
        (["<think>", "hm", "</think>", "In", " France"], False, "In France", "hm"),
        (["<", "th", "ink", ">", "hm", "</", "think", ">", "In", " France"], False, "In France", "hm"),
        (["hm", "</think>", "In", " France"], True, "In France", "hm"),
        (["hm", ", yes"], True, "", "hm, yes"),
        (["<", "b", ">", "bold", "</", "b", ">", " and more text that is no thought"], False, "<b>bold</b> and more", ""),
        (["<", "3"], False, "<3", ""),
    ],
)
def test_thoughts_and_reply_are_told_apart_while_they_are_written(pieces, opened, content, thoughts):
    class Pieces:
        def decode(self, ids, skip_special_tokens):
            return "".join(pieces[i] for i in ids)

    written = _WrittenSoFar(Pieces(), opened)
    gained = [written.add(i) for i in range(len(pieces))]
    reply = "".join(text for text, _ in gained) + written.flush()
    assert reply.startswith(content) and ("think" not in reply or not thoughts) and bool(reply) == bool(content)
    assert thoughts in "".join(text for _, text in gained) and "France" not in "".join(text for _, text in gained)


def test_two_clients_at_once_get_their_own_replies(client):
    other = {**GREEDY, "messages": [{"role": "user", "content": "Where is Rome?"}]}
    alone = [client.chat.completions.create(**asked).choices[0].message.content for asked in (GREEDY, other)]
    together = [None, None]

    def ask(i, asked):
        together[i] = client.chat.completions.create(**asked).choices[0].message.content

    threads = [threading.Thread(target=ask, args=(i, asked)) for i, asked in enumerate((GREEDY, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone and alone[0] != alone[1]


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_has_gone_ends_its_reply(service, monkeypatch, streamed):
    """The model is free for the next call long before the reply would have ended."""
    from hneurons.generation import decode

    passes, real = [], decode.next_logits

    def slow(*arguments):
        passes.append(1)
        time.sleep(0.05)
        return real(*arguments)

    monkeypatch.setattr(decode, "next_logits", slow)
    service._stop_ids = [0]
    with serving(service) as client:
        body = json.dumps({**GREEDY, "max_tokens": 2000, "stream": streamed})
        with closing(http.client.HTTPConnection(client.base_url.host, client.base_url.port)) as connection:
            connection.request("POST", "/v1/chat/completions", body)
            if streamed:
                assert connection.getresponse().readline().startswith(b"data: ")
            else:
                time.sleep(1)
        next_reply = client.chat.completions.create(**GREEDY, timeout=20)
        assert next_reply.usage.completion_tokens == 9 and len(passes) < 500


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"stop": ["x"]}, "stop is not supported here; leave it out"),
        ({"presence_penalty": 0.5}, "presence_penalty is not supported here"),
        ({"extra_body": {"best_of": 3}}, "best_of: unknown key"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "the last message is the assistant's"),
        ({"messages": []}, "messages"),
        ({"temperature": -1}, "temperature"),
    ],
)
def test_what_would_not_be_obeyed_is_refused_in_one_line(client, change, line):
    with pytest.raises(BadRequestError, match=line) as refused:
        client.chat.completions.create(**{**GREEDY, **change})
    assert "\n" not in refused.value.body["message"]


def test_what_the_chat_template_refuses_is_told_in_its_words(llama, tokenizer):
    refuses = with_template(tokenizer, "{{ raise_exception('System role not supported') }}")
    service = ChatService("tiny", llama, TokenProbe.from_set(neurons_of(llama), llama), tokenizer)
    service._tokenizer = refuses
    with serving(service) as client, pytest.raises(BadRequestError, match="System role not supported"):
        client.chat.completions.create(**GREEDY)


def test_neutral_values_are_no_reason_to_refuse(client):
    neutral = {"presence_penalty": 0, "frequency_penalty": 0.0, "stop": [], "user": "me", "top_p": 1}
    assert client.chat.completions.create(**GREEDY, **neutral).choices


def test_the_list_of_models_is_what_may_be_asked(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    with pytest.raises(NotFoundError, match="no model 'other' here: this server has 'tiny'"):
        client.chat.completions.create(**{**GREEDY, "model": "other"})


def test_a_body_that_is_no_json_is_told(client):
    status, text = fetched(f"{client.base_url}chat/completions", b"{")
    assert status == 400 and json.loads(text)["error"]["message"].startswith("request: no JSON: ")


def test_a_reply_that_fails_is_told_to_the_client(service, client, monkeypatch):
    monkeypatch.setattr(service, "reply", lambda *_: 1 / 0)
    status, text = fetched(f"{client.base_url}chat/completions", GREEDY)
    assert status == 500 and "division by zero" in json.loads(text)["error"]["message"]
    lines = fetched(f"{client.base_url}chat/completions", {**GREEDY, "stream": True})[1].splitlines()
    assert any("division by zero" in line for line in lines) and lines[-2] == "data: [DONE]"


def test_the_command_serves_until_it_is_interrupted(both):  # noqa: F811
    command = [sys.executable, "-m", "hneurons.cli", "serve", *both, "--port", "0", "--name", "tiny"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        assert line.startswith("tiny is served: a page at http://127.0.0.1:")
        page = line.split("a page at ")[1].split(",")[0]
        assert "Ask tiny" in fetched(page)[1] and fetched(f"{page}health") == (200, '{"status":"ok"}')
        reply = json.loads(fetched(f"{page}v1/chat/completions", GREEDY)[1])
        assert reply["choices"][0]["hallucination"]["tokens"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_a_port_that_is_taken_is_one_line_before_the_model_is_loaded(both):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = run("serve", "--model", "/nowhere", *both[2:], "--port", port)
    assert said.exit_code == 1 and f"cannot listen on 127.0.0.1, port {port}: {os.strerror(98)}" in said.stderr
    assert said.stderr.count("\n") == 1


def test_without_its_libraries_the_command_says_what_to_install(both, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    said = run("serve", *both)
    assert said.exit_code == 1 and "serve needs uvicorn: pip install 'hneurons[serve]'" in said.stderr
