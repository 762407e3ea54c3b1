"""All that a GPU is to be measured for, in one run of a few minutes: CETT, sampling, what they are compared with, memory.

Every way is timed in turns with its limit, at several token budgets. `perf/gpu.sh` runs it for two shapes; `--shape tiny`
rehearses it on a processor.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from extraction import examples, limit, measure, reference
from generation import SAMPLES, in_one_call, products, shapes_of
from shapes import DEVICE, SHAPES, random_model, templated
from side_by_side import Peak, format_ratio, in_turns, ratio, report
from transformers import PreTrainedModel

from hneurons.cett.measure import column_norms
from hneurons.config.setup import parse_study
from hneurons.config.study import Decoding
from hneurons.generation.decode import generate
from hneurons.planning.estimates import peak_gpu_bytes

DECODING = Decoding(max_new_tokens=50, temperature=1.0, top_k=50, top_p=0.9)
# Models of config/models.yaml with these shapes, whose memory a plan estimates.
PLANNED = {"llama-3.1-8b": "llama-3.1-8b-instruct", "gemma-3-4b": "gemma-3-4b-it"}
STOPS = [2]


def sampled(model: PreTrainedModel, prompts: list[list[int]], budget: int, steps_per_look: int) -> None:
    """Sample with hneurons."""
    options: dict[str, Any] = {"seeds": range(len(prompts)), "stop_ids": STOPS, "samples": SAMPLES}
    for _ in generate(model, prompts, DECODING, **options, budget=budget, steps_per_look=steps_per_look):
        pass


def cett_at(model: PreTrainedModel, count: int, budget: int, repeats: int) -> dict[str, Any]:
    """Tokens per second of CETT, and its time over that of the bare forward pass."""
    sequences = examples(templated(count), 10, 50)
    ways = {"ours": partial(measure, model, sequences, budget), "limit": partial(limit, model, sequences, budget)}
    with Peak() as peak:
        seconds = in_turns(ways, repeats)
    tokens = sum(len(sequence.ids) for sequence in sequences)
    fastest = min(seconds["ours"])
    return {
        "tokens": tokens,
        "seconds": seconds,
        "per_second": tokens / fastest,
        "over": ratio(seconds["ours"], seconds["limit"]),
        "peak_gb": peak.gb,
    }


def sampling_at(model: PreTrainedModel, count: int, budget: int, steps_per_look: int, repeats: int) -> dict[str, Any]:
    """Responses per second, and the time over that of the linear layers alone on the same batches."""
    prompts = templated(count)
    run = partial(sampled, model, prompts, budget, steps_per_look)
    passes = shapes_of(model, run)
    with Peak() as peak:
        seconds = in_turns({"ours": run, "limit": partial(products, model, passes)}, repeats)
    return {
        "seconds": seconds,
        "per_second": count * SAMPLES / min(seconds["ours"]),
        "step_ms": 1000 * min(seconds["ours"]) / len(passes),
        "over": ratio(seconds["ours"], seconds["limit"]),
        "peak_gb": peak.gb,
    }


def compared(model: PreTrainedModel, count: int) -> dict[str, Any]:
    """`generate` of transformers and the published extraction, over this project's time."""
    prompts, sequences, norms = templated(count), examples(templated(count), 10, 50), column_norms(model)
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "library": partial(in_one_call, model, prompts, DECODING, STOPS),
            "ours": partial(sampled, model, prompts, 8192, 1),
            "published": partial(reference, model, sequences, norms, Path(folder)),
            "cett": partial(measure, model, sequences, 8192),
        }
        seconds = in_turns(ways, 1)
    return {
        "seconds": seconds,
        "generate": ratio(seconds["library"], seconds["ours"]),
        "published": ratio(seconds["published"], seconds["cett"]),
    }


def planned_gb(shape: str, budget: int) -> float | None:
    """Memory that a plan expects of a job of a model of this shape."""
    if shape not in PLANNED:
        return None
    config = yaml.safe_load(Path("config/config.yaml").read_text())
    setup = parse_study({**config, "runtime": {"token_budget": budget}})
    return peak_gpu_bytes(setup, PLANNED[shape]) / 1e9


def main() -> None:
    """Measure, print a table, and write results/perf/gpu-{shape}.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="llama-3.1-8b")
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    model = random_model(args.shape)
    results: dict[str, Any] = {"cett": {}, "sampling": {}}
    lines = [("device", f"{DEVICE}, {args.shape}, {model.dtype}".replace("torch.", ""))]

    def add(stage: str, name: str, result: dict[str, Any], unit: str, limit_name: str, budget: int) -> None:
        results[stage][name] = result
        expected = planned_gb(args.shape, budget)
        memory = f"{result['peak_gb']:.1f} GB" + (f" (planned {expected:.1f})" if expected else "")
        lines.append(
            (
                f"{stage}, {name}",
                f"{result['per_second']:,.0f} {unit}, {format_ratio(result['over'])} x {limit_name}, {memory}",
            )
        )

    for budget in (8192, 32_768):
        result = cett_at(model, args.examples, budget, args.repeats)
        add("cett", f"budget {budget}", result, "tokens/s", "the bare forward", budget)
    for budget in (8192, 32_768, 131_072):
        for steps in (1, 8):
            result = sampling_at(model, args.questions, budget, steps, args.repeats)
            name = f"budget {budget}, a look every {steps}"
            add("sampling", name, result, f"responses/s, {result['step_ms']:.1f} ms a pass", "the linear layers", budget)
    results["compared"] = compared(model, args.questions)
    lines.append(("generate(num_return_sequences=10) / this project", format_ratio(results["compared"]["generate"])))
    lines.append(("published extraction / this project", format_ratio(results["compared"]["published"])))
    if DEVICE == "cuda":
        lines.append(("card", f"{torch.cuda.get_device_name()}, torch {torch.__version__}"))
    report(f"gpu-{args.shape}", lines, results)


if __name__ == "__main__":
    main()
