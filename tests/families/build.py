"""A tiny random model of every decoder type that transformers knows: its default configuration, with small sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel
from transformers.models.auto import modeling_auto

_MULTIMODAL = modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
TYPES = sorted({*modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *_MULTIMODAL})

VOCABULARY = 200
_LARGEST = 30_000_000

_SIZES = {
    VOCABULARY: "vocab_size text_vocab_size vocab_size_per_layer_input",
    32: "hidden_size d_model n_embd dim embed_dim embedding_size word_embed_proj_dim rnn_hidden_size lru_width hidden_dim",
    48: "intermediate_size ffn_dim d_ff n_inner ffn_hidden_size decoder_ffn_dim encoder_ffn_dim mlp_dim ff_dim dim_ff"
    " dense_intermediate_size intermediate_size_mlp block_ff_dim d_inner",
    24: "moe_intermediate_size shared_expert_intermediate_size shared_intermediate_size expert_ffn_hidden_size"
    " moe_ffn_hidden_size moe_shared_expert_intermediate_size",
    4: "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers depth num_attention_heads n_head"
    " n_heads num_heads decoder_attention_heads encoder_attention_heads linear_num_value_heads num_experts"
    " num_local_experts n_routed_experts moe_num_experts n_experts first_k_dense_replace_layers mm_tokens_per_image",
    2: "num_key_value_heads num_kv_heads n_head_kv linear_num_key_heads num_experts_per_tok num_experts_per_token moe_topk"
    " moe_k top_k_experts experts_per_token moe_top_k index_topk eos_token_id",
    8: "head_dim v_head_dim linear_key_head_dim linear_value_head_dim attention_head_dim mamba_d_head mamba_headdim"
    " mamba_head_dim qk_head_dim kv_channels qk_rope_head_dim qk_nope_head_dim q_lora_rank kv_lora_rank sliding_window"
    " attention_window_size mamba_n_heads mamba_d_state mamba_num_heads ssm_state_size state_size index_head_dim"
    " global_head_dim hidden_size_per_layer_input altup_rank laurel_rank kv_heads window_size",
    1: "n_group topk_group num_groups n_groups mamba_n_groups index_n_heads bos_token_id",
    256: "max_position_embeddings n_positions n_ctx",
    28: "image_size",
    14: "patch_size",
    0: "pad_token_id",
}
SIZES = {name: size for size, names in _SIZES.items() for name in names.split()}

# Sizes that a type needs besides these, at the top or in the configuration of its text.
_ALTERNATING = ["sliding_attention", "full_attention"] * 2
_SECTIONS = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}}
_OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        ("qwen2_vl_text", "qwen2_5_vl_text", "glm4v_text", "glm_ocr_text", "glm46v_text", "paddleocr_vl_text"), _SECTIONS
    ),
    "granite_docling_vision": {"out_hidden_size": 32},
    "longcat_flash": {"qk_head_dim": 16},
    "mistral4": {"num_key_value_heads": 4, "head_dim": 16, "qk_head_dim": 16},
    "zaya": {"num_experts_per_tok": 1},
    "bamba": {"attn_layer_indices": [1, 3]},
    "codegen": {"rotary_dim": 4},
    "gptj": {"rotary_dim": 4},
    "dots1": {"n_shared_experts": 1},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gemma3n_text": {
        "intermediate_size": [48, 64, 48, 40],
        "num_kv_shared_layers": 0,
        "layer_types": _ALTERNATING,
        "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0],
    },
    "gemma4_text": {"num_kv_shared_layers": 0, "layer_types": _ALTERNATING, "use_double_wide_mlp": True},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 1},
    "mamba2": {"num_heads": 8, "hidden_size": 32, "head_dim": 8},
    "minicpm3": {"dim_model_base": 32},
    "mllama_text_model": {"cross_attention_layers": [1]},
    "olmo_hybrid": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "qwen3_5_text": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"] * 2},
    # Its cache would keep a window that its attention does not have.
    "qwen3_vl_moe_text": {"sliding_window": None},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"] * 2, "num_mem_blocks": 1},
}


def _rotary(parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters of rotary positions, with the sections of multimodal ones (in time, height and width) for small heads."""
    return {k: [2, 1, 1] if k == "mrope_section" else v for k, v in parameters.items()}


def _small(defaults: dict[str, Any]) -> dict[str, Any]:
    """The keys of a configuration that are sizes, made small; also in the configurations inside."""
    own = dict(_OWN.get(defaults.get("model_type", ""), {}))
    if "kv_lora_rank" in defaults:
        # Multi-head latent attention has as many heads of keys as of queries.
        own.setdefault("num_key_value_heads", 4)
    if isinstance(rotary := defaults.get("rope_parameters"), dict) and "mrope_section" in rotary:
        own["rope_parameters"] = _rotary(rotary)
    sizes = {}
    for key, value in defaults.items():
        if key.endswith("_config") and isinstance(value, dict) and "model_type" in value:
            sizes[key] = {"model_type": value["model_type"], **_small(value)}
        elif key in SIZES and not isinstance(value, (list, dict, str)):
            sizes[key] = SIZES[key]
    return {**sizes, **own}


def tiny(kind: str) -> PreTrainedModel:
    """A tiny model of a type, with weights large enough that what it says differs from token to token.

    Raises:
        Exception: whatever transformers raises if these sizes do not suit the type.
    """
    configuration = CONFIG_MAPPING[kind]
    config = configuration(**_small(configuration().to_dict()))
    # Types of both kinds are published with their towers.
    auto = AutoModelForImageTextToText if kind in _MULTIMODAL else AutoModelForCausalLM
    with torch.device("meta"):
        parameters = sum(p.numel() for p in auto.from_config(config).parameters())
    if parameters > _LARGEST:
        raise ValueError(f"too large: {parameters / 1e6:.0f} million parameters")
    torch.manual_seed(0)
    model: PreTrainedModel = auto.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.2)
        for module in model.modules():
            # Loading a model sets these to zero.
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx] = 0
    return model.float().eval()
