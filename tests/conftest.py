from __future__ import annotations

import pytest
import torch

from tests.paths import ROOT
from tests.small_demo import make_small_demo
from tests.tiny import ARCHITECTURES, byte_level_tokenizer, tiny_model

# What takes long comes first, so that all processes end together. The tests of SLURM mostly wait for its controller, and
# the reduced demo is made while the others test.
_ORDER = ("slurm", "docs/test_commands.py", "workflow", "real", "docs", "browser", "unit", "fuzz")


def pytest_collection_modifyitems(items):
    def place(item):
        path = item.path.relative_to(ROOT / "tests").as_posix()
        return next((i for i, name in enumerate(_ORDER) if path.startswith(name)), len(_ORDER))

    items.sort(key=place)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    # Tests run side by side, and threads of two processes on two cores wait for each other.
    torch.set_num_threads(1)


@pytest.fixture(params=ARCHITECTURES, scope="session")
def any_model(request):
    return tiny_model(request.param)


@pytest.fixture(scope="session")
def llama():
    return tiny_model("llama")


@pytest.fixture(scope="session")
def tokenizer():
    return byte_level_tokenizer(["The city of Lyon is located in France. São Paulo, Brasília, 東京 and 20 °C."])


@pytest.fixture(scope="session")
def small_demo():
    """The reduced demo, finished, on the demo's real model: for what a user sees."""
    make_small_demo()
