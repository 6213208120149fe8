"""The cluster that tests of controllers and kubelet run in."""

from __future__ import annotations

import pytest
from controllers_cluster import Cluster


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()
