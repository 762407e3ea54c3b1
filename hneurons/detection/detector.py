"""Is this answer made up? The probe on any question and response: for the whole, for each token, and for each neuron.

A token's log-odds are b + Σ_j θ_j CETT_j (eqs. 2 and 4); the response's are their mean over its answer tokens, which is the
probe on features averaged over these tokens, as it was trained (eq. 3). Where nobody says which tokens those are, the three
highest are taken: a claim is short, and training on the other tokens as label 0 keeps theirs low (docs/detector.md has what
that is worth, measured).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from pydantic import Field, ValidationError
from scipy.special import expit
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons.cett.measure import token_cett
from hneurons.config.base import Settings, describe_errors
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.generation.decode import generate
from hneurons.generation.prompts import ends_of_reply, prompt_ids
from hneurons.generation.tokens import token_mask, token_offsets
from hneurons.models.decoder import model_identity
from hneurons.models.tokenizer import tokenizer_beside
from hneurons.neurons.neuron_set import NeuronSet

# Tokens that stand for the answer where it is not named.
HIGHEST_TOKENS = 3


class DetectionRequest(Settings, extra="allow"):
    """What is to be judged: a question, the response to it, and which part of the response is the answer.

    Without a response the model answers, greedily. Without an answer the response's highest tokens stand for it. Other keys
    are other_keys along.
    """

    question: str = Field(min_length=1)
    response: str | None = Field(None, min_length=1)
    answer: str | None = Field(None, min_length=1)

    @property
    def other_keys(self) -> dict[str, Any]:
        return self.model_extra or {}


@dataclass(frozen=True)
class Detection:
    """What the probe says of one response.

    tokens: the text of each response token. answer [tokens] bool: those that the response's probability is read from;
    answer_given: whether the answer was named, or they are the highest ones.
    contributions [tokens, neurons] float32: θ_j CETT_j; the columns are the neurons with a weight, as `layers`, `indices`
    and `weights` [neurons] name them. intercept: b.
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

    @cached_property
    def token_logits(self) -> np.ndarray:
        """Log-odds of each token, [tokens]."""
        return np.asarray(self.contributions.sum(axis=1, dtype=np.float64) + self.intercept)

    @property
    def token_probabilities(self) -> np.ndarray:
        """p(hallucinated) of each token by itself, [tokens]."""
        return np.asarray(expit(self.token_logits))

    @property
    def logit(self) -> float:
        return float(self.token_logits[self.answer].mean())

    @property
    def probability(self) -> float:
        """p(hallucinated) of the response: of its answer tokens."""
        return float(expit(self.logit))

    def strongest(self, tokens: np.ndarray | int | None = None, most: int = 5) -> list[dict[str, Any]]:
        """The neurons that weigh most on one token, on several (a mask), or on the answer: layer, neuron, contribution."""
        chosen = self.answer if tokens is None else tokens
        values = self.contributions[chosen]
        mean = values if values.ndim == 1 else values.mean(axis=0)
        order = np.argsort(-np.abs(mean), kind="stable")[:most]
        return [
            {"layer": int(self.layers[j]), "neuron": int(self.indices[j]), "contribution": float(mean[j])}
            for j in order
            if mean[j] != 0
        ]

    def as_dict(self, most: int = 5) -> dict[str, Any]:
        """For JSON: everything, of the neurons the strongest on the answer and on each token."""
        tokens = zip(self.tokens, self.token_probabilities, self.answer, strict=True)
        return {
            "question": self.question,
            "response": self.response,
            "probability": self.probability,
            "logit": self.logit,
            "answer_named": self.answer_given,
            "neurons": self.strongest(most=most),
            "tokens": [
                {"text": text, "probability": float(p), "in_answer": bool(mine), "neurons": self.strongest(i, most)}
                for i, (text, p, mine) in enumerate(tokens)
            ],
        }


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
    """How likely a response is made up, by the probe (eq. 4), for the whole and for each token.

    response: without one the model answers, greedily, up to max_new_tokens. answer: the part of the response that carries
    its claim; the probe was trained on such spans, so name it where you can (else its three highest tokens count).
    tokenizer: the model's own by default. Raises HNeuronsError for the neurons of another model (strict=False asks for the
    same shape alone), for neurons without weights (a random set), and for an answer that the response does not hold.
    """
    asked = [make_request({"question": question, "response": response, "answer": answer})]
    options: dict[str, Any] = {"tokenizer": tokenizer, "max_new_tokens": max_new_tokens, "strict": strict}
    return next(detect_many(model, neurons, asked, **options))


