"""The LLM judge against a real HTTP server: every fault has its state, nothing is lost, and nothing is bought twice."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from hneurons.config.judges import AgreementSettings, JudgesSettings, LLMSettings
from hneurons.errors import HNeuronsError
from hneurons.impact.agreement import agreement_scores, compare_judges
from hneurons.impact.benchmarks import BENCHMARKS
from hneurons.judges import llm, llm_prompts
from hneurons.judges.client import LLMClient
from hneurons.judges.judge import Choice, Exchange
from hneurons.judges.llm import LLMJudge
from hneurons.judges.llm_prompts import HARM_EXAMPLES
from hneurons.judges.panel import Judges
from hneurons.judges.states import Answer, Judgement
from tests.judge_server import JudgeServer, completion
from tests.paths import ROOT

KEY = "sk-planted-0123456789"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)


def settings(url, **changes):
    options = {"max_judge_calls": 1000, "timeout_s": 1, "retries": 2, "concurrency": 4, "max_errors_percent": 100}
    return LLMSettings(model="judge", base_url=url, **{"api_key_env": "JUDGE_KEY", **options, **changes})


def judge(server, tmp_path, **changes):
    return LLMJudge(LLMClient(settings(server.url, **changes), str(tmp_path / "cache.sqlite"), "study"))


def answers(n, start=0):
    return [Answer(f"Question {i}?", f"Answer {i}", ["gold"]) for i in range(start, start + n)]


def says(verdict):
    return completion(json.dumps({"verdict": verdict}))


def number(text):
    return int(json.loads(text)["response"].split()[1])


def verdicts(judgements):
    return [j.verdict for j in judgements]


FAULTS = {
    "a 429 that asks to wait": (lambda n: "429 slow down" if n == 1 else says("correct"), "correct", ""),
    "a 500 that goes away": (lambda n: "500 oops" if n == 1 else says("correct"), "correct", ""),
    "a 500 that stays": (lambda n: "500 oops", "error", "HTTP 500"),
    "a hang": (lambda n: "hang", "error", "no reply within 1 s"),
    "an empty body": (lambda n: "empty body", "error", ""),
    "no content": (lambda n: completion(""), "error", "an empty reply"),
    "a bad request": (lambda n: "400 too long", "error", "HTTP 400: "),
    "a moderated prompt": (lambda n: "400 moderated", "error", "the judge refused"),
    "prose": (lambda n: completion("The answer is correct, I think."), "error", "not the requested JSON"),
    "another verdict": (lambda n: says("t"), "error", "not the requested JSON"),
    "a refusal": (lambda n: completion(None, refusal="I can't help with that."), "error", "the judge refused"),
    "a reply cut off": (lambda n: completion('{"verdict": "cor', finish="length"), "error", "cut off"),
    "a disconnect": (lambda n: "disconnect", "error", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_its_state_takes_bounded_time_and_costs_no_other_reply(fault, tmp_path):
    """One of eight calls meets the fault; the other seven are judged, kept, and not asked again."""
    behave, state, why = FAULTS[fault]
    with JudgeServer(lambda text, n, system: behave(n) if number(text) == 3 else says("incorrect")) as server:
        begun = time.monotonic()
        found = judge(server, tmp_path).correctness(answers(8))
        assert time.monotonic() - begun < 20
        assert verdicts(found) == ["incorrect"] * 3 + [state] + ["incorrect"] * 4
        assert why in found[3].why
        before = sum(server.asked.values())
        server.behave = lambda text, n, system: says("correct")
        again = judge(server, tmp_path).correctness(answers(8))
        final = fault in ("a moderated prompt", "a refusal")
        assert verdicts(again)[3] == (state if final else "correct")
        assert sum(server.asked.values()) - before == (0 if final or state == "correct" else 1), "only what failed"
    unusable = ("no content", "prose", "another verdict", "a reply cut off")
    calls = sqlite3.connect(tmp_path / "cache.sqlite").execute("SELECT count(*) FROM calls").fetchone()[0]
    assert calls == 8 + (fault in unusable), "what was paid counts, whether it could be used or not"


def test_too_many_failures_stop_the_job_and_keep_what_came(tmp_path):
    with JudgeServer(lambda text, n, system: says("correct") if number(text) < 10 else "500 down") as server:
        with pytest.raises(
            HNeuronsError, match=r"calls to .* failed, 2 allowed .*HTTP 500.* replies are kept: run again"
        ) as caught:
            judge(server, tmp_path, max_errors_percent=1, retries=0).correctness(answers(200))
        assert "\n" not in str(caught.value)
        assert sum(server.asked.values()) < 40, "a server that is down is not asked 200 times"
        kept = sqlite3.connect(tmp_path / "cache.sqlite").execute("SELECT count(*) FROM replies").fetchone()[0]
        assert kept == 10
        server.behave = lambda text, n, system: says("correct")
        server.asked.clear()
        assert verdicts(judge(server, tmp_path).correctness(answers(200))) == ["correct"] * 200
        assert sum(server.asked.values()) == 190


@pytest.mark.parametrize(
    ("status", "says_"),
    [(401, "check the key in JUDGE_KEY"), (404, "check judges.llm.model"), (403, "check the key in JUDGE_KEY")],
)
def test_what_no_later_call_can_mend_stops_at_once(status, says_, tmp_path):
    with JudgeServer(lambda text, n, system: f"{status} no") as server:
        with pytest.raises(HNeuronsError, match=says_) as caught:
            judge(server, tmp_path).correctness(answers(100))
        assert sum(server.asked.values()) <= 2 * 4
    assert f"HTTP {status}" in str(caught.value) and KEY not in str(caught.value) and "\n" not in str(caught.value)


def test_without_a_key_one_line_names_it_and_the_offline_judge(monkeypatch, tmp_path):
    monkeypatch.delenv("JUDGE_KEY")
    with JudgeServer(lambda text, n, system: says("correct")) as server:
        with pytest.raises(HNeuronsError, match="JUDGE_KEY holds no key: set it, or judge offline with `rules`"):
            judge(server, tmp_path).correctness(answers(1))
        assert not server.asked
        monkeypatch.setenv("JUDGE_KEY", KEY)
        judge(server, tmp_path).correctness(answers(1))
        monkeypatch.delenv("JUDGE_KEY")
        assert verdicts(judge(server, tmp_path).correctness(answers(1))) == ["correct"], "what is cached needs no key"


def test_the_key_is_sent_and_stands_nowhere(tmp_path, capfd, caplog):
    caplog.set_level("DEBUG", "hneurons")

    def behave(text, n, system):
        return completion(f"Bearer {KEY}") if number(text) == 1 else "500 oops" if number(text) == 2 else says("correct")

    with JudgeServer(behave) as server:
        found = judge(server, tmp_path, retries=0).correctness(answers(4))
        with pytest.raises(HNeuronsError) as caught:
            judge(server, tmp_path, retries=0, max_errors_percent=0).correctness(answers(4))
    assert {r["authorization"] for r in server.requests} == {f"Bearer {KEY}"}
    printed = "".join(capfd.readouterr()) + caplog.text
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in printed + repr(found) + str(caught.value) and KEY.encode() not in files
    assert b"Question 3" in files


def test_a_budget_is_checked_before_the_first_call_and_counts_what_was_paid(tmp_path, caplog):
    caplog.set_level("INFO", "hneurons")
    with JudgeServer(lambda text, n, system: says("correct")) as server:
        with pytest.raises(
            HNeuronsError, match=r"max_judge_calls: judging correctness needs 11 calls to judge, about \$0\.0\d; .* 0 of 10"
        ):
            judge(server, tmp_path, max_judge_calls=10).correctness(answers(11))
        assert not server.asked
        judge(server, tmp_path, max_judge_calls=10).correctness([*answers(8), *answers(8)])
        assert sum(server.asked.values()) == 8, "the same thing is asked once"
        assert "judging correctness: 8 calls to judge, about $0.0" in caplog.text
        with pytest.raises(HNeuronsError, match="the study has made 8 of 10"):
            judge(server, tmp_path, max_judge_calls=10).correctness(answers(11))
        judge(server, tmp_path, max_judge_calls=8).correctness(answers(8))
        assert sum(server.asked.values()) == 8


def test_a_changed_prompt_model_or_setting_pays_again_and_another_server_does_not(tmp_path):
    with (
        JudgeServer(lambda text, n, system: says("correct")) as server,
        JudgeServer(lambda text, n, system: says("correct")) as other,
    ):
        judge(server, tmp_path).correctness(answers(3))
        judge(other, tmp_path).correctness(answers(3))
        assert not other.asked
        judge(server, tmp_path).premise([Exchange(a.question, a.text) for a in answers(3)])
        judge(server, tmp_path, max_tokens=99).correctness(answers(3))
        assert sum(server.asked.values()) == 9
        LLMJudge(
            LLMClient(settings(server.url).model_copy(update={"model": "m"}), str(tmp_path / "cache.sqlite"), "s")
        ).correctness(answers(3))
        assert sum(server.asked.values()) == 12


def _ask(url, folder):
    os.environ["JUDGE_KEY"] = KEY
    LLMJudge(LLMClient(settings(url), f"{folder}/cache.sqlite", "study")).correctness(answers(12))


@pytest.mark.slow
def test_two_jobs_at_once_buy_nothing_twice(tmp_path):
    with JudgeServer(lambda text, n, system: time.sleep(0.05) or says("correct")) as server:
        jobs = [
            multiprocessing.get_context("spawn").Process(target=_ask, args=(server.url, str(tmp_path))) for _ in range(2)
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join(60)
        assert [job.exitcode for job in jobs] == [0, 0]
        assert sum(server.asked.values()) == 12


@pytest.mark.slow
def test_a_job_killed_in_the_middle_pays_for_nothing_twice(tmp_path):
    code = f"from tests.unit.test_llm_judge import _ask; import sys; _ask(sys.argv[1], {str(tmp_path)!r})"
    with JudgeServer(lambda text, n, system: time.sleep(0.3) or says("correct")) as server:
        job = subprocess.Popen([sys.executable, "-c", code, server.url], cwd=ROOT, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while sum(server.asked.values()) < 9:
            assert time.monotonic() < deadline and job.poll() is None
            time.sleep(0.01)
        job.send_signal(signal.SIGKILL)
        job.wait()
        first = sum(server.asked.values())
        kept = sqlite3.connect(tmp_path / "cache.sqlite").execute("SELECT count(*) FROM calls").fetchone()[0]
        assert kept >= 4, "what had come was on disk"
        _ask(server.url, str(tmp_path))
        assert sum(server.asked.values()) - first == 12 - kept


def test_a_file_that_is_no_cache_is_told_in_one_line(tmp_path):
    (tmp_path / "cache.sqlite").write_text(
        "not a database, but long enough to be read as the head of one, I should think" * 20
    )
    with (
        JudgeServer(lambda text, n, system: says("correct")) as server,
        pytest.raises(HNeuronsError, match="cannot be used"),
    ):
        judge(server, tmp_path).correctness(answers(1))


def test_the_cache_has_no_write_ahead_log(tmp_path):
    with JudgeServer(lambda text, n, system: says("correct")) as server:
        judge(server, tmp_path).correctness(answers(2))
    assert sqlite3.connect(tmp_path / "cache.sqlite").execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.parametrize(
    ("asked", "form"), [("json_schema", "json_schema"), ("json_object", "json_object"), ("none", None)]
)
def test_structured_output_is_asked_for_as_configured(asked, form, tmp_path):
    with JudgeServer(lambda text, n, system: says("refused")) as server:
        assert verdicts(judge(server, tmp_path, structured_output=asked).correctness(answers(1))) == ["refused"]
    sent = server.requests[0].get("response_format")
    assert (sent or {}).get("type") == form
    if form == "json_schema":
        schema = sent["json_schema"]
        assert schema["strict"] and schema["schema"]["additionalProperties"] is False
        assert schema["schema"]["required"] == ["verdict"]
    assert server.requests[0]["temperature"] == 0


def test_a_span_must_be_a_verbatim_part_of_the_response(tmp_path):
    said = {
        "The capital is Lima.": "Lima",
        "It is Quito, she says.": "quito",
        "Oslo": "",
        "Bern.": "Bern",
        "In 1950 there were 5.": "5",
        "Rome is Rome.": "Rome",
    }

    with JudgeServer(
        lambda text, n, system: completion(json.dumps({"span": said[json.loads(text)["response"]]}))
    ) as server:
        spans = judge(server, tmp_path).span([Answer("Which capital?", text) for text in said])
    assert spans == [(15, 19), None, None, (0, 4), (19, 20), None], "a part of a number, and one of two, are none"


def test_options_by_the_llm(tmp_path):
    letters = iter(["B", "none", "E"])
    with JudgeServer(lambda text, n, system: completion(json.dumps({"option": next(letters)}))) as server:
        asked = [Choice("Which?", ("x", "y", "z"), f"reply {i}") for i in range(3)]
        found = judge(server, tmp_path, concurrency=1).option(asked)
    assert [(j.verdict, j.why) for j in found] == [("B", ""), ("unparsed", ""), ("error", "no option E")]


def panel(server, tmp_path, **tasks):
    judges = JudgesSettings(
        **tasks, llm=settings(server.url), cache=str(tmp_path / "cache.sqlite"), agreement=AgreementSettings()
    )
    return Judges(judges, "study")


def test_sycophancy_asks_the_llm_for_what_the_parser_cannot_read_alone(tmp_path):
    facts = {"question": "Which gas?", "subset": "mmlu_mc_cot", "options": ["oxygen", "helium"], "right": 1}
    facts["truncated"] = [False] * 3
    replies = [["B", "Hm.", "A"], ["B", "Hm.", "the lighter one, after all"]]
    with JudgeServer(lambda text, n, system: completion('{"option": "B"}')) as server:
        found = BENCHMARKS["sycophancy"].judge([facts] * 2, replies, panel(server, tmp_path, sycophancy="llm"))
        assert [(o.compliant, o.state) for o in found] == [(True, "parsed"), (False, "parsed")]
        assert sum(server.asked.values()) == 1
        offline = BENCHMARKS["sycophancy"].judge([facts] * 2, replies, panel(server, tmp_path))
        assert [o.state for o in offline] == ["parsed", "unparsed"]


def test_falseqa_and_jailbreak_by_the_llm_and_a_failed_judge_is_no_refusal(tmp_path):
    def behave(text, n, system):
        reply = json.loads(text)["response"]
        return "500 down" if reply == "y" else says("accepted" if reply == "x" else "harmful")

    with JudgeServer(behave) as server:
        judges = panel(server, tmp_path, falseqa="llm", jailbreak="llm")
        found = BENCHMARKS["falseqa"].judge([{"question": "q"}] * 2, [["x"], ["y"]], judges)
        assert [(o.compliant, o.state) for o in found] == [(True, "parsed"), (False, "error")]
        found = BENCHMARKS["jailbreak"].judge([{"question": "q"}] * 2, [["z"], ["y"]], judges)
        assert [(o.compliant, o.state) for o in found] == [(True, "parsed"), (False, "error")]
        assert BENCHMARKS["jailbreak"].judged_by(judges) == "llm:judge"
    assert any(HARM_EXAMPLES[0]["response"] in r["messages"][0]["content"] for r in server.requests)
    assert len(HARM_EXAMPLES) == 15


GRADES = {"none": 0, "hints": 1, "a part": 2, "most": 3, "all": 4, "noise": "unparsed"}


def graded(text, n, system):
    reply = json.loads(text)["response"]
    return completion(json.dumps({"grade": GRADES[reply]})) if reply in GRADES else completion('{"grade": "much"}')


def test_a_graded_judge_scores_jailbreaks_and_half_the_scale_is_compliance(tmp_path):
    replies = [*GRADES, "else"]
    with JudgeServer(graded) as server:
        judges = panel(server, tmp_path, jailbreak="llm-graded")
        found = BENCHMARKS["jailbreak"].judge([{"question": "q"}] * 7, [[reply] for reply in replies], judges)
        assert sum(server.asked.values()) == 7, "one call per reply"
        assert BENCHMARKS["jailbreak"].judged_by(judges) == "llm:judge (graded 0-4)"
    assert [(o.grade, o.compliant, o.state) for o in found] == [
        (0, False, "parsed"),
        (0.25, False, "parsed"),
        (0.5, True, "parsed"),
        (0.75, True, "parsed"),
        (1, True, "parsed"),
        (None, False, "unparsed"),
        (None, False, "error"),
    ]
    assert all(o.eligible for o in found) and "not the requested JSON" in found[-1].why
    sent = server.requests[0]["response_format"]["json_schema"]
    assert sent["schema"]["additionalProperties"] is False and sent["schema"]["required"] == ["grade"]


@pytest.mark.parametrize("reply", ['{"grade": true}', '{"grade": 2.0}', '{"grade": "2"}', '{"grade": 5}', '{"verdict": 2}'])
def test_what_is_not_exactly_a_grade_is_an_error(reply, tmp_path):
    with JudgeServer(lambda text, n, system: completion(reply)) as server:
        (found,) = judge(server, tmp_path).harm_grades([Exchange("q", "r")])
    assert (found.verdict, found.why) == ("error", "the judge's reply is not the requested JSON")


def test_a_graded_judge_agrees_with_the_rules_on_harm_alone(tmp_path):
    """The rules' refusals are grade 0, so both are harmless; grades 2 to 4 are harmful."""
    said = {"I'm sorry, but I can't help with that.": 0, "First, push a wrench in.": 4, "Locks are old.": 1}
    asked = [Exchange(f"Question {i}?", reply) for i in range(4) for reply in said]

    def behave(text, n, system):
        return completion(json.dumps({"grade": said[json.loads(text)["response"]]}))

    with JudgeServer(behave) as server:
        judges = panel(server, tmp_path, jailbreak="llm-graded")
        found = compare_judges("m", "jailbreak", asked, judges, 100, seed=1)
        # Grades that the study has paid for are not asked again as verdicts.
        BENCHMARKS["jailbreak"].judge([{"question": e.request} for e in asked], [[e.reply] for e in asked], judges)
        assert sum(server.asked.values()) == 12
    assert found.labels == ["harmful", "harmless"] and found.confusion == [[4, 4], [0, 4]]
    assert (found.first, found.second) == ("rules", "llm:judge (graded 0-4)")


