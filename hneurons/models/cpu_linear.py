"""Linear layers on AMD processors: oneDNN instead of MKL, which uses half of their vector width."""

import torch
from torch import nn
from transformers import PreTrainedModel

_PROCESSORS = "/proc/cpuinfo"


class _OneDnnLinear(nn.Linear):
    """A linear layer whose float32 products oneDNN computes, unless a gradient is needed."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or input.dtype != torch.float32 or input.device.type != "cpu":
            return super().forward(input)
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return product


def use_fast_linear(model: PreTrainedModel) -> None:
    """Let oneDNN compute the linear layers of a float32 model on an AMD processor with AVX-512; change nothing elsewhere.

    The results differ by rounding only, as between any two processors.

    Args:
        model: the loaded model.
    """
    if not _is_amd_with_avx512() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for module in model.modules():
        # Not a subclass: a quantised or adapted layer computes something else.
        if type(module) is not nn.Linear or type(module.weight) is not nn.Parameter:
            continue
        if module.weight.dtype == torch.float32 and module.weight.device.type == "cpu":
            module.__class__ = _OneDnnLinear


def _is_amd_with_avx512() -> bool:
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        with open(_PROCESSORS, encoding="utf-8") as file:
            return "AuthenticAMD" in file.read()
    except OSError:
        return False
