"""Loading a decoder: on the GPU if there is one, over several if it must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedModel,
)

from hneurons.errors import HNeuronsError
from hneurons.models.checkpoint import NO_MODEL, checkpoint_folder, folder_identity
from hneurons.models.hub import is_hub_id

# More weights leave no room for a batch.
_SHARE_OF_ONE_GPU = 0.85


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
        name, identity = folder, folder_identity(folder, Path(name))
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
