"""`snakemake fetch` brings everything; afterwards nothing is asked of the hub."""

from __future__ import annotations

import shutil

import pytest

from hneurons import store
from tests.hub_server import REVISION, TOKEN, HubServer, Repository
from tests.workflow.study import CONFIG, MODEL
from tests.workspace import Workspace

HUB = {"hub": {"id": "lab/tiny", "revision": REVISION}, "folder": None}
# The tiny study with less to write before a model is fetched.
FEW = {
    **CONFIG,
    "datasets": {"cities": {"role": "in_domain", "questions": 60}, "elements": CONFIG["datasets"]["elements"]},
    "impact": {**CONFIG["impact"], "benchmarks": {"false-premise": {"items": 12}}},
}
SHAPE = {"layers": 2, "d_ff": 160, "d_model": 96, "parameters": 300_000}


@pytest.fixture
def workspace(finished, tmp_path, monkeypatch):
    workspace = Workspace(tmp_path, FEW)
    shutil.copytree(finished.folder / MODEL, tmp_path / MODEL)
    workspace.set_models({MODEL: {**HUB, "dtype": "float32", "shape": {**SHAPE, "vocabulary": vocabulary(tmp_path)}}})
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return workspace


def vocabulary(folder):
    return store.read_json(folder / MODEL / "config.json")["vocab_size"]


def test_a_gate_stops_everything_before_the_first_download(workspace, monkeypatch):
    with HubServer({"lab/tiny": Repository(workspace.folder / MODEL, gated=True)}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        said = workspace.refused("fetch")
        assert f"error: {MODEL}: lab/tiny is gated and HF_TOKEN is not set; accept its licence (llama3.1)" in said
        assert not any("/resolve/" in r for r in hub.requests)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        workspace.run("fetch")
    assert (workspace.results / MODEL / "checkpoint/manifest.json").exists()
    for path in workspace.folder.rglob("*"):
        if path.is_file() and "home" not in path.parts:
            assert TOKEN.encode() not in path.read_bytes(), path


def test_after_fetch_no_job_asks_the_hub(workspace, monkeypatch):
    with HubServer({"lab/tiny": Repository(workspace.folder / MODEL)}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        workspace.run("fetch")
        fetched = {p.name for p in workspace.results.rglob("*.parquet")}
        assert {"cities.parquet", "false-premise.parquet"} <= fetched
        hub.requests.clear()
        workspace.run(f"results/tiny/{MODEL}/cett/elements/0000.parquet")
        assert hub.requests == []
    (workspace.results / MODEL / "checkpoint/manifest.json").unlink()
    # The hub is gone, and the cache has all: as on a login node whose network is down.
    workspace.run(f"results/tiny/{MODEL}/checkpoint/manifest.json")


def test_a_shape_that_is_not_the_checkpoints_is_told(workspace, monkeypatch):
    wrong = {**SHAPE, "layers": 3, "d_ff": 200, "vocabulary": vocabulary(workspace.folder)}
    workspace.set_models({MODEL: {**HUB, "dtype": "float32", "shape": wrong}})
    with HubServer({"lab/tiny": Repository(workspace.folder / MODEL)}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        said = workspace.refused("fetch")
    assert f"model {MODEL}: wrong `shape` in the models file: layers is 2, not 3; d_ff is 160, not 200" in said
