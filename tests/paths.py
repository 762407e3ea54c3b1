"""Where things are; data of others that tests may read stand beside the project, where they stand at all."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
FIXTURES = ROOT / "tests/fixtures"


def shared(path: str) -> Path:
    """A file or folder beside the project; the test that asks for it is skipped where it is not there."""
    if not (SHARED / path).exists():
        pytest.skip(f"needs {SHARED / path}, real data that is no part of the project")
    return SHARED / path


def json_lines(path: Path) -> list[Any]:
    with open(path, encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]
