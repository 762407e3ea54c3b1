"""CETT: eq. 2 and 3 by hand, batch = one by one, and the shard format."""

from __future__ import annotations

import copy

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from hneurons import store
from hneurons.cett.measure import cett, cett_batch, column_norms, read_prefix
from hneurons.cett.regions import TokenRegions, token_regions
from hneurons.cett.shards import read_layer, shard_table
from hneurons.config.study import CettSettings
from hneurons.errors import HNeuronsError
from hneurons.generation.kv_cache import attends_to_all, new_cache
from hneurons.models.decoder import layer_neurons, text_decoder
from hneurons.models.widths import Widths


def sequences(lengths=(7, 19, 4, 12)):
    rng = np.random.default_rng(0)
    found = []
    for n in lengths:
        answer = [i in (n - 2, n - 1) for i in range(n)]
        found.append(TokenRegions(rng.integers(3, 400, n).tolist(), [answer, [not a for a in answer]]))
    return found


def by_hand(model, sequence):
    """Eq. 2 and 3, one layer and token after the other, from the inputs that down_proj is given."""
    inputs = {}
    downs = [layer.parts[0] for layer in layer_neurons(model)]
    handles = [
        d.module.register_forward_hook(lambda mod, a, o, i=i: inputs.update({i: a[0][0]})) for i, d in enumerate(downs)
    ]
    with torch.no_grad():
        model(input_ids=torch.tensor([sequence.ids]), attention_mask=torch.ones(1, len(sequence.ids)).long())
    for handle in handles:
        handle.remove()
    result = np.zeros((2, len(downs), downs[0].d_ff))
    for layer, down in enumerate(downs):
        W = down.weight.detach().double()
        for region, mask in enumerate(sequence.regions):
            for t in np.flatnonzero(mask):
                z = inputs[layer][t].double()
                contribution = (W * z).norm(dim=0) / (W @ z).norm()
                result[region, layer] += contribution.numpy() / sum(mask)
    return result


def test_equals_equation_2_evaluated_by_hand(any_model):
    sequence = sequences()[1]
    np.testing.assert_allclose(cett_batch(any_model, [sequence])[0], by_hand(any_model, sequence), rtol=1e-4, atol=1e-6)


