"""Nodes that are killed without warning while clients write down what they see (§3.6, §3.8, §6.4).

`ZRAFT_KILLS` is how often; a campaign sets it to more than the few of every run.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.stack.campaign.verdict import UNCOMPACTED, check_run
from tests.stack.campaign.workload import Recorder, clients
from tests.stack.clusters import run
from tests.stack.conftest import MakeCluster
from zraft.client.client import Client

pytestmark = pytest.mark.uncounted

KILLS = int(os.environ.get("ZRAFT_KILLS", "4"))


@pytest.mark.timeout(60 + 20 * KILLS)
def test_what_clients_see_while_leaders_and_followers_are_killed_is_linearizable(make_cluster: MakeCluster) -> None:
    """Leader and follower in turn, each started again before the next one goes."""
    cluster = make_cluster(3, environment=UNCOMPACTED)

    async def story(client: Client) -> int:
        recorder = Recorder()
        await client.ensure(cluster.peers, timeout=60)
        async with clients(client, cluster.peers, recorder):
            for number in range(2 * KILLS):
                await recorder.wait_writes(100)
                leader = (await client.get_conf(cluster.peers[number % 3], timeout=60)).leader
                others = [peer for peer in cluster.peers if peer != leader]
                victim = others[number // 2 % 2] if number % 2 else leader
                await asyncio.to_thread(cluster.servers[victim].kill)
                if victim == leader:
                    await recorder.wait_other_leader(leader)
                await recorder.wait_writes(50)
                await asyncio.to_thread(cluster.servers[victim].start)
            await recorder.wait_writes(50)
        await check_run(client, cluster.servers, recorder)
        return recorder.acknowledged

    assert run(story) >= 300 * KILLS


@pytest.mark.timeout(60 + 20 * KILLS)
def test_what_clients_see_of_a_killed_group_of_one_is_linearizable(make_cluster: MakeCluster) -> None:
    """It has only its own disk: nothing that was answered is forgotten."""
    cluster = make_cluster(1, environment=UNCOMPACTED)

    async def story(client: Client) -> int:
        recorder = Recorder()
        await client.ensure(cluster.peers, timeout=60)
        (server,) = cluster.servers.values()
        async with clients(client, cluster.peers, recorder):
            for _ in range(KILLS):
                await recorder.wait_writes(150)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            await recorder.wait_writes(50)
        await check_run(client, cluster.servers, recorder)
        return recorder.acknowledged

    assert run(story) >= 150 * KILLS
