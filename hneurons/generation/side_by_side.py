"""One prompt at several α side by side: untouched, with the H-Neurons scaled, and with as many random neurons scaled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons.config.study import Decoding
from hneurons.generation.decode import generate
from hneurons.generation.prompts import ends_of_reply, prompt_ids
from hneurons.models.tokenizer import tokenizer_beside
from hneurons.neurons.neuron_set import H_NEURONS, RANDOM, UNTOUCHED, NeuronSet
from hneurons.neurons.scaling import check_alpha


@dataclass(frozen=True)
class SteeredReply:
    """A reply to one prompt. neurons: what was scaled by alpha, "untouched" at α = 1. finish_reason: stop or length."""

    prompt: str
    neurons: str
    alpha: float
    text: str
    tokens: int
    finish_reason: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def side_by_side(
    model: PreTrainedModel,
    neurons: NeuronSet,
    prompts: Sequence[str],
    alphas: Sequence[float],
    decoding: Decoding,
    *,
    random_sets: int = 1,
    seed: int = 0,
    strict: bool = True,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Iterator[SteeredReply]:
    """Replies to every prompt at every α, set by set: the selected neurons, then each random set as their control.

    α = 1 is generated once, untouched. Every reply to a prompt draws from the same random numbers. Raises HNeuronsError
    for the neurons of another model and for α < 0.
    """
    check_alpha(list(alphas))
    tokenizer = tokenizer or tokenizer_beside(model)
    asked = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    options: dict[str, Any] = {
        "seeds": [seed + i for i in range(len(prompts))],
        "stop_ids": ends_of_reply(model, tokenizer),
    }
    own = str(neurons.made_by.get("named", H_NEURONS))
    # A control needs none of its own.
    controls = 0 if own.startswith(RANDOM) else random_sets
    sets = {own: neurons} | {f"{RANDOM}-{i}": neurons.random_like(i) for i in range(1, controls + 1)}
    runs = [(UNTOUCHED, 1.0)] if 1 in alphas else []
    runs += [(name, alpha) for name in sets for alpha in dict.fromkeys(alphas) if alpha != 1]
    for name, alpha in runs:
        with sets.get(name, neurons).scale(model, alpha, strict=strict):
            found = dict(generate(model, asked, decoding, **options))
        for i, prompt in enumerate(prompts):
            (response,) = found[i]
            text = tokenizer.decode(response.token_ids, skip_special_tokens=True).strip()
            yield SteeredReply(prompt, name, alpha, text, len(response.token_ids), response.finish_reason)
