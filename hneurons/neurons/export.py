"""Steered checkpoints: the neurons' columns of W_down scaled by α on disk (eq. 5), so that any engine can load them."""

import logging
import os
import shutil
from collections import defaultdict
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hneurons import store
from hneurons.config.weights import weights_index
from hneurons.errors import HNeuronsError
from hneurons.models.checkpoint import Checkpoint, Matrix, checkpoint_folder, folder_identity
from hneurons.neurons.adapters import write_adapter
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.neurons.scaling import NeuronsByLayer, check_alpha

logger = logging.getLogger(__name__)

# Without the suffixes of weights and of index files, which may match too.
_COMPANIONS = (
    *"*.json *.jinja *.model *.tiktoken *.txt *.spm *.bpe tokenizer* vocab*".split(),
    *"licen[cs]e* copying* readme* notice* use_policy*".split(),
)
_WEIGHTS = frozenset(
    ".safetensors .bin .pth .pt .ckpt .gguf .ggml .h5 .msgpack .onnx .onnx_data .ot .pkl .npz .tflite .nemo".split()
)
_CARD = Path(__file__).with_name("checkpoint_card.md").read_text(encoding="utf-8")


def export(
    model: str | Path,
    neurons: NeuronSet,
    alpha: float,
    out: str | Path,
    *,
    form: Literal["checkpoint", "lora"] = "checkpoint",
    revision: str | None = None,
    strict: bool = True,
) -> Path:
    """Write a model whose selected neurons are scaled by alpha (eq. 5), with a model card and the set of neurons.

    A LoRA adapter has a few megabytes, and a server can apply many to one model, request by request. Of a checkpoint, the
    weights that transformers loads, the tokenizer, the configuration and the licence are written; weights in other
    formats, which would not be scaled, are left out and named in the log. Files without a scaled column become hard links
    where the file system allows it, else copies. A file with one is loaded into memory (checkpoints are split into files of
    a few GB). The folder appears only once it is complete.

    Args:
        model: a folder, a study's manifest, or a hub id.
        neurons: the set whose selected neurons are scaled.
        alpha: the factor α ≥ 0.
        out: the folder to create.
        form: a whole checkpoint, or a LoRA adapter in PEFT's format whose rank is the largest number of neurons in a layer
            or an expert.
        revision: of the hub's repository; None is the newest.
        strict: False checks only that the shapes match (`NeuronSet.scale`).

    Returns:
        The path of the folder.

    Raises:
        HNeuronsError: `out` exists, the neurons belong to another model, α < 0, the weights are packed, or the disk is
            full.
    """
    check_alpha(alpha)
    out, folder = Path(out), checkpoint_folder(model, revision)
    if out.exists():
        raise HNeuronsError(f"{out} already exists; choose another folder")
    checkpoint = Checkpoint(folder)
    neurons.check_for({**checkpoint.widths.facts, **folder_identity(folder, model)}, strict)
    others: list[Path] = []
    rank = None
    with store.atomic_folder(out, replace=False) as part:
        if form == "lora":
            rank = write_adapter(checkpoint, neurons.by_layer(), alpha, part, "" if Path(model).exists() else str(model))
        else:
            others = [path for path in _files(folder) if path.suffix in _WEIGHTS and path not in checkpoint.files]
            write_scaled(checkpoint, neurons.by_layer(), alpha, part)
        if (part / "README.md").exists():
            (part / "README.md").rename(part / "README.original.md")
        (part / "README.md").write_text(_card(neurons, alpha, checkpoint, rank), encoding="utf-8")
        neurons.save(part / "neurons.parquet")
    if others:
        names = ", ".join(str(path.relative_to(folder)) for path in others)
        logger.info("left out, because weights in these files would not be scaled: %s", names)
    return out


