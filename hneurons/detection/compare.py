"""Compare methods on the same answers: accuracy, AUROC and the probe's lead, with intervals over gold answers."""

from collections.abc import Mapping, Sequence

import numpy as np

from hneurons.detection.results import METHODS, MethodScore, SweepPoint, method_name
from hneurons.probe.classifiers import PROBE
from hneurons.stats.auroc import stratified_auroc
from hneurons.stats.coverage import covered
from hneurons.stats.estimates import (
    SETS_FOR_RANK,
    Estimate,
    Groups,
    Interval,
    mean_estimate,
    mean_of_sets,
    minus_sets,
)


def score_methods(
    labels: np.ndarray,
    logits: Mapping[str, np.ndarray],
    gold: Sequence[str],
    used: Mapping[str, tuple[int, float]] | None = None,
    strata: np.ndarray | None = None,
) -> list[MethodScore]:
    """Compute accuracy at p = 0.5 and AUROC of every method with intervals, and the probe's lead in AUROC.

    Args:
        labels: [rows], 1 is hallucinated.
        logits: [rows] per method; methods named random-l1-1, random-l1-2, … become one score, the mean over the sets.
        gold: [rows], connected sets of accepted answers: the unit of the intervals.
        used: number of neurons and the share of them that keeps a weight, by the name in logits.
        strata: [rows], folds, within which rows are compared; None compares all rows.
    """
    strata = np.zeros(len(labels), dtype=int) if strata is None else strata
    groups, n = Groups.from_names(gold), int(min((labels == 1).sum(), (labels == 0).sum()))
    per_answer = len(labels) / groups.count
    sets: dict[str, list[str]] = {}
    for name in logits:
        sets.setdefault(method_name(name), []).append(name)
    areas = {name: [stratified_auroc(labels, logits[fit], groups, strata) for fit in names] for name, names in sets.items()}
    probe = areas[PROBE][0]
    scores = []
    for name in (m for m in METHODS if m in sets):
        hits = [mean_estimate(((logits[fit] > 0) == (labels == 1)).astype(float), groups) for fit in sets[name]]
        accuracy, area = mean_of_sets(hits), mean_of_sets(areas[name])
        lead = None if name == PROBE else minus_sets(probe, areas[name])
        shares = [used[fit] for fit in sets[name] if used and fit in used]
        shown = covered("auroc", area.share_interval(), n, per_answer, area.value)
        hit_rate = covered("rate", accuracy.share_interval(), len(labels), per_answer, accuracy.value)
        scores.append(
            MethodScore(
                method=name,
                seeds=len(sets[name]),
                auroc_of_seeds=[a.value for a in areas[name]],
                n_hallucinated=int((labels == 1).sum()),
                n_faithful=int((labels == 0).sum()),
                accuracy=accuracy.value,
                accuracy_interval=hit_rate.interval,
                auroc=area.value,
                auroc_interval=shown.interval,
                lead=None if lead is None else lead.value,
                lead_interval=None if lead is None else _lead_interval(lead, n, per_answer),
                coverage=shown.coverage,
                neurons_used=shares[0][0] if shares else None,
                share_used=float(np.mean([share for _, share in shares])) if shares else None,
                rank=_rank(probe, areas[name]),
            )
        )
    return scores


def _lead_interval(lead: Estimate, n: int, per_answer: float) -> Interval | None:
    return covered("difference", lead.interval(), n, per_answer).interval


def _rank(probe: Estimate, areas: Sequence[Estimate]) -> int | None:
    """Rank of the probe among itself and random sets; ties count against it."""
    return 1 + sum(a.value >= probe.value for a in areas) if len(areas) >= SETS_FOR_RANK else None


def sweep_points(
    labels: np.ndarray,
    probe: np.ndarray,
    logits: Mapping[int, Sequence[np.ndarray]],
    gold: Sequence[str],
    strata: np.ndarray,
) -> list[SweepPoint]:
    """Score random sets in growing numbers, and the probe's lead over them.

    Args:
        labels: [rows], 1 is hallucinated.
        probe: [rows], log-odds of the probe.
        logits: [rows] of each random set, by the number of its neurons.
        gold: [rows], connected sets of accepted answers.
        strata: [rows], folds, within which rows are compared.
    """
    groups, n = Groups.from_names(gold), int(min((labels == 1).sum(), (labels == 0).sum()))
    of_probe, per_answer = stratified_auroc(labels, probe, groups, strata), len(labels) / groups.count
    points = []
    for neurons, of_sets in sorted(logits.items()):
        areas = [stratified_auroc(labels, values, groups, strata) for values in of_sets]
        area = mean_of_sets(areas)
        lead = minus_sets(of_probe, areas)
        interval = covered("auroc", area.share_interval(), n, per_answer, area.value).interval
        shown = _lead_interval(lead, n, per_answer)
        rank = _rank(of_probe, areas)
        points.append(SweepPoint(neurons, len(of_sets), area.value, interval, lead.value, shown, rank))
    return points
