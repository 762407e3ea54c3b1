"""General effects of scaling at every α: perplexity of a held-out text, and CETT itself (eqs. 6 and 7)."""

import hashlib
from collections.abc import Sequence
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
from hneurons.config.impact import UNTOUCHED, UNTOUCHED_ALPHA, sweep
from hneurons.config.study import CettSettings
from hneurons.errors import HNeuronsError
from hneurons.generation.batching import TokenBudget, in_batches
from hneurons.generation.control_tokens import beginning_ids, text_ids
from hneurons.models.prepared import PreparedModel
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.records import PERPLEXITY, SCALED_CETT
from hneurons.seeds import seed_of

# Tokens: long enough for context to matter, short enough that a few thousand tokens give windows to resample.
WINDOW = 256
_TOKENS_WITH_LOGITS = 2048


def held_out_text(name: str, file: str | Path | None = None) -> str:
    """Read the text whose perplexity is measured.

    Args:
        name: python-reference (the language reference that comes with Python), or anything else for a file.
        file: a text file, or WikiText-2's test split as Parquet.

    Raises:
        HNeuronsError: if the name needs a file and none is given.
    """
    if name == "python-reference":
        from pydoc_data.topics import topics

        return "\n\n".join(topics[key] for key in sorted(topics))
    if file is None:
        raise HNeuronsError(f"impact.utility.text: {name} is neither a file nor a known text")
    if Path(file).suffix == ".parquet":
        return "".join(pq.read_table(file, columns=["text"])["text"].to_pylist())
    return Path(file).read_text(encoding="utf-8")


def text_windows(tokenizer: PreTrainedTokenizerBase, text: str, tokens: int) -> list[list[int]]:
    """Tokenize the beginning of a text and cut it into windows.

    Args:
        tokenizer: the model's tokenizer.
        text: the text.
        tokens: how many of its tokens to use.

    Returns:
        Token ids of each window: the tokens that begin any input (BOS), then WINDOW tokens of the text.

    Raises:
        HNeuronsError: if the text is shorter than one window.
    """
    opening = beginning_ids(tokenizer)
    # 20 characters per token are more than enough.
    ids = text_ids(tokenizer, text[: 20 * tokens])[:tokens]
    windows = [[*opening, *ids[start : start + WINDOW]] for start in range(0, len(ids) - WINDOW + 1, WINDOW)]
    if not windows:
        raise HNeuronsError(f"the held-out text has {len(ids)} tokens, {WINDOW} needed for one window")
    return windows


@torch.inference_mode()
def negative_log_likelihoods(
    model: PreTrainedModel, windows: Sequence[Sequence[int]], budget: int | TokenBudget
) -> list[float]:
    """Compute −Σ ln p over each window's tokens after the first, in nats.

    Args:
        model: the model.
        windows: token ids, all of one length.
        budget: tokens per batch.
    """

    def run(batch: list[int]) -> list[float]:
        ids = torch.tensor([windows[i] for i in batch], device=model.device)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        rows = zip(logits[:, :-1], ids[:, 1:], strict=True)
        return [float(torch.nn.functional.cross_entropy(row.float(), target, reduction="sum")) for row, target in rows]

    # Windows of one length are batched in their order.
    return [nll for _, nlls in in_batches([len(w) for w in windows], budget, run) for nll in nlls]


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
    """Stage "perplexity": measure the perplexity of a text for the untouched model and every neuron set and α.

    Args:
        prepared: the model.
        neurons: the neurons whose variants are scaled.
        sets: names of the neuron sets.
        alphas: the scaling factors.
        text: the held-out text.
        tokens: how many of its tokens to use.
        token_budget: tokens per batch, lowered where logits need the memory.

    Returns:
        One row per set, α and window, and the metadata of the table.
    """
    windows = text_windows(prepared.tokenizer, text, tokens)
    rows: list[dict[str, Any]] = []
    # Every token gets logits here, so batches must be smaller than elsewhere.
    budget = TokenBudget(min(token_budget, _TOKENS_WITH_LOGITS))
    for name, alpha in tqdm(sweep(sets, alphas), desc="perplexity", unit="run"):
        with nullcontext() if name == UNTOUCHED else neurons.variant(name).scale(prepared.model, alpha):
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
    max_responses: int,
    seed: int,
    token_budget: int,
) -> pa.Table:
    """Stage "scaled_cett": measure each H-Neuron's CETT over answer tokens (eq. 3) at every α, averaged over responses.

    Args:
        prepared: the model.
        neurons: the H-Neurons are the selected ones.
        alphas: the scaling factors; α = 1 is added.
        examples: of the in-domain set; those of the test split are used.
        responses: their responses.
        spans: their answer spans.
        settings: which tokens are the other tokens.
        max_responses: number of responses, drawn by the seed; the same at every α.
        seed: seed of the draw.
        token_budget: tokens per batch.

    Returns:
        One row per α and H-Neuron.

    Raises:
        HNeuronsError: if the test split has no examples.
    """
    tested = [e for e in examples if e["split"] == "test"]
    drawn = sorted(tested, key=lambda e: seed_of(seed, "scaled cett", e["question_id"]))[:max_responses]
    sequences = list(regions_by_example(drawn, responses, spans, settings).values())
    if not sequences:
        raise HNeuronsError("no test examples on which to measure CETT at other α")
    layers, indices = neurons.layers[neurons.selected], neurons.neurons[neurons.selected]
    rows, budget = [], TokenBudget(token_budget)
    for alpha in tqdm(sorted({UNTOUCHED_ALPHA, *alphas}), desc="CETT at every alpha", unit="alpha"):
        total = np.zeros(len(layers))
        with neurons.scale(prepared.model, alpha):
            for _, values in cett(prepared.model, sequences, budget):
                total += values[0][layers, indices]
        for layer, neuron, value in zip(layers, indices, total / len(sequences), strict=True):
            rows.append({"alpha": alpha, "layer": int(layer), "neuron": int(neuron), "cett": float(value)})
    return pa.Table.from_pylist(rows, schema=SCALED_CETT)
