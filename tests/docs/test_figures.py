"""Every figure of a study keeps its text within its frame, for the demo and for the paper's models and benchmarks."""

from __future__ import annotations

import dataclasses

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.text import Text

from hneurons import store
from hneurons.config.paper import load_paper
from hneurons.impact.benchmarks import TITLES
from hneurons.impact.curves import Curve
from hneurons.impact.utility_curves import read_utility
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.origin.drift import DriftReport
from hneurons.report.figures import style
from hneurons.report.figures.detection import sweep_picture, table1_picture
from hneurons.report.figures.impact import figure3, utility_picture
from hneurons.report.figures.neurons import choice_picture, neurons_picture
from hneurons.report.figures.origin import figure4
from tests.paths import ROOT
from tests.small_demo import MODEL, RESULTS

pytestmark = pytest.mark.usefixtures("small_demo")

PAPERS = ["mistral-7b-instruct-v0.3", "mistral-small-3.1-24b-instruct-2503", "gemma-3-27b-it", "llama-3.3-70b-instruct"]
WORDS = {
    "warnings": ["unparsed differs by 25 points between α"],
    "missing": {"hneurons": [0.0, 0.5, 1.5, 2.0, 2.5, 3.0], "random-1": [0.5, 1.5]},
    "judge": "llm:meta-llama/Llama-3.3-70B-Instruct",
    "wording": "counterfactual-resistant",
}


@pytest.fixture(params=["demo", "paper"])
def models(request):
    """Names under which the demo's results are drawn: its own, or those of a study as large as the paper's."""
    return [MODEL.name] if request.param == "demo" else PAPERS


@pytest.fixture
def drawn(monkeypatch):
    """Figures that are saved, kept open."""
    figures = []
    monkeypatch.setattr(style.plt, "close", figures.append)
    yield figures
    monkeypatch.undo()
    plt.close("all")


def assert_nothing_leaves_the_canvas(figures):
    assert figures, "nothing was drawn"
    for figure in figures:
        figure.canvas.draw()
        renderer, canvas = figure.canvas.get_renderer(), figure.bbox.padded(1)
        for artist in [*figure.axes, *figure.legends, *figure.texts]:
            # Of axes this is the box around all that is drawn: ticks, labels, titles and texts.
            box = artist.get_tightbbox(renderer)
            inside = canvas.x0 <= box.x0 and box.x1 <= canvas.x1 and canvas.y0 <= box.y0 and box.y1 <= canvas.y1
            assert inside, f"{artist} with the texts {[text.get_text() for text in artist.findobj(Text)]}: {box}, {canvas}"


def table(name, models):
    frame = pd.read_csv(RESULTS / f"tables/{name}.csv")
    return pd.concat([frame.assign(model=model) for model in models])


def curves(pattern, models, **changes):
    read = [store.read_result(path, Curve) for path in sorted(RESULTS.glob(pattern))]
    return [dataclasses.replace(curve, model=model, **changes) for curve in read for model in models]


def test_table_1(models, drawn, tmp_path):
    table1_picture(table("table1", models), [tmp_path / "table1.png"])
    sweep_picture(table("k_sweep", models), [tmp_path / "k_sweep.png"])
    choice_picture(table("choice", models), [tmp_path / "choice.png"])
    assert_nothing_leaves_the_canvas(drawn)


@pytest.mark.parametrize("changes", [{}, WORDS], ids=["as it is", "with everything to note"])
def test_figure_3(models, changes, drawn, tmp_path):
    behaviours = [c for c in curves("*/impact/*/curve.json", models, **changes) if c.benchmark in TITLES]
    figure3([c for c in behaviours if c.benchmark != "test-questions"], [tmp_path / "figure3.png"])
    assert_nothing_leaves_the_canvas(drawn)


def test_figure_4(models, drawn, tmp_path):
    drift = [store.read_result(path, DriftReport) for path in RESULTS.glob("*/origin/drift.json")]
    drift = [dataclasses.replace(report, model=model, partner=f"{model}-base") for report in drift for model in models]
    transfer = table("transfer", models)
    transfer["partner"] = transfer["model"] + "-base"
    figure4(transfer, drift, load_paper(ROOT / "config/paper.yaml"), [tmp_path / "figure4.png"])
    assert_nothing_leaves_the_canvas(drawn)


def test_cost_and_neurons(models, drawn, tmp_path):
    files = ([RESULTS / MODEL.name / f"utility/{name}.parquet"] * len(models) for name in ("perplexity", "scaled-cett"))
    accuracy = curves("*/impact/test-questions/curve.json", models)
    utility_picture(read_utility(models, *files), accuracy, [tmp_path / "utility.png"])
    neurons = NeuronSet.load(MODEL / "published")
    sets = [dataclasses.replace(neurons, made_by={**neurons.made_by, "model": model}) for model in models]
    neurons_picture(sets, [tmp_path / "neurons.png"])
    assert_nothing_leaves_the_canvas(drawn)
