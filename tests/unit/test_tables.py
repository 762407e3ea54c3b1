"""The paper beside ours: where model and data set are its own, and nowhere else."""

from __future__ import annotations

import pandas as pd
import pytest

from hneurons.config.models import load_models
from hneurons.config.paper import load_paper
from hneurons.errors import HNeuronsError
from hneurons.report.tables import average_slopes_table, drift_table, table1, table1_markdown, transfer_table
from tests.paths import ROOT

PAPER = load_paper(ROOT / "config/paper.yaml")


def method(name, accuracy, **more):
    interval = (accuracy - 0.05, accuracy + 0.05)
    found = {"method": name, "seeds": 1, "auroc_of_seeds": [0.8], "n_hallucinated": 50, "n_faithful": 50}
    return {
        **found,
        "accuracy": accuracy,
        "accuracy_interval": interval,
        "auroc": 0.8,
        "auroc_interval": (0.7, 0.9),
        **more,
    }


def lead():
    return {"lead": 0.1, "lead_interval": (0.0, 0.2), "lead_includes_0": False}


def detection(model, dataset):
    methods = [method("hneurons", 0.8), method("random", 0.6, **lead()), method("length", 0.55, **lead())]
    about = {"judge": "rules", "extractor": "rules", "verdicts": {"correct": 100}, "faithful_are": "correct answers"}
    return {"model": model, "dataset": dataset, "methods": methods, **about}


def test_the_paper_names_models_of_the_catalogue_and_all_of_its_values():
    models = load_models(ROOT / "config/models.yaml")
    assert set(PAPER.models) <= set(models) and set(PAPER.small) | set(PAPER.large) == set(PAPER.models)
    for found in PAPER.models.values():
        assert set(found.accuracy) == {"triviaqa", "nq-open", "bioasq", "nonexist"}
        assert set(found.transfer) == {"triviaqa", "nq-open", "bioasq"}


def test_table_1_puts_our_number_the_papers_and_the_difference_side_by_side():
    probe = {"neurons": 348_160, "h_neurons": 35, "C": 1.0}
    cells = [("gemma-3-4b-it", "triviaqa"), ("gemma-3-4b-it", "cities"), ("mine", "triviaqa")]
    table = table1(dict.fromkeys(("gemma-3-4b-it", "mine"), probe), [detection(*cell) for cell in cells], PAPER)
    rows = table.set_index(["model", "dataset"]).loc[("gemma-3-4b-it", "triviaqa")]
    assert rows["paper_accuracy"].tolist()[:2] == [0.769, 0.62] and pd.isna(rows["paper_accuracy"].iloc[2])
    assert rows["accuracy_minus_paper"].tolist()[:2] == pytest.approx([0.031, -0.02])
    assert table["paper_accuracy"].notna().sum() == 2, "of no other model or data set"
    assert "0.80 [0.75, 0.85]; paper 0.769 (+0.031)" in table1_markdown(table)


def slope(value, error):
    found = {"value": value, "interval": (value - 1, value + 1), "error": error, "includes_0": False}
    return {"all": {"hneurons": found, "random": {**found, "value": 0.0}, "difference": found}}


def test_average_slopes_of_smaller_and_larger_models():
    values = dict.fromkeys(PAPER.small, 3.0) | dict.fromkeys(PAPER.large, 1.0)
    sizes = dict.fromkeys(PAPER.small, int(8e9)) | dict.fromkeys(PAPER.large, int(24e9))
    curves = [
        {"model": m, "benchmark": b, "slope": slope(v, 0.4)} for m, v in values.items() for b in ("falseqa", "faitheval")
    ]
    table = average_slopes_table(curves, sizes, PAPER).set_index(["models", "neurons"])
    small = table.loc[("small", "hneurons")]
    # Six curves of standard error 0.4 each.
    assert (small["mean_slope"], small["paper"], small["n_curves"]) == (3.0, 3.03, 6)
    assert small["high"] - small["low"] == pytest.approx(2 * 1.96 * 0.4 / 6**0.5)
    assert table.loc[("large", "hneurons"), "paper"] == 2.40
    assert table["paper"].notna().sum() == 2
    some = average_slopes_table([c for c in curves if c["model"] != PAPER.small[0]], sizes, PAPER)
    assert some.set_index(["models", "neurons"]).loc[("small", "hneurons"), "paper"] != 3.03, "of all three or of none"


def test_the_papers_transfer_and_drift_are_backward():
    for direction, value, rank in (("backward", 0.73, 0.707), ("forward", None, None)):
        pair = {"model": "gemma-3-4b-it", "partner": "gemma-3-4b-pt", "direction": direction}
        table = transfer_table([{**pair, "dataset": "triviaqa", **detection("gemma-3-4b-it", "triviaqa"), **pair}], PAPER)
        test = {"n": 35, "mean_rank": 0.6, "interval": (0.5, 0.7), "others": 0.5, "t": 2.0, "p_t": 0.02}
        test |= {"p_permutation": 0.02, "effect_d": 0.3}
        drift = drift_table([{**pair, "neurons": 348_160, "all": test, "within_layers": test}], PAPER)
        if value is None:
            assert table["paper_auroc"].isna().all() and drift["paper_mean_rank"].isna().all()
        else:
            assert table["paper_auroc"].tolist()[0] == value and drift["paper_mean_rank"].tolist()[0] == rank
            assert table["paper_auroc"].notna().sum() == drift["paper_mean_rank"].notna().sum() == 1


def test_a_wrong_key_of_the_papers_numbers_is_named(tmp_path):
    (tmp_path / "paper.yaml").write_text("small: []\nlarge: []\nslopes: {small: 3, large: 2}\nmodel: {}\n")
    with pytest.raises(HNeuronsError, match="model: unknown key"):
        load_paper(tmp_path / "paper.yaml")
