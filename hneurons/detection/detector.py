"""Is this answer hallucinated? The probe on any question and response, with scores for tokens and neurons."""

from collections.abc import Iterator, Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons.cett.tokens import token_cett
from hneurons.config.study import Decoding
from hneurons.detection.detected import Detection, NoDetection
from hneurons.detection.live import generate_measured
from hneurons.detection.requests import DetectionRequest, make_request
from hneurons.detection.token_probe import MeasuredResponse, TokenProbe
from hneurons.errors import HNeuronsError
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.generation.prompts import begins_in_thoughts, ends_of_reply, given_ids
from hneurons.generation.requests import request_ids
from hneurons.models.tokenizer import tokenizer_beside
from hneurons.neurons.neuron_set import NeuronSet


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

    A request to which the model says nothing, or whose answer its response does not contain, gets a `NoDetection`. A
    response that the model gives is measured while it is generated.

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
    probe = TokenProbe.from_set(neurons, model, strict)
    tokenizer = tokenizer or tokenizer_beside(model)
    prompts = [request_ids(tokenizer, request) for request in requests]
    measured = _of_given(model, probe, tokenizer, requests, prompts, budget)
    if unanswered := [i for i, request in enumerate(requests) if request.response is None]:
        decoding = Decoding(max_new_tokens=max_new_tokens, temperature=0)
        options: dict[str, Any] = {"seeds": [0] * len(unanswered), "budget": budget}
        options["stop_ids"] = ends_of_reply(model, tokenizer)
        generated = generate_measured(model, probe, [prompts[i] for i in unanswered], decoding, **options)
        measured |= {unanswered[index]: response for index, (response,) in generated}
    opened = begins_in_thoughts(tokenizer)
    for i, request in enumerate(requests):
        yield probe.detection(tokenizer, request.asks, measured[i], request.answer, opened)


def _of_given(
    model: PreTrainedModel,
    probe: TokenProbe,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[DetectionRequest],
    prompts: Sequence[list[int]],
    budget: int | TokenBudget,
) -> dict[int, MeasuredResponse]:
    """Responses that the requests hold, by the index of their request; one without a token is not run."""
    responses = given_ids(tokenizer, [request.response for request in requests])
    measured = {
        i: probe.nothing() for i, request in enumerate(requests) if request.response is not None and not responses[i]
    }
    with_tokens = [i for i, response in enumerate(responses) if response]

    def run(batch: list[int]) -> list[MeasuredResponse]:
        chosen = [with_tokens[k] for k in batch]
        lengths = [len(responses[i]) for i in chosen]
        values = token_cett(model, [[*prompts[i], *responses[i]] for i in chosen], probe.by_layer, lengths)
        return [
            MeasuredResponse(responses[i], cetts[len(prompts[i]) :], logprobs)
            for i, (cetts, logprobs) in zip(chosen, values, strict=True)
        ]

    for batch, results in in_batches([len(prompts[i]) + len(responses[i]) for i in with_tokens], budget, run):
        measured |= {with_tokens[k]: result for k, result in zip(batch, results, strict=True)}
    return measured