def test_a_model_in_float64_is_measured(llama):
    wide = copy.deepcopy(llama).double()
    np.testing.assert_allclose(cett_batch(wide, sequences()[:1]), cett_batch(llama, sequences()[:1]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("padding", ["left", "right"])
def test_batch_equals_one_by_one(any_model, padding):
    batch = sequences()
    together = cett_batch(any_model, batch, padding=padding)
    alone = np.concatenate([cett_batch(any_model, [s]) for s in batch])
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=1e-5)


def beginning(sequences, length):
    """The sequences after the same first tokens, as after a system prompt."""
    head = list(range(50, 50 + length))
    return [
        TokenRegions(head + s.ids, [[False] * length + s.regions[0], [True] * length + s.regions[1]]) for s in sequences
    ]


@pytest.mark.parametrize("other_tokens", ["all", "no_bos"])
def test_what_all_sequences_begin_with_is_read_once(any_model, other_tokens):
    some = beginning(sequences(), 9)
    if other_tokens == "no_bos":
        some = [TokenRegions(s.ids, [s.regions[0], [False, *s.regions[1][1:]]]) for s in some]
    read = []
    hook = text_decoder(any_model).register_forward_pre_hook(
        lambda _m, _a, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    found = dict(cett(any_model, some, budget=40))
    hook.remove()
    alone = np.concatenate([cett_batch(any_model, [s]) for s in some])
    np.testing.assert_allclose(np.stack([found[i] for i in range(4)]), alone, atol=1e-5, rtol=1e-4)
    if attends_to_all(new_cache(any_model)):
        assert read[0] == 9 and sum(read) <= 9 + 4 * max(len(s.ids) - 9 for s in some)


def test_only_what_lies_in_the_same_regions_is_shared(llama):
    one, other = beginning(sequences()[:2], 9)
    other = TokenRegions(other.ids, [[True] * 4 + other.regions[0][4:], [False] * 4 + other.regions[1][4:]])
    assert read_prefix(llama, [one, other], column_norms(llama)) is None
    assert read_prefix(llama, [one], column_norms(llama)) is None


def test_budgeted_batches_yield_every_sequence_once(llama):
    found = dict(cett(llama, sequences(), budget=24))
    assert sorted(found) == [0, 1, 2, 3]
    np.testing.assert_allclose(found[2], cett_batch(llama, [sequences()[2]])[0], atol=1e-5, rtol=1e-5)


def test_only_the_text_decoder_of_a_multimodal_model_is_measured():
    from tests.tiny import tiny_model

    model = tiny_model("gemma3-multimodal")
    vision = {id(m) for m in model.model.vision_tower.modules()}
    downs = layer_neurons(model)
    assert len(downs) == model.config.text_config.num_hidden_layers == 3
    assert not vision & {id(layer.parts[0].module) for layer in downs}


def test_no_hook_stays_after_a_failing_forward(llama):
    with pytest.raises(IndexError):
        cett_batch(llama, [TokenRegions([10**6], [[True], [True]])])
    assert not any(layer.parts[0].module._forward_hooks for layer in layer_neurons(llama))


def test_a_layer_that_did_not_run_or_ran_twice_is_an_error():
    from tests.tiny import tiny_model

    model = tiny_model("llama")
    layers = model.model.layers
    layers[1].mlp.forward = lambda x: x
    with pytest.raises(HNeuronsError, match=r"layer 1: its MLP did not run"):
        cett_batch(model, sequences())
    layers[1].mlp = layers[0].mlp
    with pytest.raises(HNeuronsError, match=r"layer \d: its MLP ran twice"):
        cett_batch(model, sequences())


def test_regions_follow_the_setting():
    expected = {"all": [1, 1, 1, 0, 0, 1], "no_bos": [0, 1, 1, 0, 0, 1], "response": [0, 0, 0, 0, 0, 1]}
    for other_tokens, other in expected.items():
        measured = token_regions([1, 5, 6], [7, 8, 2], [True, True, False], CettSettings(other_tokens=other_tokens))
        assert measured.ids == [1, 5, 6, 7, 8, 2]
        assert measured.regions == [[False] * 3 + [True, True, False], [bool(x) for x in other]]


def test_an_empty_region_is_refused():
    with pytest.raises(HNeuronsError, match=r"no other tokens .*response"):
        token_regions([1], [7, 8], [True, True], CettSettings(other_tokens="response"))
    with pytest.raises(HNeuronsError, match="no answer tokens"):
        token_regions([1], [7, 8], [False, False], CettSettings())


def rows(n):
    return [{"question_id": f"q{i}", "sample": 0, "split": "train", "region": "answer", "label": i % 2} for i in range(n)]


def test_a_shard_keeps_each_layer_as_float16(tmp_path, llama):
    features = [values[0] for _, values in sorted(cett(llama, sequences()))]
    path = tmp_path / "0000.parquet"
    store.write_table(
        path, shard_table(rows(4), features, Widths.of_layers(3, 48)), {}, compression="none", use_dictionary=False
    )
    table = pq.read_table(path, columns=["layer_000"])
    np.testing.assert_array_equal(read_layer(table, 0), np.stack([f[0] for f in features]).astype(np.float16))
    assert pq.read_schema(path).metadata[b"d_ff"] == b"48"
    assert pq.ParquetFile(path).metadata.row_group(0).column(5).compression == "UNCOMPRESSED"


def test_features_that_are_not_finite_are_refused_by_name():
    with pytest.raises(HNeuronsError, match="q0: CETT is not finite"):
        shard_table(rows(1), [np.full((3, 48), 1e6, np.float32)], Widths.of_layers(3, 48))
