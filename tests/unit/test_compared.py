"""Two sets of one model compared, and sets that others found."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from scipy.stats import hypergeom
from typer.testing import CliRunner

from hneurons.cli import app
from hneurons.errors import HNeuronsError
from hneurons.neurons.compared import compare_sets
from hneurons.neurons.imported import import_neurons
from hneurons.neurons.neuron_set import NeuronSet

SHAPE = {"layers": 3, "d_ff": 10}


def a_set(places, weights):
    layers, neurons = np.array(places).T
    weights = np.array(weights, dtype=float)
    return NeuronSet(layers, neurons, weights, weights > 0, {**SHAPE, "model": "tiny"})


FIRST = a_set([(0, 1), (0, 2), (1, 5), (2, 9)], [1.0, 2.0, 3.0, -1.0])
SECOND = a_set([(0, 2), (1, 5), (1, 6), (2, 9)], [0.5, 1.0, 2.0, -2.0])


def test_what_is_shared_is_counted_against_chance():
    found = compare_sets(FIRST, SECOND)
    assert found.sizes == (3, 3) and found.total == 30
    assert found.places == [(0, 2), (1, 5)] and found.overlap.shared == 2
    assert found.overlap.by_chance == pytest.approx(9 / 30)
    assert found.overlap.p == pytest.approx(hypergeom(30, 3, 3).pmf([2, 3]).sum())
    assert (found.weighted, found.same_sign) == (3, 3)
    assert found.correlation == pytest.approx(np.corrcoef([2, 3, -1], [0.5, 1, -2])[0, 1])
    assert found.by_layer == {0: (2, 1, 1), 1: (1, 2, 1)}


def test_a_set_is_itself():
    found = compare_sets(FIRST, FIRST)
    assert found.overlap.shared == 3 and found.correlation == pytest.approx(1) and found.same_sign == found.weighted == 4


def test_sets_of_models_of_other_shapes_are_not_compared():
    other = NeuronSet(FIRST.layers, FIRST.neurons, FIRST.weights, FIRST.selected, {**SHAPE, "d_ff": 11})
    with pytest.raises(HNeuronsError, match="d_ff 11, not 10"):
        compare_sets(FIRST, other)


def written(path, content):
    path.write_text(json.dumps(content))
    return path


HPROBES = {
    "model": "lab/tiny",
    "fit": {"h_neurons": [[0, 2], [2, 9]]},
    "metadata": {"n_layers": 3, "intermediate_dim": 10},
    "config": {"layer_stride": 1},
}


def test_a_file_of_hprobes(tmp_path):
    found = import_neurons(written(tmp_path / "h.json", HPROBES))
    assert found.by_layer() == {0: [2], 2: [9]} and found.made_by == {**SHAPE, "model": "lab/tiny", "imported": "h.json"}
    strided = {**HPROBES, "config": {"layer_stride": 2}}
    with pytest.raises(HNeuronsError, match="does not say how many layers"):
        import_neurons(written(tmp_path / "s.json", strided))
    assert import_neurons(tmp_path / "s.json", layers=3).by_layer() == found.by_layer()


@pytest.mark.parametrize(
    "content",
    [
        {"neurons": [[2, 9, -1.0], [0, 2, 0.5]], **SHAPE},
        {"neurons": [{"layer": 0, "neuron": 2, "weight": 0.5}, {"layer": 2, "neuron": 9, "weight": -1}], **SHAPE},
    ],
)
def test_lists_with_weights(tmp_path, content):
    found = import_neurons(written(tmp_path / "n.json", content))
    assert found.by_layer() == {0: [2]} and found.weights.tolist() == [0.5, -1.0]


def test_neurons_by_layer_and_tables(tmp_path):
    by_layer = import_neurons(written(tmp_path / "n.json", {"0": [2], "2": [9, 1]}), 3, 10, "tiny")
    assert by_layer.by_layer() == {0: [2], 2: [1, 9]} and by_layer.made_by["model"] == "tiny"
    (tmp_path / "n.csv").write_text("layer,neuron,weight\n0,2,0.5\n2,9,\n")
    assert import_neurons(tmp_path / "n.csv", 3, 10).weights.tolist() == [0.5, 0.0]


def test_coefficients_of_a_classifier(tmp_path):
    coef = np.zeros((1, 30))
    coef[0, [2, 15, 29]] = [1.0, -2.0, 3.0]
    np.savez(tmp_path / "c.npz", coef=coef, intercept=np.array([-0.5]))
    found = import_neurons(tmp_path / "c.npz", layers=3)
    assert found.by_layer() == {0: [2], 2: [9]} and found.made_by["intercept"] == -0.5 and found.made_by["d_ff"] == 10
    np.save(tmp_path / "c.npy", coef.reshape(3, 10))
    assert import_neurons(tmp_path / "c.npy").by_layer() == found.by_layer()
    with pytest.raises(HNeuronsError, match="30 coefficients, not 4 × 10"):
        import_neurons(tmp_path / "c.npz", 4, 10)


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


@pytest.mark.parametrize("name", ["c.pkl", "c.joblib", "c.npy"])
def test_a_pickle_is_never_read(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(HNeuronsError, match="pickle"):
        import_neurons(tmp_path / name, 3, 10)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"neurons": [[0, 10]], **SHAPE}, "neuron 0:10 is not one of 3 layers of 10 neurons"),
        ({"neurons": [[0, 1], [0, 1]], **SHAPE}, "a neuron occurs twice"),
        ({"neurons": [], **SHAPE}, "holds no neurons"),
        ({"neurons": [["a"]], **SHAPE}, "neuron 1: .* has no layer and neuron"),
    ],
)
def test_neurons_that_the_model_lacks_are_named(tmp_path, content, says):
    with pytest.raises(HNeuronsError, match=says):
        import_neurons(written(tmp_path / "n.json", content))


def test_the_commands(tmp_path):
    FIRST.save(tmp_path / "first.parquet")
    theirs = written(tmp_path / "h.json", HPROBES)
    run = CliRunner().invoke
    imported = run(app, ["import-neurons", str(theirs), str(tmp_path / "theirs.parquet")])
    assert imported.exit_code == 0 and imported.output.startswith("2 neurons: ")
    files = [str(tmp_path / name) for name in ("first.parquet", "theirs.parquet")]
    said = run(app, ["compare", *files]).output
    assert "selected: 3 and 2 of 30 neurons" in said and "in both: 1; two random sets of these sizes share 0.2" in said
    assert "shared (layer:neuron): 0:2" in said
    assert json.loads(run(app, ["compare", *files, "--json"]).output)["overlap"]["shared"] == 1
    assert run(app, ["import-neurons", str(tmp_path / "no.pkl"), "x"]).exit_code == 1
