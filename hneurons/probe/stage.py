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
from tqdm import tqdm

from hneurons.cett.columns import ArrayColumns, ShardColumns
from hneurons.config.study import ProbeSettings
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.probe.choice import chosen_C
from hneurons.probe.classifiers import PROBE, REFIT, Classifier
from hneurons.probe.estimator import fit_paths, training_problem
from hneurons.probe.l1_path import Fit, Problem
from hneurons.probe.path import ProbePath, answer_rows
from hneurons.stats import auroc, reliability


@dataclass(frozen=True)
class Probe:
    """The H-Neurons and the classifiers they are compared with.

    Attributes:
        neurons: all neurons with a weight at the chosen C; the selected ones are the H-Neurons.
        classifiers: by name, the probe, the refit of its positive neurons, and the random baselines of both.
    """

    neurons: NeuronSet
    classifiers: dict[str, Classifier]

    def summary(self) -> dict[str, Any]:
        """Counts of neurons, of weights and of H-Neurons, the chosen C, and the quality of its fit."""
        facts = self.neurons.made_by
        stability = self.neurons.stability[self.neurons.selected]
        return {
            "neurons": facts["layers"] * facts["d_ff"],
            "non_zero": len(self.neurons.weights),
            "h_neurons": int(self.neurons.selected.sum()),
            "h_neurons_per_layer": {layer: len(neurons) for layer, neurons in self.neurons.by_layer().items()},
            **{name: facts[name] for name in ("C", "chosen_by", "converged", "gap")},
            "stable_half": int((stability >= 0.5).sum()) if np.isfinite(stability).all() else None,
            "calibration": facts["calibration"],
            "baseline_C": {name: classifier.C for name, classifier in self.classifiers.items()},
        }


def finish_probe(
    shards: Sequence[str | Path],
    path: ProbePath,
    choice: pd.DataFrame,
    settings: ProbeSettings,
    seed: int,
    made_by: Mapping[str, Any],
) -> Probe:
    """Take the probe at the chosen C and fit its baselines.

    Baselines are random sets of neurons of the same size, with C tuned on the selection split.

    Args:
        shards: CETT shards that the path was fitted on.
        path: the probe at every C.
        choice: what compare_C returns; it has a chosen C, so there are H-Neurons.
        settings: of the probe.
        seed: of the random neurons.
        made_by: model and settings, for the metadata of neurons.parquet.

    Returns:
        The probe and its baselines: `settings.random_seeds` for the probe and for its refit each.

    Raises:
        HNeuronsError: the shards are invalid (see ShardColumns).
    """
    # 1. Neurons of the probe, of its refit, and of the random baselines
    full = path.classifiers[chosen_C(choice)]
    columns = ShardColumns(shards)
    d_ff, held_out = columns.d_ff, answer_rows(columns, "selection")
    used = full.layers * d_ff + full.neurons
    positive = used[full.weights > 0]
    classifiers = {PROBE: full}
    baselines: dict[str, np.ndarray] = {REFIT: positive}
    for i in range(1, settings.random_seeds + 1):
        rng = np.random.default_rng([seed, i])
        for name, size in (("random", len(used)), ("random-refit", len(positive))):
            baselines[f"{name}-{i}"] = random_columns(rng, columns.p, used, size)
    # 2. Their features, in one reading of the shards
    X_full, *X_baselines = columns.take_each([used, *baselines.values()])
    # 3. Fits of the baselines
    problem = training_problem(columns, settings.labels)
    labels = np.array([columns.rows[i]["label"] for i in held_out])
    for name, X in tqdm(list(zip(baselines, X_baselines, strict=True)), desc=f"baselines of {len(used)} neurons"):
        best = _tuned(X, problem, held_out, labels, settings)
        weights = np.zeros(X.shape[1])
        weights[best.columns] = best.weights
        classifiers[name] = Classifier(baselines[name] // d_ff, baselines[name] % d_ff, weights, best.intercept, best.C)
    # 4. The H-Neurons and their metadata
    row = choice[choice["chosen"]].iloc[0]
    facts = {
        **made_by,
        "layers": columns.layers,
        "d_ff": d_ff,
        "C": full.C,
        "intercept": full.intercept,
        "chosen_by": str(row["chosen_by"]),
        **{name: path.facts[full.C][name] for name in ("converged", "gap", "violation")},
        "calibration": asdict(reliability(labels, expit(full.logits(X_full[held_out])))),
        "features": columns.fingerprint,
    }
    h_neurons, stability = full.weights > 0, path.stability[full.C]["bootstrap"]
    return Probe(NeuronSet(full.layers, full.neurons, full.weights, h_neurons, facts, stability), classifiers)


def random_columns(rng: np.random.Generator, p: int, used: np.ndarray, size: int | None = None) -> np.ndarray:
    """Draw random columns that are not used; any columns if too few are unused (L2).

    Args:
        rng: the random generator.
        p: columns to draw from, 0 to p - 1.
        used: indices of the columns to avoid.
        size: how many to draw; None is the number of used columns, at least one.

    Returns:
        Their indices, ascending.
    """
    size = max(1, len(used)) if size is None else size
    free = np.setdiff1d(np.arange(p), used)
    return np.sort(rng.choice(free if len(free) >= size else p, size=size, replace=False))


def _tuned(X: np.ndarray, problem: Problem, held_out: np.ndarray, labels: np.ndarray, settings: ProbeSettings) -> Fit:
    """Fit neurons at every C; the most accurate fit on the selection split, ties to higher AUROC, then to smaller C."""
    fits = fit_paths(ArrayColumns(X), [problem], settings.C, settings.penalty, settings.intercept, progress=False).fits[0]

    def merit(fit: Fit) -> tuple[float, float, float]:
        logits = fit.logits(X[np.ix_(held_out, fit.columns)])
        return float(((logits > 0) == (labels == 1)).mean()), auroc(labels, logits), -fit.C

    # A fit without weights is a constant, chosen only where there is nothing else.
    return max([fit for fit in fits if len(fit.columns)] or fits, key=merit)
