"""CETT compared with the bare forward pass and with the published implementation, alternating in one run.

Method "reference" runs one example per forward pass, with logits; it keeps the activations of all layers, stacks and then
reduces them, and writes a .npy file per example. Method "limit" runs the decoder alone on the same batches, longest first,
without hooks and logits. The third method is `cett`.

    python perf/extraction.py                          # the demo's model, and memory at the shapes of Llama-3.1-8B
    python perf/extraction.py --shape llama-3.1-8b     # speed on random weights, for a GPU
"""

from __future__ import annotations

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shapes import DEVICE, SHAPES, demo_model, questions, random_model, templated
from side_by_side import THREADS, Peak, anonymous_gb, format_ratio, in_turns, own_process, ratio, report
from transformers import PreTrainedModel

from hneurons.cett.measure import cett, column_norms
from hneurons.cett.regions import TokenRegions
from hneurons.generation.batching import in_batches
from hneurons.generation.prefill import left_pad
from hneurons.models.decoder import layer_neurons, text_decoder
from hneurons.models.inputs import position_ids

REPEATS = 3
BUDGET = 8192


def examples(prompts: list[list[int]], shortest: int, longest: int) -> list[TokenRegions]:
    """Add to each prompt a response of random tokens, all but the last three of which are the answer."""
    rng = np.random.default_rng(0)
    regions = []
    for prompt, new in zip(prompts, rng.integers(shortest, longest + 1, len(prompts)), strict=True):
        answer = [len(prompt) <= i < len(prompt) + new - 3 for i in range(len(prompt) + new)]
        ids = [*prompt, *rng.integers(3, 1000, new).tolist()]
        regions.append(TokenRegions(ids, [answer, [not a for a in answer]]))
    return regions


@torch.no_grad()
def reference(model: PreTrainedModel, sequences: list[TokenRegions], norms: list[torch.Tensor], folder: Path) -> None:
    """Run the published implementation."""
    down_projs = [layer.parts[0].module for layer in layer_neurons(model)]
    for number, example in enumerate(sequences):
        inputs: list[torch.Tensor] = []
        outputs: list[torch.Tensor] = []

        def keep(inputs: list[torch.Tensor], outputs: list[torch.Tensor], _m: Any, args: Any, out: torch.Tensor) -> None:
            inputs.append(args[0][0])
            outputs.append(out[0])

        handles = [down.register_forward_hook(partial(keep, inputs, outputs)) for down in down_projs]
        model(input_ids=torch.tensor([example.ids], device=model.device))
        for handle in handles:
            handle.remove()
        activations = torch.stack(inputs).float()  # [layers, tokens, d_ff]
        h_norm = torch.stack(outputs).float().norm(dim=-1, keepdim=True)
        contributions = activations.abs() * torch.stack(norms)[:, None] / h_norm
        regions = [contributions[:, torch.tensor(mask, device=model.device)].mean(1) for mask in example.regions]
        np.save(folder / f"{number}.npy", torch.stack(regions).cpu().numpy())


@torch.inference_mode()
def limit(model: PreTrainedModel, sequences: list[TokenRegions], budget: int) -> None:
    """Run the decoder alone."""

    def run(batch: list[int]) -> None:
        ids, mask = (t.to(model.device) for t in left_pad([sequences[i].ids for i in batch], pad_id=0))
        text_decoder(model)(input_ids=ids, attention_mask=mask, position_ids=position_ids(mask), use_cache=False)

    for _ in in_batches([len(e.ids) for e in sequences], budget, run):
        pass


def measure(model: PreTrainedModel, sequences: list[TokenRegions], budget: int) -> None:
    """Run `cett`."""
    for _ in cett(model, sequences, budget):
        pass


def speed(model: PreTrainedModel, sequences: list[TokenRegions]) -> dict[str, Any]:
    """Time the three methods on the same sequences."""
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "reference": partial(reference, model, sequences, column_norms(model), Path(folder)),
            "limit": partial(limit, model, sequences, BUDGET),
            "ours": partial(measure, model, sequences, BUDGET),
        }
        seconds = in_turns(ways, REPEATS)
    return {
        "examples": len(sequences),
        "tokens": sum(len(e.ids) for e in sequences),
        "seconds": seconds,
        "ours_over_limit": ratio(seconds["ours"], seconds["limit"]),
        "reference_over_ours": ratio(seconds["reference"], seconds["ours"]),
    }


def memory(way: str, layers: int, tokens: int) -> dict[str, float]:
    """Measure a method's peak memory beyond the weights, on one example at the shapes of Llama-3.1-8B, in GB."""
    model = random_model("llama-3.1-8b", layers)
    sequences = examples([list(range(3, tokens - 61))], 64, 64)
    norms = column_norms(model) if way == "reference" else []
    before = anonymous_gb()
    with Peak() as peak, tempfile.TemporaryDirectory() as folder:
        if way == "reference":
            reference(model, sequences, norms, Path(folder))
        else:
            {"limit": limit, "ours": measure}[way](model, sequences, BUDGET)
    return {"gb": peak.gb - before}


def main() -> None:
    """Measure speed and, for the demo's model, memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=SHAPES, help="random weights in the shape of a large model, for a GPU")
    parser.add_argument("--memory", nargs=3, metavar=("WAY", "LAYERS", "TOKENS"), help="one measurement, for this script")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    if args.memory:
        print(json.dumps(memory(args.memory[0], int(args.memory[1]), int(args.memory[2]))))
        return
    if args.shape:
        model, sequences = random_model(args.shape), examples(templated(512), 10, 50)
    else:
        prepared = demo_model()
        model, sequences = prepared.model, examples(questions(prepared, 64), 8, 20)
    results = speed(model, sequences)
    lines = [
        (f"CETT on {args.shape or 'demo model'}, {DEVICE}: cett / bare forward", format_ratio(results["ours_over_limit"])),
        ("published implementation / cett", format_ratio(results["reference_over_ours"])),
    ]
    if not args.shape:
        results["memory"] = {}
        for layers, tokens in ((2, 256), (4, 256), (4, 512)):
            gb = {
                way: own_process(__file__, "--memory", way, str(layers), str(tokens))["gb"]
                for way in ("reference", "limit", "ours")
            }
            results["memory"][f"{layers} layers, {tokens} tokens"] = gb
            peaks = ", ".join(f"{way} {1000 * value:.0f} MB" for way, value in gb.items())
            lines.append((f"beyond the weights, shapes of Llama-3.1-8B, {layers} layers, {tokens} tokens", peaks))
    report("extraction" + (f"-{args.shape}" if args.shape else ""), lines, results)


if __name__ == "__main__":
    main()
