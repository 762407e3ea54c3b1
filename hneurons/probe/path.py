"""Stage "probe_path": the probe at every C of the grid, and how stable each of its neurons is (METHOD.md §1, eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hneurons import store
from hneurons.cett.columns import ShardColumns
from hneurons.config.study import ProbeSettings
from hneurons.errors import HNeuronsError
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.probe.classifiers import Classifier, classifier_of
from hneurons.probe.estimator import fit_paths, training_problem
from hneurons.probe.l1_path import Fit, Problem
from hneurons.records import PATH
from hneurons.stats import auroc


@dataclass(frozen=True)
class ProbePath:
    """The probe at every C. classifiers and facts by C, ascending; stability: per C a share of resamples a weight."""

    classifiers: dict[float, Classifier]
    facts: dict[float, dict[str, Any]]
    stability: dict[float, dict[str, np.ndarray]]

    def save(self, path: str | Path, made_by: dict[str, Any]) -> None:
        """One row per C and weight, what is true of a C as a whole in the metadata."""
        tables = [
            pa.table(
                {
                    "C": np.full(len(c.weights), C),
                    "layer": c.layers,
                    "neuron": c.neurons,
                    "weight": c.weights,
                    **self.stability[C],
                }
            ).cast(PATH)
            for C, c in self.classifiers.items()
        ]
        intercepts = {repr(C): {"intercept": c.intercept, **self.facts[C]} for C, c in self.classifiers.items()}
        store.write_table(path, pa.concat_tables(tables), {**made_by, "path": intercepts})

    @classmethod
    def load(cls, path: str | Path) -> ProbePath:
        """Raises HNeuronsError if a column is missing or of another type."""
        frame = store.read_table(path, PATH).to_pandas()
        found = cls({}, {}, {})
        of_C = {float(C): facts for C, facts in store.made_by(path)["path"].items()}
        for C in sorted(of_C):
            facts, part = of_C[C], frame[frame["C"] == C]
            layers, neurons, weights = (part[c].to_numpy() for c in ("layer", "neuron", "weight"))
            found.classifiers[C] = Classifier(layers, neurons, weights, facts.pop("intercept"), C)
            found.facts[C] = facts
            found.stability[C] = {c: part[c].to_numpy() for c in STABILITIES}
        return found


STABILITIES = ("over_C", "bootstrap", "halves")


def fit_probe_path(
    shards: Sequence[str | Path], settings: ProbeSettings, seed: int, memory_gb: float, threads: int = 1
) -> ProbePath:
    """The probe of the in-domain shards at every C, with its accuracy on the answers of the selection split.

    Resamples of the training questions go through the same passes over the data: `resamples` bootstraps, and as many draws
    of half of the questions of either class. An L2 probe weighs every neuron, so there is no choice to be stable.
    """
    columns = ShardColumns(shards, memory_gb)
    main = training_problem(columns, settings.labels)
    if len(held_out := answer_rows(columns, "selection")) == 0:
        raise HNeuronsError("no answers in the selection split to choose C by; see the counts in examples/*.json")
    resamples = settings.resamples if settings.penalty == "l1" else 0
    questions = np.array([f"{row['question_id']}/{row['sample']}" for row in columns.rows])
    hallucinated = np.array([row["label"] == 1 for row in columns.rows])
    boots = [_resampled(main, questions, hallucinated, [seed, 1, i], bootstrap=True) for i in range(resamples)]
    halves = [_resampled(main, questions, hallucinated, [seed, 2, i], bootstrap=False) for i in range(resamples)]
    Cs = sorted(settings.C)
    how = settings.penalty, settings.intercept
    paths = fit_paths(columns, [main, *boots, *halves], Cs, *how, memory_gb=memory_gb, threads=threads)
    labels = np.array([columns.rows[i]["label"] for i in held_out])
    found = ProbePath({}, {}, {})
    fits = dict(zip(Cs, paths.fits[0], strict=True))
    used = np.unique(np.concatenate([fit.columns for fit in fits.values()]))
    X = columns.take(used)[held_out]
    for at, (C, fit) in enumerate(fits.items()):
        logits = fit.logits(X[:, np.searchsorted(used, fit.columns)])
        correct = (logits > 0) == (labels == 1)
        found.classifiers[C] = classifier_of(fit, columns.d_ff)
        found.facts[C] = {
            "selection_n": len(labels),
            "selection_accuracy": float(correct.mean()),
            "selection_auroc": auroc(labels, logits),
            "objective": fit.objective,
            "gap": fit.gap,
            "violation": fit.violation,
            "converged": fit.converged,
            "passes": fit.passes,
        }
        drawn = {"bootstrap": paths.fits[1 : 1 + resamples], "halves": paths.fits[1 + resamples :]}
        found.stability[C] = {"over_C": _share(fit, list(fits.values()))} | {
            name: _share(fit, [of[at] for of in resampled]) for name, resampled in drawn.items()
        }
    return found


def answer_rows(columns: ShardColumns, split: str) -> np.ndarray:
    """Indices of a split's answers: what is scored."""
    return np.array([i for i, r in enumerate(columns.rows) if r["split"] == split and r["region"] == "answer"], dtype=int)


def _resampled(
    problem: Problem, questions: np.ndarray, hallucinated: np.ndarray, seed: list[int], *, bootstrap: bool
) -> Problem:
    """Training questions drawn anew, both rows of one together and each class by itself, so that it stays balanced."""
    rng = np.random.default_rng(seed)
    weight = np.zeros(len(questions))
    for label in (True, False):
        mine = np.unique(questions[(problem.weight > 0) & (hallucinated == label)])
        size = len(mine) if bootstrap else -(-len(mine) // 2)
        drawn, counts = np.unique(rng.choice(mine, size=size, replace=bootstrap), return_counts=True)
        times = dict(zip(drawn, counts, strict=True))
        weight += [times.get(q, 0) if h == label else 0 for q, h in zip(questions, hallucinated, strict=True)]
    return Problem(problem.y, problem.weight * weight)


def _share(fit: Fit, others: Sequence[Fit]) -> np.ndarray:
    """Of the other fits, the share in which a weight has the sign that it has here; NaN if there are none."""
    agree = np.zeros(len(fit.columns))
    for other in others:
        _, here, there = np.intersect1d(fit.columns, other.columns, assume_unique=True, return_indices=True)
        agree[here] += np.sign(fit.weights[here]) == np.sign(other.weights[there])
    return agree / len(others) if others else np.full(len(fit.columns), np.nan)


def distinct_neuron_sets(path: ProbePath) -> dict[str, dict[int, list[int]]]:
    """The different sets of H-Neurons along the path by their mark, each as neurons by layer; no empty one."""
    return {neuron_set_mark(c): h_neurons_by_layer(c) for c in path.classifiers.values() if (c.weights > 0).any()}


def h_neurons_by_layer(classifier: Classifier) -> dict[int, list[int]]:
    """Neurons with a positive weight, by layer."""
    return NeuronSet(classifier.layers, classifier.neurons, classifier.weights, classifier.weights > 0).by_layer()


def neuron_set_mark(classifier: Classifier) -> str:
    """The same for classifiers whose H-Neurons are the same; empty where there are none."""
    found = h_neurons_by_layer(classifier)
    return store.fingerprint(found) if found else ""
