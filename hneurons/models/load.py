"""Loading of a decoder onto the GPU if there is one, or onto several if it does not fit on one."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BitsAndBytesConfig,
    CompressedTensorsConfig,
    FineGrainedFP8Config,
    Mxfp4Config,
    PreTrainedModel,
    TorchAoConfig,
)

from hneurons.config.models import Quantization
from hneurons.config.weights import UNPACKED, is_packed, packing_method, read_config, tensor_files
from hneurons.errors import HNeuronsError
from hneurons.models.checkpoint import checkpoint_folder, folder_identity
from hneurons.models.cpu_linear import use_fast_linear
from hneurons.models.guard import check_supported
from hneurons.models.skeleton import check_config, with_auto_class

# Share of a GPU's memory that weights may take; more would leave no room for a batch.
_SHARE_OF_ONE_GPU = 0.85
# How transformers unpacks weights on a machine with any kernels.
_UNPACKING: dict[str | None, Callable[[], Any]] = {
    "compressed-tensors": partial(CompressedTensorsConfig, run_compressed=False),
    "fp8": partial(FineGrainedFP8Config, dequantize=True),
    "mxfp4": partial(Mxfp4Config, dequantize=True),
}

logger = logging.getLogger(__name__)


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device_map: str | None = None,
    trust_remote_code: bool = False,
    quantization: Quantization | None = None,
) -> PreTrainedModel:
    """Load a decoder in evaluation mode.

    It is placed on the GPU if there is one, and on several if one is too small. A multimodal checkpoint is loaded with all
    of its parts; `text_decoder` finds its text decoder.

    Args:
        name: A hub id, a folder of weights, or a study's {model}/checkpoint folder, whose manifest gives the path of the
            weights.
        revision: Revision of the hub's repository; None for the newest.
        dtype: Data type of the weights; "auto" for the checkpoint's.
        device_map: Placement as in transformers; None for the one above.
        trust_remote_code: Whether the repository's Python code may run.
        quantization: How plain weights are packed while they are loaded; None leaves them, or packed ones as they are.

    Raises:
        HNeuronsError: If the name is neither a folder nor a hub id, if weights are missing or packed in a way that was not
            tested, if the model is not one that can be measured (`check_supported`), or if it does not fit on the GPUs.
    """
    folder = checkpoint_folder(name, revision, trust_remote_code)
    check_config(folder)
    weights = set(tensor_files(folder).values())
    options: dict[str, Any] = {"dtype": dtype, "trust_remote_code": trust_remote_code, "use_safetensors": True}
    size: float = sum(path.stat().st_size for path in weights)
    if quantization:
        options["quantization_config"] = _packing(folder, quantization)
    elif (method := packing_method(read_config(folder))) in _UNPACKING:
        options["quantization_config"] = _UNPACKING[method]()
        size *= (4 if dtype == "float32" else 2) / UNPACKED[str(method)]
        logger.info("%s: packed weights (%s), unpacked as they are loaded: measured without packed inputs", folder, method)
    options |= {"device_map": _placement(device_map, size), "output_loading_info": True}
    try:
        model, info = with_auto_class(name, lambda auto: auto.from_pretrained(folder, **options))
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise HNeuronsError(f"{folder}: some tensors do not have the shape that follows from config.json") from None
    _check_complete(folder, info)
    _check_not_offloaded(model)
    loaded: PreTrainedModel = model.eval()
    use_fast_linear(loaded)
    check_supported(loaded)
    loaded.hneurons_identity = folder_identity(folder, name)
    return loaded


def _packing(folder: Path, quantization: Quantization) -> Any:
    """What transformers is told to pack weights while it loads them. Raises HNeuronsError if it cannot."""
    if is_packed(folder):
        raise HNeuronsError(f"{folder}: its weights are packed already; leave out quantization")
    library = quantization.partition("-")[0]
    if find_spec(library) is None:
        raise HNeuronsError(f"quantization {quantization} needs a library: pip install {library}")
    if library == "torchao":
        from torchao.quantization import Int8WeightOnlyConfig

        return TorchAoConfig(Int8WeightOnlyConfig())
    if quantization == "bitsandbytes-8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)


def _check_complete(folder: Path, info: Mapping[str, Any]) -> None:
    """Raise HNeuronsError if weights are missing, which transformers replaces by random ones."""
    if missing := sorted(info["missing_keys"]):
        raise HNeuronsError(f"{folder}: {len(missing)} tensors of the model are missing, such as {missing[0]}")


def _check_not_offloaded(model: PreTrainedModel) -> None:
    """Raise HNeuronsError if parts of a model are outside the GPUs, as hooks would not see their weights."""
    placed = set(map(str, (getattr(model, "hf_device_map", None) or {}).values()))
    if torch.cuda.is_available() and placed & {"cpu", "disk"}:
        size = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e9
        raise HNeuronsError(
            f"{size:.0f} GB of weights do not fit on the {torch.cuda.device_count()} GPUs of this job; request more with "
            f"`gpus` in the models file"
        )


def _placement(device_map: str | None, weights: float) -> str | None:
    """Placement of weights of a size in bytes: the first GPU, all GPUs if that is too small, or the CPU."""
    if device_map is not None or not torch.cuda.is_available():
        return device_map
    memory: int = torch.cuda.get_device_properties(0).total_memory
    fits = weights < _SHARE_OF_ONE_GPU * memory
    return "cuda:0" if fits or torch.cuda.device_count() == 1 else "auto"
