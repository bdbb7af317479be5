"""One cluster for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zraft.testing import BlockingCluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    """Three nodes with a table. Whoever stops one starts it again."""
    with BlockingCluster(3, backend="table") as cluster:
        yield cluster
