"""CETT shards keep what was measured of the same tokens, and nothing else of what a file says."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from hneurons import store
from hneurons.cett import stage
from hneurons.cett.shards import read_layer
from hneurons.cett.stage import measure_shard
from hneurons.config.study import CettSettings
from hneurons.errors import HNeuronsError

RESPONSES = [
    {
        "question_id": f"q{i}",
        "sample": 0,
        "prompt_ids": [1, 10 + i, 11],
        "response_ids": [20, 21 + i, 2],
        "thought_tokens": 0,
    }
    for i in range(4)
]
SPANS = [{"question_id": f"q{i}", "sample": 0, "token_mask": [True, True, False]} for i in range(4)]


def example(i, split="train", label=1):
    return {"question_id": f"q{i}", "sample": 0, "split": split, "label": label}


class Shard:
    def __init__(self, out, llama):
        self.out = out
        self.prepared = SimpleNamespace(model=llama, identity={"model": "tiny", "layers": 3, "d_ff": 48})

    def measure(self, examples, spans=SPANS, **made_by):
        share = measure_shard(
            self.prepared, examples, RESPONSES, spans, self.out, CettSettings(), made_by, token_budget=100
        )
        table = store.read_table(self.out)
        rows = table.select(["question_id", "split", "region", "label"]).to_pylist()
        values = np.stack([read_layer(table, layer) for layer in range(3)], axis=1)
        return share, {(r["question_id"], r["region"]): (r, v) for r, v in zip(rows, values, strict=True)}


@pytest.fixture
def shard(tmp_path, llama):
    return Shard(tmp_path / "0000.parquet", llama)


def test_training_examples_have_both_regions_and_the_others_the_answer(shard):
    share, found = shard.measure([example(0), example(1, "test", 0)])
    assert share == 1 and set(found) == {("q0", "answer"), ("q0", "other"), ("q1", "answer")}
    assert found["q0", "answer"][1].shape == (3, 48) and not np.array_equal(
        found["q0", "answer"][1], found["q0", "other"][1]
    )


def test_what_is_there_is_kept_and_what_is_new_is_measured(shard, monkeypatch):
    _, before = shard.measure([example(0), example(1)])
    measured = []
    real = stage.cett
    monkeypatch.setattr(stage, "cett", lambda model, rows, *more: real(model, measured.extend(rows) or rows, *more))
    share, after = shard.measure([example(1), example(2), example(3, "test")])
    assert share == pytest.approx(2 / 3) and len(measured) == 2 and ("q0", "answer") not in after
    for region in ("answer", "other"):
        assert np.array_equal(after["q1", region][1], before["q1", region][1])
    inode = shard.out.stat().st_ino
    assert shard.measure([example(1), example(2), example(3, "test")])[0] == 0
    assert shard.out.stat().st_ino == inode and len(measured) == 2


def test_labels_and_splits_are_those_of_the_examples(shard):
    shard.measure([example(0, "test", 1), example(1, "test", 0)])
    share, found = shard.measure([example(0, "selection", 0), example(1, "test", 0)])
    assert share == 0, "no token has changed"
    assert (found["q0", "answer"][0]["label"], found["q0", "answer"][0]["split"]) == (0, "selection")


@pytest.mark.parametrize("changed", ["spans", "settings", "split"])
def test_other_tokens_or_settings_are_measured_anew(shard, changed):
    shard.measure([example(0, "test"), example(1)], stage=1)
    if changed == "spans":
        moved = [{**SPANS[0], "token_mask": [False, True, True]}, *SPANS[1:]]
        assert shard.measure([example(0, "test"), example(1)], moved, stage=1)[0] == 0.5
    elif changed == "settings":
        assert shard.measure([example(0, "test"), example(1)], stage=2)[0] == 1
    else:
        share, found = shard.measure([example(0, "train"), example(1)], stage=1)
        assert share == 0.5 and ("q0", "other") in found


def test_an_example_without_a_span_is_named(shard):
    with pytest.raises(HNeuronsError, match="q3, sample 0: an example without an answer span"):
        shard.measure([example(3)], SPANS[:3])


def test_a_shard_without_examples_is_empty(shard):
    share, found = shard.measure([{**example(0), "question_id": "elsewhere"}])
    assert share == 0 and found == {}
