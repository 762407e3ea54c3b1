"""MLP weights of a checkpoint on disk, read block by block from its safetensors files without building a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from hneurons import store
from hneurons.config.weights import PLAIN, is_packed, read_config, tensor_files
from hneurons.errors import HNeuronsError
from hneurons.models.hub import fetch_snapshot, is_hub_id
from hneurons.models.layouts import (
    ALTERNATING_EXPERTS,
    DOWN_TENSOR,
    EXPERT,
    SHARED_EXPERTS,
    TRANSPOSED,
    TRANSPOSED_EXPERTS,
    UP,
)
from hneurons.models.widths import Widths

if TYPE_CHECKING:
    import torch

# Towers of multimodal checkpoints, and layers that predict further tokens; their MLPs do not belong to the decoder.
_ELSEWHERE = re.compile(r"vision|visual|audio|image|tower|connector|resampler|qformer|\bmtp\b")
_BLOCK_BYTES = 4_000_000
# What configurations call the number of decoder layers.
_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")


@dataclass(frozen=True)
class Matrix:
    """A matrix on disk, with a row or a column for each neuron; or one expert's part of a tensor of all experts.

    Attributes:
        path: Safetensors file.
        name: Name of the tensor.
        d_ff: Number of neurons.
        d_model: Number of values of each neuron.
        row_per_neuron: Whether its rows are the neurons; else its columns are.
        first: Row or column of the first neuron.
        step: Rows or columns from one neuron to the next.
        expert: Index of the expert in the tensor; None of a plain matrix.
    """

    path: Path
    name: str
    d_ff: int
    d_model: int
    row_per_neuron: bool
    first: int = 0
    step: int = 1
    expert: int | None = None

    def take(self, neurons: Sequence[int]) -> torch.Tensor:
        """Read the values of single neurons, [d_model, len(neurons)], in the stored dtype."""
        import torch

        with safe_open(self.path, "pt") as file:
            part = file.get_slice(self.name)
            every = slice(0, self.d_model)
            places = [slice(self.first + self.step * j, self.first + self.step * j + 1) for j in neurons]
            if self.row_per_neuron:
                return torch.cat([self._read(part, place, every) for place in places]).T
            return torch.cat([self._read(part, every, place) for place in places], dim=1)

    def blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield (rows, values [rows, columns] as float64) in blocks of about 4 MB; rows are neurons if row_per_neuron.

        The file is reopened for every block, so that the memory of earlier blocks can be released.
        """
        rows, columns = (self.d_ff, self.d_model) if self.row_per_neuron else (self.d_model, self.d_ff)
        at_once = max(1, _BLOCK_BYTES // (8 * columns * self.step))
        for start in range(0, rows, at_once):
            part = slice(start, min(start + at_once, rows))
            with safe_open(self.path, "pt") as file:
                tensor = file.get_slice(self.name)
                if self.row_per_neuron:
                    values = self._read(tensor, self._neurons(part), slice(0, columns))[:: self.step]
                else:
                    values = self._read(tensor, part, self._neurons(slice(0, columns)))[:, :: self.step]
            yield part, values.double()

    def _neurons(self, part: slice) -> slice:
        """The rows or columns of these neurons, with what lies between them."""
        return slice(self.first + self.step * part.start, self.first + self.step * (part.stop - 1) + 1)

    def _read(self, tensor: Any, rows: slice, columns: slice) -> torch.Tensor:
        place = (rows, columns) if self.expert is None else (slice(self.expert, self.expert + 1), rows, columns)
        values: torch.Tensor = tensor[place]
        return values.reshape(values.shape[-2:])


class Checkpoint:
    """A folder of safetensors files, which may be multimodal, and the MLPs of its text decoder.

    Attributes:
        folder: The folder.
        layers: Number of decoder layers.
        widths: Neurons of each layer, and its experts.

    Raises:
        HNeuronsError: If the folder holds no complete checkpoint, there is not exactly one decoder with MLPs, or the
            weights are packed (quantised).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if is_packed(self.folder):
            raise HNeuronsError(
                f"{self.folder}: packed or quantised weights, whose columns can neither be written nor compared; take the "
                "model's bfloat16, float16 or float32 checkpoint (neurons scale a packed model while it runs)"
            )
        self._file_of = tensor_files(self.folder)
        config = self.folder / "config.json"
        facts = read_config(self.folder) if config.is_file() else {}
        self._kind = facts.get("model_type", "")
        text = facts.get("text_config", facts)
        self._d_model = text.get("hidden_size")
        # Layers after these predict further tokens.
        count = next((text[key] for key in _COUNTS if isinstance(text.get(key), int)), None)
        decoders: dict[str, dict[int, list[str]]] = {}
        for name in self._file_of:
            if (match := DOWN_TENSOR.match(name)) and not _ELSEWHERE.search(match["decoder"]):
                if count is not None and int(match["layer"]) >= count:
                    continue
                decoders.setdefault(match["decoder"], {}).setdefault(int(match["layer"]), []).append(name)
        if len(decoders) != 1:
            count = f"{len(decoders)} decoders ({', '.join(decoders)})" if decoders else "no layers.N.mlp.down_proj.weight"
            raise HNeuronsError(f"{self.folder}: {count} in its safetensors; one decoder with MLPs is needed")
        ((_, names),) = decoders.items()
        self.layers = len(names)
        if sorted(names) != list(range(self.layers)):
            raise HNeuronsError(f"{self.folder}: its layers with an MLP are not numbered 0 to {self.layers - 1}")
        self._downs = [self._layer(names[layer]) for layer in range(self.layers)]
        widths = tuple(sum(matrix.d_ff for matrix in downs) for downs in self._downs)
        self.widths = Widths(widths, tuple(_experts(downs) for downs in self._downs))

    @property
    def files(self) -> list[Path]:
        """The files of the weights."""
        return sorted(set(self._file_of.values()))

    def down_proj(self, layer: int) -> list[Matrix]:
        """Return W_down of a layer: of every expert, then of what is shared; of a dense layer it is one matrix."""
        return self._downs[layer]

    def up_proj(self, layer: int) -> list[Matrix]:
        """Return W_up of a layer, matrix by matrix as `down_proj`: of a gate and up projection in one, up alone."""
        return [self._up(down) for down in self._downs[layer]]

    def _up(self, down: Matrix) -> Matrix:
        match = DOWN_TENSOR.match(down.name)
        assert match is not None, "only such tensors are down-projections"
        block, suffix = down.name[: match.start("down")], match["suffix"] or ""
        names = [f"{block}{up}{suffix}" for up in UP[match["down"]]]
        up = next((name for name in names if name in self._shapes), names[0])
        matrices = self._matrices(up, is_down=False)
        matrix = matrices[down.expert or 0]
        if matrix.d_ff != 2 * down.d_ff:
            return matrix
        alternating = self._kind in ALTERNATING_EXPERTS and down.expert is not None
        return replace(matrix, d_ff=down.d_ff, first=1 if alternating else down.d_ff, step=2 if alternating else 1)

    def columns(self, layer: int, neurons: Sequence[int]) -> torch.Tensor:
        """Read columns of W_down of these neurons of a layer, [d_model, len(neurons)], in the stored dtype."""
        import torch

        parts = [matrix.take([j]) for matrix, j in (self.place(layer, neuron) for neuron in neurons)]
        return torch.cat(parts, dim=1)

    def place(self, layer: int, neuron: int) -> tuple[Matrix, int]:
        """Return the matrix of a neuron, and its index there."""
        for matrix in self._downs[layer]:
            if neuron < matrix.d_ff:
                return matrix, neuron
            neuron -= matrix.d_ff
        raise HNeuronsError(f"{self.folder}: layer {layer} has no such neuron")

    @cached_property
    def _shapes(self) -> dict[str, tuple[str, list[int]]]:
        """Data type and shape of every tensor."""
        shapes: dict[str, tuple[str, list[int]]] = {}
        for path in self.files:
            with safe_open(path, "pt") as file:
                parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, a file is no mapping
            shapes |= {name: (part.get_dtype(), part.get_shape()) for name, part in parts.items()}
        return shapes

    def _layer(self, names: list[str]) -> list[Matrix]:
        """The matrices of a layer: those of experts by their numbers, then what is shared, then what is dense."""

        def order(name: str) -> tuple[int, int]:
            expert = EXPERT.search(name)
            shared = [n for n, prefix in enumerate(SHARED_EXPERTS, start=1) if f"{prefix}." in name]
            return shared[0] if shared else 0, int(expert[1]) if expert else 0

        return [matrix for name in sorted(names, key=order) for matrix in self._matrices(name)]

    def _matrices(self, name: str, is_down: bool = True) -> list[Matrix]:
        """The matrix of a tensor, or those of all experts in it."""
        if name not in self._shapes:
            raise HNeuronsError(f"{self.folder}: {name} is missing")
        dtype, shape = self._shapes[name]
        path = self._file_of[name]
        if dtype not in PLAIN:
            raise HNeuronsError(
                f"{path}: {name} is {dtype}: packed or quantised weights; "
                "take the model's bfloat16, float16 or float32 checkpoint"
            )
        rows, columns = shape[-2:]
        transposed = self._kind in (TRANSPOSED if len(shape) == 2 else TRANSPOSED_EXPERTS)
        if len(shape) == 3 and (rows == self._d_model) != (columns == self._d_model):
            # Some types are published in one form and saved in the other.
            row_per_neuron = columns == self._d_model
        else:
            row_per_neuron = transposed == is_down
        d_ff, d_model = (rows, columns) if row_per_neuron else (columns, rows)
        matrix = Matrix(path, name, d_ff, d_model, row_per_neuron)
        return [matrix] if len(shape) == 2 else [replace(matrix, expert=e) for e in range(shape[0])]


def _experts(downs: Sequence[Matrix]) -> tuple[int, int] | None:
    """Number of routed experts of a layer and neurons of each; None of a dense layer."""
    routed = [matrix.d_ff for matrix in downs if matrix.expert is not None or EXPERT.search(matrix.name)]
    return (len(routed), routed[0]) if routed else None


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
