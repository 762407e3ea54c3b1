"""Both engines on the demo's model: in this process, and `transformers serve`, which the job starts and stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from hneurons.config.models import EngineSettings
from hneurons.generation.served import ServerEngine
from tests.engines import NEURONS, WARM, held, prompts, sampled, texts

COMMAND = "transformers serve --host 127.0.0.1 --port {port} --device cpu --dtype float32"
SERVE = EngineSettings(command=COMMAND, speaks="transformers", concurrency=2, start_timeout_s=180)


@pytest.fixture(scope="module")
def served(prepared):
    with ServerEngine(SERVE, prepared, gpus=0) as engine:
        yield engine


def test_the_same_questions_get_the_same_greedy_answers(here, served):
    found = sampled(served)
    # What ends a line is no part of a base model's answer; a server leaves it out.
    assert [[t.rstrip("\n") for t in answers] for answers in found] == [
        [t.rstrip("\n") for t in answers] for answers in sampled(here)
    ]
    assert len({t for answers in found for t in answers}) > 5
    assert held(served) == held(here)


def test_an_exported_checkpoint_is_served_as_scaled_columns_answer(here, served, prepared):
    untouched = sampled(here)[:8]
    for alpha in (0.0, 3.0):
        expected = sampled(here, (NEURONS, alpha))[:8]
        assert sampled(served, (NEURONS, alpha))[:8] == expected != untouched
    assert sampled(served)[:8] == untouched
    assert not list(prepared.study_folder.glob(".scaled-*")), "the checkpoint is gone with its server"


def test_samples_are_drawn_at_their_seed(served):
    asked = [replace(prompts(served.tokenizer)[0], seed=7)]
    first, again = (texts(served, served.sample(asked, WARM, 4)) for _ in range(2))
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
