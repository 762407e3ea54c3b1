"""A study's prepared models: the manifest is read at once, weights and tokenizer on first use."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hneurons import store
from hneurons.errors import HNeuronsError
from hneurons.models.tokenizer import tokenizer_from_manifest
from hneurons.stages import VERSIONS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class PreparedModel:
    """A prepared model, whose weights and tokenizer are loaded on first use.

    A job with nothing left to do therefore loads neither.

    Args:
        manifest: The model's manifest.
        gpus: Number of GPUs of the job; several share the layers.

    Attributes:
        identity: What identifies the model in metadata, independent of the location of its files.
    """

    def __init__(self, manifest: str | Path, gpus: int = 1) -> None:
        self._manifest = manifest
        self._gpus = gpus
        self._pinned = store.read_json(manifest)
        keys = ("dtype", "trust_remote_code", "quantization")
        source = {k: self._pinned["source"][k] for k in keys if k in self._pinned["source"]}
        pinned = {k: self._pinned[k] for k in ("model", "revision", "layers", "d_ff", "experts") if k in self._pinned}
        self.identity = {**pinned, **source, "model_stage": VERSIONS["model"]}

    @property
    def study_folder(self) -> Path:
        """Folder of the manifest, for files derived from the weights."""
        return Path(self._manifest).parent

    @cached_property
    def folder(self) -> Path:
        """Folder of the weights.

        Raises:
            HNeuronsError: If a file is missing or does not have the size that the manifest records.
        """
        folder: Path = self.study_folder / self._pinned["path"]
        for name, size in self._pinned["weights"].items():
            if not (folder / name).is_file() or (folder / name).stat().st_size != size:
                raise HNeuronsError(
                    f"{folder / name} is missing or not the file that {self._manifest} pins; delete the manifest"
                )
        return folder

    @cached_property
    def model(self) -> PreTrainedModel:
        """The loaded model."""
        import torch

        from hneurons.models.load import load_model

        source = self._pinned["source"]
        device_map = source["device_map"] or ("auto" if self._gpus > 1 and torch.cuda.is_available() else None)
        model = load_model(
            self.folder,
            dtype=source["dtype"],
            device_map=device_map,
            trust_remote_code=source["trust_remote_code"],
            quantization=source.get("quantization"),
        )
        model.hneurons_identity = {key: self._pinned[key] for key in ("model", "revision")}
        return model

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer; the weights are not loaded for it."""
        return tokenizer_from_manifest(self._manifest)
