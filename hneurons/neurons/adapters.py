"""Scaling as a low-rank adapter: ΔW_down = (α − 1) W_down[:, S] E_Sᵀ (eq. 5), in PEFT's format."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from hneurons import store
from hneurons.config.weights import read_config
from hneurons.errors import HNeuronsError
from hneurons.models.checkpoint import Checkpoint
from hneurons.models.experts import Experts
from hneurons.models.layouts import NO_ADAPTERS
from hneurons.models.mlp import DownProjection
from hneurons.models.skeleton import named_neurons
from hneurons.neurons.scaling import NeuronsByLayer

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def adapter_rank(neurons: NeuronsByLayer) -> int:
    """Return a rank that an adapter needs for these neurons at most: the largest number of a layer, at least 1."""
    return max([1, *map(len, neurons.values())])


def write_adapter(checkpoint: Checkpoint, neurons: NeuronsByLayer, alpha: float, out: Path, name: str = "") -> int:
    """Write a LoRA adapter that scales neurons by alpha: B A with A = E_Sᵀ [rank, d_ff], B = (α − 1) W_down[:, S].

    All layers and experts have the same rank, which servers require; the columns that one does not need are zero. Values
    are float32 with weights of any dtype.

    Args:
        checkpoint: the model's weights.
        neurons: neuron indices by layer.
        alpha: the factor α.
        out: an existing folder.
        name: of the model, for programs that load adapter and model together; empty is the checkpoint's folder.

    Returns:
        The rank: the largest number of neurons of a layer or an expert, at least 1.

    Raises:
        HNeuronsError: the model's linear layers are not torch's, or config.json is not one of transformers'.
    """
    if (kind := read_config(checkpoint.folder).get("model_type")) in NO_ADAPTERS:
        raise HNeuronsError(f"{checkpoint.folder}: PEFT does not load adapters of {kind} as they are written; export it")
    scaled = list(_scaled_parts(checkpoint, neurons))
    counts = Counter((path, j // _width(part)) for _, path, part, _, indices in scaled for j in indices)
    rank = max([1, *counts.values()])
    tensors: dict[str, torch.Tensor] = {}
    modules, parameters = [], []
    for layer, path, part, numbers, indices in scaled:
        columns = (alpha - 1) * checkpoint.columns(layer, numbers).float()
        units = part.number if isinstance(part, Experts) else 1
        a, b = torch.zeros(units, rank, _width(part)), torch.zeros(len(columns), rank, units)
        ranks: Counter[int] = Counter()
        for column, (unit, j) in zip(columns.T, (divmod(j, _width(part)) for j in indices), strict=True):
            a[unit, ranks[unit], j], b[:, ranks[unit], unit] = 1, column
            ranks[unit] += 1
        if isinstance(part, Experts):
            parameters.append(f"{path}.down_proj")
        elif checkpoint.widths.experts:
            # Of models with experts, PEFT reads the name of a dense layer as that of the experts.
            parameters.append(f"{path}.weight")
        else:
            modules.append(path)
        prefix = f"base_model.model.{path}"
        tensors |= {f"{prefix}.lora_A.weight": a.flatten(0, 1), f"{prefix}.lora_B.weight": b.flatten(1)}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": name or str(checkpoint.folder.resolve()),
        "target_modules": modules,
        # Tensors of all experts.
        **({"target_parameters": parameters} if parameters else {}),
        "r": rank,
        # The adapter's output is multiplied by lora_alpha / r.
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    store.write_json(out / CONFIG, config)
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    return rank


def _width(part: DownProjection | Experts) -> int:
    """Neurons of a part, or of one of its experts."""
    return part.d_expert if isinstance(part, Experts) else part.d_ff


def _scaled_parts(
    checkpoint: Checkpoint, neurons: NeuronsByLayer
) -> Iterator[tuple[int, str, DownProjection | Experts, list[int], list[int]]]:
    """Layer, name, part, its scaled neurons as the layer numbers them, and their indices in it, of each part with any."""
    layers = named_neurons(checkpoint.folder)
    for layer, numbers in sorted(neurons.items()):
        of_layer, names = layers[layer]
        for n, places, indices in of_layer.by_part(numbers):
            part = of_layer.parts[n]
            if isinstance(part, DownProjection) and not isinstance(part.module, nn.Linear):
                kind = type(part.module).__name__
                raise HNeuronsError(
                    f"{checkpoint.folder}: its down-projections are {kind} layers, for which no adapter is written; "
                    "export it"
                )
            yield layer, names[n], part, [numbers[i] for i in places], indices
