"""The text decoder inside any model, and the gated MLP of each of its layers."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from hneurons.errors import HNeuronsError

_PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def model_identity(model: PreTrainedModel) -> dict[str, Any]:
    """Return `layers` and `d_ff` of a loaded model, and `model` (its name in a study) and `revision` where available."""
    mlps: Any = decoder_mlps(model)
    shape = {"layers": len(mlps), "d_ff": mlps[0].down_proj.in_features}
    return {**shape, **getattr(model, "hneurons_identity", {})}


def text_decoder(model: PreTrainedModel) -> nn.Module:
    """Return the module that maps token ids to the last hidden states, without vision tower and language-model head.

    Raises:
        HNeuronsError: If the model has no decoder layers.
    """
    decoder: nn.Module = model.get_decoder()
    while not hasattr(decoder, "layers"):
        inner = getattr(decoder, "language_model", None) or getattr(decoder, "model", None)
        if inner is None:
            raise HNeuronsError(f"{type(model).__name__}: no decoder layers found; only decoder models are supported")
        decoder = inner
    return decoder


def decoder_mlps(model: PreTrainedModel) -> list[nn.Module]:
    """Return the gated MLP of every decoder layer (eq. 1), in order.

    Returns:
        The MLPs, each with a linear layer `down_proj` from d_ff to d_model.

    Raises:
        HNeuronsError: If the MLP of a layer has no `down_proj` (mixtures of experts, ungated MLPs), if a layer has routed
            experts next to it, or if the weights are packed (quantised).
    """
    decoder: Any = text_decoder(model)
    mlps = []
    for index, layer in enumerate(decoder.layers):
        mlp: Any = getattr(layer, "mlp", None)
        down_proj: Any = getattr(mlp, "down_proj", None)
        if not isinstance(down_proj, nn.Linear):
            raise HNeuronsError(f"{type(model).__name__}: layer {index} has no mlp.down_proj linear layer to measure")
        if experts := next((path for path, module in layer.named_modules() if _is_expert(path, module)), None):
            raise HNeuronsError(
                f"{type(model).__name__}: layer {index} has routed experts ({experts}) next to mlp.down_proj, which "
                "would be neither measured nor scaled; only layers whose one MLP is dense are supported"
            )
        if type(down_proj.weight) is not nn.Parameter or down_proj.weight.dtype not in _PLAIN:
            kind = type(down_proj.weight).__name__
            raise HNeuronsError(
                f"layer {index}: the weights of down_proj are packed or quantised ({kind}, {down_proj.weight.dtype}): "
                "neither CETT nor scaling is defined on them; load the model in bfloat16, float16 or float32"
            )
        mlps.append(mlp)
    return mlps


def _is_expert(path: str, module: nn.Module) -> bool:
    """Whether a part of a layer holds routed experts: transformers names either the attribute or the class after them."""
    return "expert" in path.rpartition(".")[2].lower() or "expert" in type(module).__name__.lower()
