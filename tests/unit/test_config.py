"""A wrong configuration is told in one line that names the key and what is allowed."""

from __future__ import annotations

import copy
import re

import pytest
import yaml

from hneurons.config.base import SLUG
from hneurons.config.behaviours import (
    GENERATED_BEHAVIOURS,
    ITEM_VERSIONS,
    PUBLISHED_BEHAVIOURS,
    TEST_QUESTIONS,
    WORDINGS,
    BenchmarkSettings,
)
from hneurons.config.datasets import GENERATED_SETS, PUBLISHED_SETS
from hneurons.config.models import load_models
from hneurons.config.setup import parse_study
from hneurons.data.catalogue import GENERATED, PUBLISHED
from hneurons.errors import HNeuronsError
from hneurons.impact.benchmarks import BENCHMARKS as BENCHMARK_CODE
from hneurons.impact.benchmarks.faitheval import FAITHEVAL_PROMPTS
from tests.paths import ROOT


def demo():
    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    config |= {"models_file": str(ROOT / "config/models.yaml"), "cluster_file": str(ROOT / "config/cluster.yaml")}
    return config


def with_value(path, value):
    config = copy.deepcopy(demo())
    *parents, last = path.split("/")
    at = config
    for key in parents:
        at = at[key]
    at[last] = value
    return config


def test_the_demo_is_valid():
    setup = parse_study(demo())
    study = setup.study
    assert study.in_domain == "cities"
    assert study.shards("cities") == ["0000", "0001"]
    assert set(setup.models) == {"smollm2-135m-instruct", "smollm2-135m-unsure"}
    assert setup.partners == {"smollm2-135m-instruct": "smollm2-135m-unsure"} and setup.is_tuned("smollm2-135m-unsure")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("models", ["smollm3"], ["models: unknown model 'smollm3'", "smollm2-135m-instruct"]),
        ("models", ["../../etc"], ["models.0", "pattern"]),
        ("study", "a/b", ["study", "pattern"]),
        ("impact/alphas", [0, -1], ["impact.alphas.1", "greater than or equal to 0", "-1"]),
        ("impact/alphas", [0, "much"], ["impact.alphas.1", "valid number", "much"]),
        ("impact/alphas", [0, 0.0], ["impact.alphas", "once"]),
        ("impact/alphas", [0, float("inf")], ["impact.alphas.1", "finite"]),
        ("probe/C", [], ["probe.C", "at least 1"]),
        ("probe/C", [0], ["probe.C.0", "greater than 0"]),
        ("datasets/citys", {"role": "transfer", "questions": 5}, ["citys", "'cities'"]),
        ("datasets/cities/role", "transfer", ["datasets", "at least one must have role in_domain"]),
        ("impact/benchmarks/falsqa", {"items": 5}, ["falsqa", "'falseqa'"]),
        (
            "impact/benchmarks/false-premise",
            {"items": 5, "wording": "published"},
            ["false-premise.wording", "one wording only"],
        ),
        (
            "impact/benchmarks/faitheval",
            {"items": 5, "wording": "kind"},
            ["faitheval.wording: 'kind' is unknown", "supported-option, published, counterfactual-resistant"],
        ),
        ("judges", {"jailbreak": "llm-graded"}, ["judges: jailbreak needs the LLM judge"]),
        ("judges", {"falseqa": "llm-graded"}, ["judges.falseqa", "'rules' or 'llm'"]),
        ("judges", {"correctness": "llm"}, ["judges: correctness needs the LLM judge: describe it under judges.llm"]),
        ("judges", {"correctness": "gpt"}, ["judges.correctness", "'rules' or 'llm'"]),
        ("judges", {"llm": {"model": "m"}}, ["judges.llm.max_judge_calls: Field required"]),
        ("judges", {"llm": {"max_judge_calls": 1, "api_key": "sk-1"}}, ["judges.llm.api_key: unknown key", "api_key_env"]),
        (
            "judges",
            {"llm": {"max_judge_calls": 1, "api_key_env": "sk-proj-1"}},
            ["judges.llm.api_key_env: String should match"],
        ),
        ("sources", {"bioasq": {"id": "a/b", "revision": "main", "path": "x"}}, ["sources.bioasq.revision"]),
        (
            "datasets/nq-open",
            {"role": "transfer", "questions": 5, "part": "test"},
            ["nq-open.part", "'train' or 'validation'"],
        ),
        ("sampling/decoding/top_q", 1, ["sampling.decoding.top_q: unknown key", "top_p"]),
        ("impact/alphas", [1, 0.00001], ["impact.alphas", "cannot be a file name"]),
        ("datasets/elements/faithful", "correct_answers", ["datasets.elements", "nonexist only"]),
        ("seed", -1, ["seed", "greater than or equal to 0"]),
        ("promts", 1, ["promts: unknown key", "sampling"]),
        ("splits", {"train": 0.7, "selection": 0.3}, ["splits", "test split"]),
        ("models_file", "nowhere.yaml", ["models_file: nowhere.yaml does not exist"]),
    ],
)
def test_a_wrong_value_is_told_in_one_line(path, value, says):
    with pytest.raises(HNeuronsError) as caught:
        parse_study(with_value(path, value))
    message = str(caught.value)
    assert "\n" not in message
    for part in says:
        assert part in message
    assert "sk-proj" not in message, "a key that was put in the wrong place is not printed"


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"m": {"folder": "x", "hub": {"id": "a/b", "revision": "0" * 40}}}, "exactly one source"),
        ({"m": {"hub": {"id": "a/b", "revision": "main"}}}, "hub.revision"),
        ({"m": {"folder": "x", "dtype": "int4"}}, "dtype"),
        ({"m": {"folder": "x", "pickle": True}}, "pickle: unknown key"),
        ({"../m": {"folder": "x"}}, "model name '../m'"),
    ],
)
def test_a_wrong_model_is_named(tmp_path, entry, says):
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(entry))
    with pytest.raises(HNeuronsError, match=re.escape(says)):
        load_models(tmp_path / "models.yaml")


def test_remote_code_is_off_unless_asked_for(tmp_path):
    (tmp_path / "models.yaml").write_text("m: {folder: x}\n")
    assert load_models(tmp_path / "models.yaml")["m"].trust_remote_code is False


@pytest.mark.parametrize("name", ["..", "a/b", "a b", "-a", "a-", "A", "", "a..b", "a\n"])
def test_slugs_cannot_leave_their_folder(name):
    assert not re.fullmatch(SLUG, name)


def test_the_names_in_the_configuration_are_those_that_exist():
    assert set(GENERATED) == GENERATED_SETS and set(PUBLISHED) == PUBLISHED_SETS
    assert PUBLISHED_BEHAVIOURS | GENERATED_BEHAVIOURS | {TEST_QUESTIONS} == set(BENCHMARK_CODE)
    assert {"faitheval": tuple(FAITHEVAL_PROMPTS)} == WORDINGS and set(ITEM_VERSIONS) <= set(BENCHMARK_CODE)


def test_a_wording_that_is_not_set_leaves_the_params_of_finished_items_as_they_were():
    assert BenchmarkSettings(items=5).as_param() == {"items": 5, "max_new_tokens": None}
    set_to = BenchmarkSettings(items=5, max_new_tokens=8, wording="published").as_param()
    assert set_to == {"items": 5, "max_new_tokens": 8, "wording": "published"}
    assert BenchmarkSettings(**set_to).as_param() == set_to
