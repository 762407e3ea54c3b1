"""A probe that scores tokens one by one.

A token's log-odds are b + Σ_j θ_j CETT_j (eqs. 2 and 4). The response's are their mean over its answer tokens, which equals
the probe on features averaged over these tokens, as in training (eq. 3). If the answer tokens are not given, the three
highest tokens are used: a claim is short, and other tokens score low because training labels them 0 (docs/detector.md has
measurements of this choice).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons.data.folding import find_phrase
from hneurons.detection.detected import Detection, NoDetection
from hneurons.errors import HNeuronsError
from hneurons.generation.thoughts import taken_apart
from hneurons.generation.tokens import token_mask, token_offsets
from hneurons.models.decoder import model_identity
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.probe.confidence import Combined

# Number of tokens that stand in for the answer if it is not given.
HIGHEST_TOKENS = 3


@dataclass(frozen=True)
class MeasuredResponse:
    """A response and the CETT of the probe's neurons at its tokens.

    Attributes:
        ids: its token ids, without the end token.
        cett: [tokens, neurons] float32.
        logprobs: [tokens], natural log-probabilities at temperature 1.
        truncated: whether the model was cut off.
    """

    ids: list[int]
    cett: np.ndarray
    logprobs: np.ndarray
    truncated: bool = False


@dataclass(frozen=True)
class TokenProbe:
    """The neurons with a non-zero weight, and what turns their CETT into log-odds.

    Attributes:
        layers, indices, weights: [neurons], sorted by layer and index, and their θ_j.
        by_layer: the indices by layer, in the order of the columns.
        intercept: b.
        combined: the detector that adds the model's confidence to the probe; None for a set without one.
    """

    layers: np.ndarray
    indices: np.ndarray
    weights: np.ndarray
    by_layer: dict[int, list[int]]
    intercept: float
    combined: Combined | None

    @classmethod
    def from_set(cls, neurons: NeuronSet, model: PreTrainedModel, strict: bool = True) -> TokenProbe:
        """Take the probe of a set.

        Args:
            neurons: a set with the weights of a probe.
            model: the model that the neurons were found in.
            strict: whether the neurons must be of this very model; False requires only the same shape.

        Raises:
            HNeuronsError: the neurons belong to another model or have no weights (a random set).
        """
        neurons.check_for(model_identity(model), strict)
        fitted = neurons.weights != 0
        if not fitted.any() or "intercept" not in neurons.made_by:
            raise HNeuronsError("these neurons have no probe weights, so they cannot detect anything")
        order = np.lexsort((neurons.neurons[fitted], neurons.layers[fitted]))
        layers, indices, weights = (values[fitted][order] for values in (neurons.layers, neurons.neurons, neurons.weights))
        by_layer = {int(layer): indices[layers == layer].tolist() for layer in np.unique(layers)}
        combined = Combined.from_dict(neurons.made_by.get("combined"))
        return cls(layers, indices, weights, by_layer, float(neurons.made_by["intercept"]), combined)

    def nothing(self) -> MeasuredResponse:
        """A response without tokens."""
        return MeasuredResponse([], np.zeros((0, len(self.weights)), np.float32), np.zeros(0, np.float32))

    def contributions(self, cett: np.ndarray) -> np.ndarray:
        """θ_j CETT_j, [tokens, neurons] float32."""
        return np.asarray(cett * self.weights.astype(np.float32))

    def logits(self, cett: np.ndarray) -> np.ndarray:
        """Log-odds of tokens (eq. 4), [tokens] float64."""
        return np.asarray(self.contributions(cett).sum(axis=1, dtype=np.float64) + self.intercept)

    def detection(
        self,
        tokenizer: PreTrainedTokenizerBase,
        question: str,
        response: MeasuredResponse,
        answer: str | None = None,
        opened: bool = False,
    ) -> Detection | NoDetection:
        """Score a response.

        Args:
            tokenizer: of the model.
            question: its text, as it is shown.
            response: the response; thoughts are no part of its answer.
            answer: the part that carries the claim; None takes the highest tokens.
            opened: whether the chat template has opened thoughts.

        Returns:
            The reason if the response is empty, does not contain the answer, or ends within thoughts.
        """
        thoughts = taken_apart(tokenizer, response.ids, opened).thought_tokens
        text, offsets = token_offsets(tokenizer, response.ids[thoughts:])
        span = find_phrase(text, answer) if answer is not None else None
        if not text and thoughts:
            return NoDetection(question, text, "the model's thoughts have no end; allow it more tokens")
        if not text:
            return NoDetection(question, text, "the model's response is empty; give a response")
        if answer is not None and span is None:
            return NoDetection(question, text, f"answer {answer!r} does not occur in the response {text!r}")
        ends = [0, *(end for _, end in offsets)]
        contributions = self.contributions(response.cett[thoughts:])
        return Detection(
            question=question,
            response=text,
            tokens=[text[start:end] for start, end in pairwise(ends)],
            answer=_highest(contributions.sum(axis=1)) if span is None else np.array(token_mask(offsets, *span)),
            answer_given=span is not None,
            contributions=contributions,
            layers=self.layers,
            indices=self.indices,
            weights=self.weights,
            intercept=self.intercept,
            logprobs=response.logprobs[thoughts:],
            combined=self.combined,
        )


def _highest(scores: np.ndarray) -> np.ndarray:
    """[tokens] bool: the tokens with the highest scores, which stand in for the answer."""
    return np.isin(np.arange(len(scores)), np.argsort(-scores, kind="stable")[:HIGHEST_TOKENS])
