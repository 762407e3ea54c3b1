"""One prompt at several α side by side: untouched, with the H-Neurons scaled, and with as many random neurons scaled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons.config import Decoding, default_prompt_date
from hneurons.generation import generate
from hneurons.models import stop_token_ids
from hneurons.neurons import H_NEURONS, RANDOM, UNTOUCHED, NeuronSet
from hneurons.prepared import tokenizer_of
from hneurons.prompts import base_ids, chat_ids, newline_ids
from hneurons.scaling import check_alpha


@dataclass(frozen=True)
class Steered:
    """A reply to one prompt. neurons: what was scaled by alpha, "untouched" at α = 1. finish_reason: stop or length."""

    prompt: str
    neurons: str
    alpha: float
    text: str
    tokens: int
    finish_reason: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def prompt_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """A chat turn or, without a chat template, what a base model completes."""
    return chat_ids(tokenizer, [text], default_prompt_date()) if tokenizer.chat_template else base_ids(tokenizer, text)


def ends_of_reply(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a reply to prompt_ids: end tokens, and of a base model every line break."""
    stops = stop_token_ids(model.generation_config, tokenizer)
    return stops if tokenizer.chat_template else sorted({*stops, *newline_ids(tokenizer)})


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
) -> Iterator[Steered]:
    """Replies to every prompt at every α, set by set: the selected neurons, then each random set as their control.

    α = 1 is generated once, untouched. Every reply to a prompt draws from the same random numbers. Raises HNeuronsError
    for the neurons of another model and for α < 0.
    """
    check_alpha(list(alphas))
    tokenizer = tokenizer or tokenizer_of(model)
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
            yield Steered(prompt, name, alpha, text, len(response.token_ids), response.finish_reason)
