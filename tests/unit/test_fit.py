"""Fit to a user's labelled pairs: what is read, that it is the study's probe, and what is refused."""

from __future__ import annotations

import json
import random

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import hneurons as hn
from hneurons import store
from hneurons.cett import stage
from hneurons.cett.columns import ShardColumns
from hneurons.cli import app
from hneurons.config.study import ProbeSettings
from hneurons.detection import fit, folds
from hneurons.detection.detector import detect
from hneurons.detection.fit import check_pairs, fit_pairs
from hneurons.detection.pairs import make_pairs, read_pairs
from hneurons.errors import HNeuronsError
from hneurons.models.tokenizer import tokenizer_beside
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.probe.classifiers import PROBE, RANDOM_L1, RANDOM_L2
from hneurons.probe.estimator import fit_paths, training_problem
from hneurons.records import RESPONSES
from tests.paths import shared
from tests.tiny import byte_level_tokenizer, tiny_model

RIGHT, WRONG = ("alfa", "bravo", "charlie"), ("xray", "yankee", "zulu")
FEW = ProbeSettings(C=[1, 10, 100], resamples=2, random_seeds=10)


def rows(count=60, domains=1):
    """Hallucinated answers are of other words than faithful ones, so that some neurons tell them apart."""
    drawn = random.Random(0)
    made = []
    for i in range(count):
        label = i % 2
        answer = " ".join(drawn.choices(WRONG if label else RIGHT, k=2))
        made.append(
            {
                "id": i,
                "question": f"What is number {i}?",
                "response": f"It is {answer}, I think.",
                "answer": answer,
                "label": label,
                "group": f"g{i // 4}",
                "domain": f"d{(i // 4) % domains}",
            }
        )
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_model("llama").save_pretrained(folder)
    byte_level_tokenizer([row["response"] for row in rows()]).save_pretrained(folder)
    return hn.load_model(folder)


@pytest.fixture(scope="module", autouse=True)
def _few_random_sets():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds, "SWEEP", {10: 2, 30: 2})
        yield


