"""What scaling costs: perplexity, CETT at every α, and the test questions themselves."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from hneurons import store
from hneurons.cett.measure import cett
from hneurons.cett.regions import token_regions
from hneurons.config.behaviours import TEST_QUESTIONS
from hneurons.config.judges import JudgesSettings
from hneurons.config.study import CettSettings, Decoding, SplitSettings
from hneurons.data.catalogue import questions_table
from hneurons.data.questions import prompt_of
from hneurons.errors import HNeuronsError
from hneurons.impact.benchmarks import BENCHMARKS
from hneurons.impact.benchmarks.benchmark import ItemDraw, items_table, read_items
from hneurons.impact.utility import (
    WINDOW,
    held_out_text,
    negative_log_likelihoods,
    perplexity_table,
    scaled_cett_table,
    text_windows,
)
from hneurons.impact.utility_curves import PerplexityPoint, UtilityCurves, cett_ratios, perplexity_curve
from hneurons.judges.panel import Judges
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.records import PERPLEXITY
from hneurons.report.tables.impact import utility_table

ALPHAS = [0.0, 1.0, 3.0]


@pytest.fixture(scope="module")
def prepared(llama, tokenizer):
    return SimpleNamespace(model=llama, tokenizer=tokenizer, identity={"model": "tiny", "layers": 3, "d_ff": 48})


def neuron_set():
    return NeuronSet(np.array([0, 0, 2]), np.array([1, 7, 30]), np.ones(3), np.ones(3, bool), {"d_ff": 48, "layers": 3})


def test_perplexity_is_that_of_the_library(llama):
    windows = [[1, *range(40, 70)], [1, *range(90, 120)]]
    ids = torch.tensor(windows)
    with torch.no_grad():
        loss = llama(input_ids=ids, labels=ids).loss.item()
    for budget in (10_000, 1):
        found = negative_log_likelihoods(llama, windows, budget)
        assert sum(found) / 60 == pytest.approx(loss, rel=1e-5)


def test_windows_are_of_one_length_and_begin_as_any_input_does(tokenizer):
    text = "The city of Lyon is located in France. " * 200
    windows = text_windows(tokenizer, text, 1000)
    assert [len(w) for w in windows] == [WINDOW] * 3
    assert [i for w in windows for i in w] == tokenizer(text)["input_ids"][: 3 * WINDOW]
    with pytest.raises(HNeuronsError, match="the held-out text has 1 tokens"):
        text_windows(tokenizer, "of", 1000)


def test_python_has_a_text_to_read(tmp_path):
    assert len(held_out_text("python-reference")) > 300_000
    (tmp_path / "text.txt").write_text("Some words.")
    assert held_out_text("mine", tmp_path / "text.txt") == "Some words."
    with pytest.raises(HNeuronsError, match="neither a file nor a known text"):
        held_out_text("mine")


def test_every_set_has_every_alpha_and_the_untouched_model_is_read_once(prepared):
    text = "The city of Lyon is located in France. " * 100
    table, made_by = perplexity_table(
        prepared, neuron_set(), ["hneurons", "random-1"], ALPHAS, text, 600, token_budget=4096
    )
    runs = {(row["neurons"], row["alpha"]) for row in table.to_pylist()}
    assert runs == {("untouched", 1), ("hneurons", 0), ("hneurons", 3), ("random-1", 0), ("random-1", 3)}
    assert len(made_by["text_sha256"]) == 64
    curve = perplexity_curve(table)
    (untouched,) = curve["untouched"]
    assert untouched.ratio == 1 and untouched.interval is None, "it does not differ from itself"
    windows = text_windows(prepared.tokenizer, text, 600)
    with neuron_set().scale(prepared.model, 3.0):
        nll = sum(negative_log_likelihoods(prepared.model, windows, 4096)) / sum(len(w) - 1 for w in windows)
    at_3 = curve["hneurons"][1]
    assert at_3.perplexity == pytest.approx(math.exp(min(50, nll)), rel=1e-4)
    assert at_3.ratio == pytest.approx(at_3.perplexity / untouched.perplexity)
    assert at_3.interval[0] <= at_3.ratio <= at_3.interval[1]


def test_a_text_of_one_window_has_no_interval():
    rows = [
        {"neurons": name, "alpha": alpha, "window": 0, "tokens": 255, "nll": nll}
        for name, alpha, nll in (("untouched", 1.0, 500.0), ("hneurons", 3.0, 600.0))
    ]
    curve = perplexity_curve(pa.Table.from_pylist(rows, schema=PERPLEXITY))
    assert curve["hneurons"][0].ratio == pytest.approx(math.exp(100 / 255)) and curve["hneurons"][0].interval is None


def test_cett_of_scaled_neurons(prepared):
    """In the first layer α CETT(1) |h(1)| / |h(α)| token by token, and 0 at α = 0 in all (eqs. 6 and 7)."""
    answer = [[False, True, True, False], [True, False, False, True]]
    responses = [
        {
            "question_id": f"q{i}",
            "sample": 0,
            "prompt_ids": [1, 30 + i, 40],
            "response_ids": [50, 51 + i, 52, 2],
            "thought_tokens": 0,
        }
        for i in (0, 1)
    ]
    spans = [{"question_id": f"q{i}", "sample": 0, "token_mask": mask} for i, mask in enumerate(answer)]
    examples = [{"question_id": f"q{i}", "sample": 0, "split": split} for i, split in enumerate(["test", "test"])]
    options = {"max_responses": 9, "seed": 0, "token_budget": 4096}
    table = scaled_cett_table(prepared, neuron_set(), ALPHAS, examples, responses, spans, CettSettings(), **options)
    by_alpha = {a: [r["cett"] for r in table.to_pylist() if r["alpha"] == a] for a in ALPHAS}
    assert by_alpha[0.0] == [0, 0, 0]
    sequences = [
        token_regions(r["prompt_ids"], r["response_ids"], s["token_mask"], CettSettings())
        for r, s in zip(responses, spans, strict=True)
    ]
    measured = np.mean([v[0][[0, 0, 2], [1, 7, 30]] for _, v in cett(prepared.model, sequences, 4096)], axis=0)
    assert by_alpha[1.0] == pytest.approx(measured.tolist(), rel=1e-5)

    expected, counted = np.zeros(2), 0
    mlp = prepared.model.model.layers[0].mlp
    seen = []
    hook = mlp.down_proj.register_forward_hook(lambda module, args, out: seen.append((args[0][0], out[0])))
    for s in sequences:
        prepared.model(input_ids=torch.tensor([s.ids]))
        z, h = seen[-1]
        columns = mlp.down_proj.weight[:, [1, 7]]
        h_at_3 = h + 2 * z[:, [1, 7]] @ columns.T
        per_token = 3 * z[:, [1, 7]].abs() * columns.norm(dim=0) / h_at_3.norm(dim=1, keepdim=True)
        expected += per_token[torch.tensor(s.regions[0])].mean(0).detach().numpy()
        counted += 1
    hook.remove()
    assert by_alpha[3.0][:2] == pytest.approx((expected / counted).tolist(), rel=1e-4)

    ratios = {point.alpha: point.median for point in cett_ratios(table)}
    assert ratios[1.0] == 1 and ratios[0.0] == 0
    assert ratios[3.0] == pytest.approx(np.median(np.array(by_alpha[3.0]) / np.array(by_alpha[1.0])))


def test_test_questions_are_asked_as_they_were_sampled_and_judged_alike(tmp_path):
    questions = questions_table("cities", slice(120), 1, SplitSettings())
    store.write_table(tmp_path / "cities.parquet", questions, {})
    decoding = Decoding(max_new_tokens=20, temperature=0.4)
    draw = ItemDraw(500, 1, files=(tmp_path / "cities.parquet",), decoding=decoding)
    benchmark = BENCHMARKS[TEST_QUESTIONS]
    store.write_table(tmp_path / "items.parquet", items_table(TEST_QUESTIONS, benchmark, draw), {})
    items = read_items(tmp_path / "items.parquet")
    rows = {row["question_id"]: row for row in questions.to_pylist()}
    test = {key for key, row in rows.items() if row["split"] == "test"}
    assert {i.item_id for i in items} == test and 0 < len(test) < 120, "as many as there are, of the test split alone"
    assert all(i.decoding == decoding and i.turns == (prompt_of(rows[i.item_id]),) for i in items)
    item = items[0]
    facts = {**item.facts, "truncated": [False]}
    panel = Judges(JudgesSettings(), "test")
    for reply, expected in ((item.facts["aliases"][0], True), ("Atlantis", False)):
        (outcome,) = benchmark.judge([facts], [[reply]], panel)
        assert outcome.eligible and outcome.compliant == expected


def test_the_table_counts_where_there_is_something_to_count():
    point = PerplexityPoint(alpha=0.0, perplexity=8.0, ratio=1.0, interval=(0.9, 1.1))
    table = utility_table([UtilityCurves("m", {"hneurons": [point]})], [])
    assert table["n"].isna().all() and table["value"].tolist() == [1.0]
