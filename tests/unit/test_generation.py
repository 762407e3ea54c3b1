"""Sampling: the library's greedy outputs, the model's own log-probabilities, and draws that no batch changes."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from hneurons.config.study import Decoding
from hneurons.generation import decode
from hneurons.generation.decode import generate
from hneurons.generation.kv_cache import new_cache, select_rows, shared_prefix_length
from hneurons.generation.next_token import choose, top_k
from hneurons.seeds import seed_of

PROMPTS = [[1, *range(50, 50 + n)] for n in (3, 9, 5, 14, 4)]
GREEDY = Decoding(max_new_tokens=20, temperature=0)
SAMPLED = Decoding(max_new_tokens=12, temperature=0.7, top_k=50, top_p=0.9)


def run(model, prompts, decoding, samples=1, budget=8192, stops=(2,)):
    seeds = [seed_of(0, str(p)) for p in prompts]
    found = dict(generate(model, prompts, decoding, seeds=seeds, stop_ids=stops, samples=samples, budget=budget))
    return [found[i] for i in range(len(prompts))]


def test_greedy_equals_the_library(any_model):
    stops = tuple(range(2, 40))
    for prompt, (ours,) in zip(PROMPTS, run(any_model, PROMPTS, GREEDY, stops=stops), strict=True):
        ids = torch.tensor([prompt])
        options = {"max_new_tokens": 20, "do_sample": False, "eos_token_id": list(stops), "pad_token_id": 0}
        theirs = any_model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
        assert ours.token_ids == theirs[0, len(prompt) :].tolist()


def test_logprobs_equal_a_teacher_forced_pass(any_model):
    for prompt, responses in zip(PROMPTS, run(any_model, PROMPTS, SAMPLED, samples=3), strict=True):
        for response in responses:
            ids = torch.tensor([[*prompt, *response.token_ids]])
            with torch.no_grad():
                logprobs = any_model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].log_softmax(-1)
            expected = [logprobs[len(prompt) - 1 + i, t].item() for i, t in enumerate(response.token_ids)]
            assert response.logprobs == pytest.approx(expected, abs=1e-4)


def test_samples_do_not_depend_on_the_batch(any_model):
    together = run(any_model, PROMPTS, SAMPLED, samples=2)
    alone = [run(any_model, [p], SAMPLED, samples=2)[0] for p in PROMPTS]
    small = run(any_model, PROMPTS, SAMPLED, samples=2, budget=40)
    for a, b, c in zip(together, alone, small, strict=True):
        assert [r.token_ids for r in a] == [r.token_ids for r in b] == [r.token_ids for r in c]


def one_by_one(model, prompt, decoding, samples, stops):
    """The samples of a prompt, each token by a pass over all before it."""
    uniforms = torch.rand(
        samples, decoding.max_new_tokens, generator=torch.Generator().manual_seed(seed_of(0, str(prompt)))
    )
    found = []
    for of_sample in uniforms:
        new = []
        while len(new) < decoding.max_new_tokens and not set(new) & set(stops):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*prompt, *new]])).logits[:, -1]
            new.append(int(choose(logits, decoding, of_sample[len(new)][None], torch.zeros(1, dtype=torch.long))))
        found.append(new)
    return found


def test_samples_that_begin_alike_share_rows_and_draw_what_each_draws_alone(any_model, monkeypatch):
    """Over rows that split, end and move, what is drawn is what a pass over the whole text draws."""
    stops, decoding = tuple(range(2, 60)), SAMPLED.model_copy(update={"temperature": 0.2})
    rows = []
    real = decode.next_logits

    def counting(model, ids, *inputs):
        rows.append(len(ids) if ids.shape[1] == 1 else 0)
        return real(model, ids, *inputs)

    monkeypatch.setattr(decode, "next_logits", counting)
    answered = run(any_model, PROMPTS, decoding, samples=6, stops=stops)
    together = [[r.token_ids for r in responses] for responses in answered]
    assert together == [one_by_one(any_model, prompt, decoding, 6, stops) for prompt in PROMPTS]
    # Each different beginning is read once; a row that ended may stay while they are few.
    begun = sum(len({tuple(r[: i + 1]) for r in found for i in range(len(r) - 1)}) for found in together)
    read = sum(len(r) - 1 for found in together for r in found)
    assert begun <= sum(rows) <= begun + len(rows) * len(PROMPTS) * 6 * decode.DROP_SHARE
    assert begun < read


def test_a_cache_whose_rows_move_is_the_cache_of_the_rows(any_model):
    ids = torch.randint(3, 90, (4, 9), generator=torch.Generator().manual_seed(0))
    following = torch.tensor([[5], [6], [7], [8], [9], [10]])
    for parents in ([0, 1, 2, 3, 1, 1], [3, 1, 0, 0, 0, 2], [2], [0, 1, 2, 3]):
        moved, tokens = torch.tensor(parents), following[: len(parents)]
        with torch.inference_mode():
            cache = new_cache(any_model)
            any_model(input_ids=ids, past_key_values=cache)
            select_rows(cache, moved)
            logits = any_model(input_ids=tokens, past_key_values=cache).logits[:, -1]
            expected = any_model(input_ids=torch.cat([ids[moved], tokens], dim=1)).logits[:, -1]
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_a_response_ends_at_its_end_token(any_model):
    stops = tuple(range(2, 120))
    truncated = Counter()
    for responses in run(any_model, PROMPTS, SAMPLED, samples=8, stops=stops):
        for r in responses:
            truncated[r.truncated] += 1
            assert not set(r.token_ids[:-1]) & set(stops)
            assert (r.token_ids[-1] in stops) == (not r.truncated)
            assert len(r.token_ids) == len(r.logprobs) <= 12
            assert not r.truncated or len(r.token_ids) == 12
    assert truncated[False] > 5


def test_draws_follow_the_truncated_distribution():
    logits = torch.tensor([[2.0, 1.0, 0.5, 0.0, -1.0]])
    decoding = Decoding(max_new_tokens=1, temperature=0.7, top_k=4, top_p=0.9)
    uniforms = (torch.arange(20000) + 0.5) / 20000
    drawn = choose(logits, decoding, uniforms, torch.zeros(20000, dtype=torch.long))
    # By hand: the four largest, renormalised; the fourth lies beyond 0.9 of them.
    kept = (logits[0, :4] / 0.7).softmax(0)
    assert kept[:3].sum() > 0.9 > kept[:2].sum()
    expected = kept[:3] / kept[:3].sum()
    shares = torch.bincount(drawn, minlength=5) / 20000
    torch.testing.assert_close(shares[:3], expected, atol=2e-4, rtol=0)
    assert shares[3:].sum() == 0


def test_a_shared_prefix_leaves_every_prompt_a_token():
    assert shared_prefix_length([[1, 2, 3], [1, 2, 4], [1, 2]]) == 1
    assert shared_prefix_length([[1, 2, 3], [1, 2, 4, 5]]) == 2
    assert shared_prefix_length([[1], [2]]) == 0


@pytest.mark.parametrize(("vocabulary", "k"), [(49152, 50), (5003, 50), (400, 1), (97, 20), (60, 60), (30, 20)])
def test_top_k_by_blocks_is_top_k(vocabulary, k):
    logits = torch.randn(7, vocabulary, generator=torch.Generator().manual_seed(vocabulary))
    # All of the largest side by side, in one block.
    logits[3, -25:] += 10
    values, tokens = top_k(logits, k)
    assert torch.equal(values, torch.topk(logits, k).values)
    assert torch.equal(logits.gather(1, tokens), values) and all(len(set(row)) == k for row in tokens.tolist())
