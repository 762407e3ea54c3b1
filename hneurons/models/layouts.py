"""Where transformers keeps the last linear layer of a decoder layer's MLP, in memory and on disk: one table for both."""

import re

# Modules of a decoder that hold its layers.
LAYERS = ("layers", "h", "blocks")
# Modules of a layer that are its MLP, and the linear layers in them whose columns are the neurons. OPT and its relatives
# have the two linear layers in the decoder layer itself.
BLOCKS = ("mlp", "feed_forward", "ffn", "mlp_block", "shared_mlp")
DOWN = ("down_proj", "fc2", "c_proj", "fc_out", "w2", "dense_4h_to_h", "output_linear")
BARE = "fc2"
# What writes a row for each neuron, by what reads it; of a fused gate and up projection it is the second half.
UP = {
    "down_proj": ("up_proj", "gate_up_proj"),
    "fc2": ("fc1",),
    "c_proj": ("c_fc",),
    "fc_out": ("fc_in",),
    "w2": ("w3",),
    "dense_4h_to_h": ("dense_h_to_4h",),
    "output_linear": ("input_linear",),
}
FUSED = ("gate_up_proj", "input_linear")
# Types whose linear layers are stored as [inputs, outputs].
TRANSPOSED = ("gpt2", "openai-gpt")
# Types that would be measured or decoded wrongly, and why. Loading a model checks most of this on a few tokens, which does
# not show a window of hundreds; here it is known before anything is fetched.
_PLACES = "its positions count padding, so its texts cannot be put in batches"
REFUSED_TYPES = {
    **dict.fromkeys(("bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "marian"), _PLACES),
    **dict.fromkeys(("mbart", "mvp", "pegasus", "plbart", "trocr"), _PLACES),
    "gpt_neo": "its local attention counts padding, so its texts cannot be put in batches",
    "kosmos-2.5": "its attention cannot read a cache that grows in place",
    "mllama": "its layers of cross-attention do not run on text alone",
    "moshi": "its cache does not keep the window of its attention",
    "mpt": "its positions (ALiBi) count padding, so its texts cannot be put in batches",
    "openai-gpt": "it has no key-value cache",
    "paligemma": "tokens of a prompt attend to later ones (bidirectional attention)",
    "recurrent_gemma": "its recurrent layers read padding, so its texts cannot be put in batches",
    "shieldgemma2": "it is a classifier",
}


def _any(names: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(names)})"


# The weight of such a layer on disk.
DOWN_TENSOR = re.compile(
    rf"^(?P<decoder>.*?){_any(LAYERS)}\.(?P<layer>\d+)\.(?:{_any(BLOCKS)}\.{_any(DOWN)}|{BARE})\.weight$"
)
