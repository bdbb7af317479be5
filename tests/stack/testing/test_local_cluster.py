"""`zraft.testing`: clusters that come up, lose nodes, get them back, and leave nothing behind."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import zraft
from zraft.errors import ConfigError, CreateError, StorageError, UsageError
from zraft.testing import BlockingCluster, LocalCluster

pytest_plugins = ["zraft.testing"]


def test_a_cluster_survives_each_of_its_nodes(tmp_path: Path) -> None:
    """One after the other is stopped and started; what was written is there."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path) as cluster:
            addresses = cluster.addresses
            for number in range(3):
                await cluster.stop(number)
                assert cluster.nodes[number] is None
                # A session of its own: one that saw each node stop within its fail_timeout would ask none of them.
                async with cluster.client.light_session(cluster.peers) as session:
                    await session.write((number, "x"), timeout=60)
                assert await cluster.leader() != number
                await cluster.start(number)
            async with cluster.client.light_session(cluster.peers) as session:
                assert [await session.query(number, timeout=60) for number in range(3)] == ["x"] * 3
            assert cluster.addresses == addresses
            assert cluster.number_of(cluster.peers[2]) == 2
            await cluster.stop(1)
            await cluster.stop(1)

    asyncio.run(story())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n0", "n1", "n2"]


def test_groups_are_made_where_they_are_wanted() -> None:
    """None at first, then on some of the nodes, with a setting for all of them."""

    async def story() -> None:
        settings: dict[str, Any] = {"cluster_secret": "among nodes", "client_secret": "among clients"}
        async with LocalCluster(3, group=None, max_command_size=1000, **settings) as cluster:
            assert cluster.peers == []
            with pytest.raises(UsageError):
                await cluster.leader()
            peers = await cluster.create("mine", on=[2, 0])
            assert [peer.node for peer in peers] == [cluster.addresses[2], cluster.addresses[0]]
            assert await cluster.leader(peers) in (0, 2)
            with pytest.raises(zraft.TooLarge):
                await cluster.client.write(peers[0], ("x", "x" * 2000))
            with pytest.raises(UsageError):
                await cluster.start(0)

    asyncio.run(story())


def test_a_cluster_that_cannot_come_up_leaves_nothing_behind() -> None:
    """Neither nodes nor threads, nor is it quiet about it."""

    async def story() -> None:
        async with LocalCluster(2, backend="unheard of"):
            raise AssertionError("it came up")

    before = threading.active_count()
    with pytest.raises(CreateError):
        asyncio.run(story())
    with pytest.raises(CreateError), BlockingCluster(2, backend="unheard of"):
        pass
    with pytest.raises(ConfigError, match="election_timeout"):
        LocalCluster(1, election_timeout=-1)
    with pytest.raises(UsageError):
        LocalCluster(0)
    assert threading.active_count() == before


def test_a_node_that_stopped_by_itself_fails_the_test() -> None:
    """Whoever leaves the cluster is told why; everything else is closed all the same."""

    async def story() -> None:
        async with LocalCluster(3) as cluster:
            node = cluster.nodes[1]
            assert node is not None
            node._begin_stop(StorageError("the disk is gone"))

    with pytest.raises(StorageError, match="the disk is gone"):
        asyncio.run(story())


def test_the_fixture_is_a_cluster(zraft_cluster: BlockingCluster) -> None:
    """With a group, without a word of configuration."""
    zraft_cluster.client.write(zraft_cluster.peers[0], ("k", 1))
    number = zraft_cluster.leader()
    zraft_cluster.stop(number)
    peer = zraft_cluster.peers[zraft_cluster.leader()]
    assert zraft_cluster.number_of(peer) != number
    zraft_cluster.start(number)
    assert zraft_cluster.client.query(peer, "k", timeout=60).result == 1
    assert zraft_cluster.create("other") == [zraft.PeerId("other", node) for node in zraft_cluster.addresses]


def test_a_cluster_that_was_not_entered_says_so() -> None:
    """Instead of failing somewhere inside."""
    cluster = BlockingCluster(1)
    with pytest.raises(UsageError):
        cluster.start(0)
    with pytest.raises(UsageError):
        _ = cluster.client
