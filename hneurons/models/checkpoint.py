"""MLP weights of a checkpoint on disk, read block by block from its safetensors files without building a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

from hneurons import store
from hneurons.config.weights import tensor_files
from hneurons.errors import HNeuronsError
from hneurons.models.hub import fetch_snapshot, is_hub_id

if TYPE_CHECKING:
    import torch

PLAIN = ("F64", "F32", "F16", "BF16")
_DOWN = re.compile(r"^(?P<decoder>.*?)layers\.(?P<layer>\d+)\.mlp\.down_proj\.weight$")
# Towers of multimodal checkpoints; their MLPs do not belong to the decoder.
_TOWER = re.compile(r"vision|visual|audio|image")
# Prefixes on disk that a loaded causal model has not: of a decoder that was saved alone, and of multimodal checkpoints.
_LOADED_AS = {"": "model.", "language_model.model.": "model.language_model."}
_BLOCK_BYTES = 4_000_000


@dataclass(frozen=True)
class Matrix:
    """Rows of a matrix on disk.

    Attributes:
        path: Safetensors file.
        name: Name of the tensor.
        start: First row.
        stop: Row after the last.
        columns: Number of columns.
    """

    path: Path
    name: str
    start: int
    stop: int
    columns: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.stop - self.start

    def take(self, columns: Sequence[int]) -> torch.Tensor:
        """Read single columns [rows, len(columns)], in the stored dtype."""
        import torch

        with safe_open(self.path, "pt") as file:
            part = file.get_slice(self.name)
            return torch.cat([part[self.start : self.stop, j : j + 1] for j in columns], dim=1)

    def blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield (rows relative to `start`, values [rows, columns] as float64) in blocks of about 4 MB.

        The file is reopened for every block, so that the memory of earlier blocks can be released.
        """
        step = max(1, _BLOCK_BYTES // (8 * self.columns))
        for first in range(self.start, self.stop, step):
            last = min(first + step, self.stop)
            with safe_open(self.path, "pt") as file:
                values = file.get_slice(self.name)[first:last].double()
            yield slice(first - self.start, last - self.start), values


class Checkpoint:
    """A folder of safetensors files, which may be multimodal, and the MLPs of its text decoder.

    Attributes:
        folder: The folder.
        layers: Number of decoder layers.
        d_ff: Neurons per layer.

    Raises:
        HNeuronsError: If the folder holds no complete checkpoint, there is not exactly one decoder with gated MLPs, or the
            weights are packed (quantised).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._file_of = tensor_files(self.folder)
        decoders: dict[str, dict[int, str]] = {}
        for name in self._file_of:
            if (match := _DOWN.match(name)) and not _TOWER.search(match["decoder"]):
                decoders.setdefault(match["decoder"], {})[int(match["layer"])] = name
        if len(decoders) != 1:
            count = f"{len(decoders)} decoders ({', '.join(decoders)})" if decoders else "no layers.N.mlp.down_proj.weight"
            raise HNeuronsError(f"{self.folder}: {count} in its safetensors; one decoder with gated MLPs is needed")
        ((self._decoder, down_projs),) = decoders.items()
        self.layers = len(down_projs)
        if sorted(down_projs) != list(range(self.layers)):
            raise HNeuronsError(f"{self.folder}: its layers with an MLP are not numbered 0 to {self.layers - 1}")
        self.d_ff = self.down_proj(0).columns

    @property
    def files(self) -> list[Path]:
        """The files of the weights."""
        return sorted(set(self._file_of.values()))

    def down_proj(self, layer: int) -> Matrix:
        """Return W_down [d_model, d_ff] of a layer: a column per neuron."""
        return self._matrix(f"{self._decoder}layers.{layer}.mlp.down_proj.weight")

    def up_proj(self, layer: int) -> Matrix:
        """Return W_up [d_ff, d_model] of a layer: a row per neuron. Of a fused gate_up_proj it is the second half."""
        prefix = f"{self._decoder}layers.{layer}.mlp."
        if f"{prefix}gate_up_proj.weight" in self._file_of:
            fused = self._matrix(f"{prefix}gate_up_proj.weight")
            return Matrix(fused.path, fused.name, fused.rows // 2, fused.rows, fused.columns)
        return self._matrix(f"{prefix}up_proj.weight")

    def module_name(self, tensor: str) -> str:
        """Return the name, in a model that transformers loaded, of the layer whose weight is a tensor of this decoder."""
        name = tensor.removeprefix(self._decoder).removesuffix(".weight")
        return f"{_LOADED_AS.get(self._decoder, self._decoder)}{name}"

    def _matrix(self, name: str) -> Matrix:
        if name not in self._file_of:
            raise HNeuronsError(f"{self.folder}: {name} is missing")
        path = self._file_of[name]
        with safe_open(path, "pt") as file:
            tensor = file.get_slice(name)
            if tensor.get_dtype() not in PLAIN:
                raise HNeuronsError(
                    f"{path}: {name} is {tensor.get_dtype()}: packed or quantised weights; "
                    "take the model's bfloat16, float16 or float32 checkpoint"
                )
            rows, columns = tensor.get_shape()
        return Matrix(path, name, 0, rows, columns)


def checkpoint_folder(name: str | Path, revision: str | None = None, remote_code: bool = False) -> Path:
    """Return the folder of a model's files, downloaded if necessary.

    Args:
        name: The folder, a study's manifest.json or the folder that holds it, or a hub id.
        revision: Revision of the hub's repository; None for the newest.
        remote_code: Whether to fetch the repository's Python files too.

    Raises:
        HNeuronsError: If the name is something else, or if the download fails.
    """
    path = Path(name)
    manifest = path / "manifest.json" if path.is_dir() else path
    if manifest.name == "manifest.json" and manifest.is_file():
        return manifest.parent / str(store.read_json(manifest)["path"])
    if path.is_dir():
        return path
    if not is_hub_id(name):
        raise HNeuronsError(f"{name}: neither a folder with *.safetensors, nor a manifest.json, nor a hub id (owner/name)")
    return Path(fetch_snapshot(str(name), revision, remote_code))


def folder_identity(folder: Path, named: str | Path = "") -> dict[str, str]:
    """Return which model a folder holds.

    Args:
        folder: Folder of the weights.
        named: The path that the user gave: a study's manifest or the folder that holds it. A manifest next to `folder` is
            read too.

    Returns:
        `model` and `revision` from a manifest that pins this folder; `revision` alone for a folder in the hub's cache; else
        an empty dict.
    """
    for place in (Path(named), folder.parent):
        manifest = place if place.name == "manifest.json" else place / "manifest.json"
        if manifest.is_file():
            pinned = store.read_json(manifest)
            if (manifest.parent / pinned["path"]).resolve() == folder.resolve():
                return {key: pinned[key] for key in ("model", "revision")}
    return {"revision": folder.name} if folder.parent.name == "snapshots" else {}
