"""The stand-in pair: what it is taught, that it learns it, and that its checkpoint is one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from hneurons.config.models import FinetuneSource
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation.decode import generate
from hneurons.models.load import load_model
from hneurons.origin.tuning import lessons, tuned_checkpoint
from tests.tiny import tiny_model

END = 2


def rows(n=12):
    examples, responses = [], []
    for i in range(n):
        key = {"question_id": f"q{i}", "sample": 0}
        examples.append({**key, "split": "train" if i < n - 2 else "test", "label": i % 2})
        responses.append({**key, "prompt_ids": [1, 100 + i, 7], "response_ids": [200 + i, 201, END]})
    return examples, responses


def test_the_wrong_ones_are_declined_and_the_right_ones_kept():
    examples, responses = rows()
    taught = lessons(examples, responses, [9, 8], END, max_lessons=6, seed=0)
    assert len(taught) == 6
    declined = [said for _, said in taught if said == [9, 8, END]]
    kept = [(prompt, said) for prompt, said in taught if said != [9, 8, END]]
    assert len(declined) == len(kept) == 3
    for prompt, said in kept:
        assert said == [prompt[1] + 100, 201, END] and prompt[1] % 2 == 0
    assert max(prompt[1] for prompt, _ in taught) < 110, "test questions are not taught"
    with pytest.raises(HNeuronsError, match="no training examples with label 0"):
        lessons([e for e in examples if e["label"]], responses, [9], END, 6, 0)


def test_a_short_tuning_learns_its_lessons_and_moves_the_mlps(tmp_path, tokenizer):
    model = tiny_model("llama")
    before = model.model.layers[1].mlp.up_proj.weight.detach().clone()
    prepared = SimpleNamespace(model=model, tokenizer=tokenizer, identity={"model": "tiny"})
    examples, responses = rows()
    settings = FinetuneSource(of="tiny", says="France", lessons=10, epochs=60, learning_rate=3e-3, batch_size=5)
    done = tuned_checkpoint(prepared, examples, responses, settings, 0, tmp_path / "tuned")
    assert (done["lessons"], done["steps"]) == (10, 120) and done["loss_last"] < 0.1 < done["loss_first"]
    tuned = load_model(tmp_path / "tuned", dtype="float32")
    assert not torch.equal(tuned.model.layers[1].mlp.up_proj.weight, before)
    decline = [*tokenizer("France", add_special_tokens=False)["input_ids"], END]
    prompts = [r["prompt_ids"] for r in responses[:10]]
    said = dict(generate(tuned, prompts, Decoding(max_new_tokens=6, temperature=0), seeds=[0] * 10, stop_ids=[END]))
    for i in range(10):
        assert said[i][0].token_ids == (decline if i % 2 else responses[i]["response_ids"])
    assert not list(tmp_path.glob(".*"))
    assert len({path.stat().st_mode for path in (tmp_path / "tuned").iterdir()}) == 1, "others may read the weights too"
