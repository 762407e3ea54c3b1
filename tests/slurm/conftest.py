from __future__ import annotations

import pytest
from filelock import FileLock

from tests.slurm.cluster import Cluster, missing


@pytest.fixture(scope="package")
def cluster():
    if reason := missing():
        pytest.skip(reason)
    # One on a machine, however many processes the tests run in.
    with FileLock("/tmp/hneurons-slurm.lock"):
        cluster = Cluster()
        cluster.start()
        yield cluster
        cluster.stop()
