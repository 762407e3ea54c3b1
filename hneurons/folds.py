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

from hneurons.config import ProbeSettings
from hneurons.detection import baseline_logits, evaluate, method_of
from hneurons.errors import HNeuronsError
from hneurons.probe import CLASSIFIER, Classifier, Features, fit_weights, load_features, training_set

FOLDS = 5


def detect_in_folds(
    frame: pd.DataFrame,
    classifiers: Mapping[str, Classifier],
    shards: Sequence[str],
    settings: ProbeSettings,
    seed: int,
) -> list[dict[str, Any]]:
    """The rows of `evaluate` for the training examples, each scored by fits on the other folds.

    frame: read_examples of the in-domain set. classifiers: those of the probe stage, whose C is used again, for the probe
    and for as many random neurons in each fold. Raises HNeuronsError if there are fewer gold answers than folds.
    """
    train, selection = (frame.query("split == @split") for split in ("train", "selection"))
    features = load_features(shards).where(split="train")
    gold_of = dict(zip(train["question_id"], train["gold"], strict=True))
    gold = np.array([gold_of[row["question_id"]] for row in features.rows])
    if len(set(gold)) < FOLDS:
        raise HNeuronsError(f"{len(set(gold))} gold answers in the training split, {FOLDS} needed for folds by answer")
    randoms = [name for name in classifiers if method_of(name) == "random"]
    found: dict[str, dict[str, float]] = {}

    def keep(name: str, ids: Sequence[str], logits: np.ndarray) -> None:
        found.setdefault(name, {}).update(zip(ids, logits.tolist(), strict=True))

    for inside, outside in tqdm(list(GroupKFold(FOLDS).split(features.X, groups=gold)), desc="folds by answer"):
        X, y = training_set(Features(features.X[inside], [features.rows[i] for i in inside]), settings.labels)
        answers = [i for i in outside if features.rows[i]["region"] == "answer"]
        ids = [features.rows[i]["question_id"] for i in answers]
        weights, intercept, _ = fit_weights(X, y, settings, classifiers[CLASSIFIER].C)
        keep(CLASSIFIER, ids, features.X[answers] @ weights + intercept)
        used = np.flatnonzero(weights)
        others = np.setdiff1d(np.arange(X.shape[1]), used)
        for name in randoms:
            rng = np.random.default_rng([seed, int(name.rsplit("-", 1)[1])])
            chosen = rng.choice(others, size=max(1, len(used)), replace=False)
            weights, intercept, _ = fit_weights(X[:, chosen], y, settings, classifiers[name].C)
            keep(name, ids, features.X[np.ix_(answers, chosen)] @ weights + intercept)
        scored = train[train["question_id"].isin(ids)]
        rest = pd.concat([train[~train["question_id"].isin(ids)], selection])
        for name, logits in baseline_logits(rest, scored, settings.C).items():
            keep(name, scored["question_id"].tolist(), logits)
    everyone = train["question_id"].tolist()
    whole = {name: np.array([of[q] for q in everyone]) for name, of in found.items() if len(of) == len(everyone)}
    return evaluate(train["label"].to_numpy(), whole, train["gold"].tolist(), settings, seed)
