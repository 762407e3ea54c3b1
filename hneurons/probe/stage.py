"""Stage "probe": the neurons at the chosen C become the H-Neurons, and random neurons are fitted as baselines.

How C is chosen: probe/choice.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from hneurons import store
from hneurons.cett.columns import ShardColumns
from hneurons.config.study import ProbeSettings
from hneurons.models.widths import Widths
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.probe.choice import chosen_C
from hneurons.probe.classifiers import (
    PROBE,
    RANDOM_L1,
    RANDOM_L2,
    RANDOM_REFIT,
    REFIT,
    Classifier,
    classifiers_table,
)
from hneurons.probe.confidence import Combined
from hneurons.probe.controls import columns_like, in_processes, tuned_l1, tuned_l2
from hneurons.probe.design import Design, Tuned
from hneurons.probe.estimator import fit_paths
from hneurons.probe.examples import CONFIDENCE_COLUMNS
from hneurons.probe.path import ProbePath, answer_rows
from hneurons.stats.calibration import reliability


@dataclass(frozen=True)
class Probe:
    """The H-Neurons and the classifiers they are compared with.

    Attributes:
        neurons: all neurons with a weight at the chosen C; the selected ones are the H-Neurons.
        classifiers: by name, the probe, the refit of its positive neurons, and the random controls of both.
    """

    neurons: NeuronSet
    classifiers: dict[str, Classifier]

    def summary(self) -> dict[str, Any]:
        """Counts of neurons, of weights and of H-Neurons, the chosen C, and the quality of its fit."""
        facts = self.neurons.made_by
        stability = self.neurons.stability[self.neurons.selected]
        return {
            "neurons": Widths.from_facts(facts).total,
            "non_zero": len(self.neurons.weights),
            "h_neurons": int(self.neurons.selected.sum()),
            "h_neurons_per_layer": {layer: len(neurons) for layer, neurons in self.neurons.by_layer().items()},
            **{name: facts[name] for name in ("C", "chosen_by", "converged", "gap")},
            "stable_half": int((stability >= 0.5).sum()) if np.isfinite(stability).all() else None,
            "calibration": facts["calibration"],
            "control_C": {name: classifier.C for name, classifier in self.classifiers.items()},
            "combined": facts["combined"],
        }

    def save(
        self, neurons: str, classifiers: str, choice: str, summary: str, *, chosen: pd.DataFrame, made_by: Mapping[str, Any]
    ) -> None:
        """Write the files of the stage.

        Args:
            neurons, classifiers, choice, summary: their paths.
            chosen: the table of the choice of C.
            made_by: model and settings, for the metadata of the classifiers.
        """
        self.neurons.save(neurons)
        table, scalars = classifiers_table(self.classifiers)
        facts = {**made_by, "classifiers": scalars, "combined": self.neurons.made_by["combined"]}
        store.write_table(classifiers, table, facts)
        store.write_text(choice, chosen.to_csv(index=False))
        store.write_json(summary, {"model": self.neurons.made_by["model"], **self.summary()})


def finish_probe(
    shards: Sequence[str | Path],
    path: ProbePath,
    choice: pd.DataFrame,
    settings: ProbeSettings,
    seed: int,
    made_by: Mapping[str, Any],
    frame: pd.DataFrame,
    *,
    memory_gb: float = 4.0,
    threads: int = 1,
) -> Probe:
    """Take the probe at the chosen C, fit its random controls, and combine it with the model's confidence.

    Args:
        shards: CETT shards that the path was fitted on.
        path: the probe at every C.
        choice: what compare_C or choose_in_folds returns; it has a chosen C, so there are H-Neurons.
        settings: of the probe.
        seed: of the random neurons.
        made_by: model and settings, for the metadata of neurons.parquet.
        frame: read_example_frame of the in-domain set.
        memory_gb: bounds the memory for columns.
        threads: fits that run in parallel.

    Returns:
        The probe and its controls: `settings.random_seeds` random sets of each kind.

    Raises:
        HNeuronsError: the shards are invalid (see ShardColumns), or there are too few gold answers to tune on.
    """
    # 1. Neurons of the probe, of its refit, and of the random controls
    full = path.classifiers[C := chosen_C(choice)]
    columns = ShardColumns(shards, memory_gb)
    widths, held_out = columns.widths, answer_rows(columns, "selection")
    design = Design.from_rows(columns, settings.labels, dict(zip(frame["question_id"], frame["gold"], strict=True)))
    used = widths.columns(full.layers, full.neurons)
    positive = used[full.weights > 0]
    draws = {REFIT: positive}
    for i in range(1, settings.random_seeds + 1):
        rng = np.random.default_rng([seed, i])
        draws[f"random-{i}"] = columns_like(rng, widths, used, len(used))
        draws[f"{RANDOM_REFIT}-{i}"] = columns_like(rng, widths, used, len(positive))
    # 2. Their features, in one reading of the shards
    X_full, *X_draws = columns.take_each([used, *draws.values()])
    # 3. Fits of the controls, each tuned in the same folds over gold answers
    classifiers = {PROBE: full}

    each = ((name, X, design, settings) for name, X in zip(draws, X_draws, strict=True))
    fits = in_processes(_control, each, threads, "random controls")
    for drawn, tuned in zip(draws.values(), fits, strict=True):
        for name, t in tuned.items():
            classifiers[name] = Classifier(*widths.places(drawn), t.weights, t.intercept, t.C)
    # 4. The combined detector, and calibration on answers that the probe did not see
    train = frame.query("split == 'train'")
    in_folds = _logits_in_folds(columns, design, C, settings, {"memory_gb": memory_gb, "threads": threads})
    combined = _combined(in_folds, train)
    if len(held_out):
        logits = full.logits(X_full[held_out])
    else:
        ids = [columns.rows[i]["question_id"] for i in answer_rows(columns, "train")]
        rows = np.flatnonzero(np.isin(ids, list(in_folds)))
        held_out, logits = answer_rows(columns, "train")[rows], np.array([in_folds[ids[i]] for i in rows])
    labels = np.array([columns.rows[i]["label"] for i in held_out])
    calibration = reliability(labels, expit(logits), groups=design.gold[held_out].tolist())
    # 5. The H-Neurons and their metadata
    facts = {
        **made_by,
        **widths.facts,
        "C": full.C,
        "intercept": full.intercept,
        "chosen_by": str(choice["chosen_by"].iloc[0]),
        **{name: path.facts[full.C][name] for name in ("converged", "gap", "violation")},
        "calibration": asdict(calibration),
        "combined": asdict(combined) if combined else None,
        "features": columns.fingerprint,
    }
    h_neurons, stability = full.weights > 0, path.stability[full.C]["bootstrap"]
    return Probe(NeuronSet(full.layers, full.neurons, full.weights, h_neurons, facts, stability), classifiers)


def _control(name: str, X: np.ndarray, design: Design, settings: ProbeSettings) -> dict[str, Tuned]:
    """The fits to the columns of a draw, by the name of the classifier."""
    number = name.removeprefix("random-")
    if not number.isdecimal():
        return {name: tuned_l2(X, design)}
    return {f"{RANDOM_L1}-{number}": tuned_l1(X, design, settings), f"{RANDOM_L2}-{number}": tuned_l2(X, design)}


def _logits_in_folds(
    columns: ShardColumns, design: Design, C: float, settings: ProbeSettings, options: Mapping[str, Any]
) -> dict[str, float]:
    """The probe's log-odds of each training answer by question id, of a fit that did not see its gold answer."""
    grid = [c for c in sorted(settings.C) if c < C] + [C]
    # All but the last of the inner fits, which is that of all training rows.
    problems = [part.problem for part in design.inner[:-1]]
    if not problems:
        return {}
    paths = fit_paths(columns, problems, grid, settings.penalty, settings.intercept, **options)
    fits = [path[-1] for path in paths.fits]
    features = columns.take_each([fit.columns for fit in fits])
    held_out: dict[str, float] = {}
    for fold, fit, X in zip(design.inner_folds, fits, features, strict=True):
        answers = fold[design.scored[fold]]
        ids = [columns.rows[i]["question_id"] for i in answers]
        held_out.update(zip(ids, fit.logits(X[answers]).tolist(), strict=True))
    return held_out


def _combined(in_folds: Mapping[str, float], train: pd.DataFrame) -> Combined | None:
    """The combined detector, fitted on the training answers; None if their confidence is not known."""
    if not in_folds or train[list(CONFIDENCE_COLUMNS)].isna().to_numpy().any():
        return None
    return Combined.of_frame(in_folds, train)
