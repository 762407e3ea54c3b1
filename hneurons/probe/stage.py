"""Stage "probe": C is chosen, its neurons are the H-Neurons, and random ones are fitted beside them (METHOD.md §1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from hneurons.probe.l1_path import Problem
from hneurons.probe.path import ProbePath, answer_rows
from hneurons.stats import auroc, reliability


@dataclass(frozen=True)
class Probe:
    """classifiers: the probe, the refit of its positive neurons, and the random baselines of both, by name."""

    neurons: NeuronSet
    classifiers: dict[str, Classifier]

    def summary(self) -> dict[str, Any]:
        """How many neurons there are, how many have a weight, how many are H-Neurons, and the C that was chosen."""
        facts = self.neurons.made_by
        stability = self.neurons.stability[self.neurons.selected]
        return {
            "neurons": facts["layers"] * facts["d_ff"],
            "non_zero": len(self.neurons.weights),
            "h_neurons": int(self.neurons.selected.sum()),
            "h_neurons_per_layer": {layer: len(found) for layer, found in self.neurons.by_layer().items()},
            "C": facts["C"],
            "chosen_by": facts["chosen_by"],
            "converged": facts["converged"],
            "gap": facts["gap"],
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
    """The probe at the chosen C, with as many random neurons fitted beside it, their C tuned on the selection split.

    choice: a row per C, as choice.choices makes it. Raises HNeuronsError if no C yields a positive weight: then there are
    no H-Neurons to speak of.
    """
    full = path.classifiers[chosen_C(choice)]
    columns = ShardColumns(shards)
    d_ff, held_out = columns.d_ff, answer_rows(columns, "selection")
    used = full.layers * d_ff + full.neurons
    positive = used[full.weights > 0]
    classifiers = {PROBE: full}
    wanted: dict[str, np.ndarray] = {REFIT: positive}
    for i in range(1, settings.random_seeds + 1):
        rng = np.random.default_rng([seed, i])
        for name, size in (("random", len(used)), ("random-refit", len(positive))):
            wanted[f"{name}-{i}"] = random_columns(rng, columns.p, used, size)
    # All of them in one reading.
    of_full, *of_wanted = columns.take_each([used, *wanted.values()])
    problem = training_problem(columns, settings.labels)
    labels = np.array([columns.rows[i]["label"] for i in held_out])
    for name, X in tqdm(list(zip(wanted, of_wanted, strict=True)), desc=f"baselines of {len(used)} neurons"):
        classifiers[name] = _tuned(X, wanted[name], d_ff, problem, held_out, labels, settings)
    logits = full.logits(of_full[held_out])
    row = choice[choice["chosen"]].iloc[0]
    facts = {
        **made_by,
        "layers": columns.layers,
        "d_ff": d_ff,
        "C": full.C,
        "intercept": full.intercept,
        "chosen_by": str(row["chosen_by"]),
        **{name: path.facts[full.C][name] for name in ("converged", "gap", "violation")},
        "calibration": reliability(labels, expit(logits)),
        "features": columns.fingerprint,
    }
    weights = full.weights
    stability = path.stability[full.C]["bootstrap"]
    neurons = NeuronSet(full.layers, full.neurons, weights, weights > 0, facts, stability)
    return Probe(neurons, classifiers)


def random_columns(rng: np.random.Generator, p: int, used: np.ndarray, size: int | None = None) -> np.ndarray:
    """As many random columns as are used, at least one, none of them; where nearly all are used (L2), any."""
    size = max(1, len(used)) if size is None else size
    free = np.setdiff1d(np.arange(p), used)
    return np.sort(rng.choice(free if len(free) >= size else p, size=size, replace=False))


def _tuned(
    X: np.ndarray,
    ids: np.ndarray,
    d_ff: int,
    problem: Problem,
    held_out: np.ndarray,
    labels: np.ndarray,
    settings: ProbeSettings,
) -> Classifier:
    """Some neurons fitted at every C, and of these the best on the selection split: of equals by AUROC, the smallest C."""
    how = settings.penalty, settings.intercept
    fits = fit_paths(ArrayColumns(X), [problem], settings.C, *how, progress=False).fits[0]

    def merit(i: int) -> tuple[float, float, float]:
        logits = fits[i].logits(X[np.ix_(held_out, fits[i].columns)])
        return float(((logits > 0) == (labels == 1)).mean()), auroc(labels, logits), -fits[i].C

    # A fit without weights is a constant.
    usable = [i for i, fit in enumerate(fits) if len(fit.columns)] or range(len(fits))
    best = fits[max(usable, key=merit)]
    weights = np.zeros(len(ids))
    weights[best.columns] = best.weights
    return Classifier(ids // d_ff, ids % d_ff, weights, best.intercept, best.C)