@pytest.fixture(scope="module")
def fitted(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    return folder, fit_pairs(model, tokenizer_beside(model), make_pairs(rows(domains=3)), folder, FEW, by_domain=True)


def test_it_is_the_optimum_of_the_probe_on_these_rows(fitted):
    folder, found = fitted
    columns = ShardColumns([folder / "cett.parquet"])
    neurons = found.probe.neurons
    paths = fit_paths(
        columns, [training_problem(columns, "3-vs-1")], [neurons.made_by["C"]], "l1", "free", memory_gb=1.0, threads=1
    )
    ((fit,),) = paths.fits
    of_study = columns.widths.columns(neurons.layers, neurons.neurons)
    assert sorted(fit.columns.tolist()) == sorted(of_study.tolist())
    np.testing.assert_allclose(fit.weights[np.argsort(fit.columns)], neurons.weights[np.argsort(of_study)], atol=1e-3)
    assert len(columns.rows) == 120 and {row["region"] for row in columns.rows} == {"answer", "other"}


def test_separable_pairs_are_told_apart_in_folds_with_controls_and_calibration(fitted):
    _, found = fitted
    methods = {score.method: score for score in found.scores.methods}
    assert methods[PROBE].auroc > 0.95
    assert {RANDOM_L1, RANDOM_L2, "answer-logprob", "length", "bag-of-words", "combined"} <= set(methods)
    assert methods[RANDOM_L1].seeds == 10 and found.scores.sweep
    assert found.choice["chosen"].sum() == 1 and set(found.choice["chosen_by"]) == {"accuracy + AUROC in folds"}
    neurons = found.probe.neurons
    assert neurons.selected.any() and neurons.made_by["calibration"]["bins"] and neurons.made_by["combined"]
    assert np.isfinite(neurons.stability).all()


def test_domains_are_tested_on_each_other_and_their_neurons_compared(fitted):
    _, found = fitted
    table = found.domains
    assert len(table) == 9 and set(table["n"]) == {20} and table["auroc"].between(0, 1).all()
    same = table[table["fit_on"] == table["tested_on"]]
    assert (same["shared"] == same["h_neurons"]).all() and same["p"].isna().all()
    others = table[table["fit_on"] != table["tested_on"]]
    assert others["p"].between(0, 1).all() and (others["shared_by_chance"] < others["h_neurons"]).all()


def test_a_second_call_measures_nothing_again(model, fitted, monkeypatch):
    folder, _ = fitted

    class ReachedError(Exception):
        pass

    def only_once(*arguments, **options):
        raise AssertionError("measured again")

    def reached(*arguments, **options):
        raise ReachedError

    monkeypatch.setattr(fit, "token_cett", only_once)
    monkeypatch.setattr(stage, "cett", only_once)
    monkeypatch.setattr(fit, "fit_probe_path", reached)
    with pytest.raises(ReachedError):
        fit_pairs(model, tokenizer_beside(model), make_pairs(rows(domains=3)), folder, FEW)


def test_log_probabilities_are_the_models(model, fitted):
    folder, _ = fitted
    import torch

    row = store.read_table(folder / "responses.parquet", RESPONSES).to_pylist()[7]
    ids = torch.tensor([[*row["prompt_ids"], *row["response_ids"]]])
    with torch.inference_mode():
        logprobs = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    np.testing.assert_allclose(row["logprobs"], logprobs[-len(row["response_ids"]) :], atol=1e-4)


def test_the_command_writes_what_a_study_publishes(model, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows(domains=2)))
    folder = str(model.config._name_or_path)
    options = ["--model", folder, "--pairs", str(pairs), "--domains", "--C", "30", "--random", "10"]
    done = CliRunner().invoke(app, ["fit", *options, str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "AUROC in folds over groups: " in done.output and "not beaten: " in done.output
    neurons = NeuronSet.load(tmp_path / "out")
    result = detect(model, neurons, "What is number 1?", "It is zulu xray, I think.", answer="zulu xray")
    assert result.probability > 0.5
    card = (tmp_path / "out/README.md").read_text()
    assert "| pairs: folds by group (30 + 30) |" in card and "C = 30, chosen by the user" in card
    assert len(pd.read_csv(tmp_path / "out/domains.csv")) == 4
    assert {"probe_minus_method_auroc", "difference_low"} <= set(pd.read_csv(tmp_path / "out/detection.csv"))


def written(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_forms_of_rows(tmp_path):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is Lyon?"}]
    path = written(
        tmp_path / "p.jsonl",
        [
            {"question": "Q?", "response": "In France.", "answer": "France", "label": 0},
            {"messages": [*chat, {"role": "assistant", "content": "In Spain."}], "label": "hallucinated"},
            {"question": "Q?", "response": "In Peru.", "answer_start": 3, "answer_end": 7, "label": True, "group": 5},
            {"question": "Q?", "response": "In Chile.", "judge": "false", "answer_tokens": ["ĠCh", "ile"], "id": "x"},
            {"question": "Q?", "response": "1. Chile\n2. Peru", "judge": "true", "answer_tokens": ["Chile", "Ċ", "ĠPeru"]},
        ],
    )
    pairs = read_pairs(path)
    assert [pair.label for pair in pairs] == [0, 1, 1, 1, 0]
    assert [pair.span for pair in pairs] == [(3, 9), None, (3, 7), (3, 8), (3, 16)]
    assert pairs[1].request.response == "In Spain." and len(pairs[1].request.messages) == 2
    assert pairs[0].group != pairs[2].group == "5" and pairs[3].key == "x"


def test_tables_and_their_empty_cells(tmp_path):
    (tmp_path / "p.csv").write_text("question,response,label,answer\nQ?,In France.,0,\nR?,In Spain.,1.0,Spain\n")
    pd.read_csv(tmp_path / "p.csv").to_parquet(tmp_path / "p.parquet")
    for name in ("p.csv", "p.parquet"):
        assert [(p.label, p.span) for p in read_pairs(tmp_path / name)] == [(0, None), (1, (3, 8))]


@pytest.mark.parametrize("name", ["Llama33", "Mistral24b", "gemma27b"])
def test_the_authors_files_are_read_as_they_are(tmp_path, name):
    path = shared(f"reference/answer_spans/{name}_train.jsonl")
    entries = dict(next(iter(json.loads(line).items())) for line in path.read_text().split("\n") if line)
    ids = list(entries)
    (tmp_path / "ids.json").write_text(json.dumps({"t": ids[:-800], "f": ids[-800:]}))
    pairs = read_pairs(path, tmp_path / "ids.json")
    assert len(pairs) == len(ids) and sum(pair.label for pair in pairs) == 800
    for pair in pairs:
        assert (pair.span is None) == (not entries[pair.key]["answer_tokens"])
    with pytest.raises(HNeuronsError, match=rf"{name}_train.jsonl, line 1: no label .* --labels"):
        read_pairs(path)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "Q?", "label": 1}, "line 2: response"),
        ({"question": "Q?", "response": "x", "label": 2}, "line 2: label 2 is neither 1, true or hallucinated"),
        ({"question": "Q?", "response": "x"}, "line 2: no label"),
        ({"response": "x", "label": 1}, "line 2: needs either question or messages"),
        ({"question": "Q?", "response": "x", "answer": "y", "label": 1}, "line 2: answer 'y' does not occur"),
        ({"question": "Q?", "response": "x", "answer_start": 0, "answer_end": 9, "label": 1}, "line 2: answer_start"),
        ({"question": "A?", "response": "b", "label": 1}, "line 2: the same response as an earlier row .*another label"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, says):
    with pytest.raises(HNeuronsError, match=says):
        read_pairs(written(tmp_path / "p.jsonl", [{"question": "A?", "response": "b", "label": 0}, row]))


def test_five_pairs_are_refused_and_fifty_warn(caplog):
    with pytest.raises(HNeuronsError, match="2 hallucinated and 3 faithful pairs: at least 6 of each are needed"):
        check_pairs(make_pairs(rows(5)))
    check_pairs(make_pairs(rows(50)))
    assert "25 hallucinated and 25 faithful pairs: with so few" in caplog.text
    with pytest.raises(HNeuronsError, match="in 1 groups: at least 5 groups are needed"):
        check_pairs(make_pairs([{**row, "group": "all"} for row in rows()]))
