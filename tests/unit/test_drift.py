"""Drift from files alone: known cosines, planted neurons, random ones, any layout, and little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.stats import kstest
from typer.testing import CliRunner

from hneurons.cli import app
from hneurons.errors import HNeuronsError
from hneurons.models.checkpoint import Checkpoint, checkpoint_folder
from hneurons.models.widths import Widths
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.origin.drift import Drift, compare_ranks, drift_report, measure_drift
from tests.tiny import tiny_model

LAYERS, D_FF, D_MODEL = 4, 60, 24


def turned(vectors, cosines, rng):
    """Each vector [n, d] turned to the given cosine [n] with what it was, its length changed too."""
    other = torch.tensor(rng.standard_normal(vectors.shape))
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    other -= (other * unit).sum(1, keepdim=True) * unit
    other /= other.norm(dim=1, keepdim=True)
    c = torch.tensor(cosines)[:, None]
    return (c * unit + (1 - c**2).sqrt() * other) * vectors.norm(dim=1, keepdim=True) * 1.3


def tensors(rng):
    found = {"model.embed_tokens.weight": torch.zeros(5, D_MODEL), "lm_head.weight": torch.zeros(5, D_MODEL)}
    for layer in range(LAYERS):
        for name, shape in (("up_proj", (D_FF, D_MODEL)), ("gate_proj", (D_FF, D_MODEL)), ("down_proj", (D_MODEL, D_FF))):
            found[f"model.layers.{layer}.mlp.{name}.weight"] = torch.tensor(rng.standard_normal(shape))
    return found


def drifted(base, up, down, rng):
    """A tuned checkpoint whose neurons have these cosines [layers, d_ff] with the base's."""
    found = dict(base)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}.mlp."
        found[f"{prefix}up_proj.weight"] = turned(base[f"{prefix}up_proj.weight"], up[layer], rng)
        found[f"{prefix}down_proj.weight"] = turned(base[f"{prefix}down_proj.weight"].T, down[layer], rng).T.contiguous()
    return found


def written(folder, found, parts=1):
    folder.mkdir(parents=True)
    names = list(found)
    if parts == 1:
        save_file(found, folder / "model.safetensors")
        return folder
    index = {}
    for part in range(parts):
        mine = names[part::parts]
        save_file({name: found[name] for name in mine}, folder / f"model-{part}.safetensors")
        index.update(dict.fromkeys(mine, f"model-{part}.safetensors"))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


def fused(found):
    """Gate and up as one tensor, gate first, as Phi 3 and GLM 4 have them."""
    joined = {k: v for k, v in found.items() if "gate_proj" not in k and "up_proj" not in k}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}.mlp."
        both = [found[f"{prefix}{name}_proj.weight"] for name in ("gate", "up")]
        joined[f"{prefix}gate_up_proj.weight"] = torch.cat(both)
    return joined


def multimodal(found):
    """The decoder inside a multimodal checkpoint, beside a vision tower with MLPs of its own."""
    inner = {f"language_model.{name}": value for name, value in found.items()}
    return {**inner, "vision_tower.encoder.layers.0.mlp.down_proj.weight": torch.zeros(7, 7)}


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    base = tensors(rng)
    up, down = rng.uniform(-1, 1, (LAYERS, D_FF)), rng.uniform(0.9, 1, (LAYERS, D_FF))
    return base, drifted(base, up, down, rng), up, down


@pytest.mark.parametrize(
    ("layout", "parts", "dtype", "error"),
    [
        (dict, 1, torch.float64, 1e-12),
        (dict, 3, torch.float32, 1e-6),
        (fused, 2, torch.float32, 1e-6),
        (multimodal, 1, torch.float32, 1e-6),
        (dict, 1, torch.bfloat16, 0.02),
    ],
    ids=["whole", "in parts", "fused", "multimodal", "bfloat16"],
)
def test_known_cosines_are_recovered(tmp_path, pair, layout, parts, dtype, error):
    base, tuned, up, down = pair
    folders = [
        written(tmp_path / name, {k: v.to(dtype) for k, v in layout(found).items()}, parts)
        for name, found in (("base", base), ("tuned", tuned))
    ]
    found = measure_drift(*map(Checkpoint, folders))
    assert np.abs(found.up - (1 - up).ravel()).max() < error
    assert np.abs(found.down - (1 - down).ravel()).max() < error


