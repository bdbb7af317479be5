"""Many groups on three nodes: they go quiet, wake for work, and outlive a node on which nothing happened."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stack.clusters import wait_until
from tests.stack.node.scene import WAIT_S
from tests.stack.transport.world import tell
from zraft.client.caller import each
from zraft.testing import LocalCluster
from zraft.types import PeerId

pytestmark = pytest.mark.uncounted

COUNT = 30


def quiet(cluster: LocalCluster) -> int:
    """Replicas here that are quiet."""
    hosts = [node._host for node in cluster.nodes if node is not None]
    return sum(peer.raft.role.is_quiet for host in hosts if host is not None for peer in host.peers.values())


async def write_to_all(cluster: LocalCluster, groups: list[list[PeerId]], value: int) -> None:
    async def write(peers: list[PeerId]) -> None:
        async with cluster.client.light_session(peers, retry_unknown=True) as session:
            await session.write(("k", value), timeout=WAIT_S)
            assert await session.query("k", timeout=WAIT_S) == value

    await each(write(peers) for peers in groups)


def test_many_groups_go_quiet_and_outlive_a_node_and_its_return(tmp_path: Path) -> None:
    """Thirty groups, all led by one node that ends while nothing happens; others lead, and all is quiet again."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path, group=None) as cluster:
            groups = await each(cluster.create(f"g{number}") for number in range(COUNT))
            await wait_until("all are quiet", lambda: quiet(cluster) == 3 * COUNT)
            await write_to_all(cluster, groups, 1)
            await wait_until("all are quiet again", lambda: quiet(cluster) == 3 * COUNT)
            await cluster.stop(0)
            await write_to_all(cluster, groups, 2)
            assert quiet(cluster) == 0, "with a member that does not answer"
            await cluster.start(0)
            await wait_until("all are quiet with the node that is back", lambda: quiet(cluster) == 3 * COUNT)
            await write_to_all(cluster, groups, 3)

    tell(story)
