"""One prompt at several α side by side: untouched, with the H-Neurons scaled, and with random neurons scaled."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons.config.impact import H_NEURONS, RANDOM, sweep
from hneurons.config.study import Decoding
from hneurons.generation.decode import generate
from hneurons.generation.prompts import begins_in_thoughts, ends_of_reply
from hneurons.generation.requests import PromptRequest, request_ids
from hneurons.generation.thoughts import taken_apart
from hneurons.models.decoder import model_identity
from hneurons.models.tokenizer import tokenizer_beside
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.neurons.scaling import NeuronsByLayer, check_alpha


@dataclass(frozen=True)
class SteeredReply:
    """A reply to one prompt.

    Attributes:
        prompt: the user's text, the last of a conversation.
        neurons: name of the set that was scaled by alpha, "untouched" at α = 1.
        alpha: the factor α.
        text: the reply, without thoughts.
        tokens: number of tokens of the reply, including thoughts and the end token.
        truncated: whether the reply was cut at max_new_tokens.
        thoughts: what a thinking model wrote before it; None if nothing.
    """

    prompt: str
    neurons: str
    alpha: float
    text: str
    tokens: int
    truncated: bool
    thoughts: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The attributes as a dictionary."""
        return asdict(self)


def side_by_side(
    model: PreTrainedModel,
    neurons: NeuronSet,
    prompts: Sequence[str | PromptRequest],
    alphas: Sequence[float],
    decoding: Decoding,
    *,
    random_sets: int = 1,
    seed: int = 0,
    strict: bool = True,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Iterator[SteeredReply]:
    """Reply to every prompt at every α, with the selected neurons scaled and then each random set as their control.

    All α and sets share a batch, in which each row has its set and α. All replies to a prompt use the same random numbers.

    Args:
        model: the loaded model.
        neurons: the set whose selected neurons are scaled.
        prompts: the user's texts, which a base model completes, or conversations.
        alphas: the factors α ≥ 0 (eq. 5); at α = 1 one untouched reply is generated.
        decoding: how tokens are drawn, and how many at most.
        random_sets: number of random sets of equal size; none are generated if `neurons` is a random set already.
        seed: of the random numbers, used if the temperature is not 0.
        strict: False accepts neurons of another model of the same shape, such as the one from which this was tuned.
        tokenizer: None loads the model's.

    Yields:
        One reply per set, α and prompt.

    Raises:
        HNeuronsError: the neurons belong to another model, or α < 0.
    """
    check_alpha(list(alphas))
    neurons.check_for(model_identity(model), strict)
    tokenizer = tokenizer or tokenizer_beside(model)
    name = str(neurons.made_by.get("named", H_NEURONS))
    controls = 0 if name.startswith(RANDOM) else random_sets
    sets = {name: neurons.by_layer()}
    sets |= {f"{RANDOM}-{i}": neurons.random_like(i).by_layer() for i in range(1, controls + 1)}
    # A row per set, α and prompt. The untouched model has no neurons to scale, and is run only if α = 1 is in `alphas`.
    runs = [(set_name, alpha) for set_name, alpha in sweep(list(sets), alphas) if alpha in alphas]
    requests = [PromptRequest(question=prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
    rows = [(set_name, alpha, request.asks) for set_name, alpha in runs for request in requests]
    scaled_by: list[tuple[NeuronsByLayer, float]] = [(sets.get(set_name, {}), alpha) for set_name, alpha, _ in rows]
    ids = [request_ids(tokenizer, request) for request in requests] * len(runs)
    seeds = [seed + i for i in range(len(prompts))] * len(runs)
    stop_ids, opened = ends_of_reply(model, tokenizer), begins_in_thoughts(tokenizer)
    responses = dict(generate(model, ids, decoding, seeds=seeds, stop_ids=stop_ids, scaled_by=scaled_by))
    for row, (set_name, alpha, prompt) in enumerate(rows):
        (response,) = responses[row]
        reply = taken_apart(tokenizer, response.token_ids, opened)
        tokens = len(response.token_ids)
        yield SteeredReply(prompt, set_name, alpha, reply.text.strip(), tokens, response.truncated, reply.thoughts)
