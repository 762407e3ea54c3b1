"""Sampling and the α sweep against the published ways and against the matrix products' own time, in turns in one run.

Ten samples per question: ten separate calls of `generate`, question by question; `generate(num_return_sequences=10)` in
batches; ours. limit: the linear layers alone, on as many rows as ours had at every step. The sweep: scaled and untouched
generation of equal length; a job of seven α against seven jobs of one, less the loads that it saves.

    python perf/generation.py [--shape llama-3.1-8b]     # random weights, for a GPU
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from shapes import DEVICE, SHAPES, demo_model, questions, random_model, templated
from side_by_side import MODEL, THREADS, in_turns, of, ratio, report
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from hneurons.config.study import Decoding
from hneurons.generation.decode import generate, left_pad
from hneurons.models.decoder import text_decoder
from hneurons.models.prepared import PreparedModel
from hneurons.models.tokenizer import stop_token_ids
from hneurons.neurons.scaling import scaled

SAMPLES = 10
# Questions that are asked in ten calls each.
FEW = 2
REPEATS = 3
BUDGET = 8192
ALPHAS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)


def ten_calls(model: PreTrainedModel, prompts: list[list[int]], decoding: Decoding, stops: list[int]) -> None:
    for prompt in prompts:
        for _ in range(SAMPLES):
            _library(model, [prompt], decoding, stops, 1)


def in_one_call(model: PreTrainedModel, prompts: list[list[int]], decoding: Decoding, stops: list[int]) -> None:
    rows = max(1, BUDGET // ((max(map(len, prompts)) + decoding.max_new_tokens) * SAMPLES))
    for first in range(0, len(prompts), rows):
        _library(model, prompts[first : first + rows], decoding, stops, SAMPLES)


@torch.inference_mode()
def _library(model: Any, prompts: list[list[int]], decoding: Decoding, stops: list[int], samples: int) -> None:
    ids, mask = (t.to(model.device) for t in left_pad(prompts, stops[0]))
    model.generate(
        ids,
        attention_mask=mask,
        do_sample=True,
        temperature=decoding.temperature,
        top_k=decoding.top_k,
        top_p=decoding.top_p,
        max_new_tokens=decoding.max_new_tokens,
        num_return_sequences=samples,
        eos_token_id=stops,
        pad_token_id=stops[0],
    )


def ours(
    model: PreTrainedModel, prompts: list[list[int]], decoding: Decoding, stops: list[int], samples: int = SAMPLES
) -> None:
    options: dict[str, Any] = {"seeds": range(len(prompts)), "stop_ids": stops, "samples": samples, "budget": BUDGET}
    for _ in generate(model, prompts, decoding, **options):
        pass


def shapes_of(model: PreTrainedModel, run: Any) -> list[tuple[int, int]]:
    """Rows and tokens of every forward pass of a run."""
    found: list[tuple[int, int]] = []
    hook = model.register_forward_pre_hook(
        lambda _m, _a, kwargs: found.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    run()
    hook.remove()
    return found


@torch.inference_mode()
def products(model: Any, shapes: list[tuple[int, int]]) -> None:
    """The matrix products of those forward passes, and nothing else."""
    layers: list[Any] = [m for m in text_decoder(model).modules() if isinstance(m, nn.Linear)]
    head = model.get_output_embeddings()
    place: dict[str, Any] = {"device": head.weight.device, "dtype": head.weight.dtype}
    for rows, tokens in shapes:
        inputs: dict[int, torch.Tensor] = {}
        for layer in layers:
            width = layer.in_features
            if width not in inputs:
                inputs[width] = torch.zeros(rows * tokens, width, **place)
            layer(inputs[width])
        head(torch.zeros(rows, head.in_features, **place))


def sampling(model: PreTrainedModel, prompts: list[list[int]], decoding: Decoding, stops: list[int]) -> dict[str, Any]:
    shapes = shapes_of(model, partial(ours, model, prompts, decoding, stops))
    few = prompts[:FEW]
    ways = {
        "ten_calls": partial(ten_calls, model, few, decoding, stops),
        "one_call": partial(in_one_call, model, prompts, decoding, stops),
        "ours": partial(ours, model, prompts, decoding, stops),
        "limit": partial(products, model, shapes),
    }
    seconds = in_turns(ways, REPEATS)
    # Per question: the slowest way is asked few of them.
    seconds["ten_calls"] = [s * len(prompts) / len(few) for s in seconds["ten_calls"]]
    return {
        "questions": len(prompts),
        "responses": len(prompts) * SAMPLES,
        "forward_passes": len(shapes),
        "seconds": seconds,
        "ten_calls_over_ours": ratio(seconds["ten_calls"], seconds["ours"]),
        "one_call_over_ours": ratio(seconds["one_call"], seconds["ours"]),
        "ours_over_limit": ratio(seconds["ours"], seconds["limit"]),
    }


def sweep(model: PreTrainedModel, prompts: list[list[int]], neurons: dict[int, list[int]]) -> dict[str, Any]:
    """Throughput of scaled generation: every reply has the same length, so that the work is the same at every α."""
    greedy = Decoding(max_new_tokens=32, temperature=0)
    never: list[int] = [model.config.get_text_config().vocab_size - 1]

    def run(alpha: Any) -> None:
        with scaled(model, neurons, alpha):
            ours(model, prompts, greedy, never, samples=1)

    ways = {
        "untouched": partial(ours, model, prompts, greedy, never, samples=1),
        "alpha_0": partial(run, 0.0),
        "alpha_3": partial(run, 3.0),
    }
    seconds = in_turns(ways, 2 * REPEATS + 1)
    return {
        "seconds": seconds,
        "throughput_at_0": ratio(seconds["untouched"], seconds["alpha_0"]),
        "throughput_at_3": ratio(seconds["untouched"], seconds["alpha_3"]),
    }


def jobs(prompts: list[list[int]], neurons: dict[int, list[int]], repeats: int = 2) -> dict[str, Any]:
    """Seven α after one load, against seven times one α with its load, less the six loads."""
    greedy = Decoding(max_new_tokens=32, temperature=0)
    found: dict[str, list[float]] = {"seven": [], "one": [], "load": []}
    for _ in tqdm(range(repeats), desc="jobs of the sweep"):
        for alphas in (ALPHAS, *((a,) for a in ALPHAS)):
            begun = time.perf_counter()
            model = PreparedModel(MODEL).model
            loaded = time.perf_counter()
            never = [model.config.get_text_config().vocab_size - 1]
            for alpha in alphas:
                with scaled(model, neurons, alpha):
                    ours(model, prompts, greedy, never, samples=1)
            found["seven" if len(alphas) > 1 else "one"].append(time.perf_counter() - begun)
            found["load"].append(loaded - begun)
            del model
    load = float(np.median(found["load"]))
    ones = [sum(found["one"][7 * i : 7 * i + 7]) for i in range(repeats)]
    return {
        "seconds": found,
        "seven_over_seven_ones_less_loads": ratio(found["seven"], [one - 6 * load for one in ones]),
        "reloading_over_seven": ratio(ones, found["seven"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=SHAPES, help="random weights in the shape of a large model, for a GPU")
    shape = parser.parse_args().shape
    torch.set_num_threads(THREADS)
    if shape:
        model = random_model(shape)
        prompts = templated(64)
        decoding, stops = Decoding(max_new_tokens=50, temperature=1.0, top_k=50, top_p=0.9), [2]
    else:
        prepared = demo_model()
        model, tokenizer = prepared.model, prepared.tokenizer
        prompts = questions(prepared, 24)
        decoding = Decoding(max_new_tokens=20, temperature=1.0, top_k=50, top_p=0.9)
        stops = stop_token_ids(model.generation_config, tokenizer)
    rng = np.random.default_rng(0)
    config = model.config.get_text_config()
    # As many as a set of H-Neurons: one in a thousand.
    neurons = {
        layer: np.sort(rng.choice(config.intermediate_size, max(1, config.intermediate_size // 1000), False)).tolist()
        for layer in range(config.num_hidden_layers)
    }
    found: dict[str, Any] = {"sampling": sampling(model, prompts, decoding, stops), "sweep": sweep(model, prompts, neurons)}
    lines = [
        (
            f"ten samples on {shape or 'the demo model'}, {DEVICE}: ten calls / ours",
            of(found["sampling"]["ten_calls_over_ours"]),
        ),
        ("generate(num_return_sequences=10) / ours", of(found["sampling"]["one_call_over_ours"])),
        ("ours / the matrix products alone", of(found["sampling"]["ours_over_limit"])),
        ("throughput at α = 0 / untouched", of(found["sweep"]["throughput_at_0"])),
        ("throughput at α = 3 / untouched", of(found["sweep"]["throughput_at_3"])),
    ]
    if not shape:
        found["jobs"] = jobs(prompts, neurons)
        lines += [
            (
                "seven α in a job / seven jobs of one α less six loads",
                of(found["jobs"]["seven_over_seven_ones_less_loads"]),
            ),
            ("reloading for every α / seven α in a job", of(found["jobs"]["reloading_over_seven"])),
        ]
    report("generation" + (f"-{shape}" if shape else ""), lines, found)


if __name__ == "__main__":
    main()
