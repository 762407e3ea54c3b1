"""What scaling does to the model at large, at every α: perplexity of a held-out text, and CETT itself (eqs. 6 and 7)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hneurons.cett.measure import cett
from hneurons.cett.stage import regions_by_example
from hneurons.config.study import CettSettings
from hneurons.errors import HNeuronsError
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.models.prepared import PreparedModel
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.records import PERPLEXITY, SCALED_CETT
from hneurons.seeds import seed_of

# Long enough for context to matter, short enough that a few thousand tokens make windows to resample.
WINDOW = 256
_TOKENS_WITH_LOGITS = 2048


def held_out_text(name: str, file: str | Path | None = None) -> str:
    """The text whose perplexity is measured: Python's own reference, WikiText-2's test split, or a text file."""
    if name == "python-reference":
        from pydoc_data.topics import topics

        return "\n\n".join(topics[key] for key in sorted(topics))
    if file is None:
        raise HNeuronsError(f"impact.utility.text: {name} is no file and no text that is known")
    if Path(file).suffix == ".parquet":
        return "".join(pq.read_table(file, columns=["text"])["text"].to_pylist())
    return Path(file).read_text(encoding="utf-8")


def text_windows(tokenizer: PreTrainedTokenizerBase, text: str, tokens: int) -> list[list[int]]:
    """Token ids of the text's beginning, in windows of equal length, each after the tokens that begin any input (BOS)."""
    opening = [int(i) for i in tokenizer("")["input_ids"]]
    # Several characters make a token: more than these are not needed.
    ids = [int(i) for i in tokenizer(text[: 20 * tokens], add_special_tokens=False)["input_ids"]][:tokens]
    found = [[*opening, *ids[start : start + WINDOW]] for start in range(0, len(ids) - WINDOW + 1, WINDOW)]
    if not found:
        raise HNeuronsError(f"the held-out text has {len(ids)} tokens, {WINDOW} needed for one window")
    return found


@torch.inference_mode()
def negative_log_likelihoods(
    model: PreTrainedModel, windows: Sequence[Sequence[int]], budget: int | TokenBudget
) -> list[float]:
    """−Σ ln p of each window's tokens after its first, in nats. Windows are of one length."""

    def run(batch: list[int]) -> list[float]:
        ids = torch.tensor([windows[i] for i in batch], device=model.device)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        rows = zip(logits[:, :-1], ids[:, 1:], strict=True)
        return [float(torch.nn.functional.cross_entropy(row.float(), to, reduction="sum")) for row, to in rows]

    found = [0.0] * len(windows)
    for batch, sums in in_batches([len(w) for w in windows], budget, run):
        for i, nll in zip(batch, sums, strict=True):
            found[i] = nll
    return found


def _runs(
    neurons: NeuronSet, sets: Sequence[str], alphas: Sequence[float]
) -> Iterator[tuple[str, float, NeuronSet | None]]:
    """Every (set, α) once, α = 1 as the untouched model alone."""
    yield "untouched", 1.0, None
    for name in sets:
        for alpha in alphas:
            if alpha != 1:
                yield name, alpha, neurons.variant(name)


def perplexity_table(
    prepared: PreparedModel,
    neurons: NeuronSet,
    sets: Sequence[str],
    alphas: Sequence[float],
    text: str,
    tokens: int,
    *,
    token_budget: int,
) -> tuple[pa.Table, dict[str, Any]]:
    """Stage "perplexity": one row per set, α and window; and what made them."""
    windows = text_windows(prepared.tokenizer, text, tokens)
    rows: list[dict[str, Any]] = []
    # Every token has logits here: a batch is small, whatever the budget.
    budget = TokenBudget(min(token_budget, _TOKENS_WITH_LOGITS))
    runs = list(_runs(neurons, sets, alphas))
    for name, alpha, scaled in tqdm(runs, desc="perplexity", unit="run"):
        with nullcontext() if scaled is None else scaled.scale(prepared.model, alpha):
            nlls = negative_log_likelihoods(prepared.model, windows, budget)
        for i, (window, nll) in enumerate(zip(windows, nlls, strict=True)):
            rows.append({"neurons": name, "alpha": alpha, "window": i, "tokens": len(window) - 1, "nll": nll})
    made_by = {**prepared.identity, "text_sha256": hashlib.sha256(text.encode()).hexdigest(), "window": WINDOW}
    return pa.Table.from_pylist(rows, schema=PERPLEXITY), made_by


def scaled_cett_table(
    prepared: PreparedModel,
    neurons: NeuronSet,
    alphas: Sequence[float],
    examples: Sequence[dict[str, Any]],
    responses: Sequence[dict[str, Any]],
    spans: Sequence[dict[str, Any]],
    settings: CettSettings,
    *,
    most: int,
    seed: int,
    token_budget: int,
) -> pa.Table:
    """Stage "scaled_cett": each H-Neuron's CETT over answer tokens at every α, averaged over the same responses (eq. 3).

    examples: the in-domain set's; of its test split, so many are drawn by the seed.
    """
    tested = [e for e in examples if e["split"] == "test"]
    drawn = sorted(tested, key=lambda e: seed_of(seed, "scaled cett", e["question_id"]))[:most]
    sequences = list(regions_by_example(drawn, responses, spans, settings).values())
    if not sequences:
        raise HNeuronsError("no examples to measure CETT at other α on")
    layers, indices = neurons.layers[neurons.selected], neurons.neurons[neurons.selected]
    rows, budget = [], TokenBudget(token_budget)
    for alpha in tqdm(sorted({1.0, *alphas}), desc="CETT at every alpha", unit="alpha"):
        total = np.zeros(len(layers))
        with neurons.scale(prepared.model, alpha):
            for _, values in cett(prepared.model, sequences, budget):
                total += values[0][layers, indices]
        for layer, neuron, value in zip(layers, indices, total / len(sequences), strict=True):
            rows.append({"alpha": alpha, "layer": int(layer), "neuron": int(neuron), "cett": float(value)})
    return pa.Table.from_pylist(rows, schema=SCALED_CETT)
