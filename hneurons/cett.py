"""CETT: how much each MLP neuron contributes to its layer's output, averaged over a response's tokens (eqs. 2 and 3).

The average is taken inside the forward hook, so memory does not grow with layers × tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from transformers import PreTrainedModel

from hneurons.config import CettSettings
from hneurons.errors import HNeuronsError
from hneurons.generation import batches_by_budget, left_pad, position_ids
from hneurons.models import decoder_mlps, text_decoder
from hneurons.records import CETT_ROW


@dataclass(frozen=True)
class Measured:
    """One response to measure: all token ids, and for each region a mask over them [tokens] bool, not empty."""

    ids: list[int]
    regions: list[list[bool]]


def regions_of(
    prompt_ids: Sequence[int], response_ids: Sequence[int], answer_mask: Sequence[bool], settings: CettSettings
) -> Measured:
    """The answer and the other tokens of prompt + response, in this order (eq. 3).

    answer_mask: one per response token. Raises HNeuronsError if a region would be empty: no features silently stand in.
    """
    prompt = len(prompt_ids)
    answer = [False] * prompt + [bool(m) for m in answer_mask]
    first = {"all": 0, "no_bos": 1, "response": prompt}[settings.other_tokens]
    other = [i >= first and not m for i, m in enumerate(answer)]
    for name, mask in (("answer", answer), ("other", other)):
        if not any(mask):
            raise HNeuronsError(f"no {name} tokens (cett.other_tokens: {settings.other_tokens}); try other_tokens: all")
    return Measured([*prompt_ids, *response_ids], [answer, other])


@contextmanager
def _measuring(mlps: Sequence[nn.Module], weights: torch.Tensor, found: list[torch.Tensor | None]) -> Iterator[None]:
    """Fill found[layer] with CETT averaged by weights [rows, regions, width], as [rows, regions, d_ff] float32."""

    def measure(layer: int, module: Any, args: tuple[Any, ...], output: torch.Tensor) -> None:
        z = args[0].float().abs()  # [rows, width, d_ff]
        h_norm = output.float().norm(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)  # [rows, width]
        column_norm = module.weight.float().norm(dim=0)  # [d_ff]
        per_token = weights.to(z.device) / h_norm[:, None, :]
        found[layer] = torch.bmm(per_token, z) * column_norm

    down_projs: list[Any] = [mlp.down_proj for mlp in mlps]
    handles = [down.register_forward_hook(partial(measure, i)) for i, down in enumerate(down_projs)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def cett_batch(model: PreTrainedModel, sequences: Sequence[Measured], padding: str = "left") -> np.ndarray:
    """CETT of a batch of sequences with equally many regions, [rows, regions, layers, d_ff] float32.

    padding: the side that short rows are padded on; the result does not depend on it.
    """
    mlps = decoder_mlps(model)
    ids, mask = left_pad([s.ids for s in sequences], pad_id=0)
    width = ids.shape[1]
    weights = torch.zeros(len(sequences), len(sequences[0].regions), width)
    for row, s in enumerate(sequences):
        for region, chosen in enumerate(s.regions):
            weights[row, region, width - len(s.ids) :] = torch.tensor(chosen).float() / sum(chosen)
    if padding == "right":
        shifts = [-(width - len(s.ids)) for s in sequences]
        ids, mask, weights = (
            torch.stack([row.roll(shift, -1) for row, shift in zip(t, shifts, strict=True)]) for t in (ids, mask, weights)
        )
    found: list[torch.Tensor | None] = [None] * len(mlps)
    ids, mask, weights = (t.to(model.device) for t in (ids, mask, weights))
    with _measuring(mlps, weights, found):
        text_decoder(model)(input_ids=ids, attention_mask=mask, position_ids=position_ids(mask), use_cache=False)
    return torch.stack([f.cpu() for f in found if f is not None], dim=2).numpy()


def cett(
    model: PreTrainedModel, sequences: Sequence[Measured], token_budget: int = 8192
) -> Iterator[tuple[int, np.ndarray]]:
    """CETT of every sequence: yields (index, [regions, layers, d_ff] float32), batch by batch, longest first."""
    for batch in batches_by_budget([len(s.ids) for s in sequences], token_budget):
        yield from zip(batch, cett_batch(model, [sequences[i] for i in batch]), strict=True)


def layer_names(layers: int) -> list[str]:
    """Column names of a CETT shard, one per layer."""
    return [f"layer_{i:03d}" for i in range(layers)]


# How a shard is written. Smallest and largest values of columns this wide would be four rows more in every file.
SHARD_OPTIONS: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}


def shard_schema(layers: int, d_ff: int) -> pa.Schema:
    """Columns of a CETT shard: who the row is, then d_ff float16 values per layer as fixed-size binary."""
    fields = [pa.field(name, pa.binary(2 * d_ff)) for name in layer_names(layers)]
    return pa.schema([*CETT_ROW, *fields], metadata={b"d_ff": str(d_ff).encode(), b"dtype": b"float16"})


def shard_table(rows: Sequence[dict[str, Any]], features: Sequence[np.ndarray], layers: int, d_ff: int) -> pa.Table:
    """A CETT shard of rows and their features, each [layers, d_ff].

    Raises HNeuronsError naming the example whose features are not finite.
    """
    schema = shard_schema(layers, d_ff)
    largest = np.finfo(np.float16).max
    for row, values in zip(rows, features, strict=True):
        if not (values <= largest).all():
            raise HNeuronsError(
                f"{row['question_id']}: CETT is not finite in float16, or not a number; load the model in float32"
            )
    columns = [pa.array([row[name] for row in rows], CETT_ROW.field(name).type) for name in CETT_ROW.names]
    for layer in range(layers):
        cells = [f[layer].astype("<f2").tobytes() for f in features]
        columns.append(pa.array(cells, pa.binary(2 * d_ff)))
    return pa.table(columns, schema=schema)


def as_matrix(column: pa.Array) -> np.ndarray:
    """A layer's cells, fixed-size binary, as [rows, d_ff] float16; a view where pyarrow allows it."""
    d_ff = column.type.byte_width // 2
    raw = np.frombuffer(column.buffers()[1], dtype="<f2", count=len(column) * d_ff, offset=column.offset * 2 * d_ff)
    return raw.reshape(len(column), d_ff)


def read_layer(table: pa.Table, layer: int) -> np.ndarray:
    """One layer of a CETT shard, [rows, d_ff] float16."""
    return as_matrix(table.column(layer_names(layer + 1)[layer]).combine_chunks())
