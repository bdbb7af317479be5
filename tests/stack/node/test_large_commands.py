"""Commands far above the default size, from client to disk and back: every bound on the way grows with the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

import zraft
from tests.stack.node.scene import WAIT_S
from tests.stack.transport.world import tell
from zraft import limits
from zraft.errors import TooLarge
from zraft.testing import LocalCluster


@pytest.mark.timeout(300)
def test_a_command_as_large_as_it_may_be_set_goes_through(tmp_path: Path) -> None:
    """12 MiB are more than a frame has by default; a client learns of the node's cap when it connects."""

    async def story() -> None:
        value = bytes(12 * limits.MIB)
        async with LocalCluster(3, folder=tmp_path, max_command_size=13 * limits.MIB, election_timeout=30) as cluster:
            for peer in cluster.peers:
                await cluster.client.write(peer, (peer.node, value), timeout=2 * WAIT_S)
            async with cluster.client.light_session(cluster.peers) as session:
                await session.write(("session", value), timeout=2 * WAIT_S)
                answers = [await session.query(peer.node, timeout=2 * WAIT_S) for peer in cluster.peers]
            assert answers == [value] * 3
            with pytest.raises(TooLarge) as refusal:
                await cluster.client.write(cluster.peers[0], ("k", bytes(13 * limits.MIB)), timeout=2 * WAIT_S)
            assert refusal.value.executed == "no"
            with pytest.raises(TooLarge):
                await cluster.client.write(cluster.peers[0], ("k", bytes(20 * limits.MIB)), timeout=2 * WAIT_S)
            assert await cluster.client.query_local(cluster.peers[0], "k") is zraft.NOT_FOUND

    tell(story)


def test_a_client_does_not_send_what_the_node_does_not_take(tmp_path: Path) -> None:
    """By default a command may have 1 MiB: more than a frame is refused before it is sent, the connection stays."""

    async def story() -> None:
        async with LocalCluster(1, folder=tmp_path) as cluster:
            for size in (2 * limits.MIB, 9 * limits.MIB):
                with pytest.raises(TooLarge) as refusal:
                    await cluster.client.write(cluster.peers[0], ("k", bytes(size)), timeout=WAIT_S)
                assert refusal.value.executed == "no"
            await cluster.client.write(cluster.peers[0], ("k", 1), timeout=WAIT_S)

    tell(story)
