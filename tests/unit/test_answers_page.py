"""The page of test answers: its numbers are those of Table 1 and of the detector, and nothing that it quotes is HTML."""

from __future__ import annotations

import dataclasses
import json
import shlex

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.special import expit

from hneurons import store
from hneurons.cett.measure import cett_batch
from hneurons.cett.regions import TokenRegions
from hneurons.cett.shards import shard_table
from hneurons.detection.detector import detect
from hneurons.detection.scores import score_dataset
from hneurons.generation.prompts import prompt_ids
from hneurons.models.decoder import model_identity
from hneurons.models.widths import Widths
from hneurons.neurons.neuron_set import NeuronSet
from hneurons.probe.classifiers import PROBE, Classifier
from hneurons.probe.confidence import Combined
from hneurons.records import QUESTIONS
from hneurons.report.answers import (
    ScoredAnswer,
    answers_grid,
    command_to_detect,
    draw_answers,
    scored_answers,
    summary_grid,
    write_answers_page,
)
from tests.planted import PLANTED, planted

COUNTS = {"too_few": "", "judge": "rules"}
COMBINED = Combined(probe=0.5, mean=-1.0, minimum=-0.25, intercept=0.1)
RESPONSE = "It is Peru, Peru."


def questions_file(folder, dataset, ids, aliases=("Peru", "Perú")):
    blank = {**dict.fromkeys(QUESTIONS.names), "dataset": dataset, "instruction": "Name it.", "split": "test"}
    rows = [{**blank, "question_id": key, "question": f"Where is {key}?", "aliases": aliases} for key in ids]
    path = folder / f"{dataset}.parquet"
    store.write_table(path, pa.Table.from_pylist(rows, schema=QUESTIONS), {})
    return path


class Study:
    """Planted answers on a data set "cities", and the wrong ones of "invented" after it."""

    def __init__(self, folder):
        self.examples, self.questions, self.shards = {}, [], []
        for seed, dataset in enumerate(("cities", "invented")):
            (folder / dataset).mkdir()
            data = planted(folder / dataset, neurons=1.0, confidence=1.0, n=200, seed=seed)
            frame = data.frame.assign(text=RESPONSE, start=12, end=16)
            self.examples[dataset] = frame if dataset == "cities" else frame.query("label == 1")
            self.questions.append(questions_file(folder, dataset, frame["question_id"]))
            self.shards += [str(path) for path in data.shards]
        layers, neurons = np.array(PLANTED).T
        self.probe = Classifier(layers, neurons, np.array([3.0, 3.0, 4.0]), -2.5, 1.0)

    def scored(self, combined=COMBINED, **examples):
        faithful = {"cities": "", "invented": "correct_answers"}
        frames = {**self.examples, **examples}
        return scored_answers(frames, faithful, self.questions, self.shards, self.probe, combined, 1, in_domain="cities")

    def table1(self):
        return score_dataset(
            self.examples["cities"],
            self.examples["cities"],
            "",
            {PROBE: self.probe, "random-l1-1": self.probe, "random-l2-1": self.probe},
            COMBINED,
            self.shards[:1],
            [1.0],
            1,
            in_domain="cities",
            model="m",
            dataset="cities",
            judge="rules",
            verdicts={},
        )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Study(tmp_path_factory.mktemp("answers"))


def answer(**changes):
    values = ScoredAnswer("cities", "q", "Where?", "Peru", RESPONSE, 6, 10, True, 0.5, -1.0, -2.0, float("nan"))
    return dataclasses.replace(values, **changes)


def written(tmp_path, answers, counts=None):
    path = tmp_path / "answers.html"
    counts = counts or dict.fromkeys([a.dataset for a in answers], COUNTS)
    write_answers_page(path, answers, counts, "some-model", "results/study/some-model", 1)
    return path.read_text()


