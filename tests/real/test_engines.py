"""Both engines on the demo's model: in this process, and `transformers serve`, which the job starts and stops."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from hneurons.config.models import EngineSettings
from hneurons.config.study import Decoding
from hneurons.generation.engine import Conversation, LocalEngine, Prompt
from hneurons.generation.prompts import base_ids, base_text, chat_ids
from hneurons.generation.served import ServerEngine
from hneurons.impact.benchmarks import BENCHMARKS
from hneurons.impact.benchmarks.benchmark import ItemDraw
from hneurons.models.prepared import PreparedModel

TODAY = datetime.date(2024, 7, 26)
CITIES = ["Lyon", "Osaka", "Porto", "Bergen", "Nairobi", "Quito", "Hanoi", "Dakar"]
GREEDY = Decoding(max_new_tokens=20, temperature=0)
COMMAND = "transformers serve --host 127.0.0.1 --port {port} --device cpu --dtype float32"
SERVE = EngineSettings(command=COMMAND, speaks="transformers", concurrency=2, start_timeout_s=180)
NEURONS = {0: list(range(0, 1536, 16)), 12: list(range(0, 1536, 8)), 29: list(range(5, 1536, 16))}


@pytest.fixture(scope="module")
def prepared(manifest):
    return PreparedModel(manifest)


@pytest.fixture(scope="module")
def here(prepared):
    return LocalEngine(prepared, 2048)


@pytest.fixture(scope="module")
def served(prepared):
    with ServerEngine(SERVE, prepared, gpus=0) as engine:
        yield engine


def prompts(tokenizer):
    questions = [f"In which country is the city of {city}?" for city in CITIES]
    chat = [Prompt(chat_ids(tokenizer, [q], TODAY), q) for q in questions]
    return [*chat, *(Prompt(base_ids(tokenizer, q), base_text(q), base=True) for q in questions[:2])]


def texts(engine, answered):
    found = {i: rs for batch, answers in answered for i, rs in zip(batch, answers, strict=True)}
    return [[engine.tokenizer.decode(r.token_ids, skip_special_tokens=True) for r in found[i]] for i in sorted(found)]


def sampled(engine, scaling=None):
    asked = [replace(prompt, scaling=scaling) for prompt in prompts(engine.tokenizer)]
    return texts(engine, engine.sample(asked, GREEDY, 1))


def held(engine):
    items = BENCHMARKS["are-you-sure"].items(ItemDraw(3, 1))
    conversations = [Conversation(item.turns, [0] * len(item.turns), GREEDY) for item in items]
    return texts(engine, engine.converse(conversations, TODAY))


def test_the_same_questions_get_the_same_greedy_answers(here, served):
    found = sampled(served)
    # What ends a line is no part of a base model's answer; a server leaves it out.
    assert [[t.rstrip("\n") for t in answers] for answers in found] == [
        [t.rstrip("\n") for t in answers] for answers in sampled(here)
    ]
    assert len({t for answers in found for t in answers}) > 5
    assert held(served) == held(here)


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_an_exported_checkpoint_is_served_as_scaled_columns_answer(here, served, prepared, alpha):
    untouched = sampled(here)[:8]
    expected = sampled(here, (NEURONS, alpha))[:8]
    assert sampled(served, (NEURONS, alpha))[:8] == expected != untouched
    assert sampled(served)[:8] == untouched
    assert not list(prepared.study_folder.glob(".scaled-*")), "the checkpoint is gone with its server"


def test_samples_are_drawn_at_their_seed(served):
    asked = [replace(prompts(served.tokenizer)[0], seed=7)]
    warm = Decoding(max_new_tokens=12, temperature=1.0, top_k=50, top_p=0.9)
    first, again = (texts(served, served.sample(asked, warm, 4)) for _ in range(2))
    assert first == again and len(first[0]) == 4 and len(set(first[0])) > 1
    assert served.identity["engine"] == "transformers"


def test_a_server_does_not_outlive_a_killed_job(prepared, manifest, tmp_path):
    code = (
        "import sys, time\n"
        "from hneurons.generation.server import ModelServer\n"
        f"server = ModelServer({COMMAND!r}, 180)\n"
        "print(server._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(job.stdout.readline())
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("the server is still there")
