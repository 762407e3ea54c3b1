"""Tokenizers with their chat templates, and the tokens that end a response."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hneurons import store
from hneurons.errors import HNeuronsError, machine_failure
from hneurons.models.checkpoint import checkpoint_folder

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

# What chat templates name their switch for thoughts: Qwen, GLM, SmolLM; DeepSeek, Granite, Kimi.
THINKING_SWITCHES = ("enable_thinking", "thinking")
_THINKING = "".join(f"{{% set {name} = true %}}" for name in THINKING_SWITCHES)


def stop_token_ids(config: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return all tokens that end a response, sorted: those of the generation config and the tokenizer's.

    Raises:
        HNeuronsError: If neither names one.
    """
    configured = getattr(config, "eos_token_id", None)
    candidates = list(configured) if isinstance(configured, (list, tuple)) else [configured]
    token_ids = sorted({int(i) for i in [*candidates, tokenizer.eos_token_id] if i is not None})
    if not token_ids:
        raise HNeuronsError("the model names no end token: set eos_token_id in its generation_config.json")
    return token_ids


def tokenizer_from_manifest(manifest: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a prepared model, without its weights."""
    pinned = store.read_json(manifest)
    source = pinned["source"]
    tokenizer = load_tokenizer(Path(manifest).parent / pinned["path"], source["trust_remote_code"])
    return with_thinking(tokenizer) if source.get("thinking", "off") == "on" else tokenizer


def with_thinking(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Have the chat template let the model think before it answers. Changes the tokenizer, and returns it."""
    if tokenizer.chat_template and not thinks(tokenizer):
        tokenizer.chat_template = _THINKING + tokenizer.get_chat_template()
    return tokenizer


def thinks(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether the chat template lets the model think (`with_thinking`)."""
    return isinstance(tokenizer.chat_template, str) and tokenizer.chat_template.startswith(_THINKING)


def load_tokenizer(name: str | Path, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load a tokenizer, with the processor's chat template if it lacks one.

    Args:
        name: A folder, or a hub id.
        trust_remote_code: Whether the repository's Python code may run.

    Raises:
        HNeuronsError: If its files are missing, incomplete or unreadable.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        cause = machine_failure(error) or f"{name}: no tokenizer can be loaded: {' '.join(str(error).split())[:300]}"
        raise HNeuronsError(cause) from None
    # Multimodal repositories (Mistral Small 3.1) keep the template in the processor's file, which the tokenizer ignores.
    processor_template = Path(name) / "chat_template.json"
    if not tokenizer.chat_template and processor_template.is_file():
        tokenizer.chat_template = store.read_json(processor_template)["chat_template"]
    return tokenizer


def tokenizer_beside(model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """Load the tokenizer from the folder or repository of a loaded model."""
    revision = getattr(model.config, "_commit_hash", None)
    # From the folder, even for a hub id: the chat template may be in a separate file.
    return load_tokenizer(checkpoint_folder(model.name_or_path, revision))
