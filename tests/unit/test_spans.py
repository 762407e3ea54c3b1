"""Where the claim of a response stands, by rules: on real sentences, on GPT-4o's spans, and in tokens."""

from __future__ import annotations

import json
import re

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hneurons.config.models import WheelSource
from hneurons.errors import HNeuronsError
from hneurons.generation.tokens import token_mask, token_offsets
from hneurons.judges.claims import claim_span
from hneurons.judges.rule_judge import RuleJudge
from hneurons.judges.states import CORRECT, INCORRECT, UNPARSED, Answer
from hneurons.models.prepare import fetch_wheel
from tests.paths import FIXTURES, json_lines, shared

SENTENCES = json_lines(FIXTURES / "sentences.jsonl")


def test_full_sentences_of_the_demos_model():
    """Greedy replies of SmolLM2-135M-Instruct, claims marked by hand: the alias if right, else what is in its place."""
    assert len(SENTENCES) >= 100
    missed, judged = [], []
    for row in SENTENCES:
        answer = Answer(row["question"], row["response"], row["aliases"])
        (verdict,) = RuleJudge().correctness([answer])
        (span,) = RuleJudge().span([answer])
        assert verdict.verdict in ((CORRECT, UNPARSED) if row["right"] else (INCORRECT, UNPARSED)), row
        judged.append(verdict.verdict != UNPARSED)
        if row["response"][slice(*span)] != row["claim"]:
            missed.append((row["response"], row["claim"], row["response"][slice(*span)]))
    assert sum(judged) >= 0.95 * len(SENTENCES)
    assert len(missed) <= 0.05 * len(SENTENCES), missed


@pytest.mark.parametrize(
    ("question", "text", "claim"),
    [
        ("What is the capital of Peru?", "The capital of Peru is Lima.", "Lima"),
        ("What is the capital of Peru?", "Lima is the capital of Peru.", "Lima"),
        ("What is the capital of Peru?", "**Lima**", "Lima"),
        ("What is the capital of Peru?", " Lima. \n\n", "Lima"),
        ("What is the capital of Mexico?", "It is Mexico City, I think.", "Mexico City"),
        ("Who wrote it?", "The answer is J. R. R. Tolkien.", "J. R. R. Tolkien"),
        ("Which band sang it?", "Who Let the Dogs Out", "Who Let the Dogs Out"),
        ("What is the capital of Haiti?", "The capital of Haiti is Port-au-Prince.", "Port-au-Prince"),
        (
            "In which country is Bekasi?",
            "Bekasi is in the Democratic Republic of the Congo.",
            "Democratic Republic of the Congo",
        ),
        ("What is the SI unit of charge?", "Coulomb (C)", "Coulomb"),
        ("What animal is it?", "Siberian tiger (Panthera tigris altaica)", "Siberian tiger"),
        ("What happened?", "", ""),
    ],
)
def test_what_is_around_a_claim_is_taken_off(question, text, claim):
    assert text[slice(*claim_span(text, question))] == claim


BYTES = {}
_printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
for _byte in _printable:
    BYTES[chr(_byte)] = _byte
for _number, _byte in enumerate(b for b in range(256) if b not in _printable):
    BYTES[chr(256 + _number)] = _byte


def decoded(tokens: list[str], byte_level: bool) -> str:
    """Tokens as text: GPT-2's byte alphabet, or SentencePiece's ▁ and <0xXX>."""
    if byte_level:
        return bytes(BYTES[c] for token in tokens for c in token).decode("utf8", "replace")
    parts = [(re.fullmatch(r"<0x([0-9A-F]{2})>", t), t) for t in tokens]
    return b"".join(bytes([int(m[1], 16)]) if m else t.replace("▁", " ").encode() for m, t in parts).decode(
        "utf8", "replace"
    )


def plain(text: str) -> str:
    """Quotation marks, final punctuation and a leading article aside."""
    bare = text.strip().strip("\"“”„«»'’‘*_` ").rstrip(".!?,;:").strip("\"“”'’‘*_` ")
    return re.sub(r"^(?:the|a|an)\s+", "", bare, flags=re.IGNORECASE)


@pytest.mark.parametrize(
    ("file", "rows", "whole_is_wrong", "mended"),
    [("Llama33_train", 2673, 24, 7), ("Mistral24b_train", 2392, 13, 3), ("gemma27b_train", 2550, 28, 12)],
)
def test_no_worse_than_the_whole_response_against_gpt_4o(file, rows, whole_is_wrong, mended):
    """Rows whose recorded tokens are a contiguous part of the response. `mended`: of those where the whole response is not
    GPT-4o's span, how many the rules get right."""
    suffix = " Respond with the answer only, without any explanation."
    used, wrong, found = 0, 0, 0
    for entry in json_lines(shared(f"reference/answer_spans/{file}.jsonl")):
        ((key, row),) = entry.items()
        span = decoded(
            row["answer_tokens"],
            byte_level=not any("▁" in t for t in row["tokenized_response"]) and file != "gemma27b_train",
        ).strip()
        if not span or span not in row["response"]:
            continue
        used += 1
        ours = row["response"][slice(*claim_span(row["response"], row["question"].removesuffix(suffix)))]
        if plain(row["response"]) == plain(span):
            assert plain(ours) == plain(span), (key, row["response"], ours)
        else:
            wrong += 1
            found += plain(ours) == plain(span)
    assert (used, wrong, found) == (rows, whole_is_wrong, mended)


MISTRAL = WheelSource(
    package="mistral-common",
    version="1.13.1",
    sha256="98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af",
    gguf="mistral_common/data/mistral_instruct_tokenizer_240323.model.v3",
)


@pytest.fixture(scope="module")
def sentencepiece(tmp_path_factory):
    """Mistral's own SentencePiece model, out of a wheel of the package index."""
    import zipfile

    folder = tmp_path_factory.mktemp("sentencepiece")
    try:
        fetch_wheel(MISTRAL, folder / "wheel.whl")
    except HNeuronsError as error:
        pytest.skip(f"the SentencePiece tokenizer cannot be had here: {error}")
    with zipfile.ZipFile(folder / "wheel.whl") as archive:
        (folder / "tokenizer.model").write_bytes(archive.read(MISTRAL.gguf))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("answer", ["São Paulo", "Côte d'Ivoire", "20 °C", "東京", "Brasília’s", "O'Neill", "κοάγυλον"])
def test_the_mask_of_a_span_decodes_back_to_it_in_sentencepiece(sentencepiece: PreTrainedTokenizerFast, answer):
    text = f"It is in {answer}, they say. Again: {answer}"
    ids = [*sentencepiece(text, add_special_tokens=False)["input_ids"], sentencepiece.eos_token_id]
    shown, offsets = token_offsets(sentencepiece, ids)
    start = shown.rindex(answer)
    mask = token_mask(offsets, start, start + len(answer))
    assert sentencepiece.decode([i for i, m in zip(ids, mask, strict=True) if m]).strip() == answer
    assert not any(mask[: len(ids) // 2])
