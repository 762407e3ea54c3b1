"""Detection across domains: the probe of each in-domain set on every set, and how many neurons the probes share."""

from collections.abc import Sequence

import pandas as pd

from hneurons.detection.results import METHODS, DatasetScores
from hneurons.models.widths import Widths
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.probe.classifiers import PROBE
from hneurons.report.tables.rows import TableRow, bounds, pick
from hneurons.stats.overlap import overlap_of


def domains_table(scores: Sequence[DatasetScores], sets: Sequence[NeuronSet], in_domain: str) -> pd.DataFrame:
    """Make the table, a row per model, in-domain set whose probe is scored, and set whose answers it scores.

    Args:
        scores: of every probe on every set.
        sets: the neurons of every probe; their metadata name the model and the in-domain set.
        in_domain: the main in-domain set, which scores without `trained_on` belong to.

    Returns:
        AUROC with its interval, the stronger random control, the lead over it, what the probe is not shown to beat; the
        numbers of H-Neurons and, for two in-domain sets, how many their probes share. A set with too few examples of a
        class has a row with a note.
    """
    selected, total = {}, {}
    for neurons in sets:
        facts = neurons.made_by
        places = zip(neurons.layers[neurons.selected].tolist(), neurons.neurons[neurons.selected].tolist(), strict=True)
        selected[facts["model"], facts["in_domain"]] = set(places)
        total[facts["model"]] = Widths.from_facts(facts).total
    rows: list[TableRow] = []
    for of_set in scores:
        fit_on = of_set.trained_on or in_domain
        chosen = selected[of_set.model, fit_on]
        row: TableRow = {"model": of_set.model, "fit_on": fit_on, "tested_on": of_set.dataset, "h_neurons": len(chosen)}
        row |= _detection(of_set) if of_set.methods else {"note": of_set.note}
        other = selected.get((of_set.model, of_set.dataset))
        if other is not None and of_set.dataset != fit_on:
            overlap = overlap_of(chosen, other, total[of_set.model])
            row |= {"h_neurons_of_tested": len(other), **pick(overlap, "shared")}
            row |= {"shared_by_chance": round(overlap.by_chance, 3), "overlap_p": overlap.p}
        rows.append(row)
    # Also where no set has enough examples of both classes.
    names = dict.fromkeys([*(name for row in rows for name in row), "auroc", "difference_says"])
    return pd.DataFrame(rows, columns=list(names)).round({"auroc": 4, "control_auroc": 4, "probe_minus_control_auroc": 4})


def _detection(scores: DatasetScores) -> TableRow:
    """The probe and its stronger random control on one set."""
    probe, control = scores.of_method(PROBE), scores.control
    return {
        **pick(probe, "n_hallucinated", "n_faithful", "auroc"),
        **bounds(probe.auroc_interval, "auroc_"),
        "coverage": probe.coverage,
        "control": METHODS[control.method],
        "control_auroc": control.auroc,
        "probe_minus_control_auroc": control.lead,
        **bounds(control.lead_interval, "difference_"),
        "difference_says": control.difference,
        "not_beaten": "; ".join(METHODS[name] for name in scores.not_beaten),
        "note": scores.note,
    }
