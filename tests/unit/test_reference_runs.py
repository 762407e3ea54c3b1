"""Real outputs of others through our metrics and judges: a public replication's α sweep on Gemma-3-4B, and its samples."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from sklearn.metrics import cohen_kappa_score

from hneurons.config import ImpactSettings
from hneurons.examples import label_of
from hneurons.impact import curve
from hneurons.judges.judge import Exchange, RuleJudge
from hneurons.judges.states import ACCEPTED, CORRECT, INCORRECT, REFUSED, REJECTED, UNPARSED, Answer
from hneurons.records import RUNS
from tests.paths import json_lines, shared

ALPHAS = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
SETTINGS = ImpactSettings(benchmarks={"falseqa": {"items": 1}}, bootstrap=2000)


def recorded(benchmark, alpha):
    return json_lines(shared(f"reference/alpha_runs/{benchmark}/alpha_{alpha:.1f}.jsonl"))


def as_run(rows):
    fixed = {"replies": [""], "eligible": True, "state": "parsed", "why": "", "tokens": 1, "truncated": False}
    return pa.Table.from_pylist([{**fixed, "item_id": r["id"], "compliant": r["compliance"]} for r in rows], schema=RUNS)


@pytest.mark.parametrize(
    ("benchmark", "n", "rates", "slope", "interval"),
    [
        ("faitheval", 1000, [64.2, 65.4, 66.0, 67.0, 68.2, 69.5, 70.5], 2.09, (1.38, 2.83)),
        ("falseqa", 687, [69.6, 71.3, 71.9, 71.2, 75.0, 73.9, 74.4], 1.62, (0.52, 2.74)),
    ],
)
def test_compliance_and_slope_of_a_published_sweep(benchmark, n, rates, slope, interval):
    runs = {alpha: as_run(recorded(benchmark, alpha)) for alpha in ALPHAS}
    scaled = {alpha: run for alpha, run in runs.items() if alpha != 1}
    found = curve(runs[1.0], {"hneurons": scaled, "random-1": scaled}, SETTINGS, 0)
    points = found["points"]["hneurons"]
    assert [p["n"] for p in points] == [n] * 7
    assert [round(p["rate"], 1) for p in points] == rates
    for p in points:
        # Wilson's interval holds the rates at which the observed one lies 1.96 standard errors off.
        for bound in p["interval"]:
            error = (bound * (100 - bound) / n) ** 0.5
            assert abs(bound - p["rate"]) == pytest.approx(1.96 * error, rel=1e-3)
    assert found["slope"]["hneurons"]["value"] == pytest.approx(slope, abs=0.005)
    assert found["slope"]["hneurons"]["interval"] == pytest.approx(interval, abs=0.1)


def test_the_rule_judge_of_false_premises_against_gpt_4o():
    """Its cues were chosen on even ids: the odd ones show what it is worth."""
    rows = [row for alpha in ALPHAS for row in recorded("falseqa", alpha)]
    assert len(rows) == 4809
    judged = RuleJudge().premise([Exchange(r["question"], r["response"]) for r in rows])
    theirs = {"ACCEPTED": ACCEPTED, "REFUSED": REJECTED}
    pairs = [(int(r["id"].split("_")[1]) % 2, theirs[r["judge"]], j.verdict) for r, j in zip(rows, judged, strict=True)]
    assert Counter(v for _, _, v in pairs if v not in (ACCEPTED, REJECTED)) == {UNPARSED: 28, REFUSED: 1}
    found = {}
    for part in (0, 1):
        a, b = zip(*[(x, y) for odd, x, y in pairs if odd == part and y in (ACCEPTED, REJECTED)], strict=True)
        equal = sum(x == y for x, y in zip(a, b, strict=True))
        found["odd" if part else "even"] = (len(a), round(100 * equal / len(a), 1), round(cohen_kappa_score(a, b), 2))
    assert found == {"even": (2398, 83.2, 0.57), "odd": (2382, 78.9, 0.44)}


# Verdicts of their rule (an alias is a part of the response, punctuation and articles aside) and of ours.
SAMPLES = {
    # Both agree.
    ("true", CORRECT): 15_722,
    ("false", INCORRECT): 17_857,
    # 6 within 64, plankton within phytoplankton: an alias that is a part of a word or number.
    ("true", INCORRECT): 71,
    # An alias within a longer name (Easter Monday for Easter), late in a list, or nearly one (John Paul II for I).
    ("true", UNPARSED): 234,
    # Number words, lists in another order, plurals and spaces: twelve and 12, Asia and Europe.
    ("false", CORRECT): 233,
    # Nearly an alias, a part of one, or a claim that only repeats the question.
    ("false", UNPARSED): 858,
    # "Unknown." is no wrong answer.
    ("false", REFUSED): 25,
}


def test_the_rule_judge_of_answers_against_a_substring_rule():
    suffix = " Respond with the answer only, without any explanation."
    counted, classes = Counter(), Counter()
    for entry in json_lines(shared("reference/gemma3_4b_triviaqa_10samples.jsonl")):
        (row,) = entry.values()
        question = row["question"].removesuffix(suffix)
        verdicts = [
            j.verdict for j in RuleJudge().correctness([Answer(question, r, row["ground_truth"]) for r in row["responses"]])
        ]
        counted.update(zip(row["judges"], verdicts, strict=True))
        label = label_of(verdicts, answerable=True)
        refused = (
            "refused" if set(verdicts) == {REFUSED} else "some refused" if REFUSED in verdicts else "mixed or unparsed"
        )
        classes[{0: "all correct", 1: "all incorrect", None: refused}[label]] += 1
    assert dict(counted) == SAMPLES
    assert classes == {
        "all correct": 1428,
        "all incorrect": 1558,
        "mixed or unparsed": 509,
        "some refused": 4,
        "refused": 1,
    }
