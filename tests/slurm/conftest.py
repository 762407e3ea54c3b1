from __future__ import annotations

import pytest

from tests.slurm.cluster import Cluster, missing


@pytest.fixture(scope="session")
def cluster():
    if reason := missing():
        pytest.skip(reason)
    cluster = Cluster()
    cluster.start()
    yield cluster
    cluster.stop()
