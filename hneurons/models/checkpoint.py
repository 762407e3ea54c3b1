"""The MLP weights of a checkpoint on disk, block by block from its safetensors: no model is built."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from hneurons import store
from hneurons.errors import HNeuronsError
from hneurons.models.hub import fetch_snapshot, is_hub_id

PLAIN = ("F64", "F32", "F16", "BF16")
_DOWN = re.compile(r"^(?P<decoder>.*?)layers\.(?P<layer>\d+)\.mlp\.down_proj\.weight$")
# Towers of multimodal checkpoints, whose MLPs are not the decoder's.
_TOWER = re.compile(r"vision|visual|audio|image")
NO_MODEL = "neither a folder with *.safetensors, nor a manifest.json, nor a hub id (owner/name)"
_BLOCK_BYTES = 4_000_000


@dataclass(frozen=True)
class Matrix:
    """Rows start to stop of a tensor on disk."""

    path: Path
    name: str
    start: int
    stop: int
    columns: int

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """(rows, their values [rows, columns] float64), a few at a time: pages of a block that was read may go again."""
        step = max(1, _BLOCK_BYTES // (8 * self.columns))
        for first in range(self.start, self.stop, step):
            last = min(first + step, self.stop)
            with safe_open(self.path, "pt") as file:
                values = file.get_slice(self.name)[first:last].double()
            yield slice(first - self.start, last - self.start), values


class Checkpoint:
    """A safetensors folder, whole or in parts; its text decoder is found also inside a multimodal one.

    layers, d_ff: of the decoder. Raises HNeuronsError for a folder that is none, a file that is cut short, a decoder
    without gated MLPs, and weights that are packed (quantised).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._file_of = _tensors(self.folder)
        decoders: dict[str, dict[int, str]] = {}
        for name in self._file_of:
            if (found := _DOWN.match(name)) and not _TOWER.search(found["decoder"]):
                decoders.setdefault(found["decoder"], {})[int(found["layer"])] = name
        if len(decoders) != 1:
            what = f"{len(decoders)} decoders ({', '.join(decoders)})" if decoders else "no layers.N.mlp.down_proj.weight"
            raise HNeuronsError(f"{self.folder}: {what} in its safetensors; one decoder with gated MLPs is needed")
        ((self._decoder, named),) = decoders.items()
        self.layers = len(named)
        if sorted(named) != list(range(self.layers)):
            raise HNeuronsError(f"{self.folder}: its layers with an MLP are not numbered 0 to {self.layers - 1}")
        self.d_ff = self.down_proj(0).columns

    def down_proj(self, layer: int) -> Matrix:
        """W_down [d_model, d_ff]: a column per neuron."""
        return self._matrix(f"{self._decoder}layers.{layer}.mlp.down_proj.weight")

    def up_proj(self, layer: int) -> Matrix:
        """W_up [d_ff, d_model]: a row per neuron; the second half where gate and up are one tensor."""
        prefix = f"{self._decoder}layers.{layer}.mlp."
        if f"{prefix}gate_up_proj.weight" in self._file_of:
            both = self._matrix(f"{prefix}gate_up_proj.weight")
            return Matrix(both.path, both.name, both.rows // 2, both.rows, both.columns)
        return self._matrix(f"{prefix}up_proj.weight")

    def _matrix(self, name: str) -> Matrix:
        if name not in self._file_of:
            raise HNeuronsError(f"{self.folder}: {name} is missing")
        path = self._file_of[name]
        with _opened(path) as file:
            if name not in file.keys():  # noqa: SIM118 - a file of safetensors is no dictionary
                raise HNeuronsError(f"{path}: {name} is missing, though the index says that it is there")
            tensor = file.get_slice(name)
            if tensor.get_dtype() not in PLAIN:
                raise HNeuronsError(
                    f"{path}: {name} is {tensor.get_dtype()}: packed or quantised weights; "
                    "take the model's bfloat16, float16 or float32 checkpoint"
                )
            rows, columns = tensor.get_shape()
        return Matrix(path, name, 0, rows, columns)


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, "pt")
    except (SafetensorError, OSError) as error:
        raise HNeuronsError(f"{path}: no whole safetensors file ({error})") from None


def _tensors(folder: Path) -> dict[str, Path]:
    """Tensor → the file that holds it: as the index says, or as a look into the files does."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return {name: folder / file for name, file in json.loads(index.read_text())["weight_map"].items()}
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with _opened(path) as file:
            found.update(dict.fromkeys(file.keys(), path))
    if not found:
        raise HNeuronsError(f"{folder}: no *.safetensors there")
    return found


def checkpoint_folder(name: str | Path, revision: str | None = None) -> Path:
    """The folder of a model's files: named itself, by a study's manifest (or the folder that holds one), or by a hub id.

    revision: of the hub's repository; None is its newest.
    """
    path = Path(name)
    manifest = path / "manifest.json" if path.is_dir() else path
    if manifest.name == "manifest.json" and manifest.is_file():
        return manifest.parent / str(store.read_json(manifest)["path"])
    if path.is_dir():
        return path
    if not is_hub_id(name):
        raise HNeuronsError(f"{name}: {NO_MODEL}")
    return Path(fetch_snapshot(str(name), revision))


def folder_identity(folder: Path, named: str | Path = "") -> dict[str, str]:
    """model and revision, where a study's manifest, named or beside the folder, says which model a folder holds.

    Of a folder in the hub's cache, the revision.
    """
    for place in (Path(named), folder.parent):
        manifest = place if place.name == "manifest.json" else place / "manifest.json"
        if manifest.is_file():
            pinned = store.read_json(manifest)
            if (manifest.parent / pinned["path"]).resolve() == folder.resolve():
                return {key: pinned[key] for key in ("model", "revision")}
    return {"revision": folder.name} if folder.parent.name == "snapshots" else {}
