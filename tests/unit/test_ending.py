"""What a finished study prints: findings with interval and control, files, and commands that run as they stand."""

from __future__ import annotations

import dataclasses
import shlex

import numpy as np
import pytest

from hneurons.config.base import read_yaml
from hneurons.config.setup import parse_study
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.ending import ending_text
from hneurons.report.tables.detection import table1
from hneurons.report.tables.impact import average_slopes_table, slopes_table
from tests.paths import ROOT
from tests.unit.test_tables import LEAD, PAPER, curve, detection, method

MODEL = "smollm2-135m-instruct"
RESULTS = f"results/demo/{MODEL}"


def ending(random_sets=5):
    study = parse_study(read_yaml(ROOT / "config/demo.yaml"), "demo.yaml").study
    weights = np.array([0.5, 0.2, -1.0])
    facts = {"model": MODEL, "layers": 30, "d_ff": 1536, "C": 3.0}
    neurons = NeuronSet(np.array([0, 1, 1]), np.array([3, 4, 5]), weights, weights > 0, facts)
    scores = detection(MODEL, study.in_domain)
    scores = dataclasses.replace(
        scores, methods=[*scores.methods, method("combined", 0.8), method("answer-logprob", 0.8, **LEAD)]
    )
    curves = [dataclasses.replace(curve(MODEL, "false-premise", 2.0), random_sets=random_sets)]
    frames = {
        "table1": table1({MODEL: {"neurons": 46_080, "h_neurons": 2, "C": 3.0}}, [scores], PAPER),
        "slopes": slopes_table(curves),
        "average_slopes": average_slopes_table(curves, {MODEL: 10**8}),
    }
    return ending_text(study, frames, [neurons], PAPER)


@pytest.fixture(scope="module")
def text():
    return ending()


def test_findings_have_their_interval_and_their_control(text):
    findings = " ".join(text.split("open: ")[0].split())
    assert findings.startswith(f"Study demo, in short: - {MODEL}: 2 H-Neurons of 46,080 (0.04 ‰)")
    assert "AUROC 0.80 [0.70, 0.90]; the stronger control" in findings
    assert "difference +0.10 [+0.00, +0.20]: the interval contains 0, so no difference is shown. n = 50 + 50." in findings
    assert "the log-probability of the answer alone 0.80 [0.70, 0.90]" in findings
    assert "minus that of random neurons" in findings and "+2.0 [+1.2, +2.8] points per unit α" in findings


def test_no_effect_is_claimed_from_three_random_sets():
    (line,) = [line for line in ending(random_sets=3).splitlines() if "Slope" in line]
    assert line.endswith("+2.0 points per unit α; 3 random sets are too few for an interval, so no difference is shown.")


def after(word, text):
    return [line.removeprefix(f"{word}: ") for line in text.splitlines() if line.startswith(f"{word}: ")]


def test_it_has_nine_lines_of_which_two_name_pages_and_two_the_next_commands(text):
    """The Makefile adds the tenth, which names the study's configuration."""
    assert len(text.splitlines()) == 9
    assert [line.split()[0] for line in after("open", text)] == ["results/demo/front.html", f"{RESULTS}/answers.html"]
    detect, generate = map(shlex.split, after("next", text))
    options = ["--model", f"{RESULTS}/checkpoint", "--neurons", f"{RESULTS}/published"]
    question = "In which country is the city of Lyon?"
    assert detect == [".venv/bin/hneurons", "detect", *options, "--question", question]
    assert generate == [".venv/bin/hneurons", "generate", *options, "--alpha", "0", "1", "3", question]
