"""The text decoder inside any model, and the gated MLP of each of its layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import (
    PreTrainedModel,
)

from hneurons.errors import HNeuronsError

_PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def model_identity(model: PreTrainedModel) -> dict[str, Any]:
    """layers and d_ff of a loaded model, and, where it is known which one it is, its name in a study and its revision."""
    mlps: Any = decoder_mlps(model)
    shape = {"layers": len(mlps), "d_ff": mlps[0].down_proj.in_features}
    return {**shape, **getattr(model, "hneurons_identity", {})}


def text_decoder(model: PreTrainedModel) -> nn.Module:
    """The module that maps token ids to the last hidden states: no vision tower, no language-model head."""
    decoder: Any = model.get_decoder()
    while not hasattr(decoder, "layers"):
        inner = getattr(decoder, "language_model", None) or getattr(decoder, "model", None)
        if inner is None:
            raise HNeuronsError(f"{type(model).__name__}: no decoder layers found; only decoder models are supported")
        decoder = inner
    found: nn.Module = decoder
    return found


def decoder_mlps(model: PreTrainedModel) -> list[nn.Module]:
    """The gated MLP of every decoder layer, in order; each has a `down_proj` that maps d_ff to d_model.

    Raises HNeuronsError for a layer whose MLP has none (mixtures of experts, ungated MLPs), and for packed weights.
    """
    decoder: Any = text_decoder(model)
    mlps = []
    for index, layer in enumerate(decoder.layers):
        mlp: Any = getattr(layer, "mlp", None)
        down_proj: Any = getattr(mlp, "down_proj", None)
        if not isinstance(down_proj, nn.Linear):
            raise HNeuronsError(f"{type(model).__name__}: layer {index} has no mlp.down_proj linear layer to measure")
        if down_proj.weight.dtype not in _PLAIN:
            raise HNeuronsError(
                f"layer {index}: the weights of down_proj are packed or quantised ({down_proj.weight.dtype}): neither CETT "
                "nor scaling is defined on them; load the model in bfloat16, float16 or float32"
            )
        mlps.append(mlp)
    return mlps
