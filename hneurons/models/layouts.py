"""Where transformers keeps the last linear layer of a decoder layer's MLP, in memory and on disk: one table for both."""

import re
from pathlib import Path

# Modules of a decoder that hold its layers.
LAYERS = ("layers", "h", "blocks")
# Modules of a layer that are its MLP, and the linear layers in them whose columns are the neurons. OPT and its relatives
# have the two linear layers in the decoder layer itself.
BLOCKS = ("mlp", "feed_forward", "ffn", "mlp_block", "shared_mlp", "block_sparse_moe")
DOWN = ("down_proj", "fc2", "c_proj", "fc_out", "w2", "dense_4h_to_h", "output_linear")
BARE = "fc2"
# MLPs that a mixture of experts applies to every token, and the layer that gates one.
SHARED_EXPERTS = ("shared_expert", "shared_experts", "shared_mlp")
SHARED_GATE = "shared_expert_gate"
# What writes a row for each neuron, by what reads it. With twice as many rows it is the gate and up projection in one.
UP = {
    "down_proj": ("up_proj", "gate_up_proj"),
    "fc2": ("fc1",),
    "c_proj": ("c_fc",),
    "fc_out": ("fc_in",),
    "w2": ("w3", "w13"),
    "dense_4h_to_h": ("dense_h_to_4h",),
    "output_linear": ("input_linear",),
}
# Types whose block multiplies what its routed experts give by its `routed_scaling_factor`; in others it is part of g.
SCALED_AFTER_EXPERTS = ("beam", "laguna", "minimax_m3_vl_text")
# Types whose adapters PEFT would load otherwise than they are written: it renames a layer, or takes rows for columns.
NO_ADAPTERS = ("laguna", "llama4", "llama4_text")
# Types whose linear layers are stored as [inputs, outputs].
TRANSPOSED = ("gpt2", "openai-gpt")
# Types whose experts are stored in one tensor as [experts, inputs, outputs], where its shape does not tell; and those that
# alternate gate and up in it.
TRANSPOSED_EXPERTS = ("aria", "aria_text", "gpt_oss", "llama4", "llama4_text")
ALTERNATING_EXPERTS = ("gpt_oss", "inkling2", "inkling2_text")
# Types that would be measured or decoded wrongly, and why. Loading a model checks most of this on a few tokens, which does
# not show a window of hundreds; here it is known before anything is fetched.
_PLACES = "its positions count padding, so its texts cannot be put in batches"
_SPARSE = "its sparse attention counts padding, so its texts cannot be put in batches"
REFUSED_TYPES = {
    **dict.fromkeys(("bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "marian"), _PLACES),
    **dict.fromkeys(("mbart", "mvp", "pegasus", "plbart", "trocr"), _PLACES),
    **dict.fromkeys(("axk2", "deepseek_v32", "deepseek_v4", "glm_moe_dsa", "hy_v4", "mistral_large4"), _SPARSE),
    "axk1": "a norm follows the sum of its experts, whose columns do not add up to what the MLP gives",
    "gpt_neo": "its local attention counts padding, so its texts cannot be put in batches",
    "kosmos-2.5": "its attention cannot read a cache that grows in place",
    "minimax": "it takes no cache but its own",
    "mllama": "its layers of cross-attention do not run on text alone",
    "moshi": "its cache does not keep the window of its attention",
    "mpt": "its positions (ALiBi) count padding, so its texts cannot be put in batches",
    "openai-gpt": "it has no key-value cache",
    "paligemma": "tokens of a prompt attend to later ones (bidirectional attention)",
    "recurrent_gemma": "its recurrent layers read padding, so its texts cannot be put in batches",
    "shieldgemma2": "it is a classifier",
    "unlimited_ocr": "its attention keeps the prompt beside a window, which its cache does not know in batches",
}


def _any(names: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(names)})"


_UNIT = rf"(?:experts|{_any(SHARED_EXPERTS)})\.(?:\d+\.)?"
# Such a layer's weight on disk, that of one expert (with its number), or that of all experts (in one tensor).
DOWN_TENSOR = re.compile(
    rf"^(?P<decoder>.*?){_any(LAYERS)}\.(?P<layer>\d+)\."
    rf"(?P<block>{_any(BLOCKS)}\.(?:{_UNIT})?|{_UNIT}|(?={BARE}\b))(?P<down>{_any(DOWN)})(?P<suffix>[._]weight)?$"
)
EXPERT = re.compile(r"\bexperts\.(\d+)\.")


def tested_types() -> frozenset[str]:
    """Types of transformers that were compared with the definition (docs/models.md)."""
    return frozenset(Path(__file__).with_name("tested_types.txt").read_text(encoding="utf-8").split())
