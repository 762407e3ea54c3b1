"""The LLM judge against a real OpenAI-compatible server: `transformers serve` with the demo's model.

A model of 135 million parameters is no judge: its replies, whatever they are, must become the right state. That verdicts
come through is shown with a tiny model that has some by heart.
"""

from __future__ import annotations

import json
import sqlite3

import pytest

from hneurons import store
from hneurons.config.judges import AgreementSettings, JudgesSettings, LLMSettings
from hneurons.errors import HNeuronsError
from hneurons.generation.server import ModelServer
from hneurons.impact.agreement import compare_judges
from hneurons.judges import llm_prompts
from hneurons.judges.client import LLMClient
from hneurons.judges.llm import LLMJudge, correctness_user
from hneurons.judges.panel import Judges
from hneurons.judges.states import ERROR, Answer
from tests.paths import FIXTURES, json_lines
from tests.tiny import byte_level_tokenizer, learn_by_heart

ANSWERS = [Answer(r["question"], r["response"], r["aliases"]) for r in json_lines(FIXTURES / "sentences.jsonl")[:4]]


@pytest.fixture(scope="module")
def server():
    running = ModelServer("transformers serve --host 127.0.0.1 --port {port}", 120)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def weights(manifest):
    return str(manifest.parent / store.read_json(manifest)["path"])


def settings(server, weights, **changes):
    options = {
        "base_url": f"{server.url}/v1",
        "max_judge_calls": 100,
        "api_key_env": None,
        "concurrency": 2,
        "max_tokens": 16,
        "timeout_s": 120,
    }
    return LLMSettings(model=weights, **{**options, "max_errors_percent": 100, **changes})


def test_every_reply_of_a_real_server_gets_its_state(server, weights, tmp_path):
    cache = tmp_path / "cache.sqlite"
    judge = LLMJudge(LLMClient(settings(server, weights), str(cache), "study"))
    spans = judge.span(ANSWERS)
    found = judge.correctness(ANSWERS)
    kept = sqlite3.connect(cache).execute("SELECT content, prompt FROM replies").fetchall()
    billed = sqlite3.connect(cache).execute("SELECT count(*), min(tokens_in), min(tokens_out) FROM calls").fetchone()
    assert billed[0] == 2 * len(ANSWERS) and billed[1] > 100 and billed[2] > 0
    for answer, judgement, span in zip(ANSWERS, found, spans, strict=True):
        text = json.dumps(answer.text, ensure_ascii=False)
        contents = [content for content, prompt in kept if text in prompt and "accepted_answers" in prompt]
        # Only replies that could be used are kept.
        assert len(contents) == (judgement.verdict != ERROR)
        assert all(f'"{judgement.verdict}"' in content for content in contents)
        assert span is None or answer.text[slice(*span)]
    server_gone = LLMJudge(LLMClient(settings(server, weights, base_url="http://127.0.0.1:9/v1"), str(cache), "study"))
    again = server_gone.correctness(ANSWERS)
    assert [j.verdict for j in again] == [j.verdict for j in found], "what is paid for is not asked again"


def test_a_model_that_the_server_does_not_know_is_told_in_one_line(server, tmp_path):
    judge = LLMJudge(
        LLMClient(settings(server, "/nowhere/model", retries=0, max_errors_percent=0), str(tmp_path / "c"), "s")
    )
    with pytest.raises(HNeuronsError) as caught:
        judge.correctness(ANSWERS[:1])
    assert "\n" not in str(caught.value) and server.url in str(caught.value)


@pytest.fixture(scope="module")
def judge_by_heart(tmp_path_factory):
    """A tiny model that has learnt what to reply to four judge prompts: three in JSON, one in prose."""
    asked = [Answer("Which capital has Peru?", text, ["Lima"]) for text in LEARNT]
    prompts = [
        [{"role": "system", "content": llm_prompts.CORRECTNESS}, {"role": "user", "content": correctness_user(answer)}]
        for answer in asked
    ]
    texts = [m["content"] for messages in prompts for m in messages] + list(LEARNT.values())
    tokenizer = byte_level_tokenizer(texts, vocab_size=600)
    pairs = [
        (tokenizer.apply_chat_template(m, add_generation_prompt=True, return_dict=True)["input_ids"], LEARNT[a.text])
        for m, a in zip(prompts, asked, strict=True)
    ]
    folder = tmp_path_factory.mktemp("by-heart")
    learn_by_heart(folder, tokenizer, pairs)
    return str(folder), asked


LEARNT = {
    "It is Lima.": '{"verdict": "correct"}',
    "It is Quito.": '{"verdict": "incorrect"}',
    "I do not know.": '{"verdict": "refused"}',
    "Hm.": "I would say correct.",
}


@pytest.mark.parametrize("structured_output", ["json_schema", "json_object", "none"])
def test_verdicts_come_through_a_real_server(server, judge_by_heart, tmp_path, structured_output):
    folder, asked = judge_by_heart
    options = settings(server, folder, structured_output=structured_output, max_tokens=32)
    found = LLMJudge(LLMClient(options, str(tmp_path / "cache.sqlite"), "study")).correctness(asked)
    assert [j.verdict for j in found] == ["correct", "incorrect", "refused", "error"]


def test_agreement_of_the_rules_with_a_real_server(server, judge_by_heart, tmp_path):
    folder, asked = judge_by_heart
    options = settings(server, folder, max_tokens=32)
    judges = JudgesSettings(llm=options, cache=str(tmp_path / "cache.sqlite"), agreement=AgreementSettings(sample=4))
    found = compare_judges("by-heart", "correctness", asked, Judges(judges, "study"), 4, seed=0)
    assert (found.n, found.judge_errors, found.kappa) == (3, 1, 1.0)
    assert found.labels == ["correct", "incorrect", "refused"]
