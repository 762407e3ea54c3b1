"""A published set: a folder or a hub repository, with its results and its model's revision inside."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from hneurons.detection.results import DatasetScores, MethodScore
from hneurons.errors import HNeuronsError
from hneurons.impact.curves import Curve
from hneurons.impact.rates import Slope
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.published import neurons_card, publish, with_results
from hneurons.stats.calibration import reliability
from tests.hub_server import REVISION, HubServer, Repository

LABELS = np.array([0, 1] * 20)
PROBABILITIES = np.linspace(0.01, 0.99, 40)


def fitted():
    facts = {
        "model": "some-model",
        "revision": "b" * 40,
        "layers": 2,
        "d_ff": 16,
        "C": 3.0,
        "chosen_by": "held-out accuracy",
        "intercept": 0.0,
        "calibration": dataclasses.asdict(reliability(LABELS, PROBABILITIES)),
    }
    weights = np.array([1.0, -1.0, 2.0])
    stability = np.array([0.5, 0.25, 1.0])
    return NeuronSet(np.array([0, 1, 1]), np.array([3, 4, 5]), weights, weights > 0, facts, stability)


def detection(dataset):
    probe = MethodScore(
        method="hneurons",
        seeds=1,
        auroc_of_seeds=[0.75],
        n_hallucinated=20,
        n_faithful=20,
        accuracy=0.7,
        accuracy_interval=(0.55, 0.82),
        auroc=0.75,
        auroc_interval=(0.6, 0.9),
        lead=0.2,
        lead_interval=(0.1, 0.3),
    )
    methods = [
        probe,
        dataclasses.replace(probe, method="combined", auroc=0.81),
        dataclasses.replace(probe, method="random-l1", auroc=0.53),
        dataclasses.replace(probe, method="random-l2", auroc=0.55),
        dataclasses.replace(probe, method="answer-logprob", auroc=0.78, lead=-0.03, lead_interval=(-0.1, 0.04)),
    ]
    calibration = reliability(LABELS, PROBABILITIES, 4)
    return DatasetScores("some-model", dataset, "rules", {}, "correct answers", methods, calibration=calibration)


def curve():
    slopes = {"hneurons": Slope(1.5, (0.5, 2.5), 0.5), "difference": Slope(None, None, None)}
    return Curve("some-model", "falseqa", "rules", [], {}, {}, {"all": slopes}, random_sets=0)


@pytest.fixture
def folder(tmp_path):
    source = {"hub": {"id": "owner/some-model", "revision": "b" * 40}, "folder": "/home/someone"}
    publish(with_results(fitted(), source, "cities", [detection("elements"), detection("cities")], [curve()]), tmp_path)
    return tmp_path


def same(one, other):
    for name in ("layers", "neurons", "weights", "selected", "stability"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_folder_loads_as_its_file_does(folder):
    same(NeuronSet.load(folder), fitted())
    same(NeuronSet.load(folder / "neurons.parquet"), fitted())


def test_calibration_is_stored_with_the_neurons_the_in_domain_set_first(folder):
    assert list(fitted().calibration) == ["selection split"]
    calibration = NeuronSet.load(folder).calibration
    assert list(calibration) == ["cities", "elements"]
    assert "someone" not in str(NeuronSet.load(folder).made_by), "a local folder's path is not published"
    assert calibration["cities"].n == 40 and sum(row.n for row in calibration["cities"].bins) == 40


def test_the_card_is_made_from_the_file_and_names_control_interval_and_model(folder):
    text = (folder / "README.md").read_text()
    assert text == neurons_card(NeuronSet.load(folder))
    assert "base_model: owner/some-model" in text and f'revision="{"b" * 40}"' in text
    assert "2 H-Neurons of 32 (62.50 ‰)" in text
    row = "| cities (20 + 20) | 0.70 [0.55, 0.82] | 0.75 [0.60, 0.90] | 0.55 | 0.20 [0.10, 0.30] | 0.78 | 0.81 | rules |"
    assert row in text, "the stronger control, confidence alone, and both combined"
    assert "- cities: log-probability of the answer, mean" in text, "what the probe is not shown to beat"
    assert "| falseqa | 1.5 [0.5, 2.5] | not known | rules |" in text


_LOAD = """
import sys
import hneurons as hn
from hneurons.errors import HNeuronsError
try:
    print(hn.NeuronSet.load(sys.argv[1], revision=sys.argv[2]).by_layer())
except HNeuronsError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("lab/neurons", REVISION, "{0: [3], 1: [5]}"),
        ("lab/neurons", "c" * 40, "lab/neurons has no such revision"),
        ("lab/other", REVISION, "lab/other does not exist"),
    ],
)
def test_a_set_loads_from_the_hub_at_a_revision(folder, tmp_path_factory, name, revision, message):
    with HubServer({"lab/neurons": Repository(folder)}) as hub:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path_factory.mktemp("home")),
            "HF_HUB_OFFLINE": "0",
        }
        done = subprocess.run(
            [sys.executable, "-c", _LOAD, name, revision], env=environment, capture_output=True, text=True
        )
    assert message in done.stdout, done.stdout + done.stderr


def test_another_revision_of_the_model_is_refused(folder):
    neurons = NeuronSet.load(folder)
    neurons.check_for({"layers": 2, "d_ff": 16, "revision": "b" * 40})
    with pytest.raises(HNeuronsError, match=r"revision bbbb.*, not cccc"):
        neurons.check_for({"layers": 2, "d_ff": 16, "revision": "c" * 40})
    neurons.check_for({"layers": 2, "d_ff": 16, "revision": "c" * 40}, strict=False)


@pytest.mark.parametrize("name", ["nowhere.parquet", "published/neurons.parquet", "/no/such/folder", "results/x/y"])
def test_what_is_no_set_is_named(name):
    with pytest.raises(HNeuronsError, match=r"no neurons\.parquet"):
        NeuronSet.load(name)


def test_an_empty_folder_is_no_set(tmp_path):
    with pytest.raises(HNeuronsError, match=r"no neurons\.parquet"):
        NeuronSet.load(tmp_path)


def test_random_sets_of_a_published_one_say_so(folder):
    control = NeuronSet.load(folder).random_like(2)
    assert control.made_by["named"] == "random-2"
    assert dataclasses.replace(control).by_layer().keys() == fitted().by_layer().keys()
