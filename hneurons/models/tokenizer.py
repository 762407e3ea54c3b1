"""Tokenizers, with the chat template wherever a repository keeps it, and the tokens that end a response."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from hneurons import store
from hneurons.errors import HNeuronsError
from hneurons.models.checkpoint import checkpoint_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def stop_token_ids(config: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token that ends a response: the generation config's (an id or a list) and the tokenizer's own."""
    configured = getattr(config, "eos_token_id", None)
    ids = list(configured) if isinstance(configured, (list, tuple)) else [configured]
    found = sorted({int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None})
    if not found:
        raise HNeuronsError("the model names no end token: set eos_token_id in its generation_config.json")
    return found


def tokenizer_from_manifest(manifest: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a prepared model, without its weights."""
    pinned = store.read_json(manifest)
    return load_tokenizer(Path(manifest).parent / pinned["path"], pinned["source"]["trust_remote_code"])


def load_tokenizer(name: str | Path, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    # Multimodal repositories (Mistral Small 3.1) keep the template with their processor, where a tokenizer does not look.
    of_processor = Path(name) / "chat_template.json"
    if not tokenizer.chat_template and of_processor.is_file():
        tokenizer.chat_template = store.read_json(of_processor)["chat_template"]
    return tokenizer


def tokenizer_beside(model: PreTrainedModel) -> PreTrainedTokenizerBase:
    """The tokenizer that lies beside a loaded model's weights."""

    revision = getattr(model.config, "_commit_hash", None)
    # Where the weights are; a hub's chat template may stand in a file of its own.
    return load_tokenizer(checkpoint_folder(model.name_or_path, revision))
