"""What the tests of the contract share: three nodes for each file of them, with a group of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

import zraft
from tests.stack.contract.backends import BACKENDS
from zraft.testing import BlockingCluster

_NUMBERS = count(1)


class Nodes:
    """Three nodes that live as long as the tests of one file, and groups on them."""

    def __init__(self, cluster: BlockingCluster) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self.addresses = cluster.addresses

    def names(self) -> list[zraft.PeerId]:
        """Peers that do not exist, one on each node."""
        name = f"g{next(_NUMBERS)}"
        return [zraft.PeerId(name, address) for address in self.addresses]

    def group(self, backend: str = "dict") -> list[zraft.PeerId]:
        """A new group on all nodes. The first of its peers leads."""
        return self.client.create(self.names(), backend, timeout=60)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """No test of another file runs meanwhile in this process: some break what all nodes of a process need.

    They are stopped at the end, which fails where one of them had stopped by itself.

    Nothing here waits for an election, so nothing shall be one: not even on a machine that is busy for seconds.
    """
    with BlockingCluster(3, group=None, backends=BACKENDS, election_timeout=2) as cluster:
        yield Nodes(cluster)


@pytest.fixture
def dead() -> str:
    """An address where nobody listens."""
    return "127.0.0.1:1"
