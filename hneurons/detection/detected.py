"""What the probe says about a response: log-odds of its tokens and of all of it, and the neurons behind them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit

from hneurons.probe.confidence import Combined


@dataclass(frozen=True)
class Detection:
    """The probe's scores of one response.

    Attributes:
        question, response: the texts.
        tokens: text of each response token.
        answer: [tokens] bool, the tokens that the response's probability is computed from.
        answer_given: whether the answer was given; if not, `answer` marks the highest tokens.
        contributions: [tokens, neurons] float32, θ_j CETT_j of every neuron with a non-zero weight.
        layers, indices, weights: [neurons], the neurons in the columns of contributions, and their θ_j.
        intercept: b.
        logprobs: [tokens], the model's natural log-probability of each token at temperature 1.
        combined: the detector that adds the model's confidence to the probe; None for a set without one.
    """

    question: str
    response: str
    tokens: list[str]
    answer: np.ndarray
    answer_given: bool
    contributions: np.ndarray
    layers: np.ndarray
    indices: np.ndarray
    weights: np.ndarray
    intercept: float
    logprobs: np.ndarray
    combined: Combined | None = None

    @cached_property
    def token_logits(self) -> np.ndarray:
        """Log-odds of each token, [tokens]."""
        return np.asarray(self.contributions.sum(axis=1, dtype=np.float64) + self.intercept)

    @property
    def token_probabilities(self) -> np.ndarray:
        """p(hallucinated) of each token on its own, [tokens]."""
        return np.asarray(expit(self.token_logits))

    @property
    def logit(self) -> float:
        """Log-odds of the response: mean over its answer tokens."""
        return float(self.token_logits[self.answer].mean())

    @property
    def probability(self) -> float:
        """p(hallucinated) of the response (eq. 4)."""
        return float(expit(self.logit))

    @property
    def confidence(self) -> tuple[float, float]:
        """Mean and minimum log-probability of the answer tokens."""
        of_answer = self.logprobs[self.answer]
        return float(of_answer.mean()), float(of_answer.min())

    @property
    def combined_probability(self) -> float | None:
        """p(hallucinated) of the response by the combined detector; None for a set without one."""
        if self.combined is None:
            return None
        return float(expit(self.combined.logits(np.array([self.logit]), np.array([self.confidence]))[0]))

    def strongest(self, tokens: np.ndarray | int | None = None, count: int = 5) -> list[dict[str, Any]]:
        """Return the neurons with the largest absolute contributions.

        Args:
            tokens: index of a token, or a mask [tokens] to average over; None averages over the answer.
            count: maximum number of neurons.

        Returns:
            `layer`, `neuron` and `contribution` of each, the largest first; neurons that contribute 0 are left out.
        """
        mean = np.atleast_2d(self.contributions[self.answer if tokens is None else tokens]).mean(axis=0)
        order = np.argsort(-np.abs(mean), kind="stable")[:count]
        return [
            {"layer": int(self.layers[j]), "neuron": int(self.indices[j]), "contribution": float(mean[j])}
            for j in order
            if mean[j] != 0
        ]

    def as_dict(self, count: int = 5) -> dict[str, Any]:
        """Convert to a dictionary for JSON, with the `count` strongest neurons of the answer and of each token."""
        tokens = zip(self.tokens, self.token_probabilities, self.answer, strict=True)
        return {
            "question": self.question,
            "response": self.response,
            "probability": self.probability,
            "logit": self.logit,
            "combined_probability": self.combined_probability,
            "answer_logprob": self.confidence[0],
            "answer_logprob_min": self.confidence[1],
            "answer_named": self.answer_given,
            "neurons": self.strongest(count=count),
            "tokens": [
                {"text": text, "probability": float(p), "in_answer": bool(answer), "neurons": self.strongest(i, count)}
                for i, (text, p, answer) in enumerate(tokens)
            ],
        }


@dataclass(frozen=True)
class NoDetection:
    """A request without a score.

    Attributes:
        question, response: the texts; the response may be empty.
        why: the reason, in one line.
    """

    question: str
    response: str
    why: str

    def as_dict(self) -> dict[str, Any]:
        """Convert to a dictionary for JSON, with a null probability."""
        return {"question": self.question, "response": self.response, "probability": None, "why": self.why}
