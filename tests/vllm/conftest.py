from __future__ import annotations

from tests.real.conftest import here, manifest, prepared  # noqa: F401 - fixtures