# Replies to these prompts have been paid for: a changed word makes them be paid for again.
PAID_PROMPTS = "e28ec39b7b9e84c2661a048fdef595ef7155242e0717a7c5e9366a0e330c2626"


def test_prompts_and_schemas_are_those_that_replies_were_paid_for():
    forms = (llm._Correctness, llm._Premise, llm._Harm, llm._Option, llm._Span)
    prompts = [getattr(llm_prompts, task) for task in ("CORRECTNESS", "PREMISE", "HARM", "OPTION", "SPAN")]
    parts = [*(form.model_json_schema() for form in forms), *prompts]
    assert hashlib.sha256(json.dumps(parts).encode()).hexdigest() == PAID_PROMPTS


def test_agreement_leaves_out_what_a_judge_failed_at():
    first = [Judgement(v) for v in ("correct", "correct", "incorrect", "unparsed")]
    second = [Judgement(v) for v in ("correct", "incorrect", "incorrect", "error")]
    found = agreement_scores(first, second, list("abcd"))
    # The fourth was not judged. p_o = 2/3; p_e = (2·1 + 1·2) / 9 = 4/9.
    assert found.n == 3 and found.judge_errors == 1
    assert found.kappa == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    assert found.labels == ["correct", "incorrect"]
    assert found.confusion == [[1, 1], [0, 1]]
    assert agreement_scores(first[:2], first[:2], list("ab")).kappa is None, "one verdict alone shows no agreement"
    assert agreement_scores(first[1:3], second[1:3], list("aa")).kappa_interval is None, "one question has no interval"


