"""Real outputs of others through our metrics and judges: a public replication's α sweep on Gemma-3-4B, and its samples."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner

from hneurons import store
from hneurons.cli import app
from hneurons.errors import HNeuronsError
from hneurons.impact.imported import import_runs
from hneurons.impact.run_files import read_curves
from hneurons.judges.judge import Exchange
from hneurons.judges.rule_judge import RuleJudge
from hneurons.judges.states import ACCEPTED, CORRECT, INCORRECT, REFUSED, REJECTED, UNPARSED, Answer
from hneurons.judges.verdicts import consistent_label
from hneurons.records import RUNS
from hneurons.stats.estimates import wilson
from tests.paths import json_lines, shared

pytestmark = pytest.mark.slow

ALPHAS = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


def recorded(benchmark, alpha):
    return json_lines(shared(f"reference/alpha_runs/{benchmark}/alpha_{alpha:.1f}.jsonl"))


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Both sweeps, taken and drawn by the command line as its users would."""
    folder = tmp_path_factory.mktemp("imported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for benchmark, judge in (("faitheval", "option parser"), ("falseqa", "GPT-4o")):
            files = [str(shared(f"reference/alpha_runs/{benchmark}/alpha_{alpha:.1f}.jsonl")) for alpha in ALPHAS]
            options = ["--model", "gemma-3-4b-it", "--benchmark", benchmark, "--judge", judge]
            done = CliRunner().invoke(app, ["import-runs", *files, *options])
            assert done.exit_code == 0, done.output
            assert len(done.stdout.split()) == 7
        assert "already exists; delete it" in CliRunner().invoke(app, ["import-runs", *files, *options]).output
        done = CliRunner().invoke(app, ["figure3", "results/imported"])
        assert done.exit_code == 0, done.output
    return folder / "results/imported"


@pytest.mark.parametrize(
    ("benchmark", "n", "rates", "slope", "interval"),
    [
        ("faitheval", 1000, [64.2, 65.4, 66.0, 67.0, 68.2, 69.5, 70.5], 2.09, (1.38, 2.83)),
        ("falseqa", 687, [69.6, 71.3, 71.9, 71.2, 75.0, 73.9, 74.4], 1.62, (0.52, 2.74)),
    ],
)
def test_compliance_and_slope_of_a_published_sweep(imported, benchmark, n, rates, slope, interval):
    points = pd.read_csv(imported / "tables/figure3.csv").query("benchmark == @benchmark")
    assert points["alpha"].tolist() == ALPHAS and points["n"].tolist() == [n] * 7
    assert [round(rate, 1) for rate in points["rate"]] == rates
    for p in points.to_dict("records"):
        # Items are independent: nearly Wilson's interval.
        assert (p["low"], p["high"]) == pytest.approx([100 * end for end in wilson(p["compliant"], n)], abs=0.05)
    slopes = pd.read_csv(imported / "tables/slopes.csv").query("benchmark == @benchmark and part == 'all'")
    found = slopes.set_index("neurons").loc["hneurons"]
    assert found["slope"] == pytest.approx(slope, abs=0.005)
    assert (found["low"], found["high"]) == pytest.approx(interval, abs=0.1)
    # Nobody ran a control: none is made up.
    assert pd.isna(slopes.set_index("neurons").loc["hneurons minus random", "slope"])
    assert points["truncated"].isna().all() and points["tokens"].isna().all()


def test_the_published_sweep_is_drawn(imported):
    for ending in ("png", "svg"):
        assert (imported / f"figures/figure3.{ending}").stat().st_size > 10_000


def test_a_sweep_without_its_untouched_run_has_no_curve(imported, tmp_path):
    shutil.copytree(imported, tmp_path / "some")
    (tmp_path / "some/gemma-3-4b-it/impact/falseqa/untouched/alpha=1.parquet").unlink()
    (tmp_path / "some/gemma-3-4b-it/impact/faitheval/hneurons/alpha=2.parquet").unlink()
    curves, notes = read_curves(tmp_path / "some")
    assert [curve.benchmark for curve in curves] == ["faitheval"] and "falseqa" in notes[0] and "is missing" in notes[0]
    assert [point.alpha for point in curves[0].points["hneurons"]] == [0, 0.5, 1, 1.5, 2.5, 3]


def test_a_sweep_that_version_0_1_imported_has_the_same_curve(imported, tmp_path):
    shutil.copytree(imported, tmp_path / "old")
    path = tmp_path / "old/gemma-3-4b-it/impact/falseqa/untouched/alpha=1.parquet"
    store.write_table(path, store.read_table(path), {**store.made_by(path), "neurons": "hneurons"})
    assert read_curves(tmp_path / "old") == read_curves(imported)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "a", "alpha": -1, "compliance": true}', "line 1: field 'alpha'"),
        ('{"id": "a", "compliance": true}', "line 1: field 'alpha': Field required"),
        ('{"id": "a", "alpha": 1, "compliance": true}\n{"id": "a", "alpha": 1, "compliance": true}', "a occurs twice"),
        (
            '{"id": "a", "alpha": 1, "compliance": true}\n{"id": "b", "alpha": 2, "compliance": null}',
            "alpha 2 and alpha 1 have different items: a and 1 more",
        ),
        ("not json", "line 1: no valid JSON"),
        ('{"id": "", "alpha": 1, "compliance": true}', "line 1: field 'id'"),
        ('{"id": "a", "alpha": 1234567, "compliance": true}', "line 1: alpha 1234567.0 cannot be a file name"),
        (
            '{"id": "a", "alpha": 0.3, "compliance": true}\n{"id": "a", "alpha": 0.30000000000000004, "compliance": true}',
            "line 2: a occurs twice at alpha 0.3",
        ),
        ("", "no rows in these files"),
    ],
)
def test_a_file_that_cannot_be_taken_is_named(tmp_path, line, said):
    (tmp_path / "runs.jsonl").write_text(line + "\n")
    with pytest.raises(HNeuronsError, match=said):
        import_runs([tmp_path / "runs.jsonl"], tmp_path / "results", "m", "falseqa", "hneurons", "nobody")
    assert not (tmp_path / "results").exists()