def write_scaled(checkpoint: Checkpoint, neurons: NeuronsByLayer, alpha: float, out: Path, *, borrow: bool = False) -> Path:
    """Copy a checkpoint's weights and what belongs to them, with the neurons' columns scaled by alpha.

    Args:
        checkpoint: the original.
        neurons: neuron indices by layer.
        alpha: the factor α.
        out: the folder to write.
        borrow: use symbolic links where hard links are impossible, for a copy that is deleted before the original.

    Returns:
        `out`.
    """
    touched: dict[Path, dict[Matrix, list[int]]] = defaultdict(lambda: defaultdict(list))
    for layer, indices in neurons.items():
        for matrix, j in (checkpoint.place(layer, neuron) for neuron in indices):
            touched[matrix.path][matrix].append(j)
    for source in [*checkpoint.files, *_companions(checkpoint.folder)]:
        target = out / source.relative_to(checkpoint.folder)
        with store.failures_named(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if source in touched:
                _write_scaled_file(source, touched[source], alpha, target)
            elif source in checkpoint.files:
                _link_or_copy(source, target, borrow)
            else:
                shutil.copyfile(source, target)
    return out


def _files(folder: Path) -> list[Path]:
    """All files of a folder, except for those of git and of download tools."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def _companions(folder: Path) -> list[Path]:
    """The files that a model needs besides its weights: configuration, tokenizer, templates, licence, and custom code."""
    index = weights_index(folder)
    remote_code = any(b'"auto_map"' in path.read_bytes() for path in folder.glob("*config.json"))

    def is_needed(path: Path) -> bool:
        if path.suffix in _WEIGHTS or path.name.endswith(".index.json"):
            return path == index
        if path.suffix == ".py":
            return remote_code
        if path.parent == folder:
            return any(fnmatch(path.name.lower(), pattern) for pattern in _COMPANIONS)
        return path.suffix == ".jinja" and path.parent == folder / "additional_chat_templates"

    return [path for path in _files(folder) if is_needed(path)]


def _write_scaled_file(source: Path, neurons: dict[Matrix, list[int]], alpha: float, target: Path) -> None:
    tensors = load_file(source)
    for matrix, indices in neurons.items():
        values = tensors[matrix.name] if matrix.expert is None else tensors[matrix.name][matrix.expert]
        # In the stored dtype: rounded once, as in a loaded model.
        values[indices if matrix.row_per_neuron else (slice(None), indices)] *= alpha
    with safe_open(source, "pt") as file:
        save_file(tensors, target, metadata=file.metadata() or {"format": "pt"})


def _link_or_copy(source: Path, target: Path, borrow: bool) -> None:
    if not borrow and not source.stat().st_mode & 0o077 and store.new_file_mode(target.parent) & 0o077:
        # A link to a file for its owner alone, as safetensors writes them, could not be read by others.
        shutil.copyfile(source, target)
        return
    try:
        # Files in the hub's cache are symbolic links.
        os.link(source.resolve(), target)
    except OSError:
        if borrow:
            target.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, target)


def _card(neurons: NeuronSet, alpha: float, checkpoint: Checkpoint, rank: int | None) -> str:
    made_by, selected = neurons.made_by, neurons.by_layer()
    name = made_by.get("named", "hneurons")
    description = {
        "hneurons": "They are H-Neurons: those with a positive weight in a sparse probe that detects hallucinated answers.",
        "negative": "They are the neurons with a negative weight in a sparse probe that detects hallucinated answers.",
    }.get(name, f"They are random neurons ({name}), the control of a set of H-Neurons.")
    kind = "An ordinary checkpoint:" if rank is None else f"A LoRA adapter of rank {rank}: loaded with the model,"
    return _CARD.format(
        library="transformers" if rank is None else "peft",
        kind=kind,
        name=made_by.get("model", "unknown model"),
        revision=made_by.get("revision") or "unknown",
        n=sum(map(len, selected.values())),
        total=checkpoint.widths.total,
        alpha=alpha,
        description=description,
        version=version("hneurons"),
        rows="\n".join(
            f"| {layer} | {', '.join(checkpoint.widths.named(layer, j) for j in indices)} |"
            for layer, indices in selected.items()
        ),
    )
