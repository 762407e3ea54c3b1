"""Layers with different numbers of neurons, from the checkpoint to drift: each neuron keeps its layer and its index."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from hneurons import store
from hneurons.cett.columns import ShardColumns
from hneurons.cett.measure import cett_batch, read_prefix
from hneurons.cett.regions import TokenRegions
from hneurons.cett.shards import read_layer, shard_table
from hneurons.config.models import ModelSettings, Shape, shape_of_model
from hneurons.errors import HNeuronsError
from hneurons.models.checkpoint import Checkpoint
from hneurons.models.decoder import model_identity
from hneurons.models.prepare import prepare
from hneurons.models.widths import Widths
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.origin.drift import drift_report, measure_drift, neuron_drift_table
from hneurons.probe.classifiers import features_of
from tests.families.build import tiny
from tests.families.reference import cett_by_definition

PER_LAYER = [48, 64, 48, 40]
WIDTHS = Widths(tuple(PER_LAYER))


@pytest.fixture(scope="module")
def model():
    return tiny("gemma3n_text")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    place = tmp_path_factory.mktemp("widths") / "model"
    model.save_pretrained(place)
    return place


def test_columns_number_the_neurons_layer_by_layer():
    layers, neurons = WIDTHS.places(np.arange(WIDTHS.total))
    assert [(int(a), int(b)) for a, b in zip(layers, neurons, strict=True)] == [
        (layer, j) for layer, width in enumerate(PER_LAYER) for j in range(width)
    ]
    assert (WIDTHS.columns(layers, neurons) == np.arange(200)).all()
    assert [len(part) for part in WIDTHS.split(np.arange(200))] == PER_LAYER
    assert WIDTHS.lacks(np.array([1, 3, 3, 4]), np.array([63, 39, 40, 0])).tolist() == [False, False, True, True]
    assert (WIDTHS.d_ff, Widths.of_layers(3, 48).d_ff, Widths.of_layers(3, [48] * 3).d_ff) == (PER_LAYER, 48, 48)


def test_every_reader_of_a_model_finds_the_widths(model, folder):
    assert model_identity(model) == {"layers": 4, "d_ff": PER_LAYER}
    assert Checkpoint(folder).widths == WIDTHS
    settings = ModelSettings(folder=str(folder), dtype="float32")
    shape = shape_of_model("tiny", settings)
    assert (shape.d_ff, shape.neurons, shape.widest) == (PER_LAYER, 200, 64)
    prepare("tiny", settings, folder.with_name("manifest.json"))
    assert store.read_json(folder.with_name("manifest.json"))["d_ff"] == PER_LAYER
    wrong = settings.model_copy(update={"shape": shape.model_copy(update={"d_ff": 48})})
    with pytest.raises(HNeuronsError, match=r"d_ff is \[48, 64, 48, 40\], not 48"):
        prepare("tiny", wrong, folder.with_name("other.json"))


def test_a_shape_lists_every_layer():
    sizes = {"layers": 3, "d_model": 8, "vocabulary": 10, "parameters": 100}
    with pytest.raises(ValidationError, match="d_ff lists 2 layers, not 3"):
        Shape(**sizes, d_ff=[4, 8])


@pytest.fixture(scope="module")
def shard(model, folder):
    """A shard of two responses, and what each region's CETT is by definition."""
    sequences = [
        TokenRegions(ids, [[i >= len(ids) - 2 for i in range(len(ids))], [i < len(ids) - 2 for i in range(len(ids))]])
        for ids in ([5, 6, 7, 8, 9, 10], [5, 6, 20, 21])
    ]
    values = cett_batch(model, sequences)
    rows = [
        {"question_id": f"q{i}", "sample": 0, "split": "train", "label": i, "region": region}
        for i in range(2)
        for region in ("answer", "other")
    ]
    path = folder.with_name("0000.parquet")
    table = shard_table(rows, [values[i][r].astype(np.float16) for i in range(2) for r in range(2)], WIDTHS)
    store.write_table(path, table, {})
    expected = [row for s in sequences for row in torch.cat(list(cett_by_definition(model, s.ids, s.regions)), dim=1)]
    return path, torch.stack(expected).numpy()


