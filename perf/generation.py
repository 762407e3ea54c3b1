"""Sampling and the α sweep compared with transformers' `generate` and with bare matrix products, alternating in one run.

Ten samples per question are drawn by ten separate calls of `generate`, by `generate(num_return_sequences=10)` in batches,
and by hneurons. The limit is the time of the linear layers alone, on the batches of hneurons. The sweep compares scaled and
untouched generation of equal length, and one job for seven α with seven jobs of one α, less the six loads saved.

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
from side_by_side import MODEL, THREADS, format_ratio, in_turns, ratio, report
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel

from hneurons.config.study import Decoding
from hneurons.generation.decode import generate
from hneurons.generation.prefill import left_pad
from hneurons.models.decoder import text_decoder
from hneurons.models.prepared import PreparedModel
from hneurons.models.tokenizer import stop_token_ids
from hneurons.neurons.scaling import scaled

SAMPLES = 10
# Number of questions for the slowest method.
FEW = 2
REPEATS = 3
BUDGET = 8192
ALPHAS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)


def ten_calls(model: PreTrainedModel, prompts: list[list[int]], decoding: Decoding, stops: list[int]) -> None:
    """Sample with one call of `generate` per response."""
    for prompt in prompts:
        for _ in range(SAMPLES):
            _library(model, [prompt], decoding, stops, 1)


def in_one_call(model: PreTrainedModel, prompts: list[list[int]], decoding: Decoding, stops: list[int]) -> None:
    """Sample with one call of `generate` per batch of questions."""
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


def sample(
    model: PreTrainedModel, prompts: list[list[int]], decoding: Decoding, stops: list[int], samples: int = SAMPLES
) -> None:
    """Sample with hneurons."""
    options: dict[str, Any] = {"seeds": range(len(prompts)), "stop_ids": stops, "samples": samples, "budget": BUDGET}
    for _ in generate(model, prompts, decoding, **options):
        pass


def shapes_of(model: PreTrainedModel, run: Any) -> list[tuple[int, int]]:
    """Record rows and tokens of every forward pass of a run."""
    shapes: list[tuple[int, int]] = []
    hook = model.register_forward_pre_hook(
        lambda _m, _a, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    run()
    hook.remove()
    return shapes


@torch.inference_mode()
def products(model: Any, shapes: list[tuple[int, int]]) -> None:
    """Compute only the matrix products of these forward passes."""
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
    """Time all methods of sampling."""
    shapes = shapes_of(model, partial(sample, model, prompts, decoding, stops))
    few = prompts[:FEW]
    ways = {
        "ten_calls": partial(ten_calls, model, few, decoding, stops),
        "one_call": partial(in_one_call, model, prompts, decoding, stops),
        "ours": partial(sample, model, prompts, decoding, stops),
        "limit": partial(products, model, shapes),
    }
    seconds = in_turns(ways, REPEATS)
    # The slowest method answers only a few questions, so its time is extrapolated.
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
    """Time scaled generation. Every reply has the same length, so that the work is the same at every α."""
    greedy = Decoding(max_new_tokens=32, temperature=0)
    never: list[int] = [model.config.get_text_config().vocab_size - 1]

    def run(alpha: Any) -> None:
        with scaled(model, neurons, alpha):
            sample(model, prompts, greedy, never, samples=1)

    ways = {
        "untouched": partial(sample, model, prompts, greedy, never, samples=1),
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
    """Time seven α after one load, and seven times one α with its load."""
    greedy = Decoding(max_new_tokens=32, temperature=0)
    times: dict[str, list[float]] = {"seven": [], "one": [], "load": []}
    for _ in tqdm(range(repeats), desc="jobs of the sweep"):
        for alphas in (ALPHAS, *((a,) for a in ALPHAS)):
            begun = time.perf_counter()
            model = PreparedModel(MODEL).model
            loaded = time.perf_counter()
            never = [model.config.get_text_config().vocab_size - 1]
            for alpha in alphas:
                with scaled(model, neurons, alpha):
                    sample(model, prompts, greedy, never, samples=1)
            times["seven" if len(alphas) > 1 else "one"].append(time.perf_counter() - begun)
            times["load"].append(loaded - begun)
            del model
    load = float(np.median(times["load"]))
    ones = [sum(times["one"][7 * i : 7 * i + 7]) for i in range(repeats)]
    return {
        "seconds": times,
        "seven_over_seven_ones_less_loads": ratio(times["seven"], [seconds - 6 * load for seconds in ones]),
        "reloading_over_seven": ratio(ones, times["seven"]),
    }


def main() -> None:
    """Measure sampling, the sweep and, for the demo's model, its jobs."""
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
    # One neuron in a thousand, the size of a typical set of H-Neurons.
    neurons = {
        layer: np.sort(rng.choice(config.intermediate_size, max(1, config.intermediate_size // 1000), False)).tolist()
        for layer in range(config.num_hidden_layers)
    }
    results: dict[str, Any] = {
        "sampling": sampling(model, prompts, decoding, stops),
        "sweep": sweep(model, prompts, neurons),
    }
    lines = [
        (f"ten samples on {shape or 'the demo model'}, {DEVICE}: ten calls / hneurons", "sampling", "ten_calls_over_ours"),
        ("generate(num_return_sequences=10) / hneurons", "sampling", "one_call_over_ours"),
        ("hneurons / the matrix products alone", "sampling", "ours_over_limit"),
        ("throughput at α = 0 / untouched", "sweep", "throughput_at_0"),
        ("throughput at α = 3 / untouched", "sweep", "throughput_at_3"),
    ]
    if not shape:
        results["jobs"] = jobs(prompts, neurons)
        lines += [
            ("seven α in a job / seven jobs of one α less six loads", "jobs", "seven_over_seven_ones_less_loads"),
            ("reloading for every α / seven α in a job", "jobs", "reloading_over_seven"),
        ]
    formatted = [(label, format_ratio(results[part][key])) for label, part, key in lines]
    report("generation" + (f"-{shape}" if shape else ""), formatted, results)


if __name__ == "__main__":
    main()
