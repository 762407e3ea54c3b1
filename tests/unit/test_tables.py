"""The paper's numbers in our tables: for its own models and data sets, and for no others."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from hneurons.config.models import load_models
from hneurons.config.paper import BEHAVIOURS, load_paper
from hneurons.detection.results import DatasetScores, MethodScore
from hneurons.errors import HNeuronsError
from hneurons.impact.curves import Curve
from hneurons.impact.rates import Slope
from hneurons.origin.drift import DriftReport, RankTest
from hneurons.report.figures.detection import table1_picture
from hneurons.report.tables.detection import not_beaten, table1, transfer_table
from hneurons.report.tables.impact import average_slopes_table
from hneurons.report.tables.origin import drift_table
from tests.paths import ROOT

PAPER = load_paper(ROOT / "config/paper.yaml")


LEAD = {"lead": 0.1, "lead_interval": (0.0, 0.2)}


def method(name, accuracy, **lead):
    return MethodScore(
        method=name,
        seeds=1,
        auroc_of_seeds=[0.8],
        n_hallucinated=50,
        n_faithful=50,
        accuracy=accuracy,
        accuracy_interval=(accuracy - 0.05, accuracy + 0.05),
        auroc=0.8,
        auroc_interval=(0.7, 0.9),
        **lead,
    )


def detection(model, dataset, **pair):
    return DatasetScores(
        model=model,
        dataset=dataset,
        judge="rules",
        extractor="rules",
        verdicts={"correct": 100},
        faithful_are="correct answers",
        methods=[method("hneurons", 0.8), method("random-l1", 0.6, **LEAD), method("length", 0.55, **LEAD)],
        **pair,
    )


def test_the_paper_names_models_of_the_catalogue_and_all_of_its_values():
    models = load_models(ROOT / "config/models.yaml")
    assert set(PAPER.models) <= set(models) and set(PAPER.small) | set(PAPER.large) == set(PAPER.models)
    for numbers in PAPER.models.values():
        assert set(numbers.accuracy) == {"triviaqa", "nq-open", "bioasq", "nonexist"}
        assert set(numbers.transfer) == {"triviaqa", "nq-open", "bioasq"}


def test_table_1_has_our_number_the_papers_and_the_difference():
    probe = {"neurons": 348_160, "h_neurons": 35, "C": 1.0}
    cells = [("gemma-3-4b-it", "triviaqa"), ("gemma-3-4b-it", "cities"), ("my-model", "triviaqa")]
    table = table1(dict.fromkeys(("gemma-3-4b-it", "my-model"), probe), [detection(*cell) for cell in cells], PAPER)
    rows = table.set_index(["model", "dataset"]).loc[("gemma-3-4b-it", "triviaqa")]
    assert rows["paper_accuracy"].tolist()[:2] == [0.769, 0.62] and pd.isna(rows["paper_accuracy"].iloc[2])
    assert rows["accuracy_minus_paper"].tolist()[:2] == pytest.approx([0.031, -0.02])
    assert table["paper_accuracy"].notna().sum() == 2, "of no other model or data set"


def test_a_set_with_too_few_examples_is_a_row_with_a_note(tmp_path):
    probe = {"neurons": 348_160, "h_neurons": 35, "C": 1.0}
    empty = dataclasses.replace(detection("m", "nonexist"), methods=[], note="nonexist: too few consistent questions")
    table = table1({"m": probe}, [detection("m", "cities"), empty])
    (row,) = table[table["dataset"] == "nonexist"].to_dict("records")
    assert row["note"].startswith("nonexist: too few") and row["method"] == "" and pd.isna(row["auroc"])
    table1_picture(table, [tmp_path / "table1.svg"])
    assert "too few examples of a class" in (tmp_path / "table1.svg").read_text()
    transfer = transfer_table([detection("m", "cities", partner="p", direction="backward"), empty])
    assert transfer["note"].tolist()[-1] == row["note"]


def test_a_line_names_every_baseline_that_the_probe_is_not_shown_to_beat():
    ahead = {"lead": 0.2, "lead_interval": (0.1, 0.3)}
    scores = dataclasses.replace(
        detection("m", "cities"),
        methods=[
            method("hneurons", 0.8),
            method("combined", 0.8, lead=-0.1, lead_interval=(-0.2, -0.01)),
            dataclasses.replace(method("random-l1", 0.6, **ahead), rank=1, seeds=20, auroc_of_seeds=[0.7] * 20),
            dataclasses.replace(method("random-l2", 0.6, **ahead), rank=3, seeds=20, auroc_of_seeds=[0.8] * 20),
            method("answer-logprob", 0.8, **LEAD),
            method("length", 0.6, lead=0.1, lead_interval=None),
            method("bag-of-words", 0.6, **ahead),
        ],
    )
    assert scores.not_beaten == ["random-l2", "answer-logprob", "length"]
    (line,) = not_beaten(table1({"m": {"neurons": 10, "h_neurons": 1, "C": 1.0}}, [scores]))
    assert line.startswith("m, cities: baselines that the probe is not shown to beat: random neurons")
    assert "log-probability of the answer, mean; response length." in line and "bag of words" not in line
    assert scores.of_method("random-l2").difference == "no difference shown (the probe is number 3 among 20 random sets)"


def curve(model, benchmark, value):
    slope = Slope(value, (value - 1, value + 1), error=0.4)
    slopes = {"hneurons": slope, "random": dataclasses.replace(slope, value=0.0), "difference": slope}
    return Curve(model, benchmark, "rules", alphas=[], missing={}, points={}, slopes={"all": slopes}, random_sets=5)


def test_average_slopes_of_smaller_and_larger_models():
    values = dict.fromkeys(PAPER.small, 3.0) | dict.fromkeys(PAPER.large, 1.0)
    sizes = dict.fromkeys(PAPER.small, int(8e9)) | dict.fromkeys(PAPER.large, int(24e9))
    curves = [curve(model, name, value) for model, value in values.items() for name in BEHAVIOURS]
    table = average_slopes_table(curves, sizes, PAPER).set_index(["models", "neurons"])
    small = table.loc[("small", "hneurons")]
    # Twelve curves of standard error 0.4 each.
    assert (small["mean_slope"], small["paper"], small["n_curves"]) == (3.0, 3.03, 12)
    assert small["high"] - small["low"] == pytest.approx(2 * 1.96 * 0.4 / 12**0.5, rel=1e-3)
    assert table.loc[("large", "hneurons"), "paper"] == 2.40
    assert table["paper"].notna().sum() == 2
    partial = average_slopes_table([c for c in curves if c.model != PAPER.small[0]], sizes, PAPER)
    assert partial.set_index(["models", "neurons"]).loc[("small", "hneurons"), "paper"] != 3.03, "of all three or of none"
    one_behaviour = average_slopes_table([c for c in curves if c.benchmark == "falseqa"], sizes, PAPER)
    assert one_behaviour["paper"].isna().all(), "the paper's average is over four behaviours"


@pytest.mark.slow
def test_the_papers_transfer_and_drift_are_backward():
    for direction, value, rank in (("backward", 0.73, 0.707), ("forward", None, None)):
        pair = {"partner": "gemma-3-4b-pt", "direction": direction}
        table = transfer_table([detection("gemma-3-4b-it", "triviaqa", **pair)], PAPER)
        test = RankTest(
            n=35, mean_rank=0.6, interval=(0.5, 0.7), others=0.5, t=2.0, p_t=0.02, p_permutation=0.02, effect_d=0.3
        )
        medians = {"h_neurons": 0.1, "others": 0.2}
        report = DriftReport(348_160, test, test, [0.6] * 35, medians, medians, "gemma-3-4b-it", **pair)
        drift = drift_table([report], PAPER)
        if value is None:
            assert table["paper_auroc"].isna().all() and drift["paper_mean_rank"].isna().all()
        else:
            assert table["paper_auroc"].tolist()[0] == value and drift["paper_mean_rank"].tolist()[0] == rank
            assert table["paper_auroc"].notna().sum() == drift["paper_mean_rank"].notna().sum() == 1


def test_a_wrong_key_of_the_papers_numbers_is_named(tmp_path):
    (tmp_path / "paper.yaml").write_text("small: []\nlarge: []\nslopes: {small: 3, large: 2}\nmodel: {}\n")
    with pytest.raises(HNeuronsError, match="model: unknown key"):
        load_paper(tmp_path / "paper.yaml")