def test_a_base_and_a_tuned_model_may_have_other_layouts(tmp_path, pair):
    base, tuned, up, _ = pair
    found = measure_drift(
        Checkpoint(written(tmp_path / "base", base)), Checkpoint(written(tmp_path / "tuned", fused(tuned), 2))
    )
    assert np.abs(found.up - (1 - up).ravel()).max() < 1e-6


def test_ranks_run_from_changed_most_to_changed_least():
    up = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    drift = Drift(up, 10 * up, Widths.of_layers(2, 3))
    assert drift.ranks == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0])
    assert drift.ranks_in_layer == pytest.approx([1, 0.5, 0] * 2)
    assert Drift(up, 10 * up, Widths((4, 2))).ranks_in_layer == pytest.approx([1, 2 / 3, 1 / 3, 0, 1, 0])


def random_drift(rng, layers=8, d_ff=500):
    up, down = rng.exponential(size=(2, layers * d_ff))
    return Drift(up, down, Widths.of_layers(layers, d_ff))


def test_planted_neurons_that_did_not_change_are_found():
    rng = np.random.default_rng(1)
    drift = random_drift(rng)
    chosen = np.zeros(drift.up.shape, bool)
    chosen[rng.choice(chosen.size, 30, replace=False)] = True
    drift.up[chosen] *= 0.1
    drift.down[chosen] *= 0.1
    for ranks, within in ((drift.ranks, None), (drift.ranks_in_layer, drift.widths)):
        found = compare_ranks(ranks, chosen, seed=0, within=within)
        assert found.p_t < 0.001 and found.p_permutation < 0.001
        assert found.mean_rank > 0.8 and found.effect_d > 1
        assert found.interval[0] < found.mean_rank < found.interval[1]


@pytest.mark.slow
def test_p_values_of_random_neurons_are_uniform():
    """200 draws: neither test finds what is not there, nor misses what chance gives."""
    rng = np.random.default_rng(2)
    drift = random_drift(rng, layers=4, d_ff=300)
    ranks, p = drift.ranks, {"p_t": [], "p_permutation": []}
    for draw in range(200):
        chosen = np.zeros(ranks.size, bool)
        chosen[rng.choice(ranks.size, 20, replace=False)] = True
        found = compare_ranks(ranks, chosen, seed=draw)
        for name, values in p.items():
            values.append(getattr(found, name))
    for name, values in p.items():
        assert kstest(values, "uniform").pvalue > 0.01, name
        assert 0.01 <= np.mean(np.array(values) < 0.05) <= 0.1


def test_neurons_of_a_still_layer_did_not_change_less_than_their_neighbours():
    """Among all neurons they seem to have, within their layers they have not."""
    rng = np.random.default_rng(3)
    drift = random_drift(rng)
    third = slice(1000, 1500)
    drift.up[third] *= 0.01
    drift.down[third] *= 0.01
    chosen = np.zeros(drift.up.shape, bool)
    chosen[1000 + rng.choice(500, 25, replace=False)] = True
    assert compare_ranks(drift.ranks, chosen, 0).p_permutation < 0.001
    assert compare_ranks(drift.ranks_in_layer, chosen, 0, within=drift.widths).p_permutation > 0.01


def test_a_single_neuron_has_a_rank_and_a_permutation_test_alone():
    drift = random_drift(np.random.default_rng(4))
    chosen = np.zeros(drift.up.shape, bool)
    chosen[502] = True
    found = compare_ranks(drift.ranks, chosen, 0)
    assert found.p_t is None and found.t is None and found.interval == (0, 1)
    assert found.p_permutation == pytest.approx(1 - found.mean_rank, abs=0.03)
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["n"] == 1
    with pytest.raises(HNeuronsError, match="no neurons chosen"):
        compare_ranks(drift.ranks, chosen & False, 0)


EIGHT_B = """
import sys
from hneurons.models.checkpoint import Checkpoint
from hneurons.origin.drift import measure_drift
import resource, threading, time
peak, base, stop = 0, None, False
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
def watch():
    global peak
    while not stop:
        peak = max(peak, resident())
        time.sleep(0.005)
folders = sys.argv[1:]
checkpoints = [Checkpoint(folder) for folder in folders]
base = resident()
thread = threading.Thread(target=watch)
thread.start()
found = measure_drift(*checkpoints)
stop = True
thread.join()
print(peak - base, float(found.up.max()))
"""


