"""Detection while generating: what `detect` says of the finished reply, said of each token before the next is drawn."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hneurons.cett.tokens import token_cett
from hneurons.config.study import Decoding
from hneurons.detection.detector import detect
from hneurons.detection.live import detect_while_generating, generate_measured
from hneurons.detection.requests import make_request
from hneurons.detection.token_probe import TokenProbe
from hneurons.generation import decode
from hneurons.generation.decode import generate
from hneurons.generation.requests import Unanswered
from hneurons.generation.tokens import TextSoFar
from tests.unit.test_cli import both, run  # noqa: F401
from tests.unit.test_conversations import CHAT
from tests.unit.test_detector import neurons_of
from tests.unit.test_generation import PROMPTS, SAMPLED

STOPS = tuple(range(2, 60))
OPTIONS = {"seeds": list(range(len(PROMPTS))), "stop_ids": STOPS, "samples": 4}


def test_tokens_score_as_in_a_pass_over_the_finished_response(any_model):
    """In responses that end, that are cut off, and that share rows with others."""
    probe = TokenProbe.from_set(neurons_of(any_model), any_model)
    cut_off, options = set(), {**OPTIONS, "stop_ids": range(2, 200)}
    for limit in (3, 12):
        decoding = SAMPLED.model_copy(update={"max_new_tokens": limit})
        for index, responses in generate_measured(any_model, probe, PROMPTS, decoding, **options):
            for response in (r for r in responses if r.ids):
                sequence = [*PROMPTS[index], *response.ids]
                ((cett, logprobs),) = token_cett(any_model, [sequence], probe.by_layer, [len(response.ids)])
                expected = probe.logits(cett[len(PROMPTS[index]) :])
                np.testing.assert_allclose(probe.logits(response.cett), expected, atol=1e-4, rtol=1e-4)
                np.testing.assert_allclose(response.logprobs, logprobs, atol=1e-4, rtol=1e-4)
                cut_off.add(response.truncated)
    assert cut_off == {True, False}


def test_watching_changes_nothing_that_is_drawn(any_model):
    probe = TokenProbe.from_set(neurons_of(any_model), any_model)
    plain = dict(generate(any_model, PROMPTS, SAMPLED, **OPTIONS))
    for index, responses in generate_measured(any_model, probe, PROMPTS, SAMPLED, **OPTIONS):
        assert [r.ids for r in responses] == [r.unended_ids for r in plain[index]]


def test_each_token_is_told_before_the_next_is_drawn(llama, monkeypatch):
    probe, tokens = TokenProbe.from_set(neurons_of(llama), llama), []
    drawn_before, real = [], decode.choose

    def choose(*arguments):
        drawn_before.append(len(tokens))
        return real(*arguments)

    monkeypatch.setattr(decode, "choose", choose)
    options = {"seeds": [0], "stop_ids": [2], "on_token": tokens.append}
    ((_, (response,)),) = generate_measured(llama, probe, PROMPTS[:1], SAMPLED, **options)
    assert drawn_before == list(range(len(response.ids)))
    assert [t.token_id for t in tokens] == response.ids and [t.step for t in tokens] == list(range(len(tokens)))
    np.testing.assert_allclose([t.logit for t in tokens], probe.logits(response.cett))
    np.testing.assert_allclose([t.logprob for t in tokens], response.logprobs)


def test_a_listener_that_has_heard_enough_ends_the_generation(llama):
    class EnoughError(Exception):
        pass

    heard = []

    def until_third(token):
        heard.append(token)
        if len(heard) == 3:
            raise EnoughError

    probe = TokenProbe.from_set(neurons_of(llama), llama)
    with pytest.raises(EnoughError):
        list(generate_measured(llama, probe, PROMPTS[:1], SAMPLED, seeds=[0], stop_ids=[2], on_token=until_third))
    assert len(heard) == 3
    # The hooks went with it.
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in llama.modules())


def test_after_a_batch_ran_out_of_memory_responses_are_whole(llama, monkeypatch):
    probe, real, calls = TokenProbe.from_set(neurons_of(llama), llama), decode.next_logits, []

    def fails_once(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise torch.OutOfMemoryError
        return real(*arguments)

    expected = dict(generate_measured(llama, probe, PROMPTS, SAMPLED, **OPTIONS))
    monkeypatch.setattr(decode, "next_logits", fails_once)
    for index, responses in generate_measured(llama, probe, PROMPTS, SAMPLED, **OPTIONS):
        for response, whole in zip(responses, expected[index], strict=True):
            assert response.ids == whole.ids
            np.testing.assert_allclose(response.cett, whole.cett, atol=1e-4, rtol=1e-4)


def test_a_reply_is_detected_as_the_same_reply_that_is_given(llama, tokenizer):
    neurons, decoding = neurons_of(llama), Decoding(max_new_tokens=12, temperature=0.8)
    requests = [Unanswered(question="Where is Lyon?"), Unanswered(messages=CHAT)]
    replies = dict(detect_while_generating(llama, neurons, requests, decoding, seed=3, tokenizer=tokenizer))
    assert replies[1].question == "How large is it?" and replies[0].response != replies[1].response
    probe = TokenProbe.from_set(neurons, llama)
    for i, request in enumerate(requests):
        again = dict(detect_while_generating(llama, neurons, [request], decoding, seed=3 + i, tokenizer=tokenizer))[0]
        assert again.response == replies[i].response and len(again.tokens) == len(again.token_logits)
        np.testing.assert_allclose(again.token_logits, replies[i].token_logits, atol=1e-4)
        assert again.weights.tolist() == probe.weights.tolist()


def test_the_models_own_answer_is_measured_while_it_is_written(llama, tokenizer):
    own = detect(llama, neurons_of(llama), "Where is Lyon?", tokenizer=tokenizer, max_new_tokens=8)
    (live,) = dict(
        detect_while_generating(
            llama,
            neurons_of(llama),
            [make_request({"question": "Where is Lyon?"})],
            Decoding(max_new_tokens=8, temperature=0),
            tokenizer=tokenizer,
        )
    ).values()
    assert own.as_dict() == live.as_dict()


def test_no_requests_have_no_replies(llama, tokenizer):
    assert not list(detect_while_generating(llama, neurons_of(llama), [], SAMPLED, tokenizer=tokenizer))


def test_the_text_so_far_is_the_text_in_the_end(tokenizer):
    text = "Lyon 東京 🦘 ist schön."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    so_far = TextSoFar(tokenizer)
    parts = [so_far.add(i) for i in ids]
    assert "".join(parts) == text and "" in parts and not any("\ufffd" in part for part in parts)


def test_text_goes_on_where_a_tokenizer_writes_what_came_before_differently():
    class Tidy:
        """Removes the space before a full stop, as some tokenizers do."""

        def decode(self, ids, skip_special_tokens):
            return "".join(["Lyon ", ".", " It", " is"][i] for i in ids).replace(" .", ".")

    so_far = TextSoFar(Tidy())
    assert [so_far.add(i) for i in range(4)] == ["Lyon ", ".", " It", " is"]


def test_generate_detect_says_what_detect_says(both):  # noqa: F811
    generated = run("generate", *both, "--detect", "Where is Lyon?", "--max-new-tokens", "5", "--json")
    detected = run("detect", *both, "--question", "Where is Lyon?", "--max-new-tokens", "5", "--json")
    assert json.loads(generated.stdout) == [json.loads(detected.stdout)]
    shown = run("generate", *both, "--detect", "Where is Lyon?", "--max-new-tokens", "5")
    assert shown.exit_code == 0 and "p(hallucinated) = " in shown.stdout


def test_generate_replies_to_conversations_of_a_file(both, tmp_path):  # noqa: F811
    path = tmp_path / "chats.jsonl"
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is Lyon?"}]
    path.write_text(json.dumps({"id": 7, "messages": chat}) + "\nWhere is Lyon?\n")
    options = ["--alpha", "0", "1", "--random", "0", "--max-new-tokens", "5", "--json"]
    rows = json.loads(run("generate", *both, "--file", str(path), *options).stdout)
    assert [(row.get("id"), row["alpha"]) for row in rows] == [(7, 1.0), (None, 1.0), (7, 0.0), (None, 0.0)]
    assert {row["prompt"] for row in rows} == {"Where is Lyon?"}
    of_stdin = run("generate", *both, "--file", "-", *options, given=path.read_text())
    assert json.loads(of_stdin.stdout) == rows


@pytest.mark.parametrize(
    ("arguments", "given", "line"),
    [
        (["--detect", "--alpha", "0", "x"], None, "--detect scores replies of the untouched model"),
        (["--alpha", "0", ""], None, "question: is blank"),
        (
            ["--alpha", "0", "--file", "-"],
            '{"messages": [{"role": "assistant", "content": "x"}]}',
            "stdin, line 1: the last message is the assistant's",
        ),
        (["--alpha", "0", "--file", "-"], '{"question": "x", "response": "y"}', "response is a key for `hneurons detect`"),
        (["--alpha", "0", "--file", "-"], "\n", "contains no questions"),
    ],
)
def test_what_is_not_replied_to_is_one_line(both, arguments, given, line):  # noqa: F811
    said = run("generate", *both, *arguments, given=given)
    assert said.exit_code == 1 and line in said.stderr and said.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["x"], ["--alpha", "0"], ["--alpha", "0", "x", "--file", "-"]])
def test_replies_to_nothing_or_twice_are_wrong_usage(both, arguments):  # noqa: F811
    assert run("generate", *both, *arguments).exit_code == 2
