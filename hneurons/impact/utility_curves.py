"""Cost of scaling as curves over α, from the results of the stages perplexity and scaled_cett."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from hneurons import store
from hneurons.config.impact import H_NEURONS, UNTOUCHED, UNTOUCHED_ALPHA
from hneurons.records import PERPLEXITY, SCALED_CETT
from hneurons.stats.estimates import Groups, Interval, mean_estimate

# The perplexity of a broken model may overflow: e^50 is a bound that any figure can show.
_LARGEST_EXPONENT = 50.0


@dataclass(frozen=True)
class PerplexityPoint:
    """Perplexity of a held-out text at one α.

    Attributes:
        alpha: the scaling factor.
        perplexity: the perplexity.
        ratio, interval: its ratio to the untouched model's perplexity, with an interval over windows; None with one window.
    """

    alpha: float
    perplexity: float
    ratio: float
    interval: Interval | None


@dataclass(frozen=True)
class CettPoint:
    """CETT(α) / CETT(1) over the H-Neurons at one α.

    Attributes:
        alpha: the scaling factor.
        median, quartiles: of the ratio over neurons.
        neurons: number of neurons.
    """

    alpha: float
    median: float
    quartiles: Interval
    neurons: int


@dataclass(frozen=True)
class UtilityCurves:
    """Cost of scaling for one model.

    Attributes:
        model: name of the model.
        perplexity, cett: points by neuron set; empty if not measured.
    """

    model: str
    perplexity: dict[str, list[PerplexityPoint]] = field(default_factory=dict)
    cett: dict[str, list[CettPoint]] = field(default_factory=dict)


def _exp(value: float) -> float:
    return math.exp(min(_LARGEST_EXPONENT, value))


def perplexity_curve(table: pa.Table) -> dict[str, list[PerplexityPoint]]:
    """Compute the perplexity per neuron set and α, and compare it with the untouched model's on the same windows.

    Args:
        table: rows of schema PERPLEXITY.
    """
    frame = table.to_pandas()
    untouched = frame[frame["neurons"] == UNTOUCHED].sort_values("window")
    base, count = untouched["nll"].to_numpy(), untouched["tokens"].to_numpy()

    windows = Groups.from_names(np.arange(len(count)))
    curves: dict[str, list[PerplexityPoint]] = {}
    for (name, alpha), rows in frame.groupby(["neurons", "alpha"], sort=True):
        nll = rows.sort_values("window")["nll"].to_numpy()
        # The log of the ratio, a mean over tokens.
        change = mean_estimate((nll - base) / count, windows, count)
        bounds = change.interval()
        interval = (_exp(bounds[0]), _exp(bounds[1])) if bounds else None
        point = PerplexityPoint(float(alpha), _exp(float(nll.sum() / count.sum())), _exp(change.value), interval)
        curves.setdefault(str(name), []).append(point)
    return curves


def cett_ratios(table: pa.Table) -> list[CettPoint]:
    """Compute CETT(α) / CETT(1) over the H-Neurons for each α. To first order the ratio is α (eq. 7).

    Args:
        table: rows of schema SCALED_CETT.
    """
    frame: pd.DataFrame = table.to_pandas().set_index(["layer", "neuron"])
    at_1 = frame[frame["alpha"] == UNTOUCHED_ALPHA]["cett"]
    # The ratio is undefined for a neuron that is never active.
    at_1 = at_1[at_1 > 0]
    points = []
    for alpha in sorted(set(frame["alpha"])):
        ratios = (frame[frame["alpha"] == alpha]["cett"].reindex(at_1.index) / at_1).to_numpy()
        low, median, high = (float(np.quantile(ratios, q)) for q in (0.25, 0.5, 0.75))
        points.append(CettPoint(float(alpha), median, (low, high), len(ratios)))
    return points


def read_utility(models: Sequence[str], perplexity: Sequence[str], scaled_cett: Sequence[str]) -> list[UtilityCurves]:
    """Read the cost of scaling of each model; the accuracy on test questions is a curve of its benchmark.

    Args:
        models: names of the models.
        perplexity, scaled_cett: files of the two stages, one per model, or none at all.
    """
    curves = [perplexity_curve(store.read_table(path, PERPLEXITY)) for path in perplexity]
    ratios = [{H_NEURONS: cett_ratios(store.read_table(path, SCALED_CETT))} for path in scaled_cett]
    empty: list[dict[str, list[PerplexityPoint]]] = [{}] * len(models)
    return [UtilityCurves(*parts) for parts in zip(models, curves or empty, ratios or [{}] * len(models), strict=True)]
