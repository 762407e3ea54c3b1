"""Detection among consistent questions: the training examples themselves, in folds by gold answer.

Table 1's test sets hold one sample per question, whatever the model would say a second time. Here both classes are
questions that the model always answers alike, as in training; each example is scored by a probe that never saw its answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

from hneurons.cett.columns import ArrayColumns, ShardColumns
from hneurons.config.study import ProbeSettings
from hneurons.detection.scores import baseline_logits, method_name, score_methods
from hneurons.errors import HNeuronsError
from hneurons.probe.classifiers import PROBE, Classifier
from hneurons.probe.estimator import fit_paths, training_problem
from hneurons.probe.l1_path import Problem
from hneurons.probe.stage import random_columns

FOLDS = 5


def score_in_folds(
    frame: pd.DataFrame,
    classifiers: Mapping[str, Classifier],
    shards: Sequence[str],
    settings: ProbeSettings,
    seed: int,
    memory_gb: float,
    threads: int = 1,
) -> list[dict[str, Any]]:
    """The rows of `evaluate` for the training examples, each scored by fits on the other folds.

    frame: read_examples of the in-domain set. classifiers: those of the probe stage, whose C is used again, for the probe
    and for as many random neurons in each fold. Raises HNeuronsError if there are fewer gold answers than folds.
    """
    train, selection = (frame.query("split == @split") for split in ("train", "selection"))
    columns = ShardColumns(shards, memory_gb)
    gold_of = dict(zip(train["question_id"], train["gold"], strict=True))
    everyone = np.array([i for i, row in enumerate(columns.rows) if row["split"] == "train"])
    gold = np.array([gold_of[columns.rows[i]["question_id"]] for i in everyone])
    if len(set(gold)) < FOLDS:
        raise HNeuronsError(f"{len(set(gold))} gold answers in the training split, {FOLDS} needed for folds by answer")
    parts = [everyone[outside] for _, outside in GroupKFold(FOLDS).split(everyone, groups=gold)]
    whole = training_problem(columns, settings.labels)
    problems = [Problem(whole.y, np.where(np.isin(np.arange(columns.n), part), 0, whole.weight)) for part in parts]
    C = classifiers[PROBE].C
    # The folds share the passes over the data, and so the way to this C.
    path = [c for c in sorted(settings.C) if c < C] + [C]
    how = settings.penalty, settings.intercept
    paths = fit_paths(columns, problems, path, *how, memory_gb=memory_gb, threads=threads)
    fits = [fold[-1] for fold in paths.fits]
    randoms = [name for name in classifiers if method_name(name) == "random"]
    chosen = {
        (name, k): random_columns(np.random.default_rng([seed, int(name.rsplit("-", 1)[1])]), columns.p, fit.columns)
        for k, fit in enumerate(fits)
        for name in randoms
    }
    taken = columns.take_each([*(fit.columns for fit in fits), *chosen.values()])
    of_fits, of_chosen = taken[:FOLDS], taken[FOLDS:]
    found: dict[str, dict[str, float]] = {}

    def keep(name: str, ids: Sequence[str], logits: np.ndarray) -> None:
        found.setdefault(name, {}).update(zip(ids, logits.tolist(), strict=True))

    for k, part in enumerate(tqdm(parts, desc="folds by answer")):
        answers = [i for i in part if columns.rows[i]["region"] == "answer"]
        ids = [columns.rows[i]["question_id"] for i in answers]
        keep(PROBE, ids, fits[k].logits(of_fits[k][answers]))
        for (name, fold), X in zip(chosen, of_chosen, strict=True):
            if fold == k:
                one = fit_paths(ArrayColumns(X), [problems[k]], [classifiers[name].C], *how, progress=False)
                fit = one.fits[0][0]
                keep(name, ids, fit.logits(X[np.ix_(answers, fit.columns)]))
        scored = train[train["question_id"].isin(ids)]
        rest = pd.concat([train[~train["question_id"].isin(ids)], selection])
        for name, values in baseline_logits(rest, scored, settings.C).items():
            keep(name, scored["question_id"].tolist(), values)
    asked = train["question_id"].tolist()
    logits = {name: np.array([of[q] for q in asked]) for name, of in found.items() if len(of) == len(asked)}
    return score_methods(train["label"].to_numpy(), logits, train["gold"].tolist(), settings, seed)
