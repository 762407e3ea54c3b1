"""What a finished study prints: its first findings, the pages to open, and the next commands."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hneurons import store
from hneurons.config.paper import Paper
from hneurons.config.study import Study
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.report.in_short import COUNT, DETECTION, SCALING, in_short

# Sentences to print of each question; the front page has all.
_SENTENCES = {COUNT: 1, DETECTION: 2, SCALING: 1}
_EXAMPLE = "In which country is the city of Lyon?"


def write_ending(
    out: str | Path,
    settings: Mapping[str, Any],
    tables: Mapping[str, str | Path],
    published: Sequence[str | Path],
    paper: Paper,
) -> None:
    """Write the text from a study's results.

    Args:
        out: the text file.
        settings: the study's settings, all that decide its results.
        tables: CSV files by name.
        published: each model's published set of neurons.
        paper: the paper's numbers, for comparison.
    """
    study = Study.model_validate(settings)
    frames = {name: pd.read_csv(path) for name, path in tables.items()}
    text = ending_text(study, frames, [NeuronSet.load(path) for path in published], paper)
    store.write_text(out, text)


def ending_text(study: Study, frames: Mapping[str, pd.DataFrame], sets: Sequence[NeuronSet], paper: Paper) -> str:
    """Return about ten lines on a finished study: findings with control and interval, files, commands.

    Args:
        study: the settings.
        frames: the study's tables by name, as CSV files hold them.
        sets: each model's neurons.
        paper: the paper's numbers, for comparison.
    """
    findings = [
        sentence
        for question, sentences in in_short(study, frames, sets, paper)
        for sentence in sentences[: _SENTENCES.get(question, 0)]
    ]
    results = f"results/{study.study}"
    folder = f"{results}/{study.models[0]}"
    options = f"--model {folder}/checkpoint --neurons {folder}/published"
    lines = [
        f"Study {study.study}, in short:",
        *(f"- {finding}" for finding in findings),
        f"open: {results}/front.html (all findings)",
        f"open: {folder}/answers.html (answers to the test questions, right and wrong, and what the probe says)",
        f'next: .venv/bin/hneurons detect {options} --question "{_EXAMPLE}"',
        f'next: .venv/bin/hneurons generate {options} --alpha 0 1 3 "{_EXAMPLE}"',
    ]
    return "\n".join(lines) + "\n"
