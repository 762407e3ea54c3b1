"""Parameter drift: did tuning change the H-Neurons' weights less than others (METHOD.md §3, Figure 4b)?

Both checkpoints are read from disk, a few rows at a time; a rank of 0 is the neuron that changed most, 1 the one that
changed least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from scipy.stats import rankdata, t, ttest_ind, zscore
from tqdm import tqdm

from hneurons.errors import HNeuronsError
from hneurons.models.checkpoint import Checkpoint, Matrix
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.records import DRIFT
from hneurons.stats import CONFIDENCE

PERMUTATIONS = 9999


@dataclass(frozen=True)
class Drift:
    """1 − cosine of each neuron's row of W_up and of its column of W_down, before and after: [layers, d_ff] float64."""

    up: np.ndarray
    down: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """How far each neuron moved: the mean of both, each as a z-score over all neurons [layers, d_ff]."""
        parts = [zscore(part, axis=None) if part.std() else np.zeros_like(part) for part in (self.up, self.down)]
        mean: np.ndarray = np.mean(parts, axis=0)
        return mean

    @property
    def ranks(self) -> np.ndarray:
        """Among all neurons, [layers, d_ff] in 0 (changed most) to 1 (least)."""
        return _ranked(self.score.ravel()).reshape(self.up.shape)

    @property
    def ranks_in_layer(self) -> np.ndarray:
        """Among the neurons of the same layer, [layers, d_ff]."""
        return np.stack([_ranked(layer) for layer in self.score])


def _ranked(moved: np.ndarray) -> np.ndarray:
    ranks: np.ndarray = (rankdata(-moved) - 1) / max(1, len(moved) - 1)
    return ranks


def measure_drift(base: Checkpoint, tuned: Checkpoint) -> Drift:
    """Δ_up and Δ_down of every neuron. Raises HNeuronsError if the checkpoints are not of one shape."""
    shapes = [(c.layers, c.d_ff, c.down_proj(0).rows) for c in (base, tuned)]
    if shapes[0] != shapes[1]:
        raise HNeuronsError(
            f"{base.folder} and {tuned.folder} differ in layers, d_ff or d_model: {shapes[0]} and {shapes[1]}; "
            "no model was tuned from another of another shape"
        )
    layers = range(base.layers)
    up, down = [], []
    for layer in tqdm(layers, desc="drift", unit="layer"):
        up.append(_moved(base.up_proj(layer), tuned.up_proj(layer), by_row=True))
        down.append(_moved(base.down_proj(layer), tuned.down_proj(layer), by_row=False))
    found = Drift(np.stack(up), np.stack(down))
    if not (found.up.any() or found.down.any()):
        raise HNeuronsError(f"{base.folder} and {tuned.folder} have the same MLP weights: nothing drifted")
    return found


def _moved(base: Matrix, tuned: Matrix, by_row: bool) -> np.ndarray:
    """1 − cosine of the rows, or columns, of two matrices. A vector that is zero in both has not moved."""
    size = base.rows if by_row else base.columns
    dot, first, second = (torch.zeros(size, dtype=torch.float64) for _ in range(3))
    for (rows, a), (_, b) in zip(base.blocks(), tuned.blocks(), strict=True):
        at = rows if by_row else slice(None)
        for total, product in ((dot, a * b), (first, a * a), (second, b * b)):
            total[at] += product.sum(int(by_row))
    norms = (first * second).sqrt()
    cosine = torch.where(norms > 0, dot / norms, ((first == 0) & (second == 0)).double())
    moved: np.ndarray = (1 - cosine).clamp_min(0).numpy()
    return moved


def compare_ranks(ranks: np.ndarray, chosen: np.ndarray, seed: int, within: bool = False) -> dict[str, Any]:
    """Are the chosen neurons' ranks larger than those of the others: did they change less?

    ranks [layers, d_ff]; chosen, of the same shape, bool. within: permute inside layers, as many per layer as are chosen
    there, for the control that H-Neurons may sit in layers that change little. Returns mean_rank and its 95 % interval
    (Student's t over the chosen, within 0 and 1), the one-sided t-test (Welch's; none of a single neuron) and permutation
    test, and the effect size d (mean difference over the standard deviation of all).
    """
    n = int(chosen.sum())
    if not n:
        raise HNeuronsError("no neurons chosen: there is no drift to compare")
    mine, rest = ranks[chosen], ranks[~chosen]
    test = ttest_ind(mine, rest, equal_var=False, alternative="greater") if n > 1 else None
    rng = np.random.default_rng(seed)
    groups = list(zip(ranks, chosen.sum(axis=1), strict=True)) if within else [(ranks.ravel(), n)]
    drawn = np.zeros(PERMUTATIONS)
    for values, count in groups:
        if count:
            picked = [rng.choice(len(values), count, replace=False, shuffle=False) for _ in range(PERMUTATIONS)]
            drawn += values[np.array(picked)].sum(axis=1)
    # Rounding must not decide between equal sums.
    extreme = int((drawn / n >= mine.mean() - 1e-12).sum())
    low, high = _t_interval(mine)
    spread = float(ranks.std())
    return {
        "n": n,
        "mean_rank": float(mine.mean()),
        "interval": (low, high),
        "others": float(rest.mean()),
        "t": float(test.statistic) if test else None,
        "p_t": float(test.pvalue) if test else None,
        "p_permutation": (1 + extreme) / (1 + PERMUTATIONS),
        "effect_d": float(mine.mean() - rest.mean()) / spread if spread else 0.0,
    }


def _t_interval(values: np.ndarray) -> tuple[float, float]:
    """Of a mean rank; of a single one nothing is known."""
    if len(values) < 2:
        return 0.0, 1.0
    half = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return max(0.0, float(values.mean() - half)), min(1.0, float(values.mean() + half))


def drift_report(drift: Drift, neurons: NeuronSet, seed: int) -> dict[str, Any]:
    """Everything Figure 4b shows of one pair: the H-Neurons among all neurons, and among those of their layers."""
    chosen = _mask(drift, neurons)
    return {
        "neurons": int(chosen.size),
        "all": compare_ranks(drift.ranks, chosen, seed),
        "within_layers": compare_ranks(drift.ranks_in_layer, chosen, seed, within=True),
        "ranks": drift.ranks[chosen].tolist(),
        "median_up": {"h_neurons": float(np.median(drift.up[chosen])), "others": float(np.median(drift.up[~chosen]))},
        "median_down": {"h_neurons": float(np.median(drift.down[chosen])), "others": float(np.median(drift.down[~chosen]))},
    }


def _mask(drift: Drift, neurons: NeuronSet) -> np.ndarray:
    neurons.check_for({"layers": drift.up.shape[0], "d_ff": drift.up.shape[1]})
    chosen = np.zeros(drift.up.shape, bool)
    chosen[neurons.layers[neurons.selected], neurons.neurons[neurons.selected]] = True
    return chosen


def neuron_drift_table(drift: Drift, neurons: NeuronSet) -> pa.Table:
    """Every neuron with its drift and its ranks."""
    layer, neuron = np.indices(drift.up.shape)
    columns = [layer, neuron, drift.up, drift.down, drift.ranks, drift.ranks_in_layer, _mask(drift, neurons)]
    arrays = [pa.array(np.asarray(c).ravel(), f.type) for c, f in zip(columns, DRIFT, strict=True)]
    return pa.table(arrays, schema=DRIFT)
