"""Detection on one data set: the probe and every baseline on the same examples (Table 1)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score

from hneurons.detection.compare import score_methods
from hneurons.detection.results import COMBINED, DatasetScores
from hneurons.probe.classifiers import PROBE, Classifier, features_of
from hneurons.probe.confidence import Combined
from hneurons.probe.design import INNER_FOLDS
from hneurons.probe.examples import CONFIDENCE_COLUMNS
from hneurons.stats.calibration import reliability

# Baselines of one number per answer, by the column of example_frame that holds it.
_NUMBERS = {
    "length": "length",
    "logprob": "logprob",
    "answer-logprob": "answer_logprob",
    "answer-logprob-min": "answer_logprob_min",
    "population": "population",
}


def baseline_logits(examples: pd.DataFrame, scored: pd.DataFrame, Cs: Sequence[float]) -> dict[str, np.ndarray]:
    """Compute log-odds of the baselines without neurons, each a logistic regression on the training examples.

    A baseline whose feature is missing is left out: population if a city is invented, log-probabilities if a server
    returned none, bag of words if no word of the scored answers occurs in the training answers.

    Args:
        examples: example_frame of the in-domain set, all splits.
        scored: example_frame of the rows to score.
        Cs: the grid for the bag of words, whose C is chosen on the selection split, as the probe's is, or else in folds.

    Returns:
        Log-odds [scored rows] by method.
    """
    train, selection = (examples[examples["split"] == split] for split in ("train", "selection"))
    logits = {}
    for method, name in _NUMBERS.items():
        if train[name].isna().any() or scored[name].isna().any():
            continue
        centre, spread = train[name].mean(), train[name].std() or 1.0
        model = LogisticRegression().fit(((train[[name]] - centre) / spread).to_numpy(), train["label"])
        logits[method] = model.decision_function(((scored[[name]] - centre) / spread).to_numpy())
    words = CountVectorizer(token_pattern=r"(?u)\b\w+\b").fit(train["answer"])
    bags = [words.transform(part["answer"]) for part in (train, selection, scored)]
    if bags[2].nnz == 0:
        return logits
    models = [LogisticRegression(C=C, max_iter=2000) for C in Cs]
    if len(selection):
        merits = [model.fit(bags[0], train["label"]).score(bags[1], selection["label"]) for model in models]
    else:
        folds = GroupKFold(min(INNER_FOLDS, train["gold"].nunique()))
        parts = list(folds.split(train, groups=train["gold"]))
        merits = [float(cross_val_score(model, bags[0], train["label"], cv=parts).mean()) for model in models]
    best = models[int(np.argmax(merits))].fit(bags[0], train["label"])
    logits["bag-of-words"] = best.decision_function(bags[2])
    return logits


def combined_logits(combined: Combined | None, logits: np.ndarray, scored: pd.DataFrame) -> dict[str, np.ndarray]:
    """Log-odds of the combined detector, by its name; empty without one or without the answers' log-probabilities.

    Args:
        combined: its weights.
        logits: [rows], the probe's log-odds.
        scored: example_frame of the rows.
    """
    confidence = scored[list(CONFIDENCE_COLUMNS)].to_numpy()
    if combined is None or np.isnan(confidence).any():
        return {}
    return {COMBINED: combined.logits(logits, confidence)}


def answers_to_score(scored: pd.DataFrame, trained: pd.DataFrame, faithful: str, seed: int) -> list[pd.DataFrame]:
    """Select the test answers on which methods are scored.

    Args:
        scored: read_example_frame of the data set.
        trained: read_example_frame of the in-domain set.
        faithful: as in score_dataset.
        seed: as in score_dataset.

    Returns:
        The answers of the data set and, with "correct_answers", equally many faithful ones of the in-domain set.
    """
    scored = scored.query("split == 'test'")
    if faithful != "correct_answers":
        return [scored]
    borrowed = trained.query("split == 'test' and label == 0")
    n = min(len(borrowed), len(scored))
    return [scored.sample(n, random_state=seed), borrowed.sample(n, random_state=seed)]


def logits_of(classifiers: Mapping[str, Classifier], shards: Sequence[str], scored: pd.DataFrame) -> dict[str, np.ndarray]:
    """Compute log-odds of classifiers from the CETT of the answer tokens.

    Args:
        classifiers: by name.
        shards: CETT shards that hold the answers.
        scored: example_frame of the rows.

    Returns:
        Log-odds [rows] by the name of the classifier.
    """
    # Read the shards once: the columns of all classifiers, one after the other.
    layers = np.concatenate([c.layers for c in classifiers.values()])
    neurons = np.concatenate([c.neurons for c in classifiers.values()])
    features, rows = features_of(shards, layers, neurons)
    row_of = {(row["question_id"], row["sample"]): i for i, row in enumerate(rows) if row["region"] == "answer"}
    X = features[[row_of[key] for key in zip(scored["question_id"], scored["sample"], strict=True)]]
    ends = np.cumsum([len(c.weights) for c in classifiers.values()])
    columns = np.split(X, ends[:-1], axis=1)
    return {name: c.logits(values) for (name, c), values in zip(classifiers.items(), columns, strict=True)}


def score_dataset(
    scored: pd.DataFrame,
    trained: pd.DataFrame,
    faithful: str,
    classifiers: Mapping[str, Classifier],
    combined: Combined | None,
    shards: Sequence[str],
    Cs: Sequence[float],
    seed: int,
    *,
    in_domain: str,
    **about: Any,
) -> DatasetScores:
    """Score the test split of a data set by every method, one sample per question.

    Args:
        scored: read_example_frame of the data set.
        trained: read_example_frame of the in-domain set, on which the baselines are trained.
        faithful: "declines" or "correct_answers" for a nonexist set, else "". With "correct_answers", the hallucinated
            examples are paired with faithful test examples of the in-domain set; the larger class is sampled down.
        classifiers: classifiers of the probe stage.
        combined: the combined detector of the probe stage.
        shards: CETT shards of the data set, and of the in-domain set if the faithful examples come from there.
        Cs: the grid of C, for the bag of words.
        seed: seed of the pairing.
        in_domain: name of the in-domain set.
        about: further fields of DatasetScores, among them the `note` of a set with too few examples.
    """
    scored = pd.concat(answers_to_score(scored, trained, faithful, seed))
    faithful_are = "answers that decline" if faithful == "declines" else "correct answers of the set"
    if faithful == "correct_answers":
        faithful_are = f"correct answers of {in_domain}"
    if scored["label"].nunique() < 2:
        note = about.pop("note", "") or "no examples of one of the classes"
        return DatasetScores(faithful_are=faithful_are, methods=[], note=note, **about)
    logits = logits_of(classifiers, shards, scored)
    logits |= combined_logits(combined, logits[PROBE], scored)
    logits |= baseline_logits(trained, scored, Cs)
    labels, gold = scored["label"].to_numpy(), scored["gold"].tolist()
    used = {name: (len(c.weights), c.share_used) for name, c in classifiers.items()}
    # Few enough that a bin has about ten answers.
    bins = min(10, max(2, len(labels) // 10))
    calibration = reliability(labels, expit(logits[PROBE]), bins, gold)
    methods = score_methods(labels, logits, gold, used)
    return DatasetScores(faithful_are=faithful_are, methods=methods, calibration=calibration, **about)
