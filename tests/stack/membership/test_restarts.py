"""Nodes that are started as on their first day, after their group has changed (BM-046)."""

from __future__ import annotations

import asyncio

from tests.stack.clusters import run
from tests.stack.conftest import MakeCluster
from tests.stack.membership.changes import change_to, leader_of, wait_gone
from zraft.client.client import Client


def test_bm_046_the_list_that_a_node_is_started_with_changes_nothing(make_cluster: MakeCluster) -> None:
    """Each is told `--peers` with all three, as ever; the group has two, and the third makes no peer anew."""
    cluster = make_cluster(3, ensure=True)
    peers = cluster.peers

    async def story(client: Client) -> None:
        await client.ensure(peers, timeout=60)
        leader = await leader_of(client, peers)
        gone = next(peer for peer in peers if peer != leader)
        rest = [peer for peer in peers if peer != gone]
        await change_to(client, rest, rest)
        await wait_gone(client, gone)
        for server in cluster.servers.values():
            await asyncio.to_thread(server.kill)
        await asyncio.to_thread(cluster.start)
        await client.write(rest[0], ("k", "v"), timeout=60)
        assert sorted((await client.get_conf(rest[1], timeout=60)).peers) == sorted(rest)
        assert await client.ensure(peers, timeout=60) == peers, "a group that is there is left alone"
        await wait_gone(client, gone)

    run(story)
