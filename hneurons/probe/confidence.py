"""The combined detector: the probe's log-odds and the model's own confidence in the answer tokens, added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from hneurons.probe.examples import CONFIDENCE_COLUMNS


@dataclass(frozen=True)
class Combined:
    """log-odds = intercept + probe · (log-odds of the probe) + mean · (mean log p) + minimum · (min log p).

    Attributes:
        probe, mean, minimum: the weights; log-probabilities are natural, over the answer tokens, at temperature 1.
        intercept: the intercept.
    """

    probe: float
    mean: float
    minimum: float
    intercept: float

    @classmethod
    def of_frame(cls, logits: Mapping[str, float], train: pd.DataFrame) -> Combined | None:
        """Fit the weights to training examples.

        Args:
            logits: the probe's log-odds by question id, as in `fit`; NaN or missing leaves a question out.
            train: example_frame of the training split.

        Returns:
            None as in `fit`, or if the remaining examples have one class only.
        """
        kept = train[train["question_id"].map(logits).notna()]
        if kept["label"].nunique() < 2:
            return None
        values = kept["question_id"].map(logits).to_numpy(dtype=float)
        return cls.fit(values, kept[list(CONFIDENCE_COLUMNS)].to_numpy(), kept["label"].to_numpy())

    @classmethod
    def fit(cls, logits: np.ndarray, confidence: np.ndarray, labels: np.ndarray) -> Combined | None:
        """Fit the weights by logistic regression.

        Args:
            logits: [rows], the probe's log-odds of training answers, by fits that did not see their gold answers: log-odds
                of seen answers are larger and would be weighed too high.
            confidence: [rows, 2], mean and minimum log-probability of the answer tokens.
            labels: [rows], 1 is hallucinated.

        Returns:
            None if a log-probability is missing, because a server returned none.
        """
        features = np.column_stack([logits, confidence])
        if np.isnan(features).any():
            return None
        scaler = StandardScaler().fit(features)
        regression = LogisticRegression().fit(scaler.transform(features), labels)
        weights = regression.coef_[0] / scaler.scale_
        probe, mean, minimum = map(float, weights)
        return cls(probe, mean, minimum, float(regression.intercept_[0] - weights @ scaler.mean_))

    def logits(self, logits: np.ndarray, confidence: np.ndarray) -> np.ndarray:
        """Combined log-odds [rows].

        Args:
            logits: [rows], the probe's.
            confidence: [rows, 2], mean and minimum log-probability of the answer tokens.
        """
        return np.asarray(self.intercept + self.probe * logits + confidence @ [self.mean, self.minimum])

    @classmethod
    def from_dict(cls, values: Mapping[str, float] | None) -> Combined | None:
        """Rebuild what asdict made; None stays None."""
        return cls(**values) if values else None
