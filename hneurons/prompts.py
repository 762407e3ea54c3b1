"""From what is said to token ids: the chat template, applied once, so that no BOS token is added twice."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from hneurons.errors import HNeuronsError


def chat_ids(tokenizer: PreTrainedTokenizerBase, said: Sequence[str]) -> list[int]:
    """Token ids of a conversation whose turns alternate user, assistant, user, …, ready for the next reply."""
    if not tokenizer.chat_template:
        raise HNeuronsError(f"{tokenizer.name_or_path}: the tokenizer has no chat template; use an instruct model")
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)]
    # Templates that can open a chain of thought (Qwen 3) are told not to; the others do not know the word.
    encoded = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, enable_thinking=False
    )
    return [int(i) for i in encoded["input_ids"]]
