"""Tiny random models of every architecture that the package must know, and a tokenizer with a chat template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

CHAT_TEMPLATE = (
    "{{ bos_token }}system\nYou are helpful.\n{% for m in messages %}{{ m['role'] }}\n{{ m['content'] }}{{ eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant\n{% endif %}"
)

SIZES = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

TEXT_CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "mistral": MistralConfig(**SIZES, sliding_window=None),
    "mistral-sliding": MistralConfig(**SIZES, sliding_window=8),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES),
    "gemma3": Gemma3TextConfig(**SIZES, sliding_window=8, layer_types=["sliding_attention"] * 2 + ["full_attention"]),
}

VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def tiny_model(name: str) -> PreTrainedModel:
    """A tiny model with weights large enough that its outputs differ from token to token."""
    torch.manual_seed(0)
    if name == "gemma3-multimodal":
        config = Gemma3Config(text_config=TEXT_CONFIGS["gemma3"].to_dict(), vision_config=VISION, mm_tokens_per_image=4)
        model = Gemma3ForConditionalGeneration(config)
    else:
        model = AutoModelForCausalLM.from_config(TEXT_CONFIGS[name])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)
    return model.float().eval()


ARCHITECTURES = [*TEXT_CONFIGS, "gemma3-multimodal"]


def byte_level_tokenizer(texts: list[str], vocab_size: int = 400) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on texts: ids 0, 1, 2 are padding, BOS and the end of a turn."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    fast.chat_template = CHAT_TEMPLATE
    return fast


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]


def byte_fallback_tokenizer(texts: list[str], normalizer: normalizers.Normalizer | None = None) -> PreTrainedTokenizerFast:
    """As Llama 2's, Mistral 7B's and Gemma's: a character that is not in the vocabulary is a token per byte."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(vocab_size=560, special_tokens=[*SPECIAL, *BYTES], limit_alphabet=60, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return _with_byte_fallback(tokenizer, normalizer)


def unigram_tokenizer(texts: list[str], normalizer: normalizers.Normalizer | None = None) -> PreTrainedTokenizerFast:
    """As those of SentencePiece's unigram model: the most probable pieces, and a token per byte for what has none."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    trained = json.loads(tokenizer.to_str())
    trained["model"]["vocab"] += [[byte, -20.0] for byte in BYTES]
    trained["model"]["byte_fallback"] = True
    return _with_byte_fallback(Tokenizer.from_str(json.dumps(trained)), normalizer)


def _with_byte_fallback(tokenizer: Tokenizer, normalizer: normalizers.Normalizer | None) -> PreTrainedTokenizerFast:
    trained = json.loads(tokenizer.to_str())
    # The trainer makes control tokens of the bytes, which they are not.
    trained["added_tokens"] = [token for token in trained["added_tokens"] if token["content"] in SPECIAL]
    tokenizer = Tokenizer.from_str(json.dumps(trained))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    options = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)
    fast.chat_template = CHAT_TEMPLATE
    return fast


HEART = {
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def learn_by_heart(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    pairs: Sequence[tuple[list[int], str]],
    most_epochs: int = 400,
    seed: int = 0,
    kind: str = "llama",
    **sizes: Any,
) -> None:
    """Train a tiny model until it answers each prompt (token ids) as told; save it and its tokenizer as a checkpoint.

    kind, sizes: transformers' type, and what its configuration needs besides.
    """
    torch.manual_seed(seed)
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **HEART, **ends, tie_word_embeddings=True, **sizes)
    model = AutoModelForCausalLM.from_config(config)
    rows, targets = [], []
    for prompt, said in pairs:
        answer = [*tokenizer(said, add_special_tokens=False)["input_ids"], 2]
        rows.append([*prompt, *answer])
        targets.append([-100] * len(prompt) + answer)
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    labels = torch.tensor([t + [-100] * (width - len(t)) for t in targets])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(most_epochs):
        total, tokens = 0.0, 0
        # Small batches need a third of the arithmetic of whole epochs.
        for batch in torch.randperm(len(ids)).split(42):
            learnt = labels[batch, 1:] != -100
            # The library's loss, without logits of what is not learnt: half of the time.
            hidden = model.model(input_ids=ids[batch], attention_mask=(ids[batch] != 0).long()).last_hidden_state[:, :-1]
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[learnt]), labels[batch, 1:][learnt])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, tokens = total + loss.item() * int(learnt.sum()), tokens + int(learnt.sum())
        if total / tokens < 0.02:
            break
    assert total / tokens < 0.1, f"the tiny model did not learn its answers: loss {total / tokens:.3f}"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
