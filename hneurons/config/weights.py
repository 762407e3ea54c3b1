"""The files of a checkpoint's folder that are its weights: those that transformers loads, and no others.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hneurons.errors import HNeuronsError

WEIGHTS_INDEX = "model.safetensors.index.json"
_SINGLE_FILE = "model.safetensors"
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_ADAPTER = "adapter_config.json"
_HEADER_LIMIT = 100_000_000
# Data types of plain weights, as safetensors names them.
PLAIN = frozenset({"F64", "F32", "F16", "BF16"})
# Ways of packing weights that were tested, and the library that each needs.
PACKINGS = {
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed_tensors",
    "fp8": "accelerate",
    "mxfp4": "accelerate",
    "torchao": "torchao",
}
# Of these, the ones that are unpacked when they are loaded, and about how many bytes a weight has in their files.
UNPACKED = {"compressed-tensors": 0.55, "fp8": 1.0, "mxfp4": 0.55}


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that transformers loads from a folder, in the order of their names.

    That is the file that config.json names, else model.safetensors, else the shards in the index. Variants, shards that the
    index does not list and Mistral's consolidated files are never loaded, so they are not weights.

    Raises:
        HNeuronsError: If it has no weights, if a file is missing, if other engines would load other files, or if the folder
            holds an adapter, which transformers loads on top of weights elsewhere.
    """
    names = _names(folder)
    if _ADAPTER in names:
        raise HNeuronsError(f"{folder}: {_ADAPTER}: an adapter (such as LoRA); merge it into its base model and save that")
    first = _first_opened(folder, names)
    if first == _SINGLE_FILE:
        listed = set(_weight_map(folder / WEIGHTS_INDEX).values()) if WEIGHTS_INDEX in names else set()
        if others := sorted({*listed, *filter(_SHARD.fullmatch, names)} - {_SINGLE_FILE}):
            raise HNeuronsError(
                f"{folder}: two sets of weights, {_SINGLE_FILE} and {_few(others)}; remove the one that is not the model"
            )
    if first.endswith(".safetensors"):
        return [folder / first]
    files = sorted(set(_weight_map(folder / first).values()))
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise HNeuronsError(
            f"{folder} holds no complete safetensors checkpoint: {first} lists {_few(missing)}, which is not there"
        )
    return [folder / name for name in files]


def weights_index(folder: Path) -> Path | None:
    """Return the index from which transformers loads a folder's weights; None if they are one file."""
    first = folder / _first_opened(folder, _names(folder))
    return first if first.suffix == ".json" else None


def tensor_files(folder: Path) -> dict[str, Path]:
    """Return tensor → file, from the headers of all weight files.

    Raises:
        HNeuronsError: As `weight_files`; or if a file is truncated or unreadable, or lacks a tensor that the index lists.
    """
    files: dict[str, Path] = {}
    spans: dict[str, tuple[int, int]] = {}
    for path in weight_files(folder):
        for name, span in _tensors(path).items():
            # transformers loads the last copy.
            if name in files and _bytes(files[name], spans[name]) != _bytes(path, span):
                raise HNeuronsError(f"{folder}: {files[name].name} and {path.name} both hold {name}, with other values")
            files[name], spans[name] = path, span
    if index := weights_index(folder):
        for name, file in _weight_map(index).items():
            if name not in files:
                raise HNeuronsError(f"{folder / file}: {name} is missing, although the index lists it in this file")
    return files


def _bytes(path: Path, span: tuple[int, int]) -> bytes:
    with open(path, "rb") as file:
        file.seek(span[0])
        return file.read(span[1] - span[0])


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json.

    Raises:
        HNeuronsError: If it is missing, unreadable or no valid JSON.
    """
    return _read_object(folder / "config.json")


def check_packing(folder: Path, config: dict[str, Any]) -> None:
    """Check that weights are plain, or packed (quantised) in a way that was tested and that this machine can run.

    Raises:
        HNeuronsError: One line that names the method, and the way out.
    """
    method = packing_method(config)
    if method is None:
        return
    if method not in PACKINGS:
        raise HNeuronsError(
            f"{folder}: packed or quantised weights ({method}), which were not tested; take the model's bfloat16, float16 "
            f"or float32 checkpoint, or one packed by {', '.join(PACKINGS)}"
        )
    if find_spec(PACKINGS[method]) is None:
        raise HNeuronsError(
            f"{folder}: packed or quantised weights ({method}), for which a library is missing: pip install "
            f"{PACKINGS[method].replace('_', '-')}"
        )
    if any(folder.glob("*.safetensors")) and not stored_dtypes(folder) - PLAIN:
        raise HNeuronsError(
            f"{folder}: config.json describes packed or quantised weights ({method}), but none in its files is"
        )


def packing_method(config: dict[str, Any]) -> str | None:
    """Return how a config.json says that weights are packed (quantised); None if they are not."""
    parts = (config, *(value for value in config.values() if isinstance(value, dict)))
    packings = (part.get("quantization_config") or part.get("compression_config") for part in parts)
    packing = next(filter(None, packings), None)
    return str(packing.get("quant_method", "unknown method") if isinstance(packing, dict) else packing) if packing else None


def is_packed(folder: Path) -> bool:
    """Tell whether a folder's config.json describes packed (quantised) weights."""
    return (folder / "config.json").is_file() and packing_method(read_config(folder)) is not None


