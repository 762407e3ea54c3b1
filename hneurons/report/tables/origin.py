"""Parameter drift as a long table."""

from collections.abc import Sequence

import pandas as pd

from hneurons.config.paper import Paper
from hneurons.origin.drift import DriftReport
from hneurons.report.tables.rows import bounds, pick, with_holm


def drift_table(reports: Sequence[DriftReport], paper: Paper | None = None) -> pd.DataFrame:
    """Make the table of parameter drift.

    Args:
        reports: one per pair of models.
        paper: adds the paper's mean rank to backward rows that rank among all neurons.

    Returns:
        Two rows per report: the H-Neurons ranked among all neurons, and among those of their layer. p is also
        corrected for the pairs of models.
    """
    rows = []
    for report in reports:
        paper_rank = paper.drift(report.model) if paper and report.direction == "backward" else None
        tests = (("all neurons", report.all, paper_rank), ("neurons of the same layer", report.within_layers, None))
        rows += [
            {
                **pick(report, "model", "partner", "direction", "neurons"),
                "ranked_among": among,
                "h_neurons": test.n,
                "mean_rank": test.mean_rank,
                **bounds(test.interval),
                "paper_mean_rank": paper_mean,
                "others_mean_rank": test.others,
                "effect_d": test.effect_d,
                "t": test.t,
                "p_t_one_sided": test.p_t,
                "p_permutation_one_sided": test.p_permutation,
            }
            for among, test, paper_mean in tests
        ]
    table = pd.DataFrame(rows)
    for p in ("p_t_one_sided", "p_permutation_one_sided"):
        table = with_holm(table, p, ["ranked_among"])
    return table
