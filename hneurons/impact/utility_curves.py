"""The cost of scaling as curves over α, from what the stages perplexity and scaled_cett measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hneurons import store
from hneurons.neurons.neuron_set import H_NEURONS
from hneurons.records import PERPLEXITY, SCALED_CETT
from hneurons.stats import bootstrap_intervals


def perplexity_curve(table: pa.Table, *, resamples: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Per set and α: perplexity, and its ratio to the untouched model's with an interval over the same windows."""
    frame = table.to_pandas()
    untouched = frame[frame["neurons"] == "untouched"].sort_values("window")
    base, count = untouched["nll"].to_numpy(), untouched["tokens"].to_numpy()

    def ratio(tokens: np.ndarray, theirs: np.ndarray, ours: np.ndarray) -> float:
        # Of a broken model it may not be a float: a bound that any figure can show.
        return math.exp(min(50.0, float((theirs - ours).sum() / tokens.sum())))

    found: dict[str, list[dict[str, Any]]] = {}
    for (name, alpha), rows in frame.groupby(["neurons", "alpha"], sort=True):
        nll = rows.sort_values("window")["nll"].to_numpy()
        columns = [count, nll, base]
        ((low, high, _),) = bootstrap_intervals(
            lambda *drawn: np.array([ratio(*drawn)]), columns, resamples=resamples, seed=seed
        )
        found.setdefault(str(name), []).append(
            {
                "alpha": float(alpha),
                "perplexity": math.exp(min(50.0, float(nll.sum() / count.sum()))),
                "ratio": ratio(*columns),
                "interval": (low, high),
            }
        )
    return found


def cett_ratios(table: pa.Table) -> list[dict[str, Any]]:
    """CETT(α) / CETT(1) over the H-Neurons, per α: median and quartiles. To first order it is α (eq. 7)."""
    frame: pd.DataFrame = table.to_pandas().set_index(["layer", "neuron"])
    at_1 = frame[frame["alpha"] == 1]["cett"]
    # A neuron that is never active has no ratio.
    at_1 = at_1[at_1 > 0]
    found = []
    for alpha in sorted(set(frame["alpha"])):
        rows = frame[frame["alpha"] == alpha]
        ratios = (rows["cett"].reindex(at_1.index) / at_1).to_numpy()
        low, median, high = (float(np.quantile(ratios, q)) for q in (0.25, 0.5, 0.75))
        found.append({"alpha": float(alpha), "median": median, "quartiles": (low, high), "neurons": len(ratios)})
    return found


def read_utility(
    models: Sequence[str], perplexity: Sequence[str], scaled_cett: Sequence[str], *, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """What the utility figure shows of each model besides the accuracy on test questions, from the files of both stages, as
    many as models or none."""
    found: list[dict[str, Any]] = [{"model": model, "perplexity": {}, "cett": {}} for model in models]
    for one, path in zip(found, perplexity, strict=False):
        table = store.read_table(path, PERPLEXITY)
        one["perplexity"] = perplexity_curve(table, resamples=resamples, seed=seed)
    for one, path in zip(found, scaled_cett, strict=False):
        one["cett"] = {H_NEURONS: cett_ratios(store.read_table(path, SCALED_CETT))}
    return found
