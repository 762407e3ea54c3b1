"""A steered checkpoint: the neurons' columns of W_down scaled by α on disk, so that any engine can load it (eq. 5)."""

from __future__ import annotations

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

_CARD = """---
base_model: {name}
library_name: transformers
tags: [h-neurons]
---

# {name}, {n} neurons scaled by α = {alpha:g}

An ordinary checkpoint. Of the columns of `mlp.down_proj.weight`, {n} of {total} are multiplied by {alpha:g}; every other
weight is that of {name} (revision {revision}). {what}
The neurons were found with hneurons {version} after "H-Neurons" (arXiv 2512.01797), study settings in `neurons.parquet`.

| layer | neurons |
|---|---|
{rows}

Scaling these neurons changes how the model answers in ways that were measured on few behaviours only: measure yours.
"""


def export(
    model: str | Path,
    neurons: NeuronSet,
    alpha: float,
    out: str | Path,
    *,
    revision: str | None = None,
    strict: bool = True,
) -> Path:
    """Write a checkpoint whose selected neurons are scaled by alpha, with a model card that says so and the neurons.

    model: a folder, a study's manifest, or a hub id (revision: None is its newest). Files without a scaled column are hard
    links where the disk allows it, else copies; a file with one is read whole (a checkpoint's files have a few GB). The
    folder appears when it is whole. Raises HNeuronsError if `out` is there already, if the neurons are another model's, or
    if weights are packed. strict: False asks for the shape to fit alone (NeuronSet.scale).
    """
    check_alpha(alpha)
    out, folder = Path(out), checkpoint_folder(model, revision)
    if out.exists():
        raise HNeuronsError(f"{out} is there already; name a folder that is not")
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
    """A checkpoint in another folder with the neurons' columns scaled by alpha, and nothing else of it changed.

    borrow: for a folder that is gone before the first one, symbolic links will do where hard links cannot be.
    """
    touched: dict[Path, dict[str, list[int]]] = defaultdict(dict)
    for layer, indices in neurons.items():
        matrix = checkpoint.down_proj(layer)
        touched[matrix.path][matrix.name] = list(indices)
    for source in sorted(p for p in checkpoint.folder.rglob("*") if p.is_file()):
        target = out / source.relative_to(checkpoint.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source in touched:
            _scaled(source, touched[source], alpha, target)
        elif target.suffix == ".safetensors":
            _linked(source, target, borrow)
        else:
            shutil.copyfile(source, target)
    return out


def _scaled(source: Path, columns: dict[str, list[int]], alpha: float, target: Path) -> None:
    tensors = load_file(source)
    for name, indices in columns.items():
        # Rounded as often as the weights of a loaded model would be: once.
        tensors[name][:, indices] *= alpha
    with safe_open(source, "pt") as file:
        save_file(tensors, target, metadata=file.metadata() or {"format": "pt"})


def _linked(source: Path, target: Path, borrow: bool) -> None:
    try:
        # What a hub's cache holds are links themselves: their files are meant.
        os.link(source.resolve(), target)
    except OSError:
        if borrow:
            target.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, target)


def _card(neurons: NeuronSet, alpha: float, checkpoint: Checkpoint) -> str:
    made, chosen = neurons.made_by, neurons.by_layer()
    name = made.get("named", "hneurons")
    what = {
        "hneurons": "They are H-Neurons: those with a positive weight in a sparse probe that tells hallucinated answers.",
        "negative": "They are the neurons with a negative weight in a sparse probe that tells hallucinated answers.",
    }.get(name, f"They are random neurons ({name}), the control of a set of H-Neurons.")
    return _CARD.format(
        name=made.get("model", "unknown model"),
        revision=made.get("revision") or "unknown",
        n=sum(map(len, chosen.values())),
        total=checkpoint.layers * checkpoint.d_ff,
        alpha=alpha,
        what=what,
        version=version("hneurons"),
        rows="\n".join(f"| {layer} | {', '.join(map(str, found))} |" for layer, found in chosen.items()),
    )
