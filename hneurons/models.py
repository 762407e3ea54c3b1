"""Models: loaded weights, and the gated MLPs inside any decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hneurons.checkpoint import NO_MODEL, checkpoint_folder, identity_of_folder
from hneurons.errors import HNeuronsError
from hneurons.hub import is_hub_id

# More weights leave no room for a batch.
_SHARE_OF_ONE_GPU = 0.85
_PLAIN = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device_map: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """A decoder in evaluation mode, from a hub id or a folder, on the GPU if there is one, on several if it must be.

    name: also a study's {model}/checkpoint folder, whose manifest says where the weights are. A multimodal checkpoint is
    loaded whole; `decoder_mlps` finds the text decoder in it. Raises OSError where there are no safetensors weights,
    HNeuronsError for a name that is none and for weights that do not fit on the GPUs.
    """
    identity: dict[str, str] = {}
    if Path(name).exists():
        folder = checkpoint_folder(name)
        name, identity = folder, identity_of_folder(folder, Path(name))
    elif not is_hub_id(name):
        raise HNeuronsError(f"{name}: {NO_MODEL}")
    options: dict[str, Any] = {"revision": revision, "dtype": dtype, "trust_remote_code": trust_remote_code}
    stored = sum(path.stat().st_size for path in Path(name).glob("*.safetensors"))
    options |= {"use_safetensors": True, "device_map": _placement(device_map, stored)}
    try:
        model = AutoModelForCausalLM.from_pretrained(name, **options)
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            # A config.json that is none, or one that asks for code of its own.
            raise HNeuronsError(f"{name}: {error}") from None
        model = AutoModelForImageTextToText.from_pretrained(name, **options)
    _nothing_offloaded(model)
    if commit := getattr(model.config, "_commit_hash", None):
        identity = {"revision": commit}
    loaded: PreTrainedModel = model.eval()
    loaded.hneurons_identity = identity
    return loaded


def identity_of(model: PreTrainedModel) -> dict[str, Any]:
    """layers and d_ff of a loaded model, and, where it is known which one it is, its name in a study and its revision."""
    mlps: Any = decoder_mlps(model)
    shape = {"layers": len(mlps), "d_ff": mlps[0].down_proj.in_features}
    return {**shape, **getattr(model, "hneurons_identity", {})}


def _nothing_offloaded(model: PreTrainedModel) -> None:
    """Raises HNeuronsError if parts of a model ended up outside the GPUs: hooks would not see their weights."""
    placed = set(map(str, (getattr(model, "hf_device_map", None) or {}).values()))
    if torch.cuda.is_available() and placed & {"cpu", "disk"}:
        size = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e9
        raise HNeuronsError(
            f"{size:.0f} GB of weights do not fit on the {torch.cuda.device_count()} GPUs of this job; ask for more with "
            f"`gpus` in the models file"
        )


def _placement(device_map: str | None, weights: int) -> str | None:
    """Where weights go: on the first GPU, over all of them if it is too small, or on the CPU.

    weights: bytes on file; 0 where they are not known, which may need all GPUs.
    """
    if device_map is not None or not torch.cuda.is_available():
        return device_map
    memory: int = torch.cuda.get_device_properties(0).total_memory
    fits = 0 < weights < _SHARE_OF_ONE_GPU * memory
    return "cuda:0" if fits or torch.cuda.device_count() == 1 else "auto"


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


def stop_token_ids(config: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token that ends a response: the generation config's (an id or a list) and the tokenizer's own."""
    configured = getattr(config, "eos_token_id", None)
    ids = list(configured) if isinstance(configured, (list, tuple)) else [configured]
    found = sorted({int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None})
    if not found:
        raise HNeuronsError("the model names no end token: set eos_token_id in its generation_config.json")
    return found
