"""The demo's model, fetched once for all tests of a run."""

from __future__ import annotations

import pytest

from hneurons.config.models import load_models
from hneurons.generation.engine import LocalEngine
from hneurons.models.prepare import prepare
from hneurons.models.prepared import PreparedModel
from tests.paths import ROOT
from tests.wheel import wheel_of

NAME = "smollm2-135m-instruct"


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    settings = load_models(ROOT / "config/models.yaml")[NAME]
    folder = tmp_path_factory.mktemp("smollm2")
    prepare(NAME, settings, folder / "manifest.json", wheel_of(settings, folder))
    return folder / "manifest.json"


@pytest.fixture(scope="session")
def prepared(manifest):
    return PreparedModel(manifest)


@pytest.fixture(scope="session")
def real(prepared):
    return prepared.model, prepared.tokenizer


@pytest.fixture(scope="session")
def here(prepared):
    """The engine in this process."""
    return LocalEngine(prepared, 2048)