def lines(path, alphas, compliance=True, **more):
    rows = [{"id": i, "alpha": a, "compliance": compliance, **more} for a in alphas for i in ("a", "b")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [path]


def imported_as(tmp_path, neurons, alphas, **more):
    files = lines(tmp_path / f"{neurons}.jsonl", alphas, **more)
    return import_runs(files, tmp_path / "results", "m", "falseqa", neurons, "nobody")


def test_an_alpha_of_numpys_ranges_is_the_one_that_is_meant(tmp_path):
    paths = imported_as(tmp_path, "hneurons", [0.1 + 0.2, 1 + 2**-52])
    assert [path.name for path in paths] == ["alpha=0.3.parquet", "alpha=1.parquet"]
    assert paths[1].parent.name == "untouched" and store.made_by(paths[0])["alpha"] == 0.3


def test_sub_sets_and_grades_are_imported(tmp_path):
    (path,) = imported_as(tmp_path, "hneurons", [2], subset="history", grade=0.75)
    assert {(row["subset"], row["grade"]) for row in store.read_table(path, RUNS).to_pylist()} == {("history", 0.75)}
    (path,) = imported_as(tmp_path, "random-1", [2])
    assert {(row["subset"], row["grade"]) for row in store.read_table(path, RUNS).to_pylist()} == {(None, None)}
    with pytest.raises(HNeuronsError, match="line 1: field 'grade'"):
        imported_as(tmp_path, "random-2", [2], grade=3)


def test_a_control_shares_the_untouched_run_with_the_neurons_that_were_imported_before(tmp_path):
    untouched, scaled = imported_as(tmp_path, "hneurons", [1, 2])
    before = untouched.read_bytes()
    (control,) = imported_as(tmp_path, "random-1", [1, 2])
    assert control.parent.name == "random-1" and untouched.read_bytes() == before and scaled.exists()


@pytest.mark.parametrize("change", [{"compliance": False}, {"compliance": None}, {"eligible": False}, {"grade": 1.0}])
def test_a_control_with_another_untouched_run_is_refused_and_nothing_is_written(tmp_path, change):
    untouched, _ = imported_as(tmp_path, "hneurons", [1, 2])
    before = untouched.read_bytes()
    with pytest.raises(HNeuronsError, match=r"alpha=1.parquet already exists, with other items or outcomes at") as caught:
        imported_as(tmp_path, "random-1", [1, 2], **change)
    assert "\n" not in str(caught.value) and untouched.read_bytes() == before
    assert not (untouched.parent.parent / "random-1").exists()


def test_the_rule_judge_of_false_premises_against_gpt_4o():
    """Its cues were chosen on even ids: the odd ones show what it is worth."""
    rows = [row for alpha in ALPHAS for row in recorded("falseqa", alpha)]
    assert len(rows) == 4809
    judged = RuleJudge().premise([Exchange(r["question"], r["response"]) for r in rows])
    theirs = {"ACCEPTED": ACCEPTED, "REFUSED": REJECTED}
    pairs = [(int(r["id"].split("_")[1]) % 2, theirs[r["judge"]], j.verdict) for r, j in zip(rows, judged, strict=True)]
    assert Counter(v for _, _, v in pairs if v not in (ACCEPTED, REJECTED)) == {UNPARSED: 28, REFUSED: 2}
    found = {}
    for part in (0, 1):
        a, b = zip(*[(x, y) for odd, x, y in pairs if odd == part and y in (ACCEPTED, REJECTED)], strict=True)
        equal = sum(x == y for x, y in zip(a, b, strict=True))
        found["odd" if part else "even"] = (len(a), round(100 * equal / len(a), 1), round(cohen_kappa_score(a, b), 2))
    assert found == {"even": (2398, 83.2, 0.57), "odd": (2381, 78.9, 0.44)}


# Verdicts of their rule (an alias is a part of the response, punctuation and articles aside) and of ours.
SAMPLES = {
    # Both agree.
    ("true", CORRECT): 15_716,
    ("false", INCORRECT): 17_082,
    # 6 within 64, plankton within phytoplankton: an alias that is a part of a word or number.
    ("true", INCORRECT): 67,
    # An alias within a longer name (Easter Monday for Easter), late in a list, or nearly one (O+ for O).
    ("true", UNPARSED): 244,
    # Other forms, lists in another order, plurals and spaces: twelve and 12, one day and 24 hours.
    ("false", CORRECT): 273,
    # Nearly an alias (1963 for the 1960s), a part of one, the question again, or no short claim of the expected kind.
    ("false", UNPARSED): 1_597,
    # "Unknown." is no wrong answer.
    ("false", REFUSED): 21,
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
        label = consistent_label(verdicts, answerable=True)
        refused = (
            "refused" if set(verdicts) == {REFUSED} else "some refused" if REFUSED in verdicts else "mixed or unparsed"
        )
        classes[{0: "all correct", 1: "all incorrect", None: refused}[label]] += 1
    assert dict(counted) == SAMPLES
    # The rules decide few answers otherwise than the substring rule, and leave few undecided.
    decided = {pair: n for pair, n in SAMPLES.items() if pair[1] in (CORRECT, INCORRECT)}
    equal = SAMPLES["true", CORRECT] + SAMPLES["false", INCORRECT]
    assert sum(decided.values()) / 35_000 >= 0.946 and equal / sum(decided.values()) >= 0.989
    assert classes == {
        "all correct": 1432,
        "all incorrect": 1470,
        "mixed or unparsed": 594,
        "some refused": 3,
        "refused": 1,
    }
