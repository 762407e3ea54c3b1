"""Loading of a decoder onto the GPU if there is one, or onto several if it does not fit on one."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

from hneurons.errors import HNeuronsError
from hneurons.models.checkpoint import NO_MODEL, checkpoint_folder, folder_identity
from hneurons.models.hub import hub_errors, is_hub_id

# Share of a GPU's memory that weights may take; more would leave no room for a batch.
_SHARE_OF_ONE_GPU = 0.85


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device_map: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Load a decoder in evaluation mode.

    It is placed on the GPU if there is one, and on several if one is too small. A multimodal checkpoint is loaded with all
    of its parts; `decoder_mlps` finds its text decoder.

    Args:
        name: A hub id, a folder of weights, or a study's {model}/checkpoint folder, whose manifest gives the path of the
            weights.
        revision: Revision of the hub's repository; None for the newest.
        dtype: Data type of the weights; "auto" for the checkpoint's.
        device_map: Placement as in transformers; None for the one above.
        trust_remote_code: Whether the repository's Python code may run.

    Raises:
        OSError: If safetensors weights are missing.
        HNeuronsError: If the name is neither a folder nor a hub id, or if the weights do not fit on the GPUs.
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
        with nullcontext() if Path(name).exists() else hub_errors():
            model = AutoModelForCausalLM.from_pretrained(name, **options)
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            # An invalid config.json, or one that needs remote code.
            raise HNeuronsError(f"{name}: {error}") from None
        model = AutoModelForImageTextToText.from_pretrained(name, **options)
    _check_not_offloaded(model)
    if commit := getattr(model.config, "_commit_hash", None):
        identity = {"revision": commit}
    loaded: PreTrainedModel = model.eval()
    loaded.hneurons_identity = identity
    return loaded


def _check_not_offloaded(model: PreTrainedModel) -> None:
    """Raise HNeuronsError if parts of a model are outside the GPUs, as hooks would not see their weights."""
    placed = set(map(str, (getattr(model, "hf_device_map", None) or {}).values()))
    if torch.cuda.is_available() and placed & {"cpu", "disk"}:
        size = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e9
        raise HNeuronsError(
            f"{size:.0f} GB of weights do not fit on the {torch.cuda.device_count()} GPUs of this job; request more with "
            f"`gpus` in the models file"
        )


def _placement(device_map: str | None, weights: int) -> str | None:
    """Placement of the weights: the first GPU, all GPUs if that is too small, or the CPU.

    weights: Bytes on disk; 0 if unknown, which may need all GPUs.
    """
    if device_map is not None or not torch.cuda.is_available():
        return device_map
    memory: int = torch.cuda.get_device_properties(0).total_memory
    fits = 0 < weights < _SHARE_OF_ONE_GPU * memory
    return "cuda:0" if fits or torch.cuda.device_count() == 1 else "auto"
