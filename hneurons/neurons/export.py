"""Steered checkpoints: the neurons' columns of W_down scaled by α on disk (eq. 5), so that any engine can load them."""

import os
import shutil
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hneurons.errors import HNeuronsError
from hneurons.models.checkpoint import Checkpoint, checkpoint_folder, folder_identity
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.neurons.scaling import NeuronsByLayer, check_alpha

_CARD = Path(__file__).with_name("checkpoint_card.md").read_text(encoding="utf-8")


def export(
    model: str | Path,
    neurons: NeuronSet,
    alpha: float,
    out: str | Path,
    *,
    revision: str | None = None,
    strict: bool = True,
) -> Path:
    """Write a checkpoint whose selected neurons are scaled by alpha (eq. 5), with a model card and the set of neurons.

    Files without a scaled column become hard links where the file system allows it, else copies. A file with one is loaded
    into memory (checkpoints are split into files of a few GB). The folder appears only once it is complete.

    Args:
        model: a folder, a study's manifest, or a hub id.
        neurons: the set whose selected neurons are scaled.
        alpha: the factor α ≥ 0.
        out: the folder to create.
        revision: of the hub's repository; None is the newest.
        strict: False checks only that the shapes match (`NeuronSet.scale`).

    Returns:
        The path of the folder.

    Raises:
        HNeuronsError: `out` exists, the neurons belong to another model, α < 0, or the weights are packed.
    """
    check_alpha(alpha)
    out, folder = Path(out), checkpoint_folder(model, revision)
    if out.exists():
        raise HNeuronsError(f"{out} already exists; choose another folder")
    checkpoint = Checkpoint(folder)
    neurons.check_for({"layers": checkpoint.layers, "d_ff": checkpoint.d_ff, **folder_identity(folder, model)}, strict)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        write_scaled(checkpoint, neurons.by_layer(), alpha, part)
        if (part / "README.md").exists():
            (part / "README.md").rename(part / "README.original.md")
        (part / "README.md").write_text(_card(neurons, alpha, checkpoint), encoding="utf-8")
        neurons.save(part / "neurons.parquet")
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def write_scaled(checkpoint: Checkpoint, neurons: NeuronsByLayer, alpha: float, out: Path, *, borrow: bool = False) -> Path:
    """Copy a checkpoint, with the neurons' columns scaled by alpha and nothing else changed.

    Args:
        checkpoint: the original.
        neurons: neuron indices by layer.
        alpha: the factor α.
        out: the folder to write.
        borrow: use symbolic links where hard links are impossible, for a copy that is deleted before the original.

    Returns:
        `out`.
    """
    touched: dict[Path, dict[str, list[int]]] = defaultdict(dict)
    for layer, indices in neurons.items():
        matrix = checkpoint.down_proj(layer)
        touched[matrix.path][matrix.name] = list(indices)
    for source in sorted(p for p in checkpoint.folder.rglob("*") if p.is_file()):
        target = out / source.relative_to(checkpoint.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source in touched:
            _write_scaled_file(source, touched[source], alpha, target)
        elif target.suffix == ".safetensors":
            _link_or_copy(source, target, borrow)
        else:
            shutil.copyfile(source, target)
    return out


def _write_scaled_file(source: Path, columns: dict[str, list[int]], alpha: float, target: Path) -> None:
    tensors = load_file(source)
    for name, indices in columns.items():
        # In the stored dtype: rounded once, as in a loaded model.
        tensors[name][:, indices] *= alpha
    with safe_open(source, "pt") as file:
        save_file(tensors, target, metadata=file.metadata() or {"format": "pt"})


def _link_or_copy(source: Path, target: Path, borrow: bool) -> None:
    try:
        # Files in the hub's cache are symbolic links.
        os.link(source.resolve(), target)
    except OSError:
        if borrow:
            target.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, target)


def _card(neurons: NeuronSet, alpha: float, checkpoint: Checkpoint) -> str:
    made_by, selected = neurons.made_by, neurons.by_layer()
    name = made_by.get("named", "hneurons")
    description = {
        "hneurons": "They are H-Neurons: those with a positive weight in a sparse probe that detects hallucinated answers.",
        "negative": "They are the neurons with a negative weight in a sparse probe that detects hallucinated answers.",
    }.get(name, f"They are random neurons ({name}), the control of a set of H-Neurons.")
    return _CARD.format(
        name=made_by.get("model", "unknown model"),
        revision=made_by.get("revision") or "unknown",
        n=sum(map(len, selected.values())),
        total=checkpoint.layers * checkpoint.d_ff,
        alpha=alpha,
        description=description,
        version=version("hneurons"),
        rows="\n".join(f"| {layer} | {', '.join(map(str, indices))} |" for layer, indices in selected.items()),
    )
