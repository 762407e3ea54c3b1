"""Control tokens that a user writes, such as "</s>" in a question, are text: only the chat template ends a turn.

Before a text goes through the template, every control token in it is replaced by a placeholder. What the template's output
then still has of them is the template's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from hneurons.errors import HNeuronsError

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerBase

# Noncharacters of Unicode, which no text for interchange contains.
_PLACEHOLDER, _OWN, _END = "\ufdd0", "\ufdd1", "\ufdd2"
_PLACEHOLDERS = re.compile(f"{_PLACEHOLDER}(\\d+){_END}")
_CANNOT = "{}: this tokenizer cannot read control tokens in a text as text; remove them, or set control_tokens: parse"


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> Mapping[str, AddedToken]:
    """Return the tokenizer's special tokens, and the added tokens that its chat template writes, longest first."""
    return _control_tokens(tokenizer, str(tokenizer.chat_template or ""))


@lru_cache(maxsize=8)
def _control_tokens(tokenizer: PreTrainedTokenizerBase, template: str) -> Mapping[str, AddedToken]:
    added = tokenizer.added_tokens_decoder.values()
    tokens = {t.content: t for t in added if t.content.strip() and (t.special or t.content in template)}
    return {content: tokens[content] for content in sorted(tokens, key=lambda content: (-len(content), content))}


def hide_control_tokens(tokenizer: PreTrainedTokenizerBase, text: str, special_only: bool = False) -> str:
    """Replace the control tokens in a text by placeholders, for `encode`.

    Args:
        tokenizer: The tokenizer.
        text: The text.
        special_only: Whether to leave the tokens that are not marked as special, such as those around thoughts, which a
            chat template looks for in earlier replies.
    """
    tokens = control_tokens(tokenizer)
    hidden = [content for content, token in tokens.items() if content in text and (token.special or not special_only)]
    return _named(text, hidden, list(tokens), _PLACEHOLDER)[0] if hidden else text


def _named(text: str, tokens: Sequence[str], numbered: Sequence[str], mark: str) -> tuple[str, int]:
    """A text whose tokens are replaced by a mark and their place among the numbered ones, and how many they are."""
    pattern = re.compile("|".join(map(re.escape, tokens)))
    return pattern.subn(lambda match: f"{mark}{numbered.index(match.group())}{_END}", text)


def encode(tokenizer: PreTrainedTokenizerBase, text: str, begin: bool = False) -> list[int]:
    """Return the token ids of a text in which control tokens are tokens, and those behind placeholders are text.

    Args:
        tokenizer: The tokenizer.
        text: The text, with placeholders of `hide_control_tokens`.
        begin: Whether to put the tokens first that begin any input (`beginning_ids`).

    Raises:
        HNeuronsError: If the tokenizer cannot keep control tokens as text.
    """
    ids = _encode_named(tokenizer, text) if _PLACEHOLDERS.search(text) else _encode_plainly(tokenizer, text)
    return [*beginning_ids(tokenizer), *ids] if begin else ids


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the token ids of a text without control tokens, and without the tokens that begin any input."""
    return encode(tokenizer, hide_control_tokens(tokenizer, text))


def beginning_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids that the tokenizer puts before any input, such as BOS."""
    ids = [int(i) for i in tokenizer("")["input_ids"]]
    # A tokenizer that also ends every text would end a prompt before its answer.
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id != tokenizer.bos_token_id else ids


def _encode_plainly(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]


def _encode_named(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """As `encode`, by a tokenizer in which control tokens have other names, so that the usual ones are text."""
    tokens = list(control_tokens(tokenizer))
    backend, id_of = _renamed(tokenizer, tuple(tokens))
    renamed, count = _named(text, tokens, tokens, _OWN)
    plain = _PLACEHOLDERS.sub(lambda match: tokens[int(match[1])], renamed)
    ids = [id_of.get(i, i) for i in backend.encode(plain, add_special_tokens=False).ids]
    # A tokenizer without bytes reads an unknown word as <unk>.
    control = set(tokenizer.convert_tokens_to_ids(tokens)) - {tokenizer.unk_token_id}
    if sum(i in control for i in ids) > count:
        raise HNeuronsError(_CANNOT.format(tokenizer.name_or_path))
    return ids


@lru_cache(maxsize=2)
def _renamed(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> tuple[Tokenizer, dict[int | None, int]]:
    """A copy of the tokenizer with other names for its control tokens, and the original id of each changed one."""
    from tokenizers import AddedToken, Tokenizer

    original = getattr(tokenizer, "backend_tokenizer", None)
    if original is None:
        raise HNeuronsError(_CANNOT.format(tokenizer.name_or_path))
    state = json.loads(original.to_str())
    if state["model"]["type"] == "Unigram":
        # Such a model may choose any piece of its vocabulary.
        state["model"]["vocab"] = [[_END if piece in tokens else piece, score] for piece, score in state["model"]["vocab"]]
    backend = Tokenizer.from_str(json.dumps(state))
    content_of = {token.content: token.content for token in tokenizer.added_tokens_decoder.values()}
    texts, names = [], []
    for index, (content, token) in enumerate(control_tokens(tokenizer).items()):
        flags = {"lstrip": token.lstrip, "rstrip": token.rstrip, "single_word": token.single_word}
        texts.append(AddedToken(content, special=True, normalized=token.normalized, **flags))
        names.append(AddedToken(f"{_OWN}{index}{_END}", special=False, normalized=False, **flags))
        content_of[f"{_OWN}{index}{_END}"] = content
    # Only tokens that are marked as special are then read as text.
    backend.add_special_tokens(texts)
    backend.add_tokens(names)
    backend.encode_special_tokens = True
    ids = {backend.token_to_id(name): int(tokenizer.convert_tokens_to_ids(token)) for name, token in content_of.items()}
    return backend, ids
