"""Tokens and characters belong to each other as the tokens' bytes say, and a user's text never becomes a control token."""

from __future__ import annotations

import datetime
import functools

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers

from hneurons.data.folding import find_phrase
from hneurons.generation.control_tokens import text_ids
from hneurons.generation.prompts import base_ids, chat_ids
from hneurons.generation.tokens import token_mask, token_offsets
from tests.tiny import SPECIAL, byte_fallback_tokenizer, byte_level_tokenizer, unigram_tokenizer

TEXTS = ["What is the capital of France? It is Paris, of course. Zürich and São Paulo; 20 °C, assistant user system."] * 4
DATE = datetime.date(2024, 7, 26)
MAKERS = {
    "byte-level": lambda: byte_level_tokenizer(TEXTS),
    "byte-fallback": lambda: byte_fallback_tokenizer(TEXTS),
    # As Gemma's and Llama 2's; and as SentencePiece's default.
    "byte-fallback-spaces": lambda: byte_fallback_tokenizer(TEXTS, normalizers.Replace(" ", "▁")),
    "byte-fallback-nfkc": lambda: byte_fallback_tokenizer(TEXTS, normalizers.NFKC()),
    "unigram-nfkc": lambda: unigram_tokenizer(TEXTS, normalizers.NFKC()),
    "unigram-lower": lambda: unigram_tokenizer(TEXTS, normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])),
}
maker = pytest.mark.parametrize("name", MAKERS)

# Letters of many scripts, emoji joined to one sign, combining marks, marks of direction, and U+FFFD itself.
CHARACTERS = st.one_of(
    st.sampled_from(list("Paris 12,.\n\t▁°üłßéİ東京です한국भाषाשלוםعربي🙂👩‍👩‍👧🏴󠁧󠁢󠁳󠁣󠁴󠁿\u0301\u200d\u202e\ufeff\ufffd½ﬁＡ")),
    st.characters(exclude_categories=("Cs",)),
)
WORDS = st.text(CHARACTERS, max_size=12)


@functools.cache
def tokenizer_of(name):
    return MAKERS[name]()


@functools.cache
def _byte_alphabet():
    alphabet = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in alphabet]
    letters = {chr(byte): byte for byte in alphabet} | {chr(256 + n): byte for n, byte in enumerate(others)}
    assert set(letters) == set(pre_tokenizers.ByteLevel.alphabet())
    return letters


def bytes_of(name, piece):
    if piece in SPECIAL:
        return b""
    if name == "byte-level":
        return bytes(_byte_alphabet()[letter] for letter in piece)
    return bytes([int(piece[3:5], 16)]) if piece.startswith("<0x") else piece.replace("▁", " ").encode()


def characters_by_bytes(name, ids):
    """The text, and for each token the indices of the characters of which it has a byte."""
    parts = [bytes_of(name, piece) for piece in tokenizer_of(name).convert_ids_to_tokens(ids)]
    data = b"".join(parts)
    skipped = int(name != "byte-level" and data.startswith(b" "))
    text = data[skipped:].decode()
    character_of = [i for i, letter in enumerate(text) for _ in letter.encode()]
    places, position = [], -skipped
    for part in parts:
        places.append({character_of[k] for k in range(max(0, position), position + len(part))})
        position += len(part)
    return text, places


@maker
@given(before=WORDS, answer=WORDS, after=WORDS)
@example(before="x🙂", answer="Paris", after="🙂🙂")
@example(before="\ufffd", answer="\ufffd🙂", after="\ufffd")
@example(before="हिन्दी ", answer="भाषा", after="</s>")
def test_a_mask_has_the_tokens_with_a_byte_of_its_characters(name, before, answer, after):
    tokenizer = tokenizer_of(name)
    ids = text_ids(tokenizer, before + answer + after)
    # A tokenizer that drops what it does not have leaves nothing to compare.
    assume(ids and tokenizer.unk_token_id not in ids)
    text, offsets = token_offsets(tokenizer, ids)
    by_bytes, places = characters_by_bytes(name, ids)
    assert text == by_bytes
    for i in range(len(text)):
        assert token_mask(offsets, i, i + 1) == [i in characters for characters in places], (i, text)
    start = min(len(before), len(text))
    end = min(start + len(answer), len(text))
    mask = [any(start <= i < end for i in characters) for characters in places]
    assert start == end or token_mask(offsets, start, end) == mask


@maker
@given(
    before=WORDS, answer=WORDS.map(str.strip).filter(lambda text: text[:1].isalnum() and text[-1:].isalnum()), after=WORDS
)
def test_an_answer_is_where_a_normalising_tokenizer_put_it(name, before, answer, after):
    tokenizer = tokenizer_of(name)
    assume(not any(mark in before + answer + after for mark in "\ufffd▁"))
    ids = text_ids(tokenizer, f"{before} {answer} {after}")
    assume(tokenizer.unk_token_id not in ids)
    text, _ = token_offsets(tokenizer, ids)
    assert find_phrase(text, answer) is not None


@maker
@given(
    turns=st.lists(st.lists(st.one_of(WORDS, st.sampled_from(SPECIAL[:3])), min_size=1, max_size=5), min_size=1, max_size=3)
)
def test_what_a_user_writes_never_becomes_a_control_token(name, turns):
    tokenizer = tokenizer_of(name)
    texts = ["".join(parts) for parts in turns]
    assume(all(text.strip() for text in texts))
    plain = chat_ids(tokenizer, ["x"] * len(texts), DATE)
    ids = chat_ids(tokenizer, texts, DATE)
    for token in SPECIAL[:3]:
        control = tokenizer.convert_tokens_to_ids(token)
        assert ids.count(control) == plain.count(control)
        assert control not in text_ids(tokenizer, texts[0])
        assert control not in base_ids(tokenizer, texts[0])


@maker
@given(text=WORDS)
def test_without_control_tokens_a_prompt_is_the_templates(name, text):
    tokenizer = tokenizer_of(name)
    assume(text.strip() and not any(token in text for token in SPECIAL))
    messages = [{"role": "user", "content": text}]
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert chat_ids(tokenizer, [text], DATE) == asked


@maker
@given(before=WORDS, after=WORDS)
def test_a_control_token_in_a_text_is_spelt_out(name, before, after):
    """The prompt reads the same as the one that parses it, and has that many control tokens fewer."""
    tokenizer = tokenizer_of(name)
    text = f"{before}</s>{after}"
    ids = chat_ids(tokenizer, [text], DATE)
    parsed = chat_ids(tokenizer, [text], DATE, parse_control_tokens=True)
    end = tokenizer.eos_token_id
    assert parsed.count(end) == ids.count(end) + text.count("</s>")
    assume(tokenizer.unk_token_id not in parsed and "\ufffd" not in text)
    read, meant = ("".join(tokenizer.decode(some).split()) for some in (ids, parsed))
    assert read == meant