def detect_many(
    model: PreTrainedModel,
    neurons: NeuronSet,
    asked: Sequence[DetectionRequest],
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_new_tokens: int = 64,
    strict: bool = True,
    budget: int | TokenBudget = 8192,
) -> Iterator[Detection]:
    """`detect` on many, in their order, in batches of so many tokens."""
    neurons.check_for(model_identity(model), strict)
    fitted = neurons.weights != 0
    if not fitted.any() or "intercept" not in neurons.made_by:
        raise HNeuronsError("these neurons have no weights of a probe, so there is nothing to detect with")
    # By layer, as token_cett gives its columns.
    order = np.lexsort((neurons.neurons[fitted], neurons.layers[fitted]))
    layers, indices, weights = (values[fitted][order] for values in (neurons.layers, neurons.neurons, neurons.weights))
    by_layer = {int(layer): indices[layers == layer].tolist() for layer in np.unique(layers)}
    tokenizer = tokenizer or tokenizer_beside(model)
    prompts = [prompt_ids(tokenizer, one.question) for one in asked]
    answered = _responses(model, tokenizer, asked, prompts, max_new_tokens, budget)
    lengths = [len(p) + len(r) for p, r in zip(prompts, answered, strict=True)]
    cett: dict[int, np.ndarray] = {}

    def run(batch: list[int]) -> list[np.ndarray]:
        return token_cett(model, [[*prompts[i], *answered[i]] for i in batch], by_layer)

    for batch, found in in_batches(lengths, budget, run):
        cett |= {i: values[len(prompts[i]) :] for i, values in zip(batch, found, strict=True)}
    intercept = float(neurons.made_by["intercept"])
    for i, one in enumerate(asked):
        text, offsets = token_offsets(tokenizer, answered[i])
        ends = [0, *(end for _, end in offsets)]
        tokens = [text[start:end] for start, end in pairwise(ends)]
        contributions = cett[i] * weights.astype(np.float32)
        mask = _answer_mask(one, text, offsets, contributions.sum(axis=1))
        named = one.answer is not None
        yield Detection(one.question, text, tokens, mask, named, contributions, layers, indices, weights, intercept)


def _responses(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[DetectionRequest],
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    budget: int | TokenBudget,
) -> list[list[int]]:
    """Token ids of what was given, and of the model's own answer where nothing was; without end tokens."""
    # A base model's prompt ends in "Answer:", and what follows begins with a space.
    lead = "" if tokenizer.chat_template else " "
    found = [
        [int(i) for i in tokenizer(lead + one.response, add_special_tokens=False)["input_ids"]] if one.response else []
        for one in asked
    ]
    silent = [i for i, one in enumerate(asked) if one.response is None]
    if silent:
        decoding = Decoding(max_new_tokens=max_new_tokens, temperature=0)
        options: dict[str, Any] = {"seeds": [0] * len(silent), "budget": budget}
        options["stop_ids"] = ends_of_reply(model, tokenizer)
        for index, (response,) in generate(model, [list(prompts[i]) for i in silent], decoding, **options):
            found[silent[index]] = response.unended_ids
    for one, ids in zip(asked, found, strict=True):
        if not ids:
            raise HNeuronsError(f"{one.question!r}: the model says nothing; give a response")
    return found


def _answer_mask(asked: DetectionRequest, text: str, offsets: Sequence[tuple[int, int]], scores: np.ndarray) -> np.ndarray:
    if asked.answer is None:
        return np.isin(np.arange(len(scores)), np.argsort(-scores, kind="stable")[:HIGHEST_TOKENS])
    start = text.find(asked.answer)
    if start < 0:
        raise HNeuronsError(f"answer {asked.answer!r} does not stand in the response {text!r}")
    return np.array(token_mask(offsets, start, start + len(asked.answer)))


def make_request(data: Mapping[str, Any], where: str = "what is asked") -> DetectionRequest:
    """Raises HNeuronsError, one line, for a key that is missing or a text that is empty."""
    try:
        return DetectionRequest.model_validate(data)
    except ValidationError as error:
        raise HNeuronsError(describe_errors(DetectionRequest, error, where)) from None


def parse_requests(lines: Iterable[str], where: str) -> Iterator[DetectionRequest]:
    """Questions from lines: a JSON object each, or plain text. Raises HNeuronsError naming the line that is neither."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        at = f"{where}, line {number}"
        try:
            data = json.loads(line) if line.lstrip().startswith("{") else {"question": line.strip()}
        except json.JSONDecodeError as error:
            raise HNeuronsError(f"{at}: no JSON ({error})") from None
        yield make_request(data, at)
