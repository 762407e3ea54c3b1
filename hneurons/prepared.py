"""A study's prepared models: what pins them is read at once, weights and tokenizer where they are needed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hneurons import store
from hneurons.errors import HNeuronsError
from hneurons.stages import VERSIONS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Prepared:
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
    def beside(self) -> Path:
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

        from hneurons.models import load_model

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


def tokenizer_from_manifest(manifest: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a prepared model, without its weights."""
    pinned = store.read_json(manifest)
    return load_tokenizer(Path(manifest).parent / pinned["path"], pinned["source"]["trust_remote_code"])


def load_tokenizer(name: str | Path, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    # Multimodal repositories (Mistral Small 3.1) keep the template with their processor, where a tokenizer does not look.
    of_processor = Path(name) / "chat_template.json"
    if not tokenizer.chat_template and of_processor.is_file():
        tokenizer.chat_template = store.read_json(of_processor)["chat_template"]
    return tokenizer


def tokenizer_of(model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer that lies beside a loaded model's weights."""
    from hneurons.checkpoint import checkpoint_folder

    revision = getattr(model.config, "_commit_hash", None)
    # Where the weights are; a hub's chat template may stand in a file of its own.
    return load_tokenizer(checkpoint_folder(model.name_or_path, revision))
