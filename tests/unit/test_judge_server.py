"""What a judge's server refuses: its words are passed on, and parameters that it does not take are changed."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest

from hneurons.errors import HNeuronsError
from hneurons.judges.judge import Exchange
from hneurons.judges.server import errors
from tests.judge_server import JudgeServer, completion, llm_judge

KEY = "sk-planted-9876543210"
YES = completion('{"verdict": "harmful"}')


def exchanges(n, start=0):
    return [Exchange(f"How do I pick lock {i}?", f"With tool {i}.") for i in range(start, start + n)]


def why(said, tmp_path, **changes):
    """What becomes of a call that the server answers so: the reason of the error, or the message of the exception."""
    with JudgeServer(lambda text, n, system: said) as server:
        try:
            (judgement,) = llm_judge(server, tmp_path, **changes).harm(exchanges(1))
        except HNeuronsError as error:
            return str(error)
    assert judgement.verdict == "error"
    return judgement.why


PAGE = "<!DOCTYPE html><html><head><style>p {color: red}</style></head><body><h1>Gateway&nbsp;down</h1></body></html>"
PASSED_ON = {
    "OpenAI's form": ((400, {"error": {"message": "too many tokens", "code": "context"}}), "HTTP 400: too many tokens"),
    "a plain string": ((400, {"error": "model is loading"}), "HTTP 400: model is loading"),
    "a message": ((503, {"object": "error", "message": "engine is\nbusy"}), "HTTP 503: engine is busy"),
    "a detail": ((422, {"detail": "no such template"}), "HTTP 422: no such template"),
    "a list of details": (
        (422, {"detail": [{"type": "missing", "loc": ["body", "user"], "msg": "Field required", "input": {"a": 1}}]}),
        "HTTP 422: body.user: Field required",
    ),
    "a list": ((400, [{"error": {"message": "API key expired"}}]), "HTTP 400: API key expired"),
    "a router": (
        (200, {"error": {"message": "Provider error", "code": 503, "metadata": {"raw": '{"overloaded": true}'}}}),
        'HTTP 503: Provider error: {"overloaded": true}',
    ),
    "an error without a status": ((200, {"error": "worker died"}), "a response without a reply: worker died"),
    "an error in a choice": (
        (200, {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "cut the line"}}]}),
        "HTTP 502: cut the line",
    ),
    "another form": ((500, {"status": "FAILED", "reason": 17}), 'HTTP 500: {"status": "FAILED", "reason": 17}'),
    "a page": ((502, PAGE), "HTTP 502: Gateway down"),
    "a page that calls itself a reply": ((200, PAGE), "a response without a reply: Gateway down"),
    "text": ((500, "upstream connect error"), "HTTP 500: upstream connect error"),
    "nothing": ((500, ""), "HTTP 500"),
    "an empty object": ((200, {}), "an empty response"),
    "no choices": (
        (200, {"choices": [], "model": "judge"}),
        'a response without a reply: {"choices": [], "model": "judge"}',
    ),
    "a choice without a message": ((200, {"choices": [None]}), "a response without a reply: "),
}


@pytest.mark.parametrize("form", PASSED_ON)
def test_the_words_of_the_server_are_passed_on_in_one_line(form, tmp_path):
    said, message = PASSED_ON[form]
    reason = why(said, tmp_path)
    assert reason.startswith(message) and "\n" not in reason and len(reason) < 400


def test_a_long_body_is_cut_and_a_key_in_it_masked(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    reason = why((500, {"error": {"message": "x" * 190 + f" {KEY} " + "y" * 9000}}), tmp_path, api_key_env="JUDGE_KEY")
    assert "***" in reason and KEY[:8] not in reason and len(reason) < 250
    assert errors.server_message({"error": {"error": {"error": {"error": {"error": {"error": {"error": "deep"}}}}}}})


FINAL = {
    "no balance": ((402, {"error": {"message": "Top up, please"}}), "HTTP 402: Top up, please; the account has no"),
    "no quota": (
        (429, {"error": {"message": "Over the plan", "type": "insufficient_quota", "code": None}}),
        "HTTP 429: Over the plan; the account has no",
    ),
    "no credits, from a router": (
        (200, {"error": {"message": "Insufficient credits", "code": 402}}),
        "HTTP 402: Insufficient credits; the account has no",
    ),
    "no credit, as a bad request": (
        (400, {"error": {"message": "Your credit balance is too low"}}),
        "HTTP 400: Your credit balance is too low; the account has no",
    ),
    "no key": ((401, {"detail": "who are you?"}), "who are you?; name the variable with the key in judges.llm.api_key_env"),
    "no model": ((404, {"message": "unknown model"}), "unknown model; check judges.llm.model (judge)"),
}


@pytest.mark.parametrize("cause", FINAL)
def test_what_every_call_would_meet_stops_at_once_and_keeps_what_came(cause, tmp_path):
    said, message = FINAL[cause]

    def behave(text, n, system):
        return YES if int(json.loads(text)["response"].split()[2][:-1]) < 5 else said

    with JudgeServer(behave) as server:
        begun = time.monotonic()
        with pytest.raises(HNeuronsError) as caught:
            llm_judge(server, tmp_path, retries=5, concurrency=1).harm(exchanges(50))
        assert time.monotonic() - begun < 5, "no retries"
        assert message in str(caught.value) and "\n" not in str(caught.value)
        assert len(server.requests) <= 7
        server.behave = lambda text, n, system: YES
        llm_judge(server, tmp_path).harm(exchanges(50))
        assert len([r for r in server.requests if "tool 3." in r["messages"][1]["content"]]) == 1


def test_a_rate_limit_that_speaks_of_quota_is_tried_again(tmp_path):
    busy = (429, {"error": {"message": "Quota of requests per minute exceeded, retry in 1s", "code": "rate_limited"}})
    with JudgeServer(lambda text, n, system: busy if n == 1 else YES) as server:
        (judgement,) = llm_judge(server, tmp_path, retries=2).harm(exchanges(1))
    assert judgement.verdict == "harmful"


@pytest.mark.parametrize(
    ("asked", "hint"), [("json_schema", "json_object or none"), ("json_object", "structured_output: none")]
)
def test_a_server_without_response_format_is_told_with_the_setting(asked, hint, tmp_path):
    said = (400, {"error": {"message": "Unknown name response_format: cannot find field"}})
    assert hint in why(said, tmp_path, structured_output=asked)
    assert "structured_output" not in why(said, tmp_path, structured_output="none")


REFUSALS = {
    "OpenAI": lambda name: (
        400,
        {"error": {"message": f"Unsupported value: '{name}'", "param": name, "code": "unsupported_value"}},
    ),
    "pydantic": lambda name: (422, {"detail": [{"loc": ["body", name], "msg": "Extra inputs are not permitted"}]}),
    "a gateway": lambda name: (400, {"message": f"This model doesn't support {name}."}),
    "a router": lambda name: (200, {"error": {"code": 400, "message": f"`{name}` is deprecated for this model."}}),
}


def refusing(*names, form="OpenAI"):
    """A model that refuses parameters, and thinks about each call."""

    def behave(request):
        time.sleep(0.02)
        return next((REFUSALS[form](name) for name in names if name in request), YES)

    return behave


class Picky(JudgeServer):
    """A server that looks at the parameters of a request."""

    def answer(self, body, count):
        return self.behave(body)


@pytest.mark.parametrize("form", REFUSALS)
@pytest.mark.parametrize("names", [("max_tokens",), ("temperature",), ("max_tokens", "temperature")])
def test_parameters_that_a_model_refuses_are_changed_for_the_rest_of_the_run(form, names, tmp_path, caplog):
    with Picky(refusing(*names, form=form)) as server:
        judge = llm_judge(server, tmp_path, concurrency=8, max_errors_percent=0)
        assert {j.verdict for j in judge.harm(exchanges(40))} == {"harmful"}
        probes = len(server.requests) - 40
        assert 0 < probes <= 8 * len(names), "only calls that were under way are refused"
        judge.harm(exchanges(5, start=40))
        assert len(server.requests) == 45 + probes
    sent = server.requests[-1]
    assert not set(names) & set(sent) and sent.get("max_tokens", sent.get("max_completion_tokens")) == 300
    assert sum("refuses" in r.message for r in caplog.records) == len(names), "each is said once"
    calls = sqlite3.connect(tmp_path / "cache.sqlite").execute("SELECT count(*) FROM calls").fetchone()[0]
    assert calls == 45, "refused calls are not paid"


def test_a_setting_sends_no_refused_call(tmp_path):
    options = {"max_tokens_parameter": "max_completion_tokens", "temperature": None, "reasoning_effort": "minimal"}
    with Picky(refusing("max_tokens", "temperature")) as server:
        llm_judge(server, tmp_path, **options).harm(exchanges(1))
    (sent,) = server.requests
    assert sent["max_completion_tokens"] == 300 and sent["reasoning_effort"] == "minimal" and "temperature" not in sent


def test_a_chosen_value_is_not_dropped(tmp_path):
    with Picky(refusing("temperature")) as server:
        (judgement,) = llm_judge(server, tmp_path, temperature=0.5).harm(exchanges(1))
        assert judgement.verdict == "error" and "judges.llm.temperature sets another, null none" in judgement.why
    with Picky(refusing("max_tokens")) as server:
        (judgement,) = llm_judge(server, tmp_path, max_tokens_parameter="max_tokens").harm(exchanges(1))
        assert judgement.verdict == "error" and "max_tokens" in judgement.why
        assert len(server.requests) == 1


@pytest.mark.parametrize("message", ["max_tokens is too large: 300", "temperature must be strictly positive"])
def test_a_bad_value_is_not_a_refused_parameter(message, tmp_path, caplog):
    assert message in why((400, {"error": {"message": message}}), tmp_path)
    assert "refuses" not in caplog.text
