"""Detection on one data set: the probe against every baseline, on the same examples, with intervals (Table 1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import expit
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from hneurons import store
from hneurons.config.study import ProbeSettings
from hneurons.probe.classifiers import PROBE, REFIT, Classifier, features_of
from hneurons.records import EXAMPLES, QUESTIONS, RESPONSES, SPANS
from hneurons.stats import auroc, bootstrap_interval, reliability, wilson

# As tables and figures name them.
METHODS = {
    PROBE: "H-Neurons: the probe, all its weights",
    "random": "random neurons, as many as the probe weighs",
    REFIT: "H-Neurons alone (positive weights, refit)",
    "random-refit": "random neurons, as many as H-Neurons",
    "length": "response length",
    "logprob": "mean log-probability",
    "bag-of-words": "bag of words of the answer",
    "population": "population of the city",
}


def method_name(classifier: str) -> str:
    """The method that a classifier is one of: random-3 is one of the random ones."""
    return re.sub(r"-\d+$", "", classifier)


def example_frame(examples: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
    """Examples with what the baselines see: answer (text), length (tokens), logprob (mean), population (may be NaN).

    texts: responses joined with spans and questions, one row per question_id and sample.
    """
    frame = examples.merge(texts, on=["question_id", "sample"], how="left", validate="one_to_one")
    frame["answer"] = [t[s:e] for t, s, e in zip(frame["text"], frame["start"], frame["end"], strict=True)]
    frame["length"] = [len(ids) for ids in frame["response_ids"]]
    # A server may tell none.
    frame["logprob"] = [float(np.mean(values)) if len(values) else np.nan for values in frame["logprobs"]]
    frame["population"] = np.log10(frame["popularity"])
    return frame


def baseline_logits(examples: pd.DataFrame, scored: pd.DataFrame, Cs: Sequence[float]) -> dict[str, np.ndarray]:
    """Log-odds of the non-neuron baselines on the scored rows: each a logistic regression on the training examples.

    examples: the in-domain set, all splits. The bag of words has its C chosen on the selection split, as the probe has.
    A baseline that a scored row cannot have is left out: the population of an invented city, a bag of words where no
    word of any scored answer stands in a training answer.
    """
    train, selection = (examples[examples["split"] == split] for split in ("train", "selection"))
    found = {}
    for name in ("length", "logprob", "population"):
        if train[name].isna().any() or scored[name].isna().any():
            continue
        centre, spread = train[name].mean(), train[name].std() or 1.0
        model = LogisticRegression().fit(((train[[name]] - centre) / spread).to_numpy(), train["label"])
        found[name] = model.decision_function(((scored[[name]] - centre) / spread).to_numpy())
    words = CountVectorizer(token_pattern=r"(?u)\b\w+\b").fit(train["answer"])
    bags = [words.transform(part["answer"]) for part in (train, selection, scored)]
    if bags[2].nnz == 0:
        return found
    fits = [LogisticRegression(C=C, max_iter=2000).fit(bags[0], train["label"]) for C in Cs]
    best = max(fits, key=lambda fit: fit.score(bags[1], selection["label"]))
    found["bag-of-words"] = best.decision_function(bags[2])
    return found


def score_methods(
    labels: np.ndarray, logits: Mapping[str, np.ndarray], groups: Sequence[str], settings: ProbeSettings, seed: int
) -> list[dict[str, Any]]:
    """One row per method: accuracy at p = 0.5, AUROC, their intervals, and the probe's AUROC minus the method's.

    labels [rows]; logits: per method [rows], methods named random-1, random-2, … averaged into one row over seeds: the
    mean of their accuracies and AUROCs, and the spread of their AUROCs. groups [rows]: what is resampled together, here the
    gold answer. Differences are bootstrapped over the same rows for both sides.
    """
    grouped: dict[str, list[np.ndarray]] = {}
    for name, values in logits.items():
        grouped.setdefault(method_name(name), []).append(values)
    columns = {name: np.stack(values, axis=1) for name, values in grouped.items()}

    def accuracy(y: np.ndarray, values: np.ndarray) -> float:
        return float(((values > 0) == (y == 1)[:, None]).mean())

    def area(y: np.ndarray, values: np.ndarray) -> float:
        return float(np.mean([auroc(y, values[:, i]) for i in range(values.shape[1])]))

    def lead(y: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> float:
        return area(y, ours) - area(y, theirs)

    options: dict[str, Any] = {"resamples": settings.bootstrap, "seed": seed, "groups": groups}
    rows = []
    for name in tqdm([m for m in METHODS if m in columns], desc="intervals", unit="method"):
        values = columns[name]
        correct = accuracy(labels, values)
        single = values.shape[1] == 1
        row: dict[str, Any] = {
            "method": name,
            "seeds": values.shape[1],
            "auroc_of_seeds": [auroc(labels, values[:, i]) for i in range(values.shape[1])],
            "n_hallucinated": int((labels == 1).sum()),
            "n_faithful": int((labels == 0).sum()),
            "accuracy": correct,
            "accuracy_interval": wilson(round(correct * len(labels)), len(labels))
            if single
            else bootstrap_interval(accuracy, [labels, values], **options),
            "auroc": area(labels, values),
            "auroc_interval": bootstrap_interval(area, [labels, values], **options),
        }
        if name != PROBE:
            pair = [labels, columns[PROBE], values]
            low, high = bootstrap_interval(lead, pair, **options)
            row |= {"lead": lead(*pair), "lead_interval": (low, high), "lead_includes_0": low <= 0 <= high}
        rows.append(row)
    return rows


def read_example_frame(
    dataset: str, questions: Sequence[str], examples: Sequence[str], responses: Sequence[str], spans: Sequence[str]
) -> pd.DataFrame:
    """The example_frame of one data set, from the files of several: a file belongs to a set by its name or folder."""

    def rows(paths: Sequence[str], schema: pa.Schema) -> pd.DataFrame:
        mine = [p for p in paths if dataset in (Path(p).stem, Path(p).parent.name)]
        found: pd.DataFrame = pa.concat_tables([store.read_table(p, schema).select(schema.names) for p in mine]).to_pandas()
        return found

    texts = rows(responses, RESPONSES).merge(rows(spans, SPANS), on=["question_id", "sample"])
    asked = rows(questions, QUESTIONS)
    asked["gold"] = [a[0] if len(a) else q for a, q in zip(asked["aliases"], asked["question_id"], strict=True)]
    texts = texts.merge(asked[["question_id", "popularity", "gold"]], on="question_id")
    return example_frame(rows(examples, EXAMPLES), texts)


def score_dataset(
    scored: pd.DataFrame,
    trained: pd.DataFrame,
    in_domain: str,
    faithful: str,
    classifiers: Mapping[str, Classifier],
    shards: Sequence[str],
    settings: ProbeSettings,
    seed: int,
) -> dict[str, Any]:
    """Detection on the test split of a data set, by the single-sample protocol of METHOD.md §1.

    scored, trained: read_examples of the data set and of the in-domain set, on which the baselines are trained.
    shards: CETT of the data set, and of the in-domain set where the faithful side is borrowed from there (faithful =
    "correct_answers"): then as many of its faithful test examples are taken as there are hallucinated ones, or all.
    """
    scored = scored.query("split == 'test'")
    faithful_are = "correct answers of the set"
    if faithful == "correct_answers":
        borrowed = trained.query("split == 'test' and label == 0")
        n = min(len(borrowed), len(scored))
        scored = pd.concat([scored.sample(n, random_state=seed), borrowed.sample(n, random_state=seed)])
        faithful_are = f"correct answers of {in_domain}"
    elif faithful == "declines":
        faithful_are = "answers that decline"
    key = list(zip(scored["question_id"], scored["sample"], strict=True))
    # Read once, the columns of one classifier after those of the other.
    layers = np.concatenate([c.layers for c in classifiers.values()])
    neurons = np.concatenate([c.neurons for c in classifiers.values()])
    features, rows = features_of(shards, layers, neurons)
    row_of = {(row["question_id"], row["sample"]): i for i, row in enumerate(rows) if row["region"] == "answer"}
    X = features[[row_of[k] for k in key]]
    ends = np.cumsum([len(c.weights) for c in classifiers.values()])
    columns = np.split(X, ends[:-1], axis=1)
    logits = {name: c.logits(of_name) for (name, c), of_name in zip(classifiers.items(), columns, strict=True)}
    logits |= baseline_logits(trained, scored, settings.C)
    methods = score_methods(scored["label"].to_numpy(), logits, scored["gold"].tolist(), settings, seed)
    for row in methods:
        used = [c for name, c in classifiers.items() if method_name(name) == row["method"]]
        row["neurons_used"] = len(used[0].weights) if used else None
    labels, p = scored["label"].to_numpy(), expit(logits[PROBE])
    # So few that a bin has some ten answers.
    bins = min(10, max(2, len(labels) // 10))
    return {"faithful_are": faithful_are, "methods": methods, "calibration": reliability(labels, p, bins)}
