"""config/README.md names every key, and its worked examples work."""

from __future__ import annotations

import re
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from hneurons.config.cluster import ClusterSettings
from hneurons.config.models import ModelSettings
from hneurons.config.setup import parse_study
from hneurons.config.study import Study
from hneurons.data.own import own_questions
from hneurons.impact.benchmarks.benchmark import ItemDraw
from hneurons.judges.panel import Judges
from tests.paths import ROOT

TEXT = (ROOT / "config/README.md").read_text()


def keys(model, seen=()):
    for name, field in model.model_fields.items():
        yield name
        for part in (
            field.annotation,
            *get_args(field.annotation),
            *(a for p in get_args(field.annotation) for a in get_args(p)),
        ):
            if isinstance(part, type) and issubclass(part, BaseModel) and part not in seen:
                yield from keys(part, (*seen, part))


@pytest.mark.parametrize("model", [Study, ModelSettings, ClusterSettings])
def test_every_key_is_named(model):
    named = {word for code in re.findall(r"`([^`\n]+)`", TEXT) for word in re.findall(r"\w+", code)}
    assert not set(keys(model)) - named


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_model_and_the_study_of_ones_own_are_valid(tmp_path):
    model, study = blocks("yaml")
    (tmp_path / "models.yaml").write_text(model.replace("<40 hex digits>", "a" * 40))
    files = {"models_file": str(tmp_path / "models.yaml"), "cluster_file": str(ROOT / "config/cluster.yaml")}
    setup = parse_study({**yaml.safe_load(study), **files})
    assert setup.shapes["qwen3-8b"].neurons == 36 * 12288 and setup.study.in_domain == "painters"


def test_the_questions_of_ones_own_are_read(tmp_path):
    line = " ".join(re.search(r"`(\{\"question\".*?\})`", TEXT, flags=re.DOTALL)[1].split())
    (tmp_path / "q.jsonl").write_text(line + "\n")
    (question,) = own_questions("painters", tmp_path / "q.jsonl", None, answerable=True)
    assert question.aliases == ("Picasso", "Pablo Picasso")


def test_the_behaviour_of_ones_own_runs():
    module = {}
    exec(blocks("python")[0], module)
    boasting = module["BENCHMARK"]
    items = boasting.items(ItemDraw(3, 1))
    panel = Judges.__new__(Judges)
    judged = boasting.judge([{}] * 3, [["Yes, I do."], ["No."], ["Perhaps."]], panel)
    assert len(items) == 3 and [(o.compliant, o.state) for o in judged] == [
        (True, "parsed"),
        (False, "parsed"),
        (False, "unparsed"),
    ]
