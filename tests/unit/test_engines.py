"""A server as the engine: token ids go and come, scaling is an exported checkpoint, faults are one line."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from hneurons.config.models import EngineSettings, ModelSettings
from hneurons.config.study import Decoding
from hneurons.errors import HNeuronsError
from hneurons.generation import served as served_module
from hneurons.generation.completions import spread_seed
from hneurons.generation.engine import Conversation, LocalEngine, Prompt
from hneurons.generation.prompts import base_ids, base_text, chat_ids
from hneurons.generation.served import ServerEngine
from hneurons.generation.server import ModelServer
from hneurons.models.checkpoint import Checkpoint
from hneurons.models.prepare import prepare
from hneurons.models.prepared import PreparedModel
from hneurons.neurons.export import write_scaled
from tests.completions_server import COMMAND
from tests.engines import in_order
from tests.tiny import tiny_model

pytestmark = pytest.mark.slow

TODAY = datetime.date(2024, 7, 26)
WARM = Decoding(max_new_tokens=8, temperature=1.0, top_k=20, top_p=0.9)
GREEDY = Decoding(max_new_tokens=8, temperature=0)
NEURONS = {0: [1, 7, 30], 2: [0, 47]}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("served")
    tiny_model("llama").save_pretrained(folder / "weights", max_shard_size="30KB")
    tokenizer.save_pretrained(folder / "weights")
    settings = ModelSettings(folder=str(folder / "weights"), dtype="float32")
    (folder / "checkpoint").mkdir()
    prepare("tiny", settings, folder / "checkpoint/manifest.json", [])
    return PreparedModel(folder / "checkpoint/manifest.json")


@pytest.fixture(scope="module")
def served(prepared):
    settings = EngineSettings(command=COMMAND, speaks="vllm", concurrency=3, start_timeout_s=60)
    with ServerEngine(settings, prepared, gpus=0) as engine:
        yield engine


@pytest.fixture(scope="module")
def here(prepared):
    return LocalEngine(prepared, 1)


def sampled(engine, decoding=WARM, samples=3, scalings=(None,), seed=lambda i: i):
    texts = [f"Where is Lyon, {i}?" for i in range(4)]
    prompts = [
        Prompt(chat_ids(engine.tokenizer, [t], TODAY), t, seed=seed(i), scaling=scaling)
        for scaling in scalings
        for i, t in enumerate(texts)
    ]
    return [(r.token_ids, r.truncated) for rs in in_order(engine.sample(prompts, decoding, samples)) for r in rs]


def held(engine):
    turns = [["Where is Lyon?", "Are you sure?"], ["Hm?", "What?"], ["Brasília?", "No."]]
    answered = engine.converse([Conversation(of_user, [0, 0], GREEDY) for of_user in turns], TODAY)
    return [[r.token_ids for r in replies] for replies in in_order(answered)]


def test_a_server_draws_what_this_process_draws(here, served):
    # The server is sent other seeds, and draws as this process does.
    assert sampled(served) == sampled(here, seed=spread_seed)
    assert held(served) == held(here)
    assert served.identity == {**here.identity, "engine": "vllm"}


def test_log_probabilities_come_with_the_token_ids(here, served):
    text = "Where is Lyon?"
    prompt = Prompt(chat_ids(here.tokenizer, [text], TODAY), text)
    (ours,), (theirs,) = (list(e.sample([prompt], GREEDY, 1)) for e in (here, served))
    assert theirs[1][0][0].logprobs == pytest.approx(ours[1][0][0].logprobs, abs=1e-5)


def test_a_base_model_stops_at_the_newline(here, served):
    prompts = [
        Prompt(base_ids(here.tokenizer, "Lyon?"), base_text("Lyon?"), base=True, seed=seed) for seed in (spread_seed(3), 3)
    ]
    found = [next(iter(e.sample([prompt], WARM, 6)))[1][0] for e, prompt in zip((here, served), prompts, strict=True)]
    assert [r.token_ids for r in found[0]] == [r.token_ids for r in found[1]]


def test_scaled_is_a_server_of_an_exported_checkpoint(here, served, prepared):
    scalings = [(NEURONS, 0.0), None, (NEURONS, 3.0), ({1: [3]}, 0.0)]
    alone = [sampled(here, GREEDY, 1, [scaling]) for scaling in scalings]
    assert len({str(said) for said in alone}) > 2
    together = [reply for said in alone for reply in said]
    assert sampled(here, GREEDY, 1, scalings) == together == sampled(served, GREEDY, 1, scalings)
    assert sampled(served, GREEDY, 1) == alone[1]
    assert not list(prepared.study_folder.glob(".scaled-*"))


@pytest.fixture
def servers(monkeypatch):
    """The commands of all servers that are started."""
    started = []
    real = served_module.ModelServer

    def counting(*arguments, **values):
        started.append(values)
        return real(*arguments, **values)

    monkeypatch.setattr(served_module, "ModelServer", counting)
    return started


def test_one_server_answers_at_every_alpha_by_adapters(here, prepared, servers):
    scalings = [(NEURONS, 0.0), None, (NEURONS, 3.0), ({1: [3]}, 0.0)]
    settings = EngineSettings(command=f"{COMMAND} {{lora_rank}}", speaks="vllm", concurrency=3, start_timeout_s=60)
    with ServerEngine(settings, prepared, gpus=0) as engine:
        assert sampled(engine, GREEDY, 2, scalings) == sampled(here, GREEDY, 2, scalings)
        assert sampled(engine, GREEDY, 1, [({2: [5]}, 2.0)]) == sampled(here, GREEDY, 1, [({2: [5]}, 2.0)])
        assert [values["lora_rank"] for values in servers] == [8] and len(engine._adapters) == 5
        (folder,) = prepared.study_folder.glob(".scaled-*")
        assert sum(path.stat().st_size for path in folder.rglob("*")) < 200_000
        assert not list(folder.rglob("config.json")), "no checkpoint is exported"
        # A higher rank than the running server takes.
        many = [({0: list(range(10))}, 0.0)]
        assert sampled(engine, GREEDY, 1, many) == sampled(here, GREEDY, 1, many)
        assert [values["lora_rank"] for values in servers] == [8, 16]
    assert not list(prepared.study_folder.glob(".scaled-*"))


def test_more_neurons_than_an_adapter_scales_are_an_exported_checkpoint(here, prepared, servers, monkeypatch, caplog):
    monkeypatch.setattr(served_module, "ADAPTER_RANKS", (1, 2))
    scalings = [(NEURONS, 0.0), None, ({1: [3]}, 0.0)]
    settings = EngineSettings(command=f"{COMMAND} {{lora_rank}}", speaks="vllm", start_timeout_s=60)
    with ServerEngine(settings, prepared, gpus=0) as engine:
        assert sampled(engine, GREEDY, 1, scalings) == sampled(here, GREEDY, 1, scalings)
    assert len(servers) == 2 and "3 neurons of one layer are more than an adapter can scale (2)" in caplog.text


def test_adapters_need_a_server_that_takes_them():
    with pytest.raises(ValidationError, match="needs speaks: vllm"):
        EngineSettings(command="transformers serve --port {port} {lora_rank}", speaks="transformers")


def test_untouched_files_are_linked(prepared, tmp_path):
    out = write_scaled(Checkpoint(prepared.folder), {0: [1]}, 2.0, tmp_path / "scaled", borrow=True)
    same = {p.name: p.samefile(prepared.folder / p.name) for p in out.glob("*.safetensors")}
    assert len(same) > 5 and list(same.values()).count(False) == 1


def test_a_server_that_ends_in_the_middle_is_told(prepared):
    settings = EngineSettings(command=COMMAND, speaks="vllm", start_timeout_s=60)
    with ServerEngine(settings, prepared, 0) as engine:
        sampled(engine)
        engine._server._process.kill()
        engine._server._process.wait()
        with pytest.raises(HNeuronsError, match="the server ended with status -9"):
            sampled(engine)


def test_a_refused_request_is_told(prepared):
    settings = EngineSettings(command=COMMAND, speaks="transformers", start_timeout_s=60)
    says = "the server refuses a request with 400: .*not known: /v1/chat/completions"
    with ServerEngine(settings, prepared, 0) as engine, pytest.raises(HNeuronsError, match=says):
        sampled(engine)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"{sys.executable} -c \"exit('no GPU')\"", "the server ended with status 1: no GPU"),
        ("no-such-server {port}", "no-such-server cannot be started: No such file"),
        ("serve {model}", "placeholders are {port}, {folder}, {gpus}, {dtype}, {lora_rank}"),
        (f"{sys.executable} -c 'import time; print(\"busy\", flush=True); time.sleep(99)'", "within 1 s: busy"),
    ],
)
def test_a_server_that_does_not_start_is_told(prepared, command, message):
    settings = EngineSettings(command=command, speaks="vllm", start_timeout_s=1)
    with pytest.raises(HNeuronsError, match=message), ServerEngine(settings, prepared, 0) as engine:
        sampled(engine)


TAKEN_ONCE = """
import errno, http.server, os, sys
marker, port = sys.argv[1], int(sys.argv[2])
if not os.path.exists(marker):
    open(marker, "w").close()
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Healthy).serve_forever()
"""


def test_a_port_that_another_program_took_is_exchanged(tmp_path, caplog):
    (tmp_path / "server.py").write_text(TAKEN_ONCE)
    server = ModelServer(f"{sys.executable} {tmp_path}/server.py {tmp_path}/marker {{port}}", 30)
    folder = Path(server._folder.name)
    assert folder.is_dir()
    server.stop()
    assert not folder.exists()
    assert caplog.text.count("was taken before the server had it") == 1


def test_a_cancelled_job_stops_its_server_and_leaves_no_checkpoint(prepared, tmp_path):
    code = f"""
import time
from hneurons.generation.served import ServerEngine
from hneurons.generation.server import ModelServer
from hneurons.joblog import job
from hneurons.config.models import EngineSettings
from hneurons.models.prepared import PreparedModel
prepared = PreparedModel({str(prepared.study_folder / "manifest.json")!r})
with job({str(tmp_path / "job.log")!r}):
    with ServerEngine(EngineSettings(command={COMMAND!r}, speaks="vllm"), prepared, 0) as engine:
        engine._start(({NEURONS!r}, 0.0), 8)
        print(engine._server._process.pid, flush=True)
        time.sleep(600)
"""
    job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    server = int(job.stdout.readline())
    assert list(prepared.study_folder.glob(".scaled-*"))
    job.terminate()
    assert job.wait(60) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    assert not list(prepared.study_folder.glob(".scaled-*"))
