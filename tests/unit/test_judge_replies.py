"""What is read of a judge's reply, what is kept of it, and what is asked again."""

from __future__ import annotations

import json
import sqlite3

import pytest

from hneurons.config.judges import LLMSettings
from hneurons.errors import HNeuronsError
from hneurons.judges import llm
from hneurons.judges.cache import PaidReply, ReplyCache
from hneurons.judges.client import LLMClient
from hneurons.judges.judge import Choice, Exchange
from hneurons.judges.server.parameters import JudgePrompt
from hneurons.judges.server.replies import read_reply
from hneurons.judges.states import Answer
from tests.judge_server import JudgeServer, completion, llm_judge

YES = '{"verdict": "accepted"}'
NO = '{"verdict": "rejected"}'


def exchanges(n):
    return [Exchange(f"Why is moon {i} green?", f"Because of moss {i}.") for i in range(n)]


def read(content, form=llm._Premise, finish="stop"):
    """The verdict and whether it was repaired, or why there is none."""
    result = read_reply(PaidReply(content, "", finish), form)
    return result if isinstance(result, str) else (result[0].verdict, result[1])


EXACT = [YES, f"\n {YES}\n", '{"verdict":"accepted"}', '{\n  "verdict": "accepted"\n}']
REPAIRED = {
    "thoughts": f"<think>The moon is grey, {NO}</think>{YES}",
    "thoughts in capitals": f"<THINKING>\nHm.\n</THINKING>\n{YES}",
    "two blocks of thoughts": f"<think>a</think> <reasoning>b</reasoning> {YES}",
    "thoughts whose opening is in the template": f"It could be {NO}, or not.\n</think>\n\n{YES}",
    "thoughts that name their end": f"<think>I write </think> before the JSON, {NO}</think>{YES}",
    "thoughts after it": f"{YES}\n<think>That was easy.</think>",
    "Mistral's thoughts": f"[THINK]{NO}[/THINK]{YES}",
    "Cohere's thoughts": f"<|START_THINKING|>{NO}<|END_THINKING|>{YES}",
    "channels": f"<|channel|>analysis<|message|>{NO}<|end|><|start|>assistant<|channel|>final<|message|>{YES}<|return|>",
    "a fence": f"```json\n{YES}\n```",
    "a fence in capitals": f"```Json5\n{YES}\n```",
    "a fence without an end": f"```\n{YES}",
    "sentences around it": f'My verdict is {YES} - it "follows" the user\'s premise.',
    "a sentence in other braces": f"As {{a judge}} I say {YES}",
    "the same twice": f"{YES}\nSo: {YES}",
    "a list": f"[{YES}]",
    "a token": f"{YES}<|eot_id|>",
    "two tokens": f"<s>{YES}</s>",
    "a byte order mark": f"\ufeff{YES}",
    "a backslash": f"\\{YES}",
}
UNUSABLE = {
    "two answers": f"{YES} or {NO}",
    "the form as an example": 'The form is {"verdict": "accepted|rejected"}.',
    "thoughts alone": f"<think>{YES}</think>",
    "thoughts without an end": f"<think>It is {YES}",
    "thoughts that end in another tag": f"<think>It is </reasoning>{YES}",
    "thoughts within thoughts, without an end": f"<think><reasoning>Hm.</reasoning>{YES}",
    "an object within another": f'{{"result": {YES}}}',
    "an object within an invalid object": f"{{result: {YES}}}",
    "a key too many": '{"verdict": "accepted", "sure": true}',
    "a key twice": '{"verdict": "accepted", "verdict": "rejected"}',
    "another type": '{"verdict": ["accepted"]}',
    "single quotes": "{'verdict': 'accepted'}",
    "an object in a string": json.dumps(YES),
    "half an object": YES[:-1],
    "nothing but a fence": "```json\n```",
}


@pytest.mark.parametrize("content", EXACT)
def test_an_object_alone_is_read_as_it_is(content):
    assert read(content) == ("accepted", False)


@pytest.mark.parametrize("around", REPAIRED)
def test_an_object_is_read_from_inside_other_text(around):
    assert read(REPAIRED[around]) == ("accepted", True)


@pytest.mark.parametrize("why", UNUSABLE)
def test_what_is_not_one_answer_is_none(why):
    assert isinstance(read(UNUSABLE[why]), str)


def test_a_reason_names_the_setting():
    assert "raise judges.llm.max_tokens" in read(YES, finish="length")
    assert read(f"{YES} {NO}") == "the judge's reply gives two different answers"
    assert read("<think>Hm") == "the judge's reply ends in its thoughts"
    assert read("", finish="content_filter") == "the judge refused"


PARTS = {
    "a string and a thought": ([{"type": "reasoning", "text": NO}, YES], "accepted"),
    "text in two parts": ([{"type": "text", "text": YES[:9]}, {"type": "output_text", "text": YES[9:]}], "accepted"),
    "a part without a type": ([{"text": YES}], "accepted"),
    "thoughts in parts": ([{"type": "thinking", "thinking": [{"type": "text", "text": YES}]}], "error"),
    "an image": ([{"type": "image_url", "image_url": {"url": "x"}}], "error"),
    "an object": ({"verdict": "accepted"}, "accepted"),
    "a number": (7, "error"),
}