def stored_dtypes(folder: Path) -> set[str]:
    """Return the data types of the tensors in a folder's weight files, as safetensors names them."""
    return {str(tensor["dtype"]) for path in weight_files(folder) for tensor in _header(path)[0].values()}


def _names(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(folder) if entry.is_file()}
    except FileNotFoundError:
        raise HNeuronsError(f"{folder}: no such folder") from None
    except PermissionError:
        raise HNeuronsError(f"{folder}: permission denied: you may not read this folder") from None


def _first_opened(folder: Path, names: set[str]) -> str:
    """The file that transformers opens first: the weights, or an index of them."""
    explicit = read_config(folder).get("transformers_weights") if "config.json" in names else None
    if explicit is not None:
        if not re.fullmatch(r"[^/]+\.safetensors(\.index\.json)?", str(explicit)) or explicit not in names:
            raise HNeuronsError(f"{folder}: config.json: transformers_weights: no such safetensors file: {explicit}")
        return str(explicit)
    for name in (_SINGLE_FILE, WEIGHTS_INDEX):
        if name in names:
            return name
    others = sorted(name for name in names if Path(name).suffix in (".safetensors", ".bin", ".pth", ".pt", ".gguf"))
    raise HNeuronsError(
        f"{folder} holds no complete safetensors checkpoint: neither {_SINGLE_FILE} nor {WEIGHTS_INDEX}"
        + (f", only {_few(others)}" if others else "")
    )


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor → file name."""
    files = _read_object(index).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise HNeuronsError(f"{index}: no valid index: it has no weight_map from tensors to files")
    if wrong := [str(name) for name in files.values() if not isinstance(name, str) or ".." in name or name.startswith("/")]:
        raise HNeuronsError(f"{index}: no valid index: it lists {_few(wrong)}, outside of the folder")
    return files


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HNeuronsError(f"{path} is missing") from None
    except PermissionError:
        raise HNeuronsError(f"{path}: permission denied: you may not read this file") from None
    except ValueError as error:
        raise HNeuronsError(f"{path}: no valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise HNeuronsError(f"{path}: no valid JSON: not an object")
    return data


def _tensors(path: Path) -> dict[str, tuple[int, int]]:
    """Tensor → its first byte and the one after its last, of a file whose size is the one that its header states."""
    header, start = _header(path)
    spans = {
        name: (start + tensor["data_offsets"][0], start + tensor["data_offsets"][1]) for name, tensor in header.items()
    }
    expected, actual = max((end for _, end in spans.values()), default=start), path.stat().st_size
    if actual != expected:
        raise HNeuronsError(f"{path}: not a complete safetensors file ({actual} bytes, {expected} expected)")
    return spans


def _header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Tensor → its entry in the header of a safetensors file, and the byte at which values begin."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            size = int.from_bytes(start, "little")
            header = json.loads(file.read(min(size, _HEADER_LIMIT)))
        header.pop("__metadata__", None)
        for tensor in header.values():
            int(tensor["data_offsets"][0]), int(tensor["data_offsets"][1]), tensor["dtype"]
    except FileNotFoundError:
        raise HNeuronsError(f"{path} is missing") from None
    except PermissionError:
        raise HNeuronsError(f"{path}: permission denied: you may not read this file") from None
    except (ValueError, AttributeError, TypeError, KeyError, IndexError):
        # A repository that was cloned without its large files has lines of text in their place.
        cause = "a pointer of git LFS: run `git lfs pull`" if start == b"version " else "no valid header"
        raise HNeuronsError(f"{path}: not a complete safetensors file ({cause})") from None
    return header, 8 + size
