"""Detection on consistently answered questions: the training examples, in folds by gold answer.

Table 1's test sets have one sample per question, so they include questions that the model answers inconsistently. Here
both classes are questions that the model always answers alike, as in training. Each example is scored by fits that did not
see its gold answer. In every fold the C of the probe and of its random controls is tuned alike: by accuracy in inner folds
over gold answers of the training part.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from hneurons.cett.columns import ShardColumns
from hneurons.config.study import ProbeSettings
from hneurons.detection.compare import score_methods, sweep_points
from hneurons.detection.results import MethodScore, SweepPoint
from hneurons.detection.scores import baseline_logits, combined_logits
from hneurons.probe.classifiers import PROBE, RANDOM_L1, RANDOM_L2, Classifier
from hneurons.probe.confidence import Combined
from hneurons.probe.controls import (
    columns_like,
    in_processes,
    inverse_spread,
    random_columns,
    rows_of_products,
    tuned_l1,
    tuned_l2,
    tuned_l2_as_is,
)
from hneurons.probe.design import Design, Tuned
from hneurons.probe.l1_path import Problem
from hneurons.probe.tuned import tuned_probes

FOLDS = 5
# Numbers of random neurons that are compared with the probe, besides all neurons, and at most how many sets of each number:
# small sets differ more from each other, and are fitted faster.
SWEEP = {10: 20, 30: 20, 100: 20, 300: 20, 1000: 5, 3000: 5}


def score_in_folds(
    frame: pd.DataFrame,
    classifiers: Mapping[str, Classifier],
    shards: Sequence[str],
    settings: ProbeSettings,
    seed: int,
    memory_gb: float,
    threads: int = 1,
) -> tuple[list[MethodScore], list[SweepPoint]]:
    """Score the training examples by cross-validation: each by fits on the other folds.

    Args:
        frame: read_example_frame of the in-domain set.
        classifiers: of the probe stage; the sweep draws its neurons outside the probe's.
        shards: CETT shards of the in-domain set.
        settings: penalty, labels, intercept, the grid of C and the number of random sets.
        seed: seed of the random neurons.
        memory_gb: memory for features.
        threads: threads for the fits.

    Returns:
        One score per method; a baseline without a score for every example is left out. Then random neurons in growing
        numbers.

    Raises:
        HNeuronsError: if there are fewer gold answers than folds.
    """
    train, selection = (frame.query("split == @split") for split in ("train", "selection"))
    columns = ShardColumns(shards, memory_gb)
    gold_of = dict(zip(frame["question_id"], frame["gold"], strict=True))
    design = Design.from_rows(columns, settings.labels, gold_of)
    parts = design.folds(FOLDS)
    designs = [design.without(part) for part in parts]
    # 1. The probe in each fold, tuned in its inner folds; all fits share the passes over the data.
    used, probes = tuned_probes(columns, designs, settings, memory_gb, threads)
    # 2. Its random controls: neurons outside those that the fold's probe weighs, in one reading.
    draws = {
        (k, i): columns_like(np.random.default_rng([seed, k, i]), columns.widths, used[fit.weights != 0], _number(fit))
        for k, fit in enumerate(probes)
        for i in range(1, settings.random_seeds + 1)
    }
    X_probe, *X_random = columns.take_each([used, *draws.values()])

    each = ((X, designs[k], settings) for (k, _), X in zip(draws, X_random, strict=True))
    controls = in_processes(_both_controls, each, threads, "random controls in folds")
    # 3. Scores of each fold, and of baselines fitted on the other folds.
    logits: dict[str, dict[str, float]] = {}
    shares: dict[str, list[tuple[int, float]]] = {}

    def keep(name: str, ids: Sequence[str], values: np.ndarray) -> None:
        logits.setdefault(name, {}).update(zip(ids, values.tolist(), strict=True))

    for k, part in enumerate(parts):
        answers = part[design.scored[part]]
        ids = [columns.rows[i]["question_id"] for i in answers]
        keep(PROBE, ids, of_probe := probes[k].logits(X_probe[answers]))
        shares.setdefault(PROBE, []).append((_number(probes[k]), 1.0))
        for ((fold, i), X), pair in zip(zip(draws, X_random, strict=True), controls, strict=True):
            for name, fit in zip((RANDOM_L1, RANDOM_L2), pair, strict=True) if fold == k else ():
                keep(f"{name}-{i}", ids, fit.logits(X[answers]))
                shares.setdefault(f"{name}-{i}", []).append((X.shape[1], float((fit.weights != 0).mean())))
        scored = train.set_index("question_id", drop=False).loc[ids]
        others = train[~train["question_id"].isin(ids)]
        combined = _combined(probes[k], columns, others)
        for name, values in combined_logits(combined, of_probe, scored).items():
            keep(name, ids, values)
        for name, values in baseline_logits(pd.concat([others, selection]), scored, settings.C).items():
            keep(name, ids, values)
    questions = train["question_id"].tolist()
    complete = {name: values for name, values in logits.items() if len(values) == len(questions)}
    in_order = {name: np.array([values[question] for question in questions]) for name, values in complete.items()}
    mean_shares = {n: (round(np.mean([k for k, _ in s])), float(np.mean([u for _, u in s]))) for n, s in shares.items()}
    labels, gold = train["label"].to_numpy(), train["gold"].tolist()
    fold_of = {columns.rows[i]["question_id"]: k for k, part in enumerate(parts) for i in part}
    strata = np.array([fold_of[question] for question in questions])
    methods = score_methods(labels, in_order, gold, mean_shares, strata)
    # 4. Random neurons in growing numbers
    drawn_outside = columns.widths.columns(classifiers[PROBE].layers, classifiers[PROBE].neurons)
    sweep = _sweep(columns, design, parts, drawn_outside, settings.random_seeds, seed, threads)
    row_of = {columns.rows[i]["question_id"]: i for part in parts for i in part[design.scored[part]]}
    rows = [row_of[question] for question in questions]
    of_sets = {k: [values[rows] for values in sets] for k, sets in sweep.items()}
    return methods, sweep_points(labels, in_order[PROBE], of_sets, gold, strata)


def _both_controls(X: np.ndarray, design: Design, settings: ProbeSettings) -> tuple[Tuned, Tuned]:
    """The L1 and the L2 fit to the columns of a draw."""
    return tuned_l1(X, design, settings), tuned_l2(X, design)


def _number(fit: Tuned) -> int:
    return max(1, int((fit.weights != 0).sum()))


def _combined(probe: Tuned, columns: ShardColumns, train: pd.DataFrame) -> Combined | None:
    """The combined detector of a fold, fitted on its training part with log-odds of the inner folds."""
    logits = {row["question_id"]: probe.held_out[i] for i, row in enumerate(columns.rows) if row["region"] == "answer"}
    return Combined.of_frame(logits, train)


def _sweep(
    columns: ShardColumns,
    design: Design,
    parts: Sequence[np.ndarray],
    outside: np.ndarray,
    repeats: int,
    seed: int,
    threads: int,
) -> dict[int, list[np.ndarray]]:
    """Log-odds [rows] in folds of every random set, by the number of its neurons; the last number is all neurons.

    repeats: at most this many sets of a number.
    """
    trained = design.problem.weight > 0
    sizes = {k: min(n, repeats) for k, n in SWEEP.items() if k < columns.p - len(outside)}
    sets = {
        (k, i): random_columns(np.random.default_rng([seed, 3, k, i]), columns.p, outside, k)
        for k, n in sizes.items()
        for i in range(n)
    }
    features = dict(zip(sets, columns.take_each(list(sets.values())), strict=True))
    K = np.zeros((int(trained.sum()),) * 2)
    for _, block in columns.blocks():
        part = block[trained] * inverse_spread(block, trained)
        K += part @ part.T
    compact = Design(
        Problem(design.problem.y[trained], design.problem.weight[trained]),
        design.gold[trained],
        design.scored[trained],
    )
    position = np.cumsum(trained) - 1

    def coordinates() -> Iterator[np.ndarray]:
        for values in features.values():
            X = values[trained] * inverse_spread(values, trained)
            # With more columns than rows, coordinates of the rows are fewer and give the same fit.
            yield rows_of_products(X @ X.T) if X.shape[1] > len(X) else X
        yield rows_of_products(K)

    each = ((X, compact, [position[part] for part in parts]) for X in coordinates())
    of_rows = in_processes(_held_out_l2, each, threads, "random neurons in growing numbers")
    logits = np.full((len(of_rows), columns.n), np.nan)
    logits[:, trained] = of_rows
    by_set = dict(zip(sets, logits, strict=False))
    return {**{k: [by_set[k, i] for i in range(n)] for k, n in sizes.items()}, columns.p: [logits[-1]]}


def _held_out_l2(X: np.ndarray, design: Design, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Log-odds [rows] of L2 fits, tuned in inner folds, each of the rows in a part by the fit to the other parts."""
    logits = np.full(len(X), np.nan)
    for part in parts:
        logits[part] = tuned_l2_as_is(X, design.without(part)).logits(X[part])
    return logits
