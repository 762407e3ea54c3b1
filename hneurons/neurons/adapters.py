"""Scaling as a low-rank adapter: ΔW_down = (α − 1) W_down[:, S] E_Sᵀ (eq. 5), in PEFT's format."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from hneurons import store
from hneurons.models.checkpoint import Checkpoint
from hneurons.models.skeleton import down_projection_names
from hneurons.neurons.scaling import NeuronsByLayer

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def adapter_rank(neurons: NeuronsByLayer) -> int:
    """Return the rank of the adapter that scales these neurons: the largest number of a layer, at least 1."""
    return max([1, *map(len, neurons.values())])


def write_adapter(checkpoint: Checkpoint, neurons: NeuronsByLayer, alpha: float, out: Path, name: str = "") -> None:
    """Write a LoRA adapter that scales neurons by alpha: B A with A = E_Sᵀ [rank, d_ff], B = (α − 1) W_down[:, S].

    All layers have the same rank, which servers require; the columns that a layer does not need are zero. Values are
    float32, whatever the dtype of the weights.

    Args:
        checkpoint: the model's weights.
        neurons: neuron indices by layer.
        alpha: the factor α.
        out: an existing folder.
        name: of the model, for programs that load adapter and model together; empty is the checkpoint's folder.

    Raises:
        HNeuronsError: the model's linear layers are not torch's, or config.json is not one of transformers'.
    """
    rank = adapter_rank(neurons)
    names = down_projection_names(checkpoint.folder)
    tensors: dict[str, torch.Tensor] = {}
    modules = []
    for layer, indices in sorted(neurons.items()):
        if not indices:
            continue
        matrix = checkpoint.down_proj(layer)
        a, b = torch.zeros(rank, matrix.d_ff), torch.zeros(matrix.d_model, rank)
        a[torch.arange(len(indices)), torch.tensor(list(indices))] = 1
        b[:, : len(indices)] = (alpha - 1) * matrix.take(indices).float()
        modules.append(names[layer])
        prefix = f"base_model.model.{modules[-1]}"
        tensors |= {f"{prefix}.lora_A.weight": a, f"{prefix}.lora_B.weight": b}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": name or str(checkpoint.folder.resolve()),
        "target_modules": modules,
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
