"""What a forward pass over text is given: families differ in which arguments they accept."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from hneurons.errors import HNeuronsError


def position_ids(mask: torch.Tensor) -> torch.Tensor:
    """Positions [rows, width] that count real tokens only, so that padding on either side does not change them."""
    return (mask.cumsum(-1) - 1).clamp_min(0)


def text_inputs(module: nn.Module, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> dict[str, Any]:
    """Return the arguments of a model, or of its text decoder, for a batch of texts.

    Args:
        module: the model or `text_decoder` of it.
        ids: token ids [rows, new tokens].
        mask: attention mask [rows, all tokens], 0 at padding.
        positions: positions [rows, new tokens]; left out where positions follow from the mask (ALiBi).
    """
    inputs = {"input_ids": ids, "attention_mask": mask}
    return {**inputs, "position_ids": positions} if takes_positions(module) else inputs


def prepared_mask(model: PreTrainedModel, mask: torch.Tensor, new: int) -> torch.Tensor:
    """Write out which tokens attend to which, so that transformers need not look into the mask, for which the host waits.

    Only for models that take such a mask (`takes_prepared_mask`), and whose layers all attend to everything before them.

    Args:
        model: the model, or its text decoder.
        mask: attention mask [rows, all tokens], 0 at padding.
        new: number of new tokens, the last ones.

    Returns:
        [rows, 1, new, all tokens], bool, or what is added to attention scores where they are computed step by step. Padding
        attends to itself, because a softmax over nothing is not a number.
    """
    width = mask.shape[1]
    key = torch.arange(width, device=mask.device)
    query = key[width - new :, None]
    attended = ((key <= query) & mask[:, None, :].bool()) | (key == query)
    if model.config._attn_implementation == "sdpa":
        return attended[:, None]
    return torch.where(attended, 0.0, torch.finfo(model.dtype).min).to(model.dtype)[:, None]


def takes_prepared_mask(module: nn.Module) -> bool:
    """Tell whether a model takes a mask that is written out: no flash kernels, and no positions made from it (ALiBi)."""
    alibi = hasattr(module, "build_alibi_tensor") or getattr(module.config, "alibi", False)
    return takes_positions(module) and not alibi and getattr(module.config, "_attn_implementation", "") in ("sdpa", "eager")


def takes_positions(module: nn.Module) -> bool:
    """Tell whether a model takes positions; if not, they follow from the mask (ALiBi)."""
    return _accepts(type(module).forward, "position_ids")


def last_logits_only(module: nn.Module, count: int) -> dict[str, int]:
    """Return the argument that keeps all but the last logits from being computed, for models that have one."""
    return {"logits_to_keep": count} if _accepts(type(module).forward, "logits_to_keep") else {}


def check_length(model: PreTrainedModel, tokens: int) -> None:
    """Check that the longest row of a batch does not change the positions of all others.

    Rotary positions of the kinds longrope and dynamic take other frequencies, for the whole batch, past a length.

    Args:
        model: the loaded model.
        tokens: the length that the longest row may reach.

    Raises:
        HNeuronsError: It may pass that length.
    """
    config = model.config.get_text_config()
    rotary = getattr(config, "rope_parameters", None) or {}
    for parameters in (rotary, *(value for value in rotary.values() if isinstance(value, dict))):
        kind = parameters.get("rope_type")
        if kind not in ("longrope", "dynamic"):
            continue
        limit = parameters["original_max_position_embeddings"] if kind == "longrope" else config.max_position_embeddings
        if tokens > limit:
            raise HNeuronsError(
                f"a text of up to {tokens} tokens: past {limit} this model's rotary positions ({kind}) change for all "
                "texts of a batch; shorten prompts or max_new_tokens"
            )


@cache
def _accepts(forward: Callable[..., Any], argument: str) -> bool:
    parameters = inspect.signature(forward).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
