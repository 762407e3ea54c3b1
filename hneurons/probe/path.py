"""Stage "probe_path": the probe at every C of the grid, and how stable each of its neurons is (eq. 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hneurons import store
from hneurons.cett.columns import ShardColumns
from hneurons.config.study import ProbeSettings
from hneurons.errors import HNeuronsError
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.probe.classifiers import Classifier, classifier_of
from hneurons.records import PATH
from hneurons.stats.auroc import auroc
from hneurons.stats.coverage import covered
from hneurons.stats.estimates import Groups, mean_estimate

if TYPE_CHECKING:
    from hneurons.probe.l1_path import Fit, Problem


@dataclass(frozen=True)
class ProbePath:
    """The probe at every C, ascending.

    Attributes:
        classifiers: by C.
        facts: by C: size of the selection split, accuracy and AUROC on it, objective, gap, violation, converged, passes.
        stability: by C and name in STABILITIES: the share of other fits in which each weight has the same sign, [weights].
    """

    classifiers: dict[float, Classifier]
    facts: dict[float, dict[str, Any]]
    stability: dict[float, dict[str, np.ndarray]]

    def save(self, path: str | Path, made_by: dict[str, Any]) -> None:
        """Write path.parquet: a row per C and weight, with the intercept and the facts of each C in the metadata."""
        tables = [
            pa.table({"C": np.full(len(c.weights), C), **c.columns, **self.stability[C]}).cast(PATH)
            for C, c in self.classifiers.items()
        ]
        intercepts = {repr(C): {"intercept": c.intercept, **self.facts[C]} for C, c in self.classifiers.items()}
        store.write_table(path, pa.concat_tables(tables), {**made_by, "path": intercepts})

    @classmethod
    def load(cls, path: str | Path) -> ProbePath:
        """Read path.parquet.

        Raises:
            HNeuronsError: a column is missing or has another type.
        """
        frame = store.read_table(path, PATH).to_pandas()
        probe_path = cls({}, {}, {})
        facts_by_C = {float(C): facts for C, facts in store.made_by(path)["path"].items()}
        for C, facts in sorted(facts_by_C.items()):
            part = frame[frame["C"] == C]
            probe_path.classifiers[C] = Classifier.of_rows(part, facts.pop("intercept"), C)
            probe_path.facts[C] = facts
            probe_path.stability[C] = {c: part[c].to_numpy() for c in STABILITIES}
        return probe_path


# The numbers of a Fit that tables show: how good it is, and what it took.
FIT_FACTS = ("objective", "gap", "violation", "converged", "passes")
# The fits that a weight's sign is compared with: at every C of the grid, on bootstraps, on halves of the questions.
STABILITIES = ("over_C", "bootstrap", "halves")


def fit_probe_path(
    shards: Sequence[str | Path],
    settings: ProbeSettings,
    seed: int,
    memory_gb: float,
    threads: int = 1,
    *,
    gold_of: Mapping[str, str],
    selection: bool = True,
) -> ProbePath:
    """Fit the probe at every C and score it on the answers of the selection split.

    Resamples of the training questions share the passes over the data: `settings.resamples` bootstraps and the same number
    of draws of half of the questions, each class drawn separately. An L2 probe weighs every neuron and selects none, so it
    is not resampled.

    Args:
        shards: CETT shards of the in-domain questions.
        settings: C grid, penalty, labels, intercept and number of resamples.
        seed: of the resamples.
        memory_gb: bounds the memory for columns.
        threads: fits that run in parallel.
        gold_of: connected set of accepted answers by question id: the unit of the accuracy's interval.
        selection: whether there is a selection split to score on; if not, C must be chosen in folds.

    Returns:
        The path, with NaN for the stability under resamples where there were none.

    Raises:
        HNeuronsError: the selection split has no answers, the training rows have one class only, or the shards are invalid.
    """
    # Slow to import, and what reads a path does not fit.
    from hneurons.probe.estimator import fit_paths, training_problem

    # 1. The problems: all training rows, and their resamples
    columns = ShardColumns(shards, memory_gb)
    main = training_problem(columns, settings.labels)
    if len(held_out := answer_rows(columns, "selection")) == 0 and selection:
        raise HNeuronsError("no answers in the selection split to choose C by; see the counts in examples/*.json")
    resamples = settings.resamples if settings.penalty == "l1" else 0
    questions = np.array([f"{row['question_id']}/{row['sample']}" for row in columns.rows])
    hallucinated = np.array([row["label"] == 1 for row in columns.rows])
    bootstraps = [_resampled(main, questions, hallucinated, [seed, 1, i], bootstrap=True) for i in range(resamples)]
    halves = [_resampled(main, questions, hallucinated, [seed, 2, i], bootstrap=False) for i in range(resamples)]
    Cs = sorted(settings.C)
    # 2. All fits
    options: dict[str, Any] = {"memory_gb": memory_gb, "threads": threads}
    paths = fit_paths(columns, [main, *bootstraps, *halves], Cs, settings.penalty, settings.intercept, **options)
    # 3. At each C: accuracy on held-out answers, and the stability of each weight
    path = ProbePath({}, {}, {})
    fits = dict(zip(Cs, paths.fits[0], strict=True))
    scores = _selection_scores(columns, held_out, list(fits.values()), gold_of) if selection else [{}] * len(fits)
    for i, (C, fit) in enumerate(fits.items()):
        path.classifiers[C] = classifier_of(fit, columns.widths)
        path.facts[C] = {**scores[i], **{name: getattr(fit, name) for name in FIT_FACTS}}
        path.stability[C] = {
            "over_C": _same_sign_share(fit, list(fits.values())),
            "bootstrap": _same_sign_share(fit, [resample[i] for resample in paths.fits[1 : 1 + resamples]]),
            "halves": _same_sign_share(fit, [resample[i] for resample in paths.fits[1 + resamples :]]),
        }
    return path


def _selection_scores(
    columns: ShardColumns, held_out: np.ndarray, fits: Sequence[Fit], gold_of: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Accuracy and AUROC of each fit on the answers of the selection split."""
    labels = np.array([columns.rows[i]["label"] for i in held_out])
    groups = Groups.from_names([gold_of[columns.rows[i]["question_id"]] for i in held_out])
    used = np.unique(np.concatenate([fit.columns for fit in fits]))
    X = columns.take(used)[held_out]
    scores = []
    for fit in fits:
        logits = fit.logits(X[:, np.searchsorted(used, fit.columns)])
        accuracy = mean_estimate(((logits > 0) == (labels == 1)).astype(float), groups)
        interval = covered("rate", accuracy.share_interval(), len(labels), len(labels) / groups.count, accuracy.value)
        scores.append(
            {
                "selection_n": len(labels),
                "selection_accuracy": accuracy.value,
                "selection_interval": list(interval.interval) if interval.interval else None,
                "selection_auroc": auroc(labels, logits),
            }
        )
    return scores


