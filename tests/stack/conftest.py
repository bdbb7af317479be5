"""Clusters of real processes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stack.clusters import CALM, Cluster, printed, run, wait_settled
from zraft.app.processes import PortLease

MakeCluster = Callable[..., Cluster]


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_reaches_children() -> None:
    """Whoever runs the tests in the background of a shell has Ctrl-C ignored, and children would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[MakeCluster]:
    """Makes clusters whose nodes serve; each is ended with the test."""
    made: list[Cluster] = []

    def make(
        size: int, *, environment: dict[str, str] | None = None, options: tuple[str, ...] = (), ensure: bool = False
    ) -> Cluster:
        cluster = Cluster(tmp_path / f"c{len(made)}", size, environment=environment, options=options, ensure=ensure)
        cluster.folder.mkdir()
        made.append(cluster)
        cluster.start()
        return cluster

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def lease() -> Iterator[PortLease]:
    """A free port."""
    leased = PortLease()
    yield leased
    leased.release()


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes with one group, shared by the tests of a file, which leave it as it is."""
    cluster = Cluster(tmp_path_factory.mktemp("group"), 3, environment=CALM)
    try:
        cluster.start()
        printed(cluster.cli("create", *map(str, cluster.peers), "--timeout", "15"))
        run(lambda client: wait_settled(client, cluster.peers))
        yield cluster
    finally:
        cluster.close()
