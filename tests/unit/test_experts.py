"""Mixtures of experts: every neuron keeps its layer, its expert and its index, and a token counts where it was routed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hneurons import store
from hneurons.cett.columns import ShardColumns
from hneurons.cett.measure import cett, cett_batch
from hneurons.cett.regions import TokenRegions
from hneurons.cett.shards import shard_table
from hneurons.cett.tokens import token_cett
from hneurons.config.models import ModelSettings, shape_of_model
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.decode import generate
from hneurons.models.activations import observed
from hneurons.models.checkpoint import Checkpoint
from hneurons.models.decoder import layer_neurons, model_identity
from hneurons.models.guard import check_supported
from hneurons.models.prepare import prepare
from hneurons.models.prepared import PreparedModel
from hneurons.models.widths import Widths
from hneurons.neurons.export import export
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.neurons.scaling import scaled, scaled_rows
from hneurons.origin.drift import drift_report, measure_drift
from hneurons.probe.controls import columns_like
from tests.families.build import tiny

EXPERTS, D_E = 4, 24
# Layers of Qwen2-MoE: four experts and a shared one with a gate.
FACTS = {"layers": 4, "d_ff": 120, "experts": [EXPERTS, D_E]}
# Dense layers come first.
MIXED = Widths((48, 48, 48, 120), (None, None, None, (EXPERTS, D_E)))
IDS = [[5, 6, 7, 8, 9, 10, 11, 12], [5, 6, 20, 21, 22], [5, 6, 30, 31, 32, 33]]


@pytest.fixture(scope="module")
def model():
    return tiny("qwen2_moe")


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    place = tmp_path_factory.mktemp("experts") / "model"
    model.save_pretrained(place)
    return place


def sequences():
    return [TokenRegions(ids, [[i >= 4 for i in range(len(ids))], [i < 4 for i in range(len(ids))]]) for ids in IDS]


def logits(model, ids=IDS[0]):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]


def seen(model, ids=IDS[0], kind="grouped_mm"):
    """What the neurons of every layer did with a text."""
    activations = {}
    model.config._experts_implementation = kind
    with torch.no_grad(), observed(model, range(4), lambda layer, values: activations.update({layer: values})):
        model(input_ids=torch.tensor([ids]))
    return activations


def chosen(layers, neurons, facts=FACTS):
    n = len(layers)
    return NeuronSet(np.array(layers), np.array(neurons), np.ones(n), np.ones(n, bool), facts)


def test_seen_or_scaled_by_one_the_model_says_what_it_says(model):
    plain = logits(model)
    with observed(model, range(4), lambda layer, values: None):
        torch.testing.assert_close(logits(model), plain, rtol=0, atol=1e-5)
    with scaled_rows(model, [({0: [1, 100], 3: [50]}, 1.0)]):
        torch.testing.assert_close(logits(model), plain, rtol=0, atol=1e-5)
    assert model.config._experts_implementation == "grouped_mm" and torch.equal(logits(model), plain)


def test_the_parts_of_a_layer_add_up_to_its_output(model):
    outputs = {}
    hooks = [
        layer.mlp.register_forward_hook(lambda _m, _a, out, i=i: outputs.update({i: out[0]}))
        for i, layer in enumerate(model.model.layers)
    ]
    for layer, activations in seen(model).items():
        torch.testing.assert_close(activations.h, outputs[layer], rtol=0, atol=1e-5)
        routed, shared = activations.parts
        assert routed.routing.g.shape == (2 * len(IDS[0]),) and shared.g.shape == (len(IDS[0]),)
        # Of each token the same two experts as the router's.
        counts = torch.bincount(routed.routing.token)
        assert (counts == 2).all() and routed.routing.ends[-1] == 2 * len(IDS[0])
    for hook in hooks:
        hook.remove()


def test_batches_tokens_and_regions_agree(model):
    """One by one as in a batch; and token by token, averaged over a region."""
    regions = sequences()
    together = dict(cett(model, regions))
    by_layer = {0: [3, 30, 95, 96, 119], 2: list(range(120))}
    tokens = token_cett(model, IDS, by_layer, [1] * 3)
    for i, sequence in enumerate(regions):
        alone = cett_batch(model, [sequence])[0]
        np.testing.assert_allclose(together[i], alone, rtol=1e-4, atol=1e-7)
        of_tokens, _ = tokens[i]
        for region, mask in enumerate(sequence.regions):
            expected = np.concatenate([alone[region][layer][by_layer[layer]] for layer in by_layer])
            np.testing.assert_allclose(of_tokens[np.array(mask)].mean(0), expected, rtol=1e-4, atol=1e-7)


def test_a_token_counts_zero_in_experts_that_it_is_not_sent_to(model):
    one_token = TokenRegions(IDS[1], [[i == 4 for i in range(5)]])
    values = cett_batch(model, [one_token])[0, 0]
    for layer, activations in seen(model, IDS[1]).items():
        routing = activations.parts[0].routing
        sent = set(routing.expert[routing.token == 4].tolist())
        by_expert = values[layer][: EXPERTS * D_E].reshape(EXPERTS, D_E)
        assert {e for e in range(EXPERTS) if by_expert[e].any()} == sent and values[layer][EXPERTS * D_E :].all()


def test_what_is_sent_to_no_expert_adds_nothing(model):
    experts = copy.deepcopy(model.model.layers[0].mlp.experts)
    x, index = torch.randn(3, 32), torch.tensor([[0, EXPERTS], [EXPERTS, EXPERTS], [3, 1]])
    g = torch.rand(3, 2)
    experts.config._experts_implementation = "eager"
    with torch.no_grad():
        expected = experts(x, index, g)
        experts.config._experts_implementation = "hneurons"
        torch.testing.assert_close(experts(x, index, g), expected)
        assert not expected[1].any() and not experts(x, torch.full((3, 2), EXPERTS), g).any()


@pytest.mark.parametrize("temperature", [0, 1])
def test_rows_scaled_differently_in_one_batch_equal_one_by_one(model, temperature):
    scaled_by = [({0: [1, 30, 100]}, 0), None, ({0: [1, 30, 100], 3: [95, 96]}, 4.0)]
    decoding, options = Decoding(max_new_tokens=8, temperature=temperature), {"stop_ids": [2], "samples": 2}
    together = dict(generate(model, IDS, decoding, seeds=[0, 1, 2], scaled_by=scaled_by, **options))
    for i, scaling in enumerate(scaled_by):
        with scaled(model, *(scaling or ({}, 1.0))):
            ((_, alone),) = generate(model, IDS[i : i + 1], decoding, seeds=[i], **options)
        assert [r.token_ids for r in together[i]] == [r.token_ids for r in alone]


def test_layers_without_neurons_are_left_alone():
    model = tiny("qwen2_moe").bfloat16()
    before = copy.deepcopy(model.state_dict())
    with scaled(model, {0: [1, 100], 1: []}, 0.5):
        pass
    with scaled(model, {0: []}, 0.5):
        pass
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_layers_that_predict_further_tokens_are_not_the_decoder(tmp_path):
    """GLM 4.5 and DeepSeek V3 number them after the decoder's."""
    model = tiny("glm4_moe")
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    further = {n.replace("layers.3.", "layers.4."): t.clone() for n, t in tensors.items() if "layers.3." in n}
    save_file({**tensors, **further}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert Checkpoint(tmp_path).widths.facts == model_identity(model)


def test_scaled_columns_come_back_bit_by_bit(model):
    before = copy.deepcopy(model.state_dict())
    neurons = {0: [1, 30, 100], 3: [95, 96]}
    with scaled(model, neurons, 3.0):
        assert torch.equal(
            model.model.layers[0].mlp.experts.down_proj[1, :, 6],
            3 * before["model.layers.0.mlp.experts.down_proj"][1, :, 6],
        )
        assert torch.equal(
            model.model.layers[3].mlp.shared_expert.down_proj.weight[:, 0],
            3 * before["model.layers.3.mlp.shared_expert.down_proj.weight"][:, 0],
        )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_every_reader_of_a_model_finds_its_experts(model, folder):
    assert model_identity(model) == FACTS
    assert Checkpoint(folder).widths.facts == FACTS
    settings = ModelSettings(folder=str(folder), dtype="float32")
    assert shape_of_model("tiny", settings).d_ff == 120
    prepare("tiny", settings, folder.with_name("manifest.json"))
    assert store.read_json(folder.with_name("manifest.json"))["experts"] == [EXPERTS, D_E]
    identity = PreparedModel(folder.with_name("manifest.json")).identity
    chosen([0], [1], {"model": "tiny", **FACTS}).check_for(identity)
    with pytest.raises(HNeuronsError, match=r"experts \[8, 12\], not \[4, 24\]"):
        chosen([0], [1], {**FACTS, "experts": [8, 12]}).check_for(identity)


def test_widths_of_dense_layers_and_experts():
    assert MIXED.facts == {"layers": 4, "d_ff": [48, 48, 48, 120], "experts": [None, None, None, [EXPERTS, D_E]]}
    assert Widths.from_facts(MIXED.facts) == MIXED
    assert Widths.from_facts(FACTS).facts == FACTS and "experts" not in Widths((48, 48), (None, None)).facts
    assert [MIXED.named(2, 47), MIXED.named(3, 47), MIXED.named(3, 100)] == ["47", "expert 1:23", "shared:4"]


def test_controls_come_from_the_experts_of_the_neurons():
    """In each expert, in what is shared and in dense layers as many as are chosen there."""

    def units(neurons):
        return sorted((layer, MIXED.named(layer, j).partition(":")[0] if layer == 3 else "") for layer, j in neurons)

    neurons = [(0, 5), (0, 6), (3, 30), (3, 31), (3, 95), (3, 100)]
    columns = MIXED.columns(*np.array(neurons).T)
    found = chosen(*map(list, zip(*neurons, strict=True)), MIXED.facts)
    drawn_from_30 = set()
    for seed in range(60):
        control = found.random_like(seed)
        drawn = list(zip(control.layers.tolist(), control.neurons.tolist(), strict=True))
        assert units(drawn) == units(neurons) and not set(drawn) & set(neurons)
        drawn_from_30 |= {j for layer, j in drawn if layer == 3 and 24 <= j < 48}
        like = columns_like(np.random.default_rng(seed), MIXED, columns, len(columns))
        assert units(zip(*(v.tolist() for v in MIXED.places(like)), strict=True)) == units(neurons)
        assert not set(like) & set(columns) and len(columns_like(np.random.default_rng(seed), MIXED, columns, 9)) == 9
    assert len(drawn_from_30) == 22
    with pytest.raises(HNeuronsError, match="layer 3: expert 1: too few of its 24 neurons"):
        chosen([3] * 13, range(24, 37), MIXED.facts).random_like(0)


def test_shards_hold_them_layer_by_layer(model, tmp_path):
    values = cett_batch(model, sequences())
    rows = [{"question_id": f"q{i}", "sample": 0, "split": "train", "label": i % 2, "region": "answer"} for i in range(3)]
    widths = Widths.from_facts(FACTS)
    store.write_table(tmp_path / "s.parquet", shard_table(rows, values[:, 0], widths), FACTS)
    columns = ShardColumns([tmp_path / "s.parquet"])
    assert columns.widths == widths
    places = np.array([0, 95, 96, 130, 479])
    layers, neurons = widths.places(places)
    np.testing.assert_allclose(columns.take(places), values[:, 0][:, layers, neurons], rtol=2e-3, atol=1e-6)


def test_drift_follows_each_neuron(model, folder):
    tuned = tiny("qwen2_moe")
    with torch.no_grad():
        for name, values in tuned.named_parameters():
            if "expert" in name and "gate." not in name:
                values += 0.1 * torch.randn_like(values)
        experts, untouched = tuned.model.layers[3].mlp.experts, model.model.layers[3].mlp.experts
        experts.down_proj[2, :, 5] = untouched.down_proj[2, :, 5]
        experts.gate_up_proj[1, D_E + 7] = untouched.gate_up_proj[1, D_E + 7]
    tuned.save_pretrained(folder.with_name("tuned"))
    drift = measure_drift(Checkpoint(folder), Checkpoint(folder.with_name("tuned")))
    start = 3 * 120
    assert np.flatnonzero(drift.down == 0).tolist() == [start + 2 * D_E + 5]
    assert np.flatnonzero(drift.up == 0).tolist() == [start + D_E + 7]
    assert drift_report(drift, chosen([3], [53]), seed=0).neurons == 480


def test_an_adapter_has_the_rank_of_the_fullest_expert(folder, tmp_path):
    import json

    out = export(folder, chosen([0, 0, 0, 3], [1, 2, 30, 119]), 2.0, tmp_path / "adapter", form="lora")
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["r"] == 2 and config["target_modules"] == []
    assert config["target_parameters"] == [
        "model.layers.0.mlp.experts.down_proj",
        "model.layers.3.mlp.shared_expert.down_proj.weight",
    ]
    card = (out / "README.md").read_text()
    assert "expert 0:1, expert 0:2, expert 1:6" in card and "shared:23" in card and "4 of 480" in card


class _Normed(nn.Module):
    """A mixture whose output is changed after its experts were added."""

    def __init__(self, block):
        super().__init__()
        self.experts, self.shared_expert = block.experts, block.shared_expert
        self.shared_expert_gate, self._block = block.shared_expert_gate, block

    def forward(self, x):
        return self._block(x).clamp(-0.1, 0.1)


def test_what_does_not_add_up_is_refused():
    model = tiny("qwen2_moe")
    model.model.layers[1].mlp = _Normed(model.model.layers[1].mlp)
    with pytest.raises(HNeuronsError, match="layer 1: its MLP adds something"):
        check_supported(model)
    model = tiny("qwen2_moe")
    model.model.layers[2].mlp.experts.has_post_expert_norm = True
    with pytest.raises(HNeuronsError, match=r"layer 2 .*has no dense MLP"):
        layer_neurons(model)
