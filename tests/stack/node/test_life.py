"""Nodes in this process, on the loopback and a real disk: they come, go, and come again."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

import zraft
from tests.stack.node.scene import LOOPS, WAIT_S, Asker, config, group_of_one, within, written
from tests.stack.transport.world import tell
from zraft.app.processes import PortLease
from zraft.errors import (
    PeerUnavailable,
    UsageError,
)
from zraft.node.node import Node
from zraft.testing import LocalCluster
from zraft.wire.failures import Failed
from zraft.wire.requests import ListPeers


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_cluster_outlives_its_nodes_in_every_order(tmp_path: Path, order: tuple[int, ...], loop: str) -> None:
    """Each node is stopped and started again; what was written is there, from a new connection."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path) as cluster:
            session = await cluster.client.light_session(cluster.peers, fail_timeout=0.1, election_timeout=0.1)
            async with session:
                for number in order:
                    await written(session, number, "x")
                    await cluster.stop(number)
                    await written(session, number, "y")
                    await cluster.start(number)
                await written(session, 3, "z")
                assert [await session.query(number, timeout=WAIT_S) for number in range(3)] == ["y"] * 3

    tell(story, loop)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_cluster_that_was_stopped_as_a_whole_goes_on(tmp_path: Path, order: tuple[int, ...]) -> None:
    """All nodes stop, in one order, and start in another: the group has a leader and its data again."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path) as cluster:
            await cluster.client.write(cluster.peers[0], ("k", 1), timeout=WAIT_S)
            for number in order:
                await cluster.stop(number)
            for number in reversed(order):
                await cluster.start(number)
            answer, _ = await cluster.client.query(cluster.peers[order[0]], "k", timeout=WAIT_S)
            assert answer == 1

    tell(story)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_group_of_one_goes_on_where_it_was(tmp_path: Path, loop: str) -> None:
    """Restarted three times on another port each: its data and its name are in the folder, not in the port."""

    async def story() -> None:
        lease = PortLease()
        try:
            for life in range(4):
                async with Node(config(tmp_path, lease.address)) as node, zraft.Client() as client:
                    peer = node.peers()[0] if life else await group_of_one(node, client)
                    await within(node.wait_role("p", "leader", timeout=None))
                    answer, _ = await client.query(peer, "life", timeout=WAIT_S)
                    assert answer == (life - 1 if life else zraft.NOT_FOUND)
                    await client.write(peer, ("life", life), timeout=WAIT_S)
        finally:
            lease.release()

    tell(story, loop)


def test_the_nodes_of_a_group_are_connected_before_they_need_it(tmp_path: Path) -> None:
    """Each with each, also followers, who have nothing to say to each other yet: their first words would be votes."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path) as cluster:
            nodes = [node for node in cluster.nodes if node is not None]
            pairs = [(node, other.address) for node in nodes for other in nodes if other is not node]
            while not all(node._neighbours.is_connected(other) for node, other in pairs):
                await within(asyncio.sleep(0))
            assert len(pairs) == 6

    tell(story)


def test_any_free_port_becomes_the_nodes_name(tmp_path: Path) -> None:
    """Port 0: the address is known once it listens, and stays known when it has stopped."""

    async def story() -> None:
        node = Node(config(tmp_path))
        async with node:
            host, _, port = node.address.rpartition(":")
            assert (host, int(port) > 0) == ("127.0.0.1", True)
            asker = await Asker().open(node.address)
            assert not isinstance(await within(asker.ask(ListPeers)), Failed)
        assert node.address == f"{host}:{port}"
        assert node.peers() == []
        with pytest.raises(PeerUnavailable):
            node.status("p")

    tell(story)


def test_a_node_is_started_once_and_stopped_as_often_as_you_like(tmp_path: Path) -> None:
    """What cannot be is told at once."""

    async def story() -> None:
        node = Node(config(tmp_path))
        await node.stop()
        with pytest.raises(UsageError):
            await node.wait_closed()
        for early in (node.start_peer("p"), node.remove_peer("p"), node.wait_role("p", "leader", timeout=1)):
            with pytest.raises(UsageError):
                await early
        starting = asyncio.create_task(node.start())
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="starting"):
            await node.stop()
        await starting
        with pytest.raises(UsageError):
            await node.start()
        assert node.status.__doc__
        await asyncio.wait([asyncio.create_task(node.stop()), asyncio.create_task(node.stop())])
        await node.stop()
        await node.wait_closed()
        with pytest.raises(PeerUnavailable):
            node.events()

    tell(story)