def test_hits_and_counts_are_those_of_table_1(study):
    answers = [a for a in study.scored() if a.dataset == "cities"]
    probe = study.table1().of_method(PROBE)
    assert np.mean([a.hit for a in answers]) == pytest.approx(probe.accuracy)
    assert 0.6 < probe.accuracy < 1, "hits and misses"
    assert sum(a.wrong for a in answers) == probe.n_hallucinated
    assert all(a.prompt == f"Where is {a.question_id}? Name it." and a.gold == "Peru" for a in answers)
    assert len({a.question_id for a in answers}) == len(answers)


def test_of_a_set_paired_with_correct_answers_those_that_entered_are_shown(study):
    answers = [a for a in study.scored() if a.dataset == "invented"]
    assert all(a.wrong for a in answers)
    assert [a.question_id for a in answers] == study.examples["invented"].query("split == 'test'")["question_id"].tolist()
    # Table 1 takes as many of them as there are correct answers of the in-domain set.
    few = study.examples["cities"].query("split != 'test' or label == 1 or question_id == 'q32'")
    assert [a.dataset for a in study.scored(cities=few)].count("invented") == 1


def test_the_probabilities_are_the_detectors(llama, tokenizer, tmp_path):
    shape = model_identity(llama)
    layers, neurons, weights = np.array([0, 1, 1]), np.array([3, 4, 5]), np.array([40.0, -30.0, 25.0])
    facts = {**shape, "intercept": -0.5, "C": 1.0, "combined": dataclasses.asdict(COMBINED)}
    published = NeuronSet(layers, neurons, weights, weights > 0, facts)
    question, response = "Where is q? Name it.", "It is Peru."
    found = detect(llama, published, question, response, answer="Peru", tokenizer=tokenizer)
    prompt, ids = prompt_ids(tokenizer, question), tokenizer(response, add_special_tokens=False)["input_ids"]
    (features,) = cett_batch(llama, [TokenRegions([*prompt, *ids], [[False] * len(prompt) + found.answer.tolist()])])
    row = {"question_id": "q", "sample": 0, "split": "test", "region": "answer", "label": 1}
    (tmp_path / "cities").mkdir()
    shard = tmp_path / "cities/0000.parquet"
    store.write_table(shard, shard_table([row], [features[0].astype(np.float16)], Widths.from_facts(shape)), {})
    mean, minimum = found.confidence
    frame = pd.DataFrame([{**row, "text": response, "start": 6, "end": 10}]).assign(
        answer_logprob=mean, answer_logprob_min=minimum
    )
    (scored,) = scored_answers(
        {"cities": frame},
        {"cities": ""},
        [questions_file(tmp_path, "cities", ["q"])],
        [str(shard)],
        Classifier(layers, neurons, weights, -0.5, 1.0),
        COMBINED,
        1,
        in_domain="cities",
    )
    assert abs(found.logit + 0.5) > 0.1, "the neurons count"
    assert scored.probability == pytest.approx(found.probability, abs=2e-3)
    assert scored.combined_probability == pytest.approx(found.combined_probability, abs=2e-3)
    assert (scored.logprob, scored.logprob_min) == (mean, minimum)
    arguments = dict(zip(*[iter(shlex.split(command_to_detect(scored, "m"))[2:])] * 2, strict=True))
    assert arguments["--question"] == question and arguments["--response"] == response and arguments["--answer"] == "Peru"


def test_a_hit_is_on_the_judges_side_of_one_half():
    assert answer(logit=0.1).hit and answer(logit=-0.1, wrong=False).hit
    assert not answer(logit=-0.1).hit and not answer(logit=0.1, wrong=False).hit
    assert not answer(logit=0.0).hit, "as in Table 1"
    assert answer(logit=0.1).probability == expit(0.1)


