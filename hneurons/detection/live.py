"""Detection while a model generates: the passes that read what was drawn are measured too, so that nothing runs twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons.cett.tokens import cett_of_passes
from hneurons.config.study import Decoding
from hneurons.detection.detected import Detection, NoDetection
from hneurons.detection.token_probe import MeasuredResponse, TokenProbe
from hneurons.generation.batching import TokenBudget
from hneurons.generation.decode import ReadTokens, generate
from hneurons.generation.prompts import begins_in_thoughts, ends_of_reply
from hneurons.generation.requests import PromptRequest, request_ids
from hneurons.models.tokenizer import tokenizer_beside
from hneurons.neurons.neuron_set import NeuronSet


@dataclass(frozen=True)
class ScoredToken:
    """A token that the model wrote, with its score; it is known before the next token is drawn.

    Attributes:
        prompt, sample: indices of the prompt and of the response to it.
        step: how many tokens the response has before it.
        token_id: the token.
        logprob: natural log-probability at temperature 1.
        logit: the probe's log-odds that it is hallucinated (eq. 4).
    """

    prompt: int
    sample: int
    step: int
    token_id: int
    logprob: float
    logit: float


def generate_measured(
    model: PreTrainedModel,
    probe: TokenProbe,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    seeds: Sequence[int],
    stop_ids: Sequence[int],
    samples: int = 1,
    budget: int | TokenBudget = 8192,
    on_token: Callable[[ScoredToken], None] | None = None,
) -> Iterator[tuple[int, list[MeasuredResponse]]]:
    """Generate as `generate` does, and measure the probe's neurons at every token, in the same forward passes.

    Only the layers that have such a neuron are looked at. The model must not be scaled: the probe was trained on the model
    as it is.

    Args:
        model: the loaded model.
        probe: its neurons are measured.
        prompts, decoding, seeds, stop_ids, samples, budget: as in `generate`.
        on_token: called with each token as soon as it is scored; what it raises ends the generation. After a batch ran out
            of memory, the tokens of its responses come again from step 0.

    Yields:
        The index of a prompt and its responses, as `generate` does.
    """
    if not prompts:
        return
    # By response, the rows of CETT of its tokens.
    measured: dict[int, list[np.ndarray]] = defaultdict(list)

    with cett_of_passes(model, probe.by_layer) as last_pass:

        def watch(read: ReadTokens) -> None:
            values = last_pass().cpu().numpy()[read.rows.numpy()]
            for response, cett in zip(read.responses.tolist(), values, strict=True):
                measured[response][read.step :] = [cett]
            if on_token is None:
                return
            facts = (t.tolist() for t in (read.responses, read.token_ids, read.logprobs))
            for response, token_id, logprob, logit in zip(*facts, probe.logits(values).tolist(), strict=True):
                on_token(ScoredToken(response // samples, response % samples, read.step, token_id, logprob, logit))

        options: dict[str, Any] = {"seeds": seeds, "stop_ids": stop_ids, "samples": samples, "budget": budget}
        for index, responses in generate(model, prompts, decoding, watch=watch, **options):
            yield (
                index,
                [
                    MeasuredResponse(
                        response.unended_ids,
                        np.stack(cett) if (cett := measured.pop(index * samples + sample, [])) else probe.nothing().cett,
                        np.array(response.logprobs[: len(response.unended_ids)], np.float32),
                        response.truncated,
                    )
                    for sample, response in enumerate(responses)
                ],
            )


def detect_while_generating(
    model: PreTrainedModel,
    neurons: NeuronSet,
    requests: Sequence[PromptRequest],
    decoding: Decoding,
    *,
    seed: int = 0,
    tokenizer: PreTrainedTokenizerBase | None = None,
    strict: bool = True,
    budget: int | TokenBudget = 8192,
    on_token: Callable[[ScoredToken], None] | None = None,
) -> Iterator[tuple[int, Detection | NoDetection]]:
    """Reply to requests and score each token as it is written: what `detect` says of these replies, without its pass.

    Args:
        model: the model that the neurons were found in.
        neurons: a set with the weights of a probe.
        requests: questions or conversations.
        decoding: how tokens are drawn, and how many at most.
        seed: of the random numbers, used if the temperature is not 0.
        tokenizer: None loads the model's own.
        strict: as in `TokenProbe.from_set`.
        budget: tokens per batch.
        on_token: as in `generate_measured`.

    Yields:
        The index of a request and the detection of the reply to it, in any order.

    Raises:
        HNeuronsError: as `TokenProbe.from_set` and `request_ids` do.
    """
    probe = TokenProbe.from_set(neurons, model, strict)
    tokenizer = tokenizer or tokenizer_beside(model)
    prompts = [request_ids(tokenizer, request) for request in requests]
    opened = begins_in_thoughts(tokenizer)
    options: dict[str, Any] = {"seeds": [seed + i for i in range(len(prompts))], "budget": budget, "on_token": on_token}
    options["stop_ids"] = ends_of_reply(model, tokenizer)
    for index, (response,) in generate_measured(model, probe, prompts, decoding, **options):
        yield index, probe.detection(tokenizer, requests[index].asks, response, opened=opened)
