from __future__ import annotations

import os

import pytest
from filelock import FileLock

from tests.workflow.study import CONFIG, tiny_study
from tests.workspace import Workspace


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The tiny study, run to its end once for all tests, in however many processes they run."""
    shared = tmp_path_factory.getbasetemp()
    folder = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "finished-study"
    with FileLock(f"{folder}.lock"):
        if (folder / "whole").exists():
            return Workspace(folder, CONFIG)
        assert not folder.exists(), "the study failed in another process"
        folder.mkdir()
        workspace = tiny_study(folder)
        workspace.run()
        (folder / "whole").touch()
    return workspace


@pytest.fixture(scope="module")
def workspace(finished, tmp_path_factory):
    """A copy of the finished study for the tests of a module."""
    return finished.copied_to(tmp_path_factory.mktemp("copy"))
