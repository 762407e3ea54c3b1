"""Is this answer hallucinated? The probe on any question and response, with scores for tokens and neurons.

A token's log-odds are b + Σ_j θ_j CETT_j (eqs. 2 and 4). The response's are their mean over its answer tokens, which equals
the probe on features averaged over these tokens, as in training (eq. 3). If the answer tokens are not given, the three
highest tokens are used: a claim is short, and other tokens score low because training labels them 0 (docs/detector.md has
measurements of this choice).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.special import expit
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons.cett.measure import token_cett
from hneurons.config.study import Decoding
from hneurons.data.folding import find_phrase
from hneurons.detection.requests import DetectionRequest, make_request, request_ids
from hneurons.errors import HNeuronsError
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.generation.decode import generate
from hneurons.generation.prompts import begins_in_thoughts, ends_of_reply, given_ids
from hneurons.generation.thoughts import taken_apart
from hneurons.generation.tokens import token_mask, token_offsets
from hneurons.models.decoder import model_identity
from hneurons.models.tokenizer import tokenizer_beside
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.probe.confidence import Combined

# Number of tokens that stand in for the answer if it is not given.
HIGHEST_TOKENS = 3


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


def detect(
    model: PreTrainedModel,
    neurons: NeuronSet,
    question: str,
    response: str | None = None,
    *,
    answer: str | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_new_tokens: int = 64,
    strict: bool = True,
) -> Detection:
    """Compute how likely a response is hallucinated according to the probe (eq. 4), and the score of each token.

    Args:
        model: the model that the neurons were found in.
        neurons: a set with the weights of a probe.
        question: the question.
        response: the response; None lets the model answer greedily.
        answer: the part of the response that carries its claim. Give it if you can, because the probe was trained on such
            spans; otherwise the three highest tokens are used.
        tokenizer: None loads the model's own.
        max_new_tokens: limit of a generated response.
        strict: whether the neurons must be of this very model; False requires only the same shape.

    Raises:
        HNeuronsError: if the neurons belong to another model or have no weights (a random set), if the model's response is
            empty, or if the response does not contain the answer.
    """
    request = make_request({"question": question, "response": response, "answer": answer})
    options: dict[str, Any] = {"tokenizer": tokenizer, "max_new_tokens": max_new_tokens, "strict": strict}
    result = next(detect_many(model, neurons, [request], **options))
    if isinstance(result, NoDetection):
        raise HNeuronsError(f"{question!r}: {result.why}")
    return result


def detect_many(
    model: PreTrainedModel,
    neurons: NeuronSet,
    requests: Sequence[DetectionRequest],
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_new_tokens: int = 64,
    strict: bool = True,
    budget: int | TokenBudget = 8192,
) -> Iterator[Detection | NoDetection]:
    """Apply `detect` to many requests, in batches, and yield the results in order.

    A request to which the model says nothing, or whose answer its response does not contain, gets a `NoDetection`.

    Args:
        model: as in `detect`.
        neurons: as in `detect`.
        requests: questions, each with a response and the answer in it, or without.
        tokenizer: as in `detect`.
        max_new_tokens: as in `detect`.
        strict: as in `detect`.
        budget: tokens per batch.

    Raises:
        HNeuronsError: if the neurons belong to another model or have no weights (a random set).
    """
    neurons.check_for(model_identity(model), strict)
    fitted = neurons.weights != 0
    if not fitted.any() or "intercept" not in neurons.made_by:
        raise HNeuronsError("these neurons have no probe weights, so they cannot detect anything")
    # Sorted by layer, as the columns of token_cett are.
    order = np.lexsort((neurons.neurons[fitted], neurons.layers[fitted]))
    layers, indices, weights = (values[fitted][order] for values in (neurons.layers, neurons.neurons, neurons.weights))
    by_layer = {int(layer): indices[layers == layer].tolist() for layer in np.unique(layers)}
    tokenizer = tokenizer or tokenizer_beside(model)
    prompts = [request_ids(tokenizer, request) for request in requests]
    responses = _responses(model, tokenizer, requests, prompts, max_new_tokens, budget)
    answered = [i for i, response in enumerate(responses) if response]
    lengths = [len(prompts[i]) + len(responses[i]) for i in answered]
    measured: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def run(batch: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        sequences = [[*prompts[answered[k]], *responses[answered[k]]] for k in batch]
        return token_cett(model, sequences, by_layer, [len(responses[answered[k]]) for k in batch])

    for batch, values in in_batches(lengths, budget, run):
        for k, (cetts, logprobs) in zip(batch, values, strict=True):
            measured[answered[k]] = cetts[len(prompts[answered[k]]) :], logprobs
    intercept = float(neurons.made_by["intercept"])
    combined = Combined.from_dict(neurons.made_by.get("combined"))
    opened = begins_in_thoughts(tokenizer)
    for i, request in enumerate(requests):
        # Thoughts are no part of the answer.
        thoughts = taken_apart(tokenizer, responses[i], opened).thought_tokens
        text, offsets = token_offsets(tokenizer, responses[i][thoughts:])
        span = find_phrase(text, request.answer) if request.answer is not None else None
        if not text and thoughts:
            yield NoDetection(request.asks, text, "the model's thoughts have no end; allow it more tokens")
            continue
        if not text:
            yield NoDetection(request.asks, text, "the model's response is empty; give a response")
            continue
        if request.answer is not None and span is None:
            yield NoDetection(request.asks, text, f"answer {request.answer!r} does not occur in the response {text!r}")
            continue
        ends = [0, *(end for _, end in offsets)]
        tokens = [text[start:end] for start, end in pairwise(ends)]
        cett, logprobs = (values[thoughts:] for values in measured[i])
        contributions = cett * weights.astype(np.float32)
        mask = _highest(contributions.sum(axis=1)) if span is None else np.array(token_mask(offsets, *span))
        of_probe = contributions, layers, indices, weights, intercept
        yield Detection(request.asks, text, tokens, mask, span is not None, *of_probe, logprobs, combined)


def _responses(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[DetectionRequest],
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    budget: int | TokenBudget,
) -> list[list[int]]:
    """Token ids of each response without end tokens, generated for requests without a response."""
    responses = given_ids(tokenizer, [request.response for request in requests])
    unanswered = [i for i, request in enumerate(requests) if request.response is None]
    if unanswered:
        decoding = Decoding(max_new_tokens=max_new_tokens, temperature=0)
        options: dict[str, Any] = {"seeds": [0] * len(unanswered), "budget": budget}
        options["stop_ids"] = ends_of_reply(model, tokenizer)
        for index, (response,) in generate(model, [list(prompts[i]) for i in unanswered], decoding, **options):
            responses[unanswered[index]] = response.unended_ids
    return responses


def _highest(scores: np.ndarray) -> np.ndarray:
    """[tokens] bool: the tokens with the highest scores, which stand in for the answer."""
    return np.isin(np.arange(len(scores)), np.argsort(-scores, kind="stable")[:HIGHEST_TOKENS])
