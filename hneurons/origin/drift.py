"""Parameter drift: did tuning change the weights of the H-Neurons less than those of other neurons (Figure 4b)?

Both checkpoints are read from disk, a few rows at a time. Rank 0 is the neuron that changed most, rank 1 the one that
changed least.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from scipy.stats import rankdata, t, ttest_ind, zscore
from tqdm import tqdm

from hneurons.errors import HNeuronsError
from hneurons.models.checkpoint import Checkpoint, Matrix
from hneurons.models.widths import Widths
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.records import DRIFT
from hneurons.stats.estimates import CONFIDENCE, Interval

PERMUTATIONS = 9999


@dataclass(frozen=True)
class Drift:
    """How far every neuron moved.

    Attributes:
        up: [neurons of all layers] float64, 1 − cosine of the neuron's row of W_up before and after.
        down: [neurons of all layers] float64, the same for its column of W_down.
        widths: neurons of each layer.
    """

    up: np.ndarray
    down: np.ndarray
    widths: Widths

    @property
    def score(self) -> np.ndarray:
        """Mean of the z-scores of up and down, each over all neurons: [neurons]."""
        parts = [zscore(part) if part.std() else np.zeros_like(part) for part in (self.up, self.down)]
        mean: np.ndarray = np.mean(parts, axis=0)
        return mean

    @property
    def ranks(self) -> np.ndarray:
        """Ranks among all neurons, [neurons] from 0 (changed most) to 1 (least)."""
        return _ranked(self.score)

    @property
    def ranks_in_layer(self) -> np.ndarray:
        """Ranks among the neurons of the same layer, [neurons]."""
        return np.concatenate([_ranked(layer) for layer in self.widths.split(self.score)])


def _ranked(moved: np.ndarray) -> np.ndarray:
    ranks: np.ndarray = (rankdata(-moved) - 1) / max(1, len(moved) - 1)
    return ranks


def measure_drift(base: Checkpoint, tuned: Checkpoint) -> Drift:
    """Measure Δ_up and Δ_down of every neuron.

    Args:
        base: the checkpoint before tuning.
        tuned: the checkpoint after it.

    Raises:
        HNeuronsError: if the checkpoints differ in shape, or if all their MLP weights are equal.
    """
    shapes = [(*c.widths.facts.values(), c.down_proj(0)[0].d_model) for c in (base, tuned)]
    if shapes[0] != shapes[1]:
        raise HNeuronsError(
            f"{base.folder} and {tuned.folder} differ in layers, d_ff or d_model: {shapes[0]} and {shapes[1]}; "
            "a model cannot be tuned from one of another shape"
        )
    layers = range(base.layers)
    up: list[np.ndarray] = []
    down: list[np.ndarray] = []
    for layer in tqdm(layers, desc="drift", unit="layer"):
        for moved, pairs in (
            (up, zip(base.up_proj(layer), tuned.up_proj(layer), strict=True)),
            (down, zip(base.down_proj(layer), tuned.down_proj(layer), strict=True)),
        ):
            moved += [_moved(before, after) for before, after in pairs]
    drift = Drift(np.concatenate(up), np.concatenate(down), base.widths)
    if not (drift.up.any() or drift.down.any()):
        raise HNeuronsError(f"{base.folder} and {tuned.folder} have the same MLP weights: nothing drifted")
    return drift


def _moved(base: Matrix, tuned: Matrix) -> np.ndarray:
    """1 − cosine of each neuron's values in two matrices; 0 for a vector that is zero in both."""
    by_row = base.row_per_neuron
    dot, first, second = (torch.zeros(base.d_ff, dtype=torch.float64) for _ in range(3))
    for (rows, a), (_, b) in zip(base.blocks(), tuned.blocks(), strict=True):
        part = rows if by_row else slice(None)
        for total, product in ((dot, a * b), (first, a * a), (second, b * b)):
            total[part] += product.sum(int(by_row))
    norms = (first * second).sqrt()
    cosine = torch.where(norms > 0, dot / norms, ((first == 0) & (second == 0)).double())
    moved: np.ndarray = (1 - cosine).clamp_min(0).numpy()
    return moved


@dataclass(frozen=True)
class RankTest:
    """Test of whether the chosen neurons changed less than all other neurons, by their ranks.

    Attributes:
        n: number of chosen neurons.
        mean_rank: their mean rank.
        interval: its 95 % interval (Student's t over the chosen neurons, within 0 and 1).
        others: mean rank of all other neurons.
        t, p_t: Welch's one-sided t-test; None for a single neuron.
        p_permutation: p of a one-sided permutation test.
        effect_d: difference of the mean ranks over the standard deviation of all ranks.
    """

    n: int
    mean_rank: float
    interval: Interval
    others: float
    t: float | None
    p_t: float | None
    p_permutation: float
    effect_d: float


