from __future__ import annotations

import pytest

from tests.workflow.study import tiny_study


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The tiny study, run to its end once for all tests."""
    workspace = tiny_study(tmp_path_factory.mktemp("study"))
    workspace.run()
    return workspace


@pytest.fixture(scope="module")
def workspace(finished, tmp_path_factory):
    """A copy of the finished study for the tests of a module."""
    return finished.copied_to(tmp_path_factory.mktemp("copy"))
