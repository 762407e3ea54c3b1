"""Models to measure: the demo's, or random weights in the shape of a large model."""

from __future__ import annotations

import datetime
import sys
from typing import Any

import numpy as np
import torch
from side_by_side import MODEL
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig

from hneurons.data.geography import known_cities
from hneurons.generation.prompts import chat_ids
from hneurons.models.prepared import PreparedModel

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LLAMA_8B: dict[str, Any] = {
    **{"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "vocab_size": 128256},
    **{"num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192},
}
GEMMA_4B: dict[str, Any] = {
    **{"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "vocab_size": 262208},
    **{"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256},
}
TINY: dict[str, Any] = {
    **{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 32_000},
    **{"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048},
}
# `tiny` is to rehearse a measurement.
SHAPES = {"tiny": (LlamaConfig, TINY), "llama-3.1-8b": (LlamaConfig, LLAMA_8B), "gemma-3-4b": (Gemma3TextConfig, GEMMA_4B)}


def random_model(shape: str, layers: int | None = None) -> Any:
    """Make random bfloat16 weights in the shape of a model, on the GPU if one exists.

    Args:
        shape: a key of SHAPES.
        layers: number of layers; None takes the model's.
    """
    kind, sizes = SHAPES[shape]
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(DEVICE):
            model = AutoModelForCausalLM.from_config(kind(**{**sizes, **({"num_hidden_layers": layers} if layers else {})}))
    finally:
        torch.set_default_dtype(before)
    model.generation_config.eos_token_id = 2
    return model.eval()


def demo_model() -> PreparedModel:
    """Return the demo's model, which must be prepared."""
    if not MODEL.is_file():
        sys.exit(f"error: {MODEL} does not exist; run `make perf`, which prepares it")
    return PreparedModel(MODEL)


def questions(prepared: PreparedModel, count: int) -> list[list[int]]:
    """Return token ids of the demo's questions, with the chat template."""
    date = datetime.date(2024, 7, 26)
    cities = [city.name for city in known_cities()[:count]]
    return [chat_ids(prepared.tokenizer, [f"In which country is the city of {city}?"], date) for city in cities]


def templated(count: int) -> list[list[int]]:
    """Return random questions after the same 35 tokens, the length of Llama 3's system prompt and template."""
    rng = np.random.default_rng(0)
    return [[*range(3, 38), *rng.integers(3, 30_000, n).tolist()] for n in rng.integers(15, 45, count)]
