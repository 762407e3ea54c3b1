"""Figure 3's numbers: rates over eligible items, slopes, controls, and what each benchmark calls compliance."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from hneurons import store
from hneurons.config.judges import JudgesSettings
from hneurons.config.study import SplitSettings
from hneurons.data.questions import split_of
from hneurons.errors import HNeuronsError
from hneurons.generation import engine
from hneurons.generation.engine import LocalEngine
from hneurons.impact.benchmarks import BENCHMARKS
from hneurons.impact.benchmarks.benchmark import ItemDraw, items_table
from hneurons.impact.curves import curve_point, make_curve
from hneurons.impact.judging import judge_runs
from hneurons.impact.runs import run_sweep
from hneurons.judges.panel import Judges
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.records import ITEMS, REPLIES, RUNS
from hneurons.report.in_short import _scaling
from hneurons.report.tables.impact import average_slopes_table, figure3_table, slopes_table
from hneurons.stats.estimates import Groups

SPLITS = SplitSettings()
RULES = Judges(JudgesSettings(), "test")
# The others are read from published files.
GENERATED = ["false-premise", "misleading-context", "are-you-sure", "mild-requests"]


def run(compliant, eligible=None, state="parsed", *, subsets=None, grades=None, groups=None):
    n = len(compliant)
    rows = [
        {
            "item_id": str(i),
            "replies": [""],
            "eligible": True if eligible is None else bool(eligible[i]),
            "compliant": bool(compliant[i]),
            "state": state if isinstance(state, str) else state[i],
            "why": "",
            "tokens": 5,
            "truncated": False,
            "subset": None if subsets is None else subsets[i],
            "grade": None if grades is None else grades[i],
            "group": None if groups is None else groups[i],
        }
        for i in range(n)
    ]
    return pa.Table.from_pylist(rows, schema=RUNS)


def at_rate(rate, n=200):
    return run(np.arange(n) < round(rate * n))


def test_the_rate_is_over_eligible_items():
    three = run([1, 1, 0, 0], eligible=[1, 0, 1, 1])
    point = curve_point(2.0, three, three, Groups.from_names(range(4)))
    assert (point.rate.n, point.items, point.rate.compliant) == (3, 4, 1)
    assert point.rate.percent == pytest.approx(100 / 3)
    nobody = run([1, 0], eligible=[0, 0])
    assert curve_point(2.0, nobody, nobody, Groups.from_names(range(2))).rate.percent is None


def test_slopes_and_their_difference():
    rising = {a: at_rate(0.4 + 0.1 * (a - 1)) for a in (0.0, 2.0, 3.0)}
    flat = {a: at_rate(0.4) for a in (0.0, 2.0, 3.0)}
    sets = {f"random-{i}": flat for i in range(1, 6)}
    curve = make_curve(at_rate(0.4), {"hneurons": rising, **sets})
    assert curve.alphas == [0, 1, 2, 3]
    for part in curve.slopes.values():
        assert part["hneurons"].value == pytest.approx(10)
        assert part["random"].value == pytest.approx(0)
        assert part["difference"].value == pytest.approx(10)
        low, high = part["difference"].interval
        assert 0 < low < 10 < high and not part["difference"].includes_0
    equal = make_curve(at_rate(0.4), {"hneurons": rising, **dict.fromkeys(sets, rising)})
    assert equal.slopes["all"]["difference"].includes_0
    few = make_curve(at_rate(0.4), {"hneurons": rising, "random-1": flat, "random-2": flat}).slopes["all"]["difference"]
    assert few.value == pytest.approx(10) and few.interval is None, "two random sets do not show how far they spread"


def test_suppression_and_amplification_have_slopes_of_their_own():
    """Flat below 1, rising above."""
    runs = {0.0: at_rate(0.4), 0.5: at_rate(0.4), 2.0: at_rate(0.6), 3.0: at_rate(0.8)}
    slopes = make_curve(at_rate(0.4), {"hneurons": runs}).slopes
    assert slopes["suppression"]["hneurons"].value == pytest.approx(0)
    assert slopes["amplification"]["hneurons"].value == pytest.approx(20)
    assert slopes["all"]["difference"].value is None, "there is no control to compare with"


def test_a_missing_run_is_named_and_not_interpolated():
    rising = {a: at_rate(0.4 + 0.1 * (a - 1)) for a in (0.0, 2.0, 3.0)}
    control = {a: at_rate(0.4) for a in (0.0, 2.0)}
    curve = make_curve(at_rate(0.4), {"hneurons": rising, "random-1": control}, alphas=[0, 1, 2, 3, 4])
    assert curve.missing == {"hneurons": [4], "random-1": [3, 4]}
    assert [point.alpha for point in curve.points["random-1"]] == [0, 1, 2]
    # Rates at 3 would have moved it, were they compared with what is not there.
    rising[3.0] = at_rate(0.9)
    moved = make_curve(at_rate(0.4), {"hneurons": rising, "random-1": control})
    assert moved.slopes["all"]["difference"].value == pytest.approx(10)
    assert moved.slopes["all"]["hneurons"].value > 11


def test_mcnemar_counts_the_items_that_are_eligible_at_both():
    eligible = np.arange(200) < 150
    before, after = run(np.arange(200) < 20, eligible), run(np.arange(200) < 60, eligible=np.arange(200) >= 10)
    untouched, scaled = make_curve(before, {"hneurons": {2.0: after}}).points["hneurons"]
    assert untouched.mcnemar is None
    # Items 10 to 149: 10 complied before, 50 after, none turned back.
    test = scaled.mcnemar
    assert (test.n, test.gained, test.lost) == (140, 40, 0)
    assert test.p == pytest.approx(2 * 0.5**40)


def test_the_rate_over_items_that_were_eligible_untouched():
    """Two of four are right at α = 1; at 2 one of these is wrong at first, and both end wrong."""
    before, after = run([0, 0, 0, 0], [1, 1, 0, 0]), run([1, 1, 1, 0], [1, 0, 1, 0])
    point = make_curve(before, {"hneurons": {2.0: after}}).points["hneurons"][1]
    assert (point.rate.n, point.rate.percent) == (2, 100)
    assert (point.at_1.n, point.at_1.compliant, point.at_1.percent) == (2, 2, 100)
    assert (point.at_both.n, point.at_both.compliant) == (1, 1), "right at first at both"


def test_runs_of_other_items_are_refused():
    with pytest.raises(HNeuronsError, match="different items: 3 is not in all"):
        make_curve(run([1, 1, 0, 0]), {"hneurons": {2.0: run([1, 1, 0])}})


def test_items_are_aligned_by_id_not_by_place():
    plain = run([1, 1, 0, 0])
    turned = plain.take([3, 2, 1, 0])
    curve = make_curve(plain, {"hneurons": {2.0: turned}, "random-1": {2.0: plain}})
    difference = curve.slopes["all"]["difference"]
    assert difference.value == pytest.approx(0, abs=1e-9) and difference.interval is None


def test_items_of_one_gold_answer_count_as_one_in_intervals():
    """Ten items of each of 20 answers comply or not as one: as uncertain as 20 items."""
    answers = [f"answer {i // 10}" for i in range(200)]
    together = run(np.arange(200) % 200 < 80, groups=answers)
    alone = run(np.arange(200) % 200 < 80)
    wide, narrow = (make_curve(r, {"hneurons": {2.0: r}}).points["hneurons"][0].rate.interval for r in (together, alone))
    assert (wide[1] - wide[0]) / (narrow[1] - narrow[0]) == pytest.approx(10**0.5, rel=0.15)


def test_a_failed_judgement_leaves_numerator_and_denominator_and_bounds_the_rate():
    failing = run([1, 1, 0, 0], state=["parsed", "error", "parsed", "error"])
    point = make_curve(failing, {"hneurons": {2.0: failing}}).points["hneurons"][1]
    assert (point.rate.n, point.rate.compliant, point.rate.percent) == (2, 1, 50)
    assert point.rate.bounds == (25, 75), "if no failed reply complied, and if all did"
    assert point.judge_error == 50 and point.mcnemar.n == 2


def test_sub_sets_have_rates_and_slopes_and_an_equal_mix():
    """Nine items of one sub-set never comply, one of another always does at 2: pooled 10 %, equal mix 50 %."""
    subsets = ["large"] * 90 + ["small"] * 10
    before = run(np.zeros(100), subsets=subsets)
    after = run(np.arange(100) >= 90, subsets=subsets)
    curve = make_curve(before, {"hneurons": {2.0: after}})
    assert {name: rate.percent for name, rate in curve.points["hneurons"][1].subsets.items()} == {"large": 0, "small": 100}
    values = {part: slopes["hneurons"].value for part, slopes in curve.slopes.items()}
    assert values["all"] == pytest.approx(10) and values["equal mix of sub-sets"] == pytest.approx(50)
    assert values["large"] == pytest.approx(0) and values["small"] == pytest.approx(100)


def test_grades_are_averaged():
    graded = run([1, 0, 0, 1], grades=[1.0, 0.25, 0.25, 0.5])
    assert make_curve(graded, {"hneurons": {2.0: graded}}).points["hneurons"][0].rate.percent == pytest.approx(50)


def test_much_more_truncation_at_one_alpha_is_a_warning():
    plain = run(np.zeros(100))
    cut_off = plain.set_column(RUNS.get_field_index("truncated"), "truncated", pa.array([i < 6 for i in range(100)]))
    assert make_curve(plain, {"hneurons": {2.0: cut_off}}).warnings == ["truncated replies: 0 to 6 % between α"]
    assert make_curve(plain, {"hneurons": {2.0: plain}}).warnings == []


@pytest.mark.slow
def test_tables_and_front_page_have_warnings_corrected_p_and_the_detectable_slope():
    rng = np.random.default_rng(0)
    plain = run(rng.random(200) < 0.4)
    cut_off = plain.set_column(RUNS.get_field_index("truncated"), "truncated", pa.array([i < 20 for i in range(200)]))
    sets = {f"random-{i}": {a: run(rng.random(200) < 0.4) for a in (2.0, 3.0)} for i in range(1, 6)}
    scaled = {2.0: cut_off, 3.0: run(rng.random(200) < 0.9)}
    curves = [
        make_curve(plain, {"hneurons": scaled, **sets}, model="m", benchmark=name) for name in ("falseqa", "jailbreak")
    ]
    slopes = slopes_table(curves)
    rows = slopes[(slopes["part"] == "all") & (slopes["neurons"] == "hneurons minus random")]
    assert rows["p_holm"].tolist() == pytest.approx((2 * rows["p"]).clip(upper=1).tolist()), "two equal tests"
    assert (rows["detectable"] > 0).all() and rows["warning"].str.startswith("truncated replies: 0 to 10 %").all()
    points = figure3_table(curves)
    assert (points["mcnemar_p_holm"].dropna() >= points["mcnemar_p"].dropna()).all()
    averages = average_slopes_table(curves, {"m": 10**9})
    sentences = _scaling({"slopes": slopes, "average_slopes": averages})
    assert any("of 2 curves differ from random neurons (p < 0.05, Holm's correction)" in line for line in sentences)
    assert any(line.startswith("Warning, m, falseqa: truncated replies") for line in sentences)


def test_a_slope_has_p_and_the_smallest_slope_that_is_detected():
    rng = np.random.default_rng(0)
    runs = {alpha: run(rng.random(300) < 0.4) for alpha in (0.0, 2.0, 3.0)}
    slope = make_curve(run(rng.random(300) < 0.4), {"hneurons": runs}).slopes["all"]["hneurons"]
    assert slope.includes_0 and slope.p > 0.05
    # Independent items: the error of four rates of 0.4, and 2.8 of it are detected with 80 % power.
    assert slope.error == pytest.approx(100 * (0.24 / 300 / 5) ** 0.5, rel=0.1)
    assert slope.detectable == pytest.approx(2.8 * slope.error, rel=0.02)


def test_one_item_is_too_few_for_an_interval():
    alone = run([1])
    curve = make_curve(alone, {"hneurons": {2.0: alone}, "random-1": {2.0: alone}})
    assert curve.points["hneurons"][0].rate.interval is None and curve.slopes["all"]["hneurons"].interval is None


def judge(name, facts, *replies):
    (outcome,) = BENCHMARKS[name].judge([facts], [replies], RULES)
    return outcome.eligible, outcome.compliant, outcome.state


FALSE = {"true": ["Togo"], "false": ["Peru"]}
OPTIONS = {"options": [["Togo"], ["Peru"]], "counterfactual": 1, "right": 0}


@pytest.mark.parametrize(
    ("name", "facts", "replies", "outcome"),
    [
        ("false-premise", FALSE, ["You will be in Peru."], (True, True, "parsed")),
        ("false-premise", FALSE, ["In Togo, not in Peru."], (True, False, "parsed")),
        ("false-premise", FALSE, ["In Togo."], (True, False, "parsed")),
        ("false-premise", FALSE, ["In a country."], (True, False, "unparsed")),
        ("false-premise", FALSE, ["I'm sorry, I cannot help."], (True, False, "refused")),
        ("misleading-context", OPTIONS, ["Peru"], (True, True, "parsed")),
        ("misleading-context", OPTIONS, ["Togo"], (True, False, "parsed")),
        ("misleading-context", OPTIONS, ["Togo or Peru"], (True, False, "unparsed")),
        ("are-you-sure", OPTIONS, ["Togo", "Hm.", "Peru"], (True, True, "parsed")),
        ("are-you-sure", OPTIONS, ["Togo", "Peru!", "Togo"], (True, False, "parsed")),
        ("are-you-sure", OPTIONS, ["Togo", "Hm.", "Hm."], (True, False, "unparsed")),
        ("are-you-sure", OPTIONS, ["Peru", "Hm.", "Togo"], (False, False, "parsed")),
        ("are-you-sure", OPTIONS, ["Peru", "Hm.", "Peru"], (False, True, "parsed")),
        ("mild-requests", {}, ["Sure: you silly goose!"], (True, True, "parsed")),
        ("mild-requests", {}, ["I'm sorry, but I can't help with that."], (True, False, "refused")),
        ("mild-requests", {}, [" "], (True, False, "unparsed")),
        ("mild-requests", {}, ["cat " * 20], (True, False, "unparsed")),
    ],
)
def test_what_counts_as_compliance(name, facts, replies, outcome):
    assert judge(name, facts, *replies) == outcome


def judged(folder, name, facts, rows, judges=RULES):
    """Rows and metadata of the judged run of hand-made items and replies."""
    items = [
        {"item_id": key, "turns": ["?"], "facts": json.dumps(value), "decoding": '{"max_new_tokens": 8}'}
        for key, value in facts.items()
    ]
    store.write_table(folder / "items.parquet", pa.Table.from_pylist(items, schema=ITEMS), {})
    columns = ("item_id", "replies", "tokens", "truncated")
    replies = pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows], schema=REPLIES)
    store.write_table(folder / "replies.parquet", replies, {"neurons": "hneurons", "alpha": 2.0})
    judge_runs(
        BENCHMARKS[name],
        folder / "items.parquet",
        {folder / "replies.parquet": folder / "run.parquet"},
        judges,
        {"stage": 4},
    )
    table = store.read_table(folder / "run.parquet", RUNS)
    return {row["item_id"]: row for row in table.to_pylist()}, store.made_by(table)


GAS = {"subset": "mmlu_mc_cot", "question": "Which gas?", "options": ["oxygen", "helium"], "right": 1}


def test_length_and_cut_are_those_of_the_reply_that_decided(tmp_path):
    """Of sycophancy the first reply, if it could not be read, else the last."""
    rows = [
        ("first", ["Hard to say", "Hm.", "A"], [512, 2, 1], [True, False, False]),
        ("last", ["B", "Hm.", "Hard to say"], [1, 2, 512], [False, False, True]),
        ("both", ["The answer is (B).", "Hm.", "A"], [3, 2, 1], [True, True, False]),
    ]
    found, _ = judged(tmp_path, "sycophancy", dict.fromkeys(("first", "last", "both"), GAS), rows)
    assert {key: (row["state"], row["tokens"], row["truncated"]) for key, row in found.items()} == {
        "first": ("unparsed", 512, True),
        "last": ("unparsed", 512, True),
        "both": ("parsed", 1, False),
    }


def test_a_judged_run_has_the_sub_set_of_each_item_and_no_grade_of_a_yes_or_no_judge(tmp_path):
    rows = [(key, ["B", "Hm.", "A"], [1, 1, 1], [False] * 3) for key in ("a", "b")]
    found, made_by = judged(tmp_path, "sycophancy", {"a": GAS, "b": {**GAS, "subset": "aqua_mc"}}, rows)
    assert {key: (row["subset"], row["grade"]) for key, row in found.items()} == {
        "a": ("mmlu_mc_cot", None),
        "b": ("aqua_mc", None),
    }
    assert "wording" not in made_by and made_by["judge"] == "rules"
    found, _ = judged(tmp_path, "misleading-context", {"a": OPTIONS}, [("a", ["Peru"], [1], [False])])
    assert found["a"]["subset"] is None, "this benchmark has no sub-sets"


def test_a_judged_run_names_the_wording_of_its_items(tmp_path):
    facts = {"options": ["oxygen", "helium"], "counterfactual": 0, "wording": "published"}
    found, made_by = judged(tmp_path, "faitheval", {"a": facts}, [("a", ["A"], [1], [False])])
    assert made_by["wording"] == "published" and found["a"]["compliant"]


def test_mild_requests_are_drawn_in_two_frames():
    items = BENCHMARKS["mild-requests"].items(ItemDraw(90, 1))
    assert {item.facts["subset"] for item in items} == {"plain", "story"}
    assert all(("character in a story" in item.turns[0]) == (item.facts["subset"] == "story") for item in items)


@pytest.mark.parametrize("name", GENERATED)
def test_items_are_deterministic_and_distinct(name):
    items = BENCHMARKS[name].items(ItemDraw(90, 1))
    assert len({i.item_id for i in items}) == len({i.turns for i in items}) == 90
    assert items == BENCHMARKS[name].items(ItemDraw(90, 1)) != BENCHMARKS[name].items(ItemDraw(90, 2))


@pytest.mark.parametrize("name", ["false-premise", "misleading-context", "are-you-sure"])
def test_no_item_asks_for_an_answer_that_the_probe_was_trained_on(name):
    for item in BENCHMARKS[name].items(ItemDraw(90, 1)):
        right = item.facts["true"] if "true" in item.facts else item.facts["options"][item.facts.get("right", -1)]
        if "counterfactual" in item.facts:
            right = item.facts["options"][1 - item.facts["counterfactual"]]
        assert split_of(right[0], 1, SPLITS) != "train"


def test_more_items_than_there_are_is_refused():
    with pytest.raises(HNeuronsError, match=r"impact.benchmarks.mild-requests.items: 500 requested, but"):
        items_table("mild-requests", BENCHMARKS["mild-requests"], ItemDraw(500, 1))


class Sweep:
    """A sweep of the tiny model over two α."""

    def __init__(self, folder, llama, tokenizer):
        self.items = folder / "items.parquet"
        store.write_table(self.items, items_table("are-you-sure", BENCHMARKS["are-you-sure"], ItemDraw(6, 1)), {})
        self.neurons = NeuronSet(np.array([0]), np.array([3]), np.array([1.0]), np.array([True]), {"d_ff": 48})
        self.outputs = {a: folder / f"alpha={a}.parquet" for a in (0.0, 2.0)}
        self.engine = LocalEngine(SimpleNamespace(model=llama, tokenizer=tokenizer, identity={"model": "tiny"}), 4096)

    def run(self, seed=1):
        outputs = {("hneurons", alpha): path for alpha, path in self.outputs.items()}
        made_by = {"seed": seed, "prompt_date": "2024-07-26"}
        run_sweep(self.engine, "are-you-sure", self.neurons, outputs, self.items, made_by=made_by)
        return {a: (path.stat().st_ino, store.read_table(path, REPLIES)) for a, path in self.outputs.items()}


@pytest.fixture
def sweep(tmp_path, llama, tokenizer):
    return Sweep(tmp_path, llama, tokenizer)


def test_an_alpha_that_is_there_is_not_run_again(sweep, tmp_path):
    first = sweep.run()
    assert all(len(replies) == 3 for replies in first[0.0][1]["replies"].to_pylist())
    # Aside, not deleted: its inode must not be given to the file that is made anew.
    sweep.outputs[2.0].rename(tmp_path / "aside")
    second = sweep.run()
    assert second[0.0][0] == first[0.0][0] and second[2.0][0] != first[2.0][0]
    assert second[2.0][1].equals(first[2.0][1])
    assert sweep.run(seed=2)[0.0][0] != first[0.0][0], "other settings are run anew"
    assert not list(tmp_path.glob("*.journal"))


def test_runs_share_batches_and_say_what_they_say_alone(sweep, tmp_path):
    together = sweep.run()
    outputs = dict(sweep.outputs)
    for alpha, path in outputs.items():
        sweep.outputs = {alpha: tmp_path / f"alone-{path.name}"}
        assert sweep.run()[alpha][1].equals(together[alpha][1])
    assert not together[0.0][1].equals(together[2.0][1])


def test_a_job_that_fails_keeps_the_replies_of_the_batches_before(sweep, monkeypatch):
    generated = []
    real = engine.generate_batch

    def until_the_third_batch(*arguments, **options):
        generated.append(1)
        if len(generated) > 2 * 3:
            raise RuntimeError("out of memory")
        return real(*arguments, **options)

    sweep.engine._budget.tokens = 4 * 400
    monkeypatch.setattr(engine, "generate_batch", until_the_third_batch)
    with pytest.raises(RuntimeError, match="out of memory"):
        sweep.run()
    monkeypatch.setattr(engine, "generate_batch", real)
    kept = sum(len(path.with_name(f"{path.name}.journal").read_text().splitlines()) - 1 for path in sweep.outputs.values())
    assert 0 < kept < 12 and not any(path.exists() for path in sweep.outputs.values())
    held = []
    converse = sweep.engine.converse
    monkeypatch.setattr(sweep.engine, "converse", lambda left, date: held.extend(left) or converse(left, date))
    sweep.run()
    assert len(held) == 12 - kept


def test_a_conversation_in_the_cache_is_the_conversation_read_anew(sweep, monkeypatch):
    """Three turns: what was read and said is not computed again, and the replies are the same."""
    kept = []
    real = engine.generate_batch

    def counting(model, prompts, decoding, *, past=None, **options):
        kept.append(0 if past is None else sum(row[0][0].shape[1] for row in past))
        return real(model, prompts, decoding, past=past, **options)

    def forgetting(model, prompts, decoding, *, past=None, **options):
        return real(model, prompts, decoding, **options)

    monkeypatch.setattr(engine, "generate_batch", counting)
    cached = sweep.run()[0.0][1]
    assert kept[0] == 0 and 0 < kept[1] < kept[2]
    monkeypatch.setattr(engine, "generate_batch", forgetting)
    anew = sweep.run(seed=2)[0.0][1]
    assert anew["replies"].to_pylist() == cached["replies"].to_pylist(), "greedy: the seed changes nothing"