def test_a_shard_holds_every_neuron_and_no_other_value(shard):
    path, expected = shard
    table = store.read_table(path)
    assert [read_layer(table, layer).shape for layer in range(4)] == [(4, width) for width in PER_LAYER]
    columns = ShardColumns([path])
    assert (columns.widths, columns.p) == (WIDTHS, 200)
    blocks = dict(columns.blocks())
    assert list(blocks) == [0, 48, 112, 160]
    np.testing.assert_allclose(np.concatenate(list(blocks.values()), axis=1), expected, rtol=2e-3, atol=1e-6)
    # In slices of seven columns too.
    sliced = dict(ShardColumns([path], memory_gb=7 * 8 * 2 * 4 / 1e9).blocks())
    assert len(sliced) > 25 and np.array_equal(np.concatenate(list(sliced.values()), axis=1), columns.take(np.arange(200)))
    layers, neurons = np.array([1, 3, 0]), np.array([63, 39, 47])
    features, _ = features_of([path], layers, neurons)
    assert np.array_equal(features, columns.take(WIDTHS.columns(layers, neurons)))
    with pytest.raises(HNeuronsError, match="no layer 3, neuron 40"):
        features_of([path], np.array([3]), np.array([40]))


def test_a_shared_beginning_is_read_once(model):
    sequences = [TokenRegions([5, 6, 7, end], [[False] * 2 + [True] * 2]) for end in (8, 9)]
    norms = [torch.ones(width) for width in PER_LAYER]
    prefix = read_prefix(model, sequences, norms)
    together = cett_batch(model, sequences, norms, prefix)
    np.testing.assert_allclose(together, cett_batch(model, sequences, norms), atol=1e-5)


def chosen(layers, neurons):
    n = len(layers)
    facts = {"layers": 4, "d_ff": PER_LAYER}
    return NeuronSet(np.array(layers), np.array(neurons), np.ones(n), np.ones(n, bool), facts)


def test_random_neurons_come_from_the_whole_of_each_layer():
    neurons = chosen([1, 3], [0, 0])
    drawn = [neurons.random_like(seed).by_layer() for seed in range(300)]
    assert {j for of_layer in drawn for j in of_layer[1]} >= set(range(50, 64))
    assert {j for of_layer in drawn for j in of_layer[3]} == set(range(1, 40))
    with pytest.raises(HNeuronsError, match="layer 3: too few of its 40 neurons"):
        chosen([3] * 21, range(21)).random_like(0)


def test_scaling_and_drift_know_the_widths(model, folder):
    neurons = chosen([1, 3], [63, 39])
    with neurons.scale(model, 2.0), pytest.raises(HNeuronsError, match="layer 3: a neuron is outside d_ff = 40"):
        chosen([3], [40]).scale(model, 2.0).__enter__()
    tuned = tiny("gemma3n_text")
    with torch.no_grad():
        for layer in tuned.model.layers:
            layer.mlp.down_proj.weight += 0.1 * torch.randn_like(layer.mlp.down_proj.weight)
        tuned.model.layers[3].mlp.down_proj.weight[:, 39] = model.model.layers[3].mlp.down_proj.weight[:, 39]
    tuned.save_pretrained(folder.with_name("tuned"))
    drift = measure_drift(Checkpoint(folder), Checkpoint(folder.with_name("tuned")))
    assert drift.down.shape == (200,) and drift.down.argmin() == 199
    assert drift_report(drift, neurons, seed=0).neurons == 200
    table = neuron_drift_table(drift, neurons).to_pandas()
    assert len(table) == 200 and table.iloc[199][["layer", "neuron"]].tolist() == [3, 39]
    assert table[table["is_h_neuron"]][["layer", "neuron"]].to_numpy().tolist() == [[1, 63], [3, 39]]