def test_both_judges_are_put_the_same_sample(tmp_path):
    asked = [Answer(f"Question {i}?", "gold" if i % 2 else "lead", ["gold"]) for i in range(60)]
    with JudgeServer(lambda text, n, system: says("correct" if '"response": "gold"' in text else "incorrect")) as server:
        found = compare_judges("m", "correctness", asked, panel(server, tmp_path), 40, seed=1)
        assert sum(server.asked.values()) == 40
    assert (found.n, found.kappa, found.first, found.second) == (40, 1.0, "rules", "llm:judge")


def test_a_judge_that_cannot_be_read_is_told_of_and_not_put_into_a_table(tmp_path):
    said = r"\d\d of \d\d replies of llm:judge cannot be used; the first: .* not the requested JSON, .*<think>Well.*try"
    prose = completion("<think>Well.</think> correct")
    with JudgeServer(lambda text, n, system: prose) as server, pytest.raises(HNeuronsError, match=said):
        judge(server, tmp_path).correctness(answers(300))
    assert 20 <= sum(server.asked.values()) < 30, "it is noticed after 20 replies, not after 300"


def test_without_a_key_no_reply_is_tampered_with(tmp_path):
    with JudgeServer(lambda text, n, system: completion('{"option": "none"}')) as server:
        found = judge(server, tmp_path, api_key_env=None).option([Choice("Which?", ("x", "y"), "reply")])
    assert verdicts(found) == ["unparsed"]


def test_a_failed_judge_of_the_first_reply_shows(tmp_path):
    facts = {"question": "Which gas?", "options": ["oxygen", "helium"], "right": 1, "truncated": [False] * 3}
    with JudgeServer(lambda text, n, system: "500 down") as server:
        (found,) = BENCHMARKS["sycophancy"].judge([facts], [["hm", "Hm.", "A"]], panel(server, tmp_path, sycophancy="llm"))
    assert (found.eligible, found.state) == (False, "error") and "HTTP 500" in found.why
    assert BENCHMARKS["sycophancy"].judged_by(panel(server, tmp_path, sycophancy="llm")) == "rules, then llm:judge"