def answer_rows(columns: ShardColumns, split: str) -> np.ndarray:
    """Indices of the rows that are scored: the answer regions of a split."""
    return np.array([i for i, r in enumerate(columns.rows) if r["split"] == split and r["region"] == "answer"], dtype=int)


def _resampled(
    problem: Problem, questions: np.ndarray, hallucinated: np.ndarray, seed: list[int], *, bootstrap: bool
) -> Problem:
    """Redraw the training questions: all rows of a question together, each class separately so that both stay balanced.

    A bootstrap draws with replacement; otherwise half of the questions of each class are drawn without.
    """
    rng = np.random.default_rng(seed)
    weight = np.zeros(len(questions))
    for label in (True, False):
        pool = np.unique(questions[(problem.weight > 0) & (hallucinated == label)])
        size = len(pool) if bootstrap else -(-len(pool) // 2)
        times = Counter(rng.choice(pool, size=size, replace=bootstrap))
        weight += [times[q] if h == label else 0 for q, h in zip(questions, hallucinated, strict=True)]
    return replace(problem, weight=problem.weight * weight)


def _same_sign_share(fit: Fit, others: Sequence[Fit]) -> np.ndarray:
    """Share of `others` in which a weight of `fit` has the same sign, [weights]; NaN without others."""
    agree = np.zeros(len(fit.columns))
    for other in others:
        _, i, j = np.intersect1d(fit.columns, other.columns, assume_unique=True, return_indices=True)
        agree[i] += np.sign(fit.weights[i]) == np.sign(other.weights[j])
    return agree / len(others) if others else np.full(len(fit.columns), np.nan)


def distinct_neuron_sets(path: ProbePath) -> dict[str, dict[int, list[int]]]:
    """The different sets of H-Neurons along the path: neurons by layer, by the set's mark. Empty sets are left out."""
    return {neuron_set_mark(c): h_neurons_by_layer(c) for c in path.classifiers.values() if (c.weights > 0).any()}


def h_neurons_by_layer(classifier: Classifier) -> dict[int, list[int]]:
    """The H-Neurons of a classifier, by layer: those with a positive weight."""
    return NeuronSet(classifier.layers, classifier.neurons, classifier.weights, classifier.weights > 0).by_layer()


def neuron_set_mark(classifier: Classifier) -> str:
    """Fingerprint of a classifier's H-Neurons, equal where the neurons are; "" for a classifier without H-Neurons."""
    neurons = h_neurons_by_layer(classifier)
    return store.fingerprint(neurons) if neurons else ""
