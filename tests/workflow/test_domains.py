"""A second set that trains a probe: tested on every set, from the shards that are there."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml

from hneurons import store
from hneurons.detection.results import DatasetScores
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.stats.overlap import overlap_of
from tests.workflow.study import CONFIG, MODEL
from tests.workspace import Workspace

SECOND = {"elements": {"role": "in_domain", "questions": 80}}


def arranged(workspace, datasets, **changes):
    """The study in the same folder with other data sets, in this order."""
    return Workspace(workspace.folder, {**workspace.config, "datasets": datasets, **changes})


@pytest.fixture(scope="module")
def two(workspace):
    study = arranged(workspace, {**CONFIG["datasets"], **SECOND}, main_set="cities")
    study.before = study.planned()
    study.run()
    return study


def test_what_was_measured_is_not_measured_again(two):
    """The new questions of the second set are asked; the first set, its probe and its replies are left alone."""
    assert not set(two.before) & {
        "prepare_model",
        "probe_path",
        "suppressed",
        "probe",
        "replies_0",
        "untouched",
        "perplexity",
    }
    assert two.before.count("cett") == two.before.count("responses") == 2
    assert two.before.count("domain_probe") == 1 and two.before.count("domain_detection") == 3
    assert two.planned() == []


def test_every_probe_is_tested_on_every_set(two):
    table = pd.read_csv(two.results / "tables/domains.csv").set_index(["fit_on", "tested_on"])
    assert len(table) == 6 and set(table.index.unique("fit_on")) == {"cities", "elements"}
    model = two.results / MODEL
    sets = {
        "cities": NeuronSet.load(model / "probe/neurons.parquet"),
        "elements": NeuronSet.load(model / "domains/elements/neurons.parquet"),
    }
    places = {name: {(i, j) for i, js in s.by_layer().items() for j in js} for name, s in sets.items()}
    for (fit_on, tested_on), row in table.iterrows():
        path = f"detection/{tested_on}.json" if fit_on == "cities" else f"domains/{fit_on}/{tested_on}.json"
        scores = store.read_result(model / path, DatasetScores)
        assert row["h_neurons"] == len(places[fit_on])
        if scores.methods:
            assert row["auroc"] == pytest.approx(scores.of_method("hneurons").auroc, abs=1e-4)
            assert row["control_auroc"] == pytest.approx(scores.control.auroc, abs=1e-4)
        if tested_on in places and tested_on != fit_on:
            overlap = overlap_of(places[fit_on], places[tested_on], sets["cities"].made_by["layers"] * 48)
            assert row["shared"] == overlap.shared and row["h_neurons_of_tested"] == len(places[tested_on])
    page = (two.results / "front.html").read_text()
    assert 'id="figure-domains"' in page and "probe trained on" in page


def test_another_main_set_measures_nothing_again(two, tmp_path):
    probe = {**CONFIG["probe"], "suppressed_questions": 0}
    swapped = arranged(two.copied_to(tmp_path), two.config["datasets"], main_set="elements", probe=probe)
    assert not set(swapped.planned()) & {"responses", "verdicts", "spans", "examples", "cett", "questions"}
    # The same rows, seed and rule of choice: the main probe is the one that the set had before.
    neurons = f"results/{CONFIG['study']}/{MODEL}/probe/neurons.parquet"
    swapped.run(neurons)
    main, other = (
        NeuronSet.load(path)
        for path in (swapped.folder / neurons, two.results / MODEL / "domains/elements/neurons.parquet")
    )
    assert main.made_by["in_domain"] == "elements" and main.made_by["C"] == other.made_by["C"]
    assert (main.weights == other.weights).all() and (main.neurons == other.neurons).all()


def test_a_study_says_which_set_trains(two):
    none = {name: {**settings, "role": "transfer"} for name, settings in two.config["datasets"].items()}
    none["invented-cities"] = CONFIG["datasets"]["invented-cities"]
    for settings, line in (
        ({"datasets": none, "main_set": None}, "datasets: at least one must have role in_domain"),
        ({"main_set": None}, "main_set: name one of cities, elements, whose H-Neurons are to be scaled"),
        ({"main_set": "invented-cities"}, "main_set: invented-cities is not a set with role in_domain"),
    ):
        assert line in Workspace(two.folder, {**two.config, **settings}).refused("--dry-run")
    (two.folder / "config.yaml").write_text(yaml.safe_dump(two.config))
