from __future__ import annotations

from tests.real.conftest import manifest  # noqa: F401 - a fixture
