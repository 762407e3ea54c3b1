"""Fetching from a hub that gates, misses, and is larger than the disk; each is told in one line, before any download."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from hneurons import store
from tests.hub_server import REVISION, TOKEN, HubServer, Repository

ASK = """
import json, sys
from hneurons.errors import HNeuronsError
from hneurons.models.hub import check_access, fetch_snapshot, is_complete_checkpoint
from hneurons.config.base import HubSource
from pathlib import Path
try:
    print(json.dumps(check_access(json.loads(sys.argv[1]))))
    if len(sys.argv) > 2:
        print(fetch_snapshot(sys.argv[2], json.loads(sys.argv[1])["m"]["revision"]))
except HNeuronsError as error:
    sys.exit(f"error: {error}")
"""


@pytest.fixture
def checkpoint(tmp_path, llama, tokenizer):
    llama.save_pretrained(tmp_path / "files")
    tokenizer.save_pretrained(tmp_path / "files")
    (tmp_path / "files/consolidated.safetensors").write_bytes(b"the weights a second time")
    (tmp_path / "files/pytorch_model.bin").write_bytes(b"pickled")
    return tmp_path / "files"


class Asked:
    """Ask a hub, in a process of its own as the client reads its settings once."""

    def __init__(self, home, server):
        self.environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": server.url}
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
            self.environment.pop(name, None)

    def __call__(self, hubs, fetch=(), **environment):
        hubs = {name: {"revision": REVISION, "remote_code": False, **hub} for name, hub in hubs.items()}
        command = [sys.executable, "-c", ASK, json.dumps(hubs), *fetch]
        done = subprocess.run(command, env=self.environment | environment, capture_output=True, text=True)
        self.said = done.stderr
        return done.stdout.splitlines() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def test_every_model_that_cannot_be_had_is_named_with_its_licence(tmp_path, checkpoint):
    gated = Repository(checkpoint, gated=True)
    with HubServer({"meta/Llama": gated, "google/gemma": Repository(checkpoint, gated=True, licence="gemma")}) as hub:
        ask = Asked(tmp_path / "home", hub)
        hubs = {"m": {"id": "meta/Llama"}, "g": {"id": "google/gemma"}, "x": {"id": "no/such"}}
        said = ask(hubs)
        assert "m: meta/Llama is gated and HF_TOKEN is not set; accept its licence (llama3.1) at " in said
        assert f"g: google/gemma is gated and HF_TOKEN is not set; accept its licence (gemma) at {hub.url}" in said
        assert "x: no/such does not exist, or it is private and HF_TOKEN is not set" in said
        assert "your token has no access" in ask(hubs, HF_TOKEN="hf_another")
        assert not any("/resolve/" in request for request in hub.requests), "nothing was downloaded"
        old = ask({"m": {"id": "meta/Llama", "revision": "b" * 40}}, HF_TOKEN=TOKEN)
        assert old == "error: m: meta/Llama has no such revision: correct it where it is named"
        assert TOKEN not in old + said


def test_room_is_looked_for_before_the_first_download(tmp_path, checkpoint):
    with HubServer({"a/huge": Repository(checkpoint, claimed=10**17)}) as hub:
        said = Asked(tmp_path / "home", hub)({"m": {"id": "a/huge"}})
    assert "100000000.0 GB needed" in said and "set HF_HOME to a folder on a larger disk" in said


def test_what_is_there_is_not_asked_for(tmp_path, checkpoint):
    with HubServer({"a/b": Repository(checkpoint)}) as hub:
        ask = Asked(tmp_path / "home", hub)
        found = ask({"m": {"id": "a/b"}}, ["a/b"])
        assert isinstance(found, list), ask.said
        first, folder = found
        wanted = sum(
            f.stat().st_size
            for f in checkpoint.iterdir()
            if f.name not in ("consolidated.safetensors", "pytorch_model.bin")
        )
        assert json.loads(first)["fetch_bytes"] == {"m": wanted}
        there = {f.name for f in os.scandir(folder)}
        assert "model.safetensors" in there and not {"consolidated.safetensors", "pytorch_model.bin"} & there
        hub.requests.clear()
        again = ask({"m": {"id": "a/b"}})
        assert json.loads(again[0])["fetch_bytes"] == {} and not hub.requests
    # On a compute node: no hub, and told not to look for one.
    assert ask({"m": {"id": "a/b"}}, ["a/b"], HF_HUB_OFFLINE="1")[1] == folder


def test_a_checkpoint_that_lacks_a_file_of_its_index_is_not_whole(tmp_path, checkpoint):
    from hneurons.models.hub import is_complete_checkpoint

    assert is_complete_checkpoint(checkpoint)
    store.write_json(
        checkpoint / "model.safetensors.index.json", {"weight_map": {"a": "model.safetensors", "b": "two.safetensors"}}
    )
    assert not is_complete_checkpoint(checkpoint)
