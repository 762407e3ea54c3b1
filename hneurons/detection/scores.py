"""Detection on one data set: the probe compared with every baseline on the same examples, with intervals (Table 1)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from hneurons.detection.results import METHODS, DatasetScores, MethodScore, method_name
from hneurons.probe.classifiers import PROBE, Classifier, features_of
from hneurons.records import EXAMPLES, QUESTIONS, RESPONSES, SPANS
from hneurons.stats import auroc, bootstrap_interval, reliability, wilson


def example_frame(examples: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
    """Add the features of the baselines to examples.

    Args:
        examples: rows of schema EXAMPLES.
        texts: responses joined with spans and questions, one row per question_id and sample.

    Returns:
        The examples with answer (text), length (tokens), logprob (mean; NaN if a server returned none) and population
        (log10; NaN for questions that are not about a city).
    """
    frame = examples.merge(texts, on=["question_id", "sample"], how="left", validate="one_to_one")
    frame["answer"] = [t[s:e] for t, s, e in zip(frame["text"], frame["start"], frame["end"], strict=True)]
    frame["length"] = [len(ids) for ids in frame["response_ids"]]
    frame["logprob"] = [float(np.mean(values)) if len(values) else np.nan for values in frame["logprobs"]]
    frame["population"] = np.log10(frame["popularity"])
    return frame


def baseline_logits(examples: pd.DataFrame, scored: pd.DataFrame, Cs: Sequence[float]) -> dict[str, np.ndarray]:
    """Compute log-odds of the baselines without neurons, each a logistic regression on the training examples.

    A baseline whose feature is missing is left out: population if a city is invented, bag of words if no word of the
    scored answers occurs in the training answers.

    Args:
        examples: example_frame of the in-domain set, all splits.
        scored: example_frame of the rows to score.
        Cs: the grid for the bag of words, whose C is chosen on the selection split, as the probe's is.

    Returns:
        Log-odds [scored rows] by method.
    """
    train, selection = (examples[examples["split"] == split] for split in ("train", "selection"))
    logits = {}
    for name in ("length", "logprob", "population"):
        if train[name].isna().any() or scored[name].isna().any():
            continue
        centre, spread = train[name].mean(), train[name].std() or 1.0
        model = LogisticRegression().fit(((train[[name]] - centre) / spread).to_numpy(), train["label"])
        logits[name] = model.decision_function(((scored[[name]] - centre) / spread).to_numpy())
    words = CountVectorizer(token_pattern=r"(?u)\b\w+\b").fit(train["answer"])
    bags = [words.transform(part["answer"]) for part in (train, selection, scored)]
    if bags[2].nnz == 0:
        return logits
    fits = [LogisticRegression(C=C, max_iter=2000).fit(bags[0], train["label"]) for C in Cs]
    best = max(fits, key=lambda fit: fit.score(bags[1], selection["label"]))
    logits["bag-of-words"] = best.decision_function(bags[2])
    return logits


def score_methods(
    labels: np.ndarray, logits: Mapping[str, np.ndarray], groups: Sequence[str], settings: ProbeSettings, seed: int
) -> list[MethodScore]:
    """Compute accuracy at p = 0.5 and AUROC of every method with intervals, and the probe's lead in AUROC.

    Args:
        labels: [rows], 1 is hallucinated.
        logits: [rows] per method; methods named random-1, random-2, … become one score, the mean over seeds.
        groups: [rows], gold answers; rows with the same one are resampled together.
        settings: number of resamples.
        seed: seed of the bootstrap. Differences are bootstrapped on the same rows for both methods.
    """
    grouped: dict[str, list[np.ndarray]] = {}
    for name, values in logits.items():
        grouped.setdefault(method_name(name), []).append(values)
    columns = {name: np.stack(values, axis=1) for name, values in grouped.items()}

    def accuracy(y: np.ndarray, values: np.ndarray) -> float:
        return float(((values > 0) == (y == 1)[:, None]).mean())

    def area(y: np.ndarray, values: np.ndarray) -> float:
        return float(np.mean([auroc(y, values[:, i]) for i in range(values.shape[1])]))

    def lead(y: np.ndarray, probe: np.ndarray, method: np.ndarray) -> float:
        return area(y, probe) - area(y, method)

    options: dict[str, Any] = {"resamples": settings.bootstrap, "seed": seed, "groups": groups}
    scores = []
    for name in tqdm([m for m in METHODS if m in columns], desc="intervals", unit="method"):
        values = columns[name]
        correct, seeds = accuracy(labels, values), values.shape[1]
        score = MethodScore(
            method=name,
            seeds=seeds,
            auroc_of_seeds=[auroc(labels, values[:, i]) for i in range(seeds)],
            n_hallucinated=int((labels == 1).sum()),
            n_faithful=int((labels == 0).sum()),
            accuracy=correct,
            accuracy_interval=wilson(round(correct * len(labels)), len(labels))
            if seeds == 1
            else bootstrap_interval(accuracy, [labels, values], **options),
            auroc=area(labels, values),
            auroc_interval=bootstrap_interval(area, [labels, values], **options),
        )
        if name != PROBE:
            pair = [labels, columns[PROBE], values]
            score = replace(score, lead=lead(*pair), lead_interval=bootstrap_interval(lead, pair, **options))
        scores.append(score)
    return scores


def read_example_frame(
    dataset: str, questions: Sequence[str], examples: Sequence[str], responses: Sequence[str], spans: Sequence[str]
) -> pd.DataFrame:
    """Read the example_frame of one data set.

    Args:
        dataset: name of the data set.
        questions, examples, responses, spans: files of several data sets; the file's name or folder is the data set's name.
    """

    def rows(paths: Sequence[str], schema: pa.Schema) -> pd.DataFrame:
        selected = [p for p in paths if dataset in (Path(p).stem, Path(p).parent.name)]
        tables = [store.read_table(path, schema).select(schema.names) for path in selected]
        frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
        return frame

    texts = rows(responses, RESPONSES).merge(rows(spans, SPANS), on=["question_id", "sample"])
    gold = rows(questions, QUESTIONS)
    gold["gold"] = [a[0] if len(a) else q for a, q in zip(gold["aliases"], gold["question_id"], strict=True)]
    texts = texts.merge(gold[["question_id", "popularity", "gold"]], on="question_id")
    return example_frame(rows(examples, EXAMPLES), texts)


def score_dataset(
    scored: pd.DataFrame,
    trained: pd.DataFrame,
    faithful: str,
    classifiers: Mapping[str, Classifier],
    shards: Sequence[str],
    settings: ProbeSettings,
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
        shards: CETT shards of the data set, and of the in-domain set if the faithful examples come from there.
        settings: the grid of C and the number of resamples.
        seed: seed of the pairing and the resamples.
        in_domain: name of the in-domain set.
        about: further fields of DatasetScores.
    """
    scored = scored.query("split == 'test'")
    faithful_are = "answers that decline" if faithful == "declines" else "correct answers of the set"
    if faithful == "correct_answers":
        borrowed = trained.query("split == 'test' and label == 0")
        n = min(len(borrowed), len(scored))
        scored = pd.concat([scored.sample(n, random_state=seed), borrowed.sample(n, random_state=seed)])
        faithful_are = f"correct answers of {in_domain}"
    # Read the shards once: the columns of all classifiers, one after the other.
    layers = np.concatenate([c.layers for c in classifiers.values()])
    neurons = np.concatenate([c.neurons for c in classifiers.values()])
    features, rows = features_of(shards, layers, neurons)
    row_of = {(row["question_id"], row["sample"]): i for i, row in enumerate(rows) if row["region"] == "answer"}
    X = features[[row_of[key] for key in zip(scored["question_id"], scored["sample"], strict=True)]]
    ends = np.cumsum([len(c.weights) for c in classifiers.values()])
    columns = np.split(X, ends[:-1], axis=1)
    logits = {name: c.logits(values) for (name, c), values in zip(classifiers.items(), columns, strict=True)}
    logits |= baseline_logits(trained, scored, settings.C)
    labels = scored["label"].to_numpy()
    sizes = {method_name(name): len(c.weights) for name, c in classifiers.items()}
    methods = [
        replace(score, neurons_used=sizes.get(score.method))
        for score in score_methods(labels, logits, scored["gold"].tolist(), settings, seed)
    ]
    # Few enough that a bin has about ten answers.
    bins = min(10, max(2, len(labels) // 10))
    calibration = reliability(labels, expit(logits[PROBE]), bins)
    return DatasetScores(faithful_are=faithful_are, methods=methods, calibration=calibration, **about)
