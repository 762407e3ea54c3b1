"""MLP weights of a checkpoint on disk, read block by block from its safetensors files without building a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

from hneurons import store
from hneurons.config.weights import read_config, tensor_files
from hneurons.errors import HNeuronsError
from hneurons.models.hub import fetch_snapshot, is_hub_id
from hneurons.models.layouts import DOWN_TENSOR, FUSED, TRANSPOSED, UP
from hneurons.models.widths import Widths

if TYPE_CHECKING:
    import torch

PLAIN = ("F64", "F32", "F16", "BF16")
# Towers of multimodal checkpoints, and layers that predict further tokens; their MLPs do not belong to the decoder.
_ELSEWHERE = re.compile(r"vision|visual|audio|image|tower|connector|resampler|qformer|\bmtp\b")
_BLOCK_BYTES = 4_000_000


@dataclass(frozen=True)
class Matrix:
    """Rows of a matrix on disk, with a row or a column for each neuron.

    Attributes:
        path: Safetensors file.
        name: Name of the tensor.
        start: First row.
        stop: Row after the last.
        columns: Number of columns.
        row_per_neuron: Whether its rows are the neurons; else its columns are.
    """

    path: Path
    name: str
    start: int
    stop: int
    columns: int
    row_per_neuron: bool

    @property
    def d_ff(self) -> int:
        """Number of neurons."""
        return self.stop - self.start if self.row_per_neuron else self.columns

    @property
    def d_model(self) -> int:
        """Number of values of each neuron."""
        return self.columns if self.row_per_neuron else self.stop - self.start

    def take(self, neurons: Sequence[int]) -> torch.Tensor:
        """Read the values of single neurons, [d_model, len(neurons)], in the stored dtype."""
        import torch

        with safe_open(self.path, "pt") as file:
            part = file.get_slice(self.name)
            if self.row_per_neuron:
                return torch.cat([part[self.start + j : self.start + j + 1] for j in neurons]).T
            return torch.cat([part[self.start : self.stop, j : j + 1] for j in neurons], dim=1)

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
        widths: Neurons of each layer.

    Raises:
        HNeuronsError: If the folder holds no complete checkpoint, there is not exactly one decoder with dense MLPs, or the
            weights are packed (quantised).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._file_of = tensor_files(self.folder)
        config = self.folder / "config.json"
        self._transposed = config.is_file() and read_config(self.folder).get("model_type") in TRANSPOSED
        decoders: dict[str, dict[int, str]] = {}
        for name in self._file_of:
            if (match := DOWN_TENSOR.match(name)) and not _ELSEWHERE.search(match["decoder"]):
                decoders.setdefault(match["decoder"], {})[int(match["layer"])] = name
        if len(decoders) != 1:
            count = f"{len(decoders)} decoders ({', '.join(decoders)})" if decoders else "no layers.N.mlp.down_proj.weight"
            raise HNeuronsError(f"{self.folder}: {count} in its safetensors; one decoder with dense MLPs is needed")
        ((_, self._downs),) = decoders.items()
        self.layers = len(self._downs)
        if sorted(self._downs) != list(range(self.layers)):
            raise HNeuronsError(f"{self.folder}: its layers with an MLP are not numbered 0 to {self.layers - 1}")
        self.widths = Widths(tuple(self.down_proj(layer).d_ff for layer in range(self.layers)))

    @property
    def files(self) -> list[Path]:
        """The files of the weights."""
        return sorted(set(self._file_of.values()))

    def down_proj(self, layer: int) -> Matrix:
        """Return W_down of a layer."""
        return self._matrix(self._downs[layer], row_per_neuron=self._transposed)

    def up_proj(self, layer: int) -> Matrix:
        """Return W_up of a layer: of a fused gate and up projection, the second half of its rows."""
        block, _, down = self._downs[layer].removesuffix(".weight").rpartition(".")
        names = [f"{block}.{up}.weight" for up in UP[down]]
        name = next((name for name in names if name in self._file_of), names[0])
        matrix = self._matrix(name, row_per_neuron=not self._transposed)
        return replace(matrix, start=matrix.stop // 2) if name.split(".")[-2] in FUSED else matrix

    def _matrix(self, name: str, row_per_neuron: bool) -> Matrix:
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
        return Matrix(path, name, 0, rows, columns, row_per_neuron)


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
