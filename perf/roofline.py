"""Roofline limits of H100s for the paper's six models, from the sizes in config/models.yaml.

A matrix product reads every weight once, two bytes in bfloat16, and takes two operations per weight and token. Decoding few
rows is limited by memory bandwidth; decoding many rows, and forward passes, by arithmetic. Layers that transformers spreads
over several GPUs run one after the other; a server with tensor parallelism approaches these numbers times its GPUs.
"""

from __future__ import annotations

from pathlib import Path

from hneurons.config.models import load_models, shape_of_model
from hneurons.config.study import Study

# H100 SXM: memory bandwidth in bytes per second, and dense bfloat16 operations per second.
BANDWIDTH, ARITHMETIC = 3.35e12, 989e12
# Tokens of a question with its template, and of an answer; the default token budget, and a larger one.
PROMPT, NEW = 60, 50
BUDGETS = (8192, 32768)
STUDY = Path("config/config.yaml")


def step_seconds(parameters: int, rows: int, kv_bytes: int) -> float:
    """Return the seconds of one decoding step: all weights and the cache are read, and every row is multiplied."""
    reading = 2 * parameters + rows * (PROMPT + NEW / 2) * kv_bytes
    return max(reading / BANDWIDTH, 2 * parameters * rows / ARITHMETIC)


def main() -> None:
    """Print the limits as a Markdown table."""
    import yaml

    study = Study.model_validate(yaml.safe_load(STUDY.read_text()))
    models = load_models(Path(study.models_file))
    print(f"arithmetic is the limit from this number of rows: {ARITHMETIC / BANDWIDTH:.0f}")
    print("| model | GPUs | CETT, tokens/s | sampling, responses/s | at a budget of 32,768 | GB of cache then |")
    print("|---|---|---|---|---|---|")
    for name in study.models:
        shape = shape_of_model(name, models[name])
        # The fewest GPUs that hold the weights and a batch.
        gpus = next(g for g in (1, 2, 4, 8) if 2 * shape.parameters < 0.85 * 80e9 * g)
        kv_bytes = 2 * 2 * shape.layers * (shape.kv_width or shape.d_model)
        rates = []
        for budget in BUDGETS:
            rows = budget // (PROMPT + NEW)
            rates.append(f"{rows / (NEW * step_seconds(shape.parameters, rows, kv_bytes)):.0f}")
        forward = ARITHMETIC / (2 * shape.parameters)
        cache = BUDGETS[-1] * kv_bytes / 1e9
        print(f"| {name} | {gpus} | {forward:,.0f} | {rates[0]} | {rates[1]} | {cache:.1f} |")


if __name__ == "__main__":
    main()