def compare_ranks(ranks: np.ndarray, chosen: np.ndarray, seed: int, within: Widths | None = None) -> RankTest:
    """Test whether the chosen neurons have larger ranks than all other neurons, that is, changed less.

    Args:
        ranks: [neurons of all layers].
        chosen: [neurons of all layers] bool.
        seed: seed of the permutations.
        within: neurons of each layer, to draw in each the number chosen there, as a control for H-Neurons in layers that
            change little.

    Raises:
        HNeuronsError: if no neuron is chosen.
    """
    n = int(chosen.sum())
    if not n:
        raise HNeuronsError("no neurons chosen, so no drift to compare")
    selected, others = ranks[chosen], ranks[~chosen]
    test = ttest_ind(selected, others, equal_var=False, alternative="greater") if n > 1 else None
    rng = np.random.default_rng(seed)
    groups = [(ranks, n)]
    if within is not None:
        groups = [(layer, int(part.sum())) for layer, part in zip(within.split(ranks), within.split(chosen), strict=True)]
    drawn = np.zeros(PERMUTATIONS)
    for values, count in groups:
        if count:
            picked = [rng.choice(len(values), count, replace=False, shuffle=False) for _ in range(PERMUTATIONS)]
            drawn += values[np.array(picked)].sum(axis=1)
    # The tolerance keeps rounding from deciding between equal sums.
    extreme = int((drawn / n >= selected.mean() - 1e-12).sum())
    spread = float(ranks.std())
    return RankTest(
        n=n,
        mean_rank=float(selected.mean()),
        interval=_t_interval(selected),
        others=float(others.mean()),
        t=float(test.statistic) if test else None,
        p_t=float(test.pvalue) if test else None,
        p_permutation=(1 + extreme) / (1 + PERMUTATIONS),
        effect_d=float(selected.mean() - others.mean()) / spread if spread else 0.0,
    )


def _t_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean rank; [0, 1] for a single neuron."""
    if len(values) < 2:
        return 0.0, 1.0
    half = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return max(0.0, float(values.mean() - half)), min(1.0, float(values.mean() + half))


@dataclass(frozen=True)
class DriftReport:
    """Figure 4b for one pair of models.

    Attributes:
        neurons: number of neurons in the model.
        all, within_layers: tests of the H-Neurons against all neurons, and against those of their layers.
        ranks: rank of each H-Neuron among all neurons.
        median_up, median_down: median drift of W_up rows and W_down columns, of "h_neurons" and "others".
        model, partner, direction: the pair; "backward" if the model was tuned from its partner, else "forward".
    """

    neurons: int
    all: RankTest
    within_layers: RankTest
    ranks: list[float]
    median_up: dict[str, float]
    median_down: dict[str, float]
    model: str = ""
    partner: str = ""
    direction: str = ""


def drift_report(drift: Drift, neurons: NeuronSet, seed: int, **pair: str) -> DriftReport:
    """Compare the drift of the H-Neurons with that of all other neurons.

    Args:
        drift: drift of every neuron.
        neurons: the H-Neurons are the selected ones.
        seed: seed of the permutation tests.
        pair: model, partner and direction, for the report.
    """
    chosen = _mask(drift, neurons)

    def medians(part: np.ndarray) -> dict[str, float]:
        return {"h_neurons": float(np.median(part[chosen])), "others": float(np.median(part[~chosen]))}

    return DriftReport(
        neurons=int(chosen.size),
        all=compare_ranks(drift.ranks, chosen, seed),
        within_layers=compare_ranks(drift.ranks_in_layer, chosen, seed, drift.widths),
        ranks=drift.ranks[chosen].tolist(),
        median_up=medians(drift.up),
        median_down=medians(drift.down),
        **pair,
    )


def _mask(drift: Drift, neurons: NeuronSet) -> np.ndarray:
    """[neurons of all layers] bool: the H-Neurons."""
    neurons.check_for(drift.widths.facts)
    chosen = np.zeros(drift.up.shape, bool)
    chosen[drift.widths.columns(neurons.layers[neurons.selected], neurons.neurons[neurons.selected])] = True
    return chosen


def neuron_drift_table(drift: Drift, neurons: NeuronSet) -> pa.Table:
    """Tabulate every neuron with its drift and its ranks.

    Args:
        drift: drift of every neuron.
        neurons: the H-Neurons are the selected ones.

    Returns:
        Rows of schema DRIFT.
    """
    layer, neuron = drift.widths.places(np.arange(drift.widths.total))
    columns = [layer, neuron, drift.up, drift.down, drift.ranks, drift.ranks_in_layer, _mask(drift, neurons)]
    arrays = [pa.array(np.asarray(c), f.type) for c, f in zip(columns, DRIFT, strict=True)]
    return pa.table(arrays, schema=DRIFT)
