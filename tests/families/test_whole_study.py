"""The whole DAG on a mixture of experts, a hybrid, a model that thinks first, and packed weights."""

from __future__ import annotations

import pandas as pd
import pytest

from hneurons import store
from hneurons.cett.columns import ShardColumns
from hneurons.neurons.neuron_set import NeuronSet
from tests.workflow.study import CONFIG, MODEL, tiny_study

ARCHITECTURES = {
    "experts": {
        "kind": "qwen2_moe",
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 96,
        "shared_expert_intermediate_size": 64,
    },
    "hybrid": {"kind": "lfm2", "layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "thinking": {},
    "packed": {},
}
THOUGHTS = "I recall it.\n</think>\n"
FACTS = {
    "experts": {"layers": 2, "d_ff": 4 * 96 + 64, "experts": [4, 96]},
    "hybrid": {"layers": 2, "d_ff": 160},
    "thinking": {"layers": 2, "d_ff": 160},
    "packed": {"layers": 2, "d_ff": 160},
}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def study(request, tmp_path_factory):
    options = {"architecture": ARCHITECTURES[request.param]}
    if request.param == "thinking":
        decoding = {**CONFIG["sampling"]["decoding"], "max_new_tokens": 24}
        config = {**CONFIG, "sampling": {**CONFIG["sampling"], "decoding": decoding}}
        options |= {"config": config, "models": {MODEL: {"thinking": "on"}}, "thoughts": THOUGHTS}
    if request.param == "packed":
        options["models"] = {MODEL: {"quantization": "bitsandbytes-8bit"}}
    workspace = tiny_study(tmp_path_factory.mktemp(request.param), **options)
    workspace.run()
    return request.param, workspace


def test_every_table_and_picture_is_there(study):
    kind, workspace = study
    facts = FACTS[kind]
    assert facts.items() <= store.read_json(workspace.results / MODEL / "checkpoint/manifest.json").items()
    neurons = NeuronSet.load(workspace.results / MODEL / "probe/neurons.parquet")
    assert facts.items() <= neurons.made_by.items() and neurons.selected.any()
    columns = ShardColumns(sorted((workspace.results / MODEL).glob("cett/**/*.parquet")))
    assert columns.widths == neurons.widths and columns.widths.facts == facts
    table = pd.read_csv(workspace.results / "tables/table1.csv")
    assert (table["neurons"] == columns.widths.total).all() and (table["n_faithful"] >= 4).all()
    curves = pd.read_csv(workspace.results / "tables/figure3.csv")
    assert len(curves) == 2 * 2 * 4 and curves["rate"].notna().any()
    for picture in ("table1.png", "figure3.png", "choice.png", "neurons.svg"):
        assert (workspace.results / "figures" / picture).stat().st_size > 10_000


def test_thoughts_are_stored_apart(study):
    kind, workspace = study
    responses = pd.concat(map(pd.read_parquet, sorted((workspace.results / MODEL).glob("**/responses*/**/*.parquet"))))
    if kind != "thinking":
        assert responses["thoughts"].isna().all()
        return
    thought = responses["thoughts"].str.strip().eq(THOUGHTS.strip())
    assert thought.mean() > 0.9 and responses[thought]["text"].str.match(r"\s*(It is .*\.|I do not know)").mean() > 0.9
    assert not responses["text"].str.contains("think|recall").any() and (responses[thought]["thought_tokens"] > 1).all()
    replies = pd.concat(map(pd.read_parquet, sorted((workspace.results / MODEL).glob("**/replies*/**/*.parquet"))))
    assert not replies["replies"].explode().str.contains("</think>").any()


def test_the_untouched_runs_are_those_of_every_set_at_alpha_1(study):
    _, workspace = study
    curves = pd.read_csv(workspace.results / "tables/figure3.csv")
    of_benchmark = curves[curves["alpha"] == 1].groupby("benchmark")
    # Without any reply that can be counted there is no rate.
    assert (of_benchmark["rate"].nunique() <= 1).all() and (of_benchmark["n"].nunique() == 1).all()
