"""Recipes over processes of which the leader is killed: tokens grow, and no item is taken twice or lost."""

from __future__ import annotations

import asyncio

import pytest

import zraft
from tests.stack.clusters import WAIT_S, Cluster, run, wait_until
from tests.stack.conftest import MakeCluster
from zraft.recipes import Lock, Queue
from zraft.types import PeerId, Value

ITEMS = 40


async def leader_of(client: zraft.Client, cluster: Cluster) -> PeerId:
    """Whoever leads the group, once it is made."""
    while True:
        for peer in cluster.peers:
            try:
                return (await client.get_conf(peer, timeout=1.0)).leader
            except zraft.RequestError:
                await asyncio.sleep(0.02)


@pytest.mark.timeout(120)
def test_a_killed_leader_takes_no_lock_and_no_item_with_it(make_cluster: MakeCluster) -> None:
    """Kill -9 while two sessions take turns at a lock, and put and take items (BM-074, BM-076)."""
    cluster = make_cluster(3, options=("--backend", "table"), ensure=True)

    async def story(client: zraft.Client) -> None:
        leader = await leader_of(client, cluster)
        tokens: list[int] = []
        inside: list[int] = []
        taken: list[Value] = []

        async def take_turns(session: zraft.Session) -> None:
            for _ in range(8):
                async with Lock(session, "turns") as token:
                    inside.append(token)
                    await asyncio.sleep(0)
                    assert inside == [token]
                    tokens.append(inside.pop())

        async def produce(session: zraft.Session, start: int) -> None:
            for item in range(start, ITEMS, 2):
                await Queue(session, "items").put(item, timeout=None)

        async def consume(session: zraft.Session) -> None:
            for _ in range(ITEMS // 4):
                taken.append(await Queue(session, "items").get())

        async with (
            client.start_session(cluster.peers, WAIT_S) as one,
            client.start_session(cluster.peers, WAIT_S) as two,
            asyncio.TaskGroup() as tasks,
        ):
            for number, session in enumerate((one, two)):
                tasks.create_task(produce(session, number))
                for _ in range(2):
                    tasks.create_task(take_turns(session))
                    tasks.create_task(consume(session))
            await wait_until("it is under way", lambda: len(tokens) > 3 and len(taken) > 3, pause_s=0.001)
            cluster.servers[leader].kill()
        assert tokens == sorted(set(tokens))
        assert len(tokens) == 32
        assert sorted(taken) == list(range(ITEMS))

    run(story)
