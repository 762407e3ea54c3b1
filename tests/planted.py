"""Examples whose hallucinated answers differ where a test says: at planted neurons, at all neurons, in confidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hneurons import store
from hneurons.cett.shards import shard_table
from hneurons.models.widths import Widths

LAYERS, D_FF = 3, 60
PLANTED = [(0, 5), (1, 20), (2, 33)]
SPLITS = ("train", "train", "train", "selection", "test")


@dataclass(frozen=True)
class Planted:
    """CETT shards, the frame of their examples, and the same numbers as arrays.

    Attributes:
        shards: one file.
        frame: as read_example_frame returns it.
        X: [rows, columns] float16, of all rows of the shard.
        rows: their descriptions.
    """

    shards: list[Path]
    frame: pd.DataFrame
    X: np.ndarray
    rows: list[dict]


def planted(folder: Path, *, neurons=0.0, everywhere=0.0, confidence=0.0, n=400, per_answer=4, seed=0) -> Planted:
    """Draw examples.

    Args:
        folder: of the shard.
        neurons, everywhere: how much larger CETT of hallucinated answers is, at the planted neurons and at all others, in
            standard deviations.
        confidence: how much lower their log-probability is.
        n: questions; every other one is hallucinated.
        per_answer: questions that share a gold answer.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    rows, features, examples = [], [], []
    at = np.array([layer * D_FF + j for layer, j in PLANTED])
    for i in range(n):
        label, split = i % 2, SPLITS[i // 2 // per_answer % len(SPLITS)]
        for region in ("answer", "other") if split == "train" else ("answer",):
            values = rng.gamma(4.0, 0.05, LAYERS * D_FF)
            if label and region == "answer":
                values += 0.1 * everywhere
                values[at] += 0.1 * (neurons - everywhere)
            rows.append({"question_id": f"q{i}", "sample": 0, "split": split, "region": region, "label": label})
            features.append(np.maximum(values, 0).reshape(LAYERS, D_FF).astype(np.float16))
        logprob = -0.5 - confidence * label + rng.normal(0, 0.5)
        examples.append(
            {
                "question_id": f"q{i}",
                "sample": 0,
                "split": split,
                "label": label,
                "gold": f"answer {i // 2 // per_answer}",
                "answer": "Peru",
                "length": int(rng.integers(3, 9)),
                "logprob": rng.normal(-1, 0.3),
                "answer_logprob": logprob,
                "answer_logprob_min": logprob - abs(rng.normal(0, 0.2)),
                "population": np.nan,
            }
        )
    path = folder / "0000.parquet"
    store.write_table(path, shard_table(rows, features, Widths.of_layers(LAYERS, D_FF)), {})
    return Planted([path], pd.DataFrame(examples), np.stack(features).reshape(len(rows), -1), rows)
