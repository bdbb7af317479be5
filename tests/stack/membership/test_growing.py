"""A group that grows and shrinks while clients work and nodes are killed (§4.2, §4.3)."""

from __future__ import annotations

import asyncio

import pytest

from tests.stack.campaign.verdict import UNCOMPACTED, check_run
from tests.stack.campaign.workload import Recorder, clients
from tests.stack.clusters import run
from tests.stack.conftest import MakeCluster
from tests.stack.membership.changes import ROUNDS, change_to, leader_of, wait_gone
from zraft.client.client import Client

pytestmark = pytest.mark.uncounted


@pytest.mark.timeout(60 + 60 * ROUNDS)
def test_a_group_grows_to_five_and_shrinks_to_three_while_leaders_are_killed(make_cluster: MakeCluster) -> None:
    """1 → 3 → 5 → 3 under load, the leader killed in each change: linearizable, nothing acknowledged is lost."""
    cluster = make_cluster(5, environment=UNCOMPACTED)
    peers = cluster.peers
    sizes = [3, 5, *[3, 5] * (ROUNDS - 1), 3]

    async def story(client: Client) -> int:
        recorder = Recorder()
        await client.create(peers[:1], timeout=60)
        async with clients(client, peers, recorder):
            for size in sizes:
                await recorder.wait_writes(30)
                changing = asyncio.create_task(change_to(client, peers, peers[:size]))
                await recorder.wait_writes(5)
                victim = await leader_of(client, peers)
                await asyncio.to_thread(cluster.servers[victim].kill)
                await asyncio.to_thread(cluster.servers[victim].start)
                await changing
            await recorder.wait_writes(30)
        for gone in peers[3:]:
            await wait_gone(client, gone)
        members = {peer: cluster.servers[peer] for peer in peers[:3]}
        assert sorted((await client.get_conf(peers[0], timeout=60)).peers) == sorted(members)
        await check_run(client, members, recorder)
        return recorder.acknowledged

    assert run(story) >= 30 * len(sizes)