def test_the_draw_is_the_seeds_alone(study):
    answers = study.scored()
    drawn = draw_answers(answers, 1)
    assert len(drawn) == 10 and drawn == draw_answers(answers[::-1], 1)
    assert drawn != draw_answers(answers, 2)
    turned = [dataclasses.replace(a, wrong=not a.wrong, logit=-a.logit, response="?") for a in answers]
    assert [a.question_id for a in draw_answers(turned, 1)] == [a.question_id for a in drawn]
    # Of more answers, those that were drawn before come in the same order.
    first = [a for a in drawn if a in answers[:20]]
    assert draw_answers(answers[:20], 1)[: len(first)] == first


def test_every_answer_and_every_count_is_on_the_page(study, tmp_path):
    answers = study.scored()
    page = written(tmp_path, answers)
    cities = [a for a in answers if a.dataset == "cities"]
    wrong = [a for a in cities if a.wrong]
    hits = f"{sum(a.hit for a in cities)} of {len(cities)} ("
    assert f"{len(wrong)} + {len(cities) - len(wrong)}" in page and hits in page
    assert all(f"Where is {a.question_id}? Name it." in page for a in answers)
    assert page.count("It is Peru, <mark>Peru</mark>.") == len(answers) + 10
    assert "All answers on invented are wrong" in page
    assert "also occur earlier in the response" in page, "of two places the command finds the first"
    assert "http:" not in page and "https:" not in page


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a & b",
        "'; rm -rf ~; echo '",
        '"$HOME" `id`',
        "two\nlines",
        "--model",
        "naïve 東京 &amp;",
    ],
)
def test_texts_are_quoted_for_the_page_and_for_the_shell(text, tmp_path):
    one = answer(prompt=text, response=f"{text}<b>{text}</b>", gold=text, start=len(text) + 3, end=2 * len(text) + 3)
    page = written(tmp_path, [one])
    assert "<script>alert" not in page and "<b></b>" not in page and "<b>" + text not in page
    words = shlex.split(command_to_detect(one, "results/a study/m"))
    assert words[:4] == [".venv/bin/hneurons", "detect", "--model", "results/a study/m/checkpoint"]
    assert words[4:] == [
        "--neurons",
        "results/a study/m/published",
        "--question",
        text,
        "--response",
        one.response,
        "--answer",
        text,
    ]


def test_without_log_probabilities_or_a_combined_detector_their_columns_are_left_out(study, tmp_path):
    assert {"p, combined", "mean log p"} <= set(answers_grid(study.scored()).columns)
    alone = study.scored(combined=None)
    assert "p, combined" not in answers_grid(alone).columns and all(np.isnan(a.combined_logit) for a in alone)
    served = study.examples["cities"].assign(answer_logprob=np.nan, answer_logprob_min=np.nan)
    answers = [a for a in study.scored(cities=served) if a.dataset == "cities"]
    assert not {"p, combined", "mean log p"} & set(answers_grid(answers).columns)
    page = written(tmp_path, answers)
    assert "nan" not in page.lower().replace("name", "").split("<script>")[0].split("</style>")[1]
    assert [a.logit for a in answers] == [a.logit for a in alone if a.dataset == "cities"]


def test_a_set_with_too_few_examples_is_a_row_with_a_note(study, tmp_path):
    answers = study.scored(invented=study.examples["invented"].iloc[:0])
    assert {a.dataset for a in answers} == {"cities"}
    counts = {"cities": COUNTS, "invented": {**COUNTS, "too_few": "invented: too few consistent questions"}}
    grid = summary_grid(answers, counts)
    assert [cell.text for cell in grid.rows[1]] == [
        "invented",
        "0 + 0",
        "0",
        "0",
        "",
        "",
        "",
        "rules",
        "invented: too few consistent questions",
    ]
    assert "too few consistent questions" in written(tmp_path, answers, counts)


def test_thousands_of_answers_make_one_page(tmp_path):
    answers = [answer(question_id=f"q{i}", logit=i / 1000 - 2) for i in range(5000)]
    page = written(tmp_path, answers)
    assert page.count("<tr>") == 5000 + 3 and len(page) < 4_000_000
    assert json.dumps("5000 in all")[1:-1] in page
