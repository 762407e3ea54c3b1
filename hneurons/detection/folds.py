"""Detection on consistently answered questions: the training examples, in folds by gold answer.

Table 1's test sets have one sample per question, so they include questions that the model answers inconsistently. Here
both classes are questions that the model always answers alike, as in training. Each example is scored by a probe that was
not trained on its gold answer.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

from hneurons.cett.columns import ArrayColumns, ShardColumns
from hneurons.config.study import ProbeSettings
from hneurons.detection.results import MethodScore, method_name
from hneurons.detection.scores import baseline_logits, score_methods
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
) -> list[MethodScore]:
    """Score the training examples by cross-validation: each by fits on the other folds.

    Args:
        frame: read_example_frame of the in-domain set.
        classifiers: classifiers of the probe stage; their C is used again in each fold, for the probe and for an equal
            number of random neurons.
        shards: CETT shards of the in-domain set.
        settings: penalty, labels, intercept and the grid of C.
        seed: seed of the random neurons and the resamples.
        memory_gb: memory for features.
        threads: threads for the fits.

    Returns:
        One score per method; a baseline without a score for every example is left out.

    Raises:
        HNeuronsError: if there are fewer gold answers than folds.
    """
    train, selection = (frame.query("split == @split") for split in ("train", "selection"))
    columns = ShardColumns(shards, memory_gb)
    gold_of = dict(zip(train["question_id"], train["gold"], strict=True))
    train_rows = np.array([i for i, row in enumerate(columns.rows) if row["split"] == "train"])
    gold = np.array([gold_of[columns.rows[i]["question_id"]] for i in train_rows])
    if len(set(gold)) < FOLDS:
        raise HNeuronsError(f"{len(set(gold))} gold answers in the training split, {FOLDS} needed for folds by answer")
    # 1. Fit the probe without each fold; the folds share the passes over the data, and the path that leads to this C.
    parts = [train_rows[outside] for _, outside in GroupKFold(FOLDS).split(train_rows, groups=gold)]
    problem = training_problem(columns, settings.labels)
    problems = [Problem(problem.y, np.where(np.isin(np.arange(columns.n), part), 0, problem.weight)) for part in parts]
    C = classifiers[PROBE].C
    path = [c for c in sorted(settings.C) if c < C] + [C]
    options = settings.penalty, settings.intercept
    paths = fit_paths(columns, problems, path, *options, memory_gb=memory_gb, threads=threads)
    fits = [fold[-1] for fold in paths.fits]
    # 2. Draw random neurons for each fold, and read all columns in one pass.
    random_columns_of = {
        (name, k): random_columns(np.random.default_rng([seed, int(name.rsplit("-", 1)[1])]), columns.p, fit.columns)
        for k, fit in enumerate(fits)
        for name in classifiers
        if method_name(name) == "random"
    }
    features = columns.take_each([*(fit.columns for fit in fits), *random_columns_of.values()])
    logits: dict[str, dict[str, float]] = {}

    def keep(name: str, ids: Sequence[str], values: np.ndarray) -> None:
        logits.setdefault(name, {}).update(zip(ids, values.tolist(), strict=True))

    # 3. Score each fold by the probe, by random neurons, and by baselines fitted on the other folds.
    for k, part in enumerate(tqdm(parts, desc="folds by answer")):
        answers = [i for i in part if columns.rows[i]["region"] == "answer"]
        ids = [columns.rows[i]["question_id"] for i in answers]
        keep(PROBE, ids, fits[k].logits(features[k][answers]))
        for (name, fold), X in zip(random_columns_of, features[FOLDS:], strict=True):
            if fold == k:
                (fit,) = fit_paths(ArrayColumns(X), [problems[k]], [classifiers[name].C], *options, progress=False).fits[0]
                keep(name, ids, fit.logits(X[np.ix_(answers, fit.columns)]))
        scored = train[train["question_id"].isin(ids)]
        others = pd.concat([train[~train["question_id"].isin(ids)], selection])
        for name, values in baseline_logits(others, scored, settings.C).items():
            keep(name, scored["question_id"].tolist(), values)
    questions = train["question_id"].tolist()
    complete = {name: values for name, values in logits.items() if len(values) == len(questions)}
    in_order = {name: np.array([values[question] for question in questions]) for name, values in complete.items()}
    return score_methods(train["label"].to_numpy(), in_order, train["gold"].tolist(), settings, seed)
