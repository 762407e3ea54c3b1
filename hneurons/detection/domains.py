"""The probe fitted on each domain of labelled pairs and tested on each, and how many neurons the fits share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hneurons.cett.columns import ShardColumns
from hneurons.config.study import ProbeSettings
from hneurons.errors import HNeuronsError
from hneurons.probe.design import Design
from hneurons.probe.path import answer_rows
from hneurons.probe.tuned import tuned_probes
from hneurons.stats.auroc import auroc
from hneurons.stats.overlap import overlap_of

if TYPE_CHECKING:
    from hneurons.detection.pairs import Pair


def compare_domains(
    columns: ShardColumns, design: Design, pairs: Sequence[Pair], settings: ProbeSettings, memory_gb: float, threads: int
) -> pd.DataFrame:
    """Fit the probe on each domain and test it on each, and compare the neurons of all fits.

    Args:
        columns: rows of CETT shards.
        design: all rows, with their groups.
        pairs: the pairs, with their domains.
        settings: of the probe.
        memory_gb: memory for features.
        threads: threads for the fits.

    Returns:
        A row per domain `fit_on` and `tested_on`, with the numbers of answers, AUROC (on the same domain in folds over
        groups), how many H-Neurons each domain's fit has, how many they share, how many two random sets of these sizes
        would, and the probability that they share this many by chance.

    Raises:
        HNeuronsError: with fewer than two domains, or a domain without both classes in two groups.
    """
    domain_of = {pair.key: pair.domain for pair in pairs}
    domains = sorted(set(domain_of.values()) - {""})
    if len(domains) < 2:
        raise HNeuronsError("domains are compared where at least two are named in `domain`")
    of_rows = [domain_of[row["question_id"]] for row in columns.rows]
    designs = {}
    for domain in domains:
        others = [i for i, name in enumerate(of_rows) if name != domain]
        designs[domain] = design.without(np.array(others, dtype=int))
        if not designs[domain].inner_folds:
            raise HNeuronsError(f"domain {domain!r} has too few pairs: both classes are needed in at least two groups")
    used, probes = tuned_probes(columns, list(designs.values()), settings, memory_gb, threads)
    X = columns.take(used)
    answers = answer_rows(columns, "train")
    labels = np.array([row["label"] for row in columns.rows])
    positive = {domain: set(used[fit.weights > 0].tolist()) for domain, fit in zip(domains, probes, strict=True)}
    rows = []
    for fit_on, fit in zip(domains, probes, strict=True):
        for tested_on in domains:
            tested = [i for i in answers if of_rows[i] == tested_on]
            logits = fit.held_out[tested] if tested_on == fit_on else fit.logits(X[tested])
            a, b = positive[fit_on], positive[tested_on]
            overlap = overlap_of(a, b, columns.p)
            rows.append(
                {
                    "fit_on": fit_on,
                    "tested_on": tested_on,
                    "n": len(tested),
                    "C": fit.C,
                    "auroc": auroc(labels[tested], logits),
                    "h_neurons": len(a),
                    "h_neurons_of_tested": len(b),
                    "shared": overlap.shared,
                    "shared_by_chance": overlap.by_chance,
                    "p": overlap.p if fit_on != tested_on else None,
                }
            )
    return pd.DataFrame(rows)