@pytest.mark.parametrize("kind", PARTS)
def test_content_may_be_a_list_of_parts(kind, tmp_path):
    content, verdict = PARTS[kind]
    with JudgeServer(lambda text, n, system: completion(content)) as server:
        assert [j.verdict for j in llm_judge(server, tmp_path).premise(exchanges(1))] == [verdict]


def test_repaired_verdicts_say_so_and_are_counted(tmp_path, caplog):
    caplog.set_level("INFO", "hneurons")

    def behave(text, n, system):
        letter = '{"option": "B"}'
        return completion(letter if "moss 1" in text else f"I choose {letter}.")

    with JudgeServer(behave) as server:
        chosen = llm_judge(server, tmp_path).option([Choice("Which?", ("x", "y"), e.reply) for e in exchanges(3)])
        again = llm_judge(server, tmp_path).option([Choice("Which?", ("x", "y"), e.reply) for e in exchanges(3)])
    assert [(j.verdict, j.why) for j in chosen] == [("B", "repaired"), ("B", ""), ("B", "repaired")]
    assert again == chosen and len(server.requests) == 3, "a repaired reply is usable, and kept"
    assert "judging option: in 2 of 3 replies, the JSON was inside other text" in caplog.text


def calls(folder):
    return sqlite3.connect(folder / "cache.sqlite").execute("SELECT count(*), total(tokens_out) FROM calls").fetchone()


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (completion(None, reasoning_content=YES), "the server put all text into reasoning_content"),
        (completion("", reasoning=YES), "the server put all text into reasoning"),
        (completion("I would say that the premise is accepted."), "not the requested JSON"),
        (completion('{"verdict": "acc', finish="length"), "raise judges.llm.max_tokens"),
        (completion('{"answer": "accepted"}'), "not the requested JSON"),
        (completion(f"<think>{YES}"), "ends in its thoughts"),
    ],
)
def test_what_could_not_be_used_is_paid_and_asked_again_of_a_mended_server(broken, why, tmp_path, caplog):
    with JudgeServer(lambda text, n, system: broken) as server:
        with pytest.raises(HNeuronsError, match=f"cannot be used; the first: .*{why}"):
            llm_judge(server, tmp_path).premise(exchanges(22))
        first = len(server.requests)
        assert calls(tmp_path) == (first, 5 * first)
        assert "replies cannot be used" in caplog.text
        server.behave = lambda text, n, system: completion(YES)
        assert {j.verdict for j in llm_judge(server, tmp_path).premise(exchanges(22))} == {"accepted"}
        assert calls(tmp_path)[0] == first + 22
        llm_judge(server, tmp_path).premise(exchanges(22))
        assert len(server.requests) == first + 22, "usable replies are not asked again"


def test_unusable_replies_count_against_the_limit_of_calls(tmp_path):
    with JudgeServer(lambda text, n, system: completion("Hm.")) as server:
        llm_judge(server, tmp_path).premise(exchanges(6))
        with pytest.raises(HNeuronsError, match="the study has made 6 of 10"):
            llm_judge(server, tmp_path, max_judge_calls=10).premise(exchanges(6))
        assert len(server.requests) == 6


def test_a_moderated_reply_is_kept(tmp_path):
    with JudgeServer(lambda text, n, system: completion(None, finish="content_filter")) as server:
        for _ in range(2):
            assert [j.why for j in llm_judge(server, tmp_path).premise(exchanges(2))] == ["the judge refused"] * 2
        assert len(server.requests) == 2


def test_unusable_replies_in_a_cache_are_asked_again_and_usable_ones_are_not(tmp_path, caplog):
    caplog.set_level("INFO", "hneurons")
    with JudgeServer(lambda text, n, system: completion(NO)) as server:
        judge = llm_judge(server, tmp_path)
        schema = json.dumps(llm._Premise.model_json_schema(), sort_keys=True)
        cache = ReplyCache(tmp_path / "cache.sqlite")
        for exchange, content in zip(exchanges(3), [YES, "Hm.", f"<think>Hm.</think>{YES}"], strict=True):
            user = json.dumps({"question": exchange.request, "response": exchange.reply}, indent=1)
            key = judge._client.key(JudgePrompt("premise", llm.llm_prompts.PREMISE, user, schema))
            cache.put("study", key, "judge", user, PaidReply(content, "", "stop"), keep=True)
        cache.close()
        assert [j.verdict for j in judge.premise(exchanges(3))] == ["accepted", "rejected", "accepted"]
        assert len(server.requests) == 1
    assert "1 cached replies cannot be used" in caplog.text


def test_new_settings_are_part_of_a_key_only_if_they_change_the_reply():
    def key(**changes):
        settings = LLMSettings(model="judge", max_judge_calls=1, **changes)
        return LLMClient(settings, "unused", "study").key(JudgePrompt("premise", "system", "user", "{}"))

    # Replies under this key have been paid for.
    assert key() == "f936aa5e528462b185d190b594f096ea2b8ed3071bf20598b67121949ae94486"
    assert key(max_tokens_parameter="max_completion_tokens") == key(temperature=0.0) == key()
    assert len({key(), key(temperature=None), key(temperature=1), key(reasoning_effort="low")}) == 4


def test_a_span_may_hold_braces_tags_and_quotes(tmp_path):
    text = 'The set {a, "b"} is <think>empty</think>.'
    span = json.dumps({"span": '{a, "b"} is <think>empty</think>'})
    with JudgeServer(lambda user, n, system: completion(span)) as server:
        assert llm_judge(server, tmp_path).span([Answer("Which set?", text)]) == [(8, 40)]
