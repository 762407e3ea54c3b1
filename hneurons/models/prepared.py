"""A study's prepared models: what pins them is read at once, weights and tokenizer where they are needed."""

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
    """A prepared model; its weights and its tokenizer are read when they are first asked for.

    gpus: how many the job has; more than one share the layers. identity: what of a manifest makes a model this model, not
    where its files lie. A job that finds all of its work done loads nothing.
    """

    def __init__(self, manifest: str | Path, gpus: int = 1) -> None:
        self._manifest = manifest
        self._gpus = gpus
        self._pinned = store.read_json(manifest)
        source = {k: self._pinned["source"][k] for k in ("dtype", "trust_remote_code")}
        pinned = {k: self._pinned[k] for k in ("model", "revision", "layers", "d_ff")}
        self.identity = {**pinned, **source, "model_stage": VERSIONS["model"]}

    @property
    def study_folder(self) -> Path:
        """The study's folder of this model's weights, for what is made of them."""
        return Path(self._manifest).parent

    @cached_property
    def folder(self) -> Path:
        """Where the weights lie, if they are the ones that the manifest pins; raises HNeuronsError if not."""
        folder: Path = Path(self._manifest).parent / self._pinned["path"]
        for name, size in self._pinned["weights"].items():
            if not (folder / name).is_file() or (folder / name).stat().st_size != size:
                raise HNeuronsError(
                    f"{folder / name} is missing or not the file that {self._manifest} pins; delete the manifest"
                )
        return folder

    @cached_property
    def model(self) -> PreTrainedModel:
        import torch

        from hneurons.models.load import load_model

        source = self._pinned["source"]
        device_map = source["device_map"] or ("auto" if self._gpus > 1 and torch.cuda.is_available() else None)
        model = load_model(
            self.folder, dtype=source["dtype"], device_map=device_map, trust_remote_code=source["trust_remote_code"]
        )
        model.hneurons_identity = {key: self._pinned[key] for key in ("model", "revision")}
        return model

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return tokenizer_from_manifest(self._manifest)