@pytest.mark.slow
def test_memory_stays_under_two_tensors_of_an_8b_model(tmp_path):
    """Two layers in Llama-3.1-8B's shapes and bfloat16; its largest MLP tensor is 117 MB, its embedding nine times that."""
    rng = torch.Generator().manual_seed(0)
    for name in ("base", "tuned"):
        found = {}
        for layer in range(2):
            for part, shape in (("up_proj", (14336, 4096)), ("down_proj", (4096, 14336))):
                values = torch.randn(shape, generator=rng, dtype=torch.float32).bfloat16()
                found[f"model.layers.{layer}.mlp.{part}.weight"] = values
        written(tmp_path / name, found)
    done = subprocess.run(
        [sys.executable, "-c", EIGHT_B, str(tmp_path / "base"), str(tmp_path / "tuned")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    grown, moved = done.stdout.split()
    assert float(moved) > 0.9
    assert int(grown) < 2 * 14336 * 4096 * 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: {k: v for k, v in found.items() if "down_proj" not in k}, "no layers.N.mlp.down_proj.weight"),
        (lambda found: {k: v for k, v in found.items() if "2.mlp.up_proj" not in k}, "layers.2.mlp.up_proj.weight is"),
        (lambda found: {**found, "model.layers.0.mlp.up_proj.weight": torch.zeros(3, 3, dtype=torch.uint8)}, "quantised"),
        (lambda found: {k: v for k, v in found.items() if "layers.3" not in k}, "differ in layers, d_ff or d_model"),
        (lambda found: found, "the same MLP weights"),
    ],
)
def test_what_is_no_pair_is_refused(tmp_path, pair, change, said):
    base = written(tmp_path / "base", pair[0])
    with pytest.raises(HNeuronsError, match=said):
        measure_drift(Checkpoint(base), Checkpoint(written(tmp_path / "tuned", change(pair[0]))))


def test_a_file_that_was_cut_short_is_named(tmp_path, pair):
    folder = written(tmp_path / "base", pair[0])
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(HNeuronsError, match=r"model\.safetensors: not a complete safetensors file"):
        Checkpoint(folder)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(HNeuronsError, match="neither a folder"):
        checkpoint_folder(tmp_path / "nothing")


def test_a_multimodal_model_of_the_library(tmp_path):
    model = tiny_model("gemma3-multimodal")
    model.save_pretrained(tmp_path / "base")
    found = Checkpoint(tmp_path / "base")
    assert (found.layers, found.widths.d_ff) == (3, 48)


def test_the_command_line(tmp_path, pair):
    base, tuned, *_ = pair
    folders = [str(written(tmp_path / name, found)) for name, found in (("base", base), ("tuned", tuned))]
    n = 10
    chosen = NeuronSet(
        np.arange(n) % LAYERS, np.arange(n), np.ones(n), np.ones(n, bool), {"model": "m", "layers": LAYERS, "d_ff": D_FF}
    )
    chosen.save(tmp_path / "neurons.parquet")
    arguments = ["drift", *folders, "--neurons", str(tmp_path / "neurons.parquet")]
    done = CliRunner().invoke(app, [*arguments, "--json", "--out", str(tmp_path / "drift.parquet")])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout[done.stdout.index("{") :])
    drift = measure_drift(*map(Checkpoint, folders))
    assert found == json.loads(json.dumps(asdict(drift_report(drift, chosen, 0))))
    assert (tmp_path / "drift.parquet").is_file()
    shown = CliRunner().invoke(app, arguments)
    assert "10 H-Neurons among all neurons: mean rank" in shown.stdout
    wrong = NeuronSet(np.array([0, 1]), np.array([0, 1]), np.ones(2), np.ones(2, bool), {"layers": 2, "d_ff": D_FF})
    wrong.save(tmp_path / "wrong.parquet")
    refused = CliRunner().invoke(app, ["drift", *folders, "--neurons", str(tmp_path / "wrong.parquet")])
    assert refused.exit_code == 1 and "layers 2, not 4" in refused.output
