"""Nodes are exchanged under load: one after the other, the leader, one that lost its disk (§4.2.2, BM-043)."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from tests.stack.clusters import CALM, run
from tests.stack.conftest import MakeCluster
from tests.stack.membership.changes import (
    ROUNDS,
    change_to,
    leader_of,
    wait_gone,
    wait_writes,
    written,
)
from zraft.app.writers import Ledger, check_peer
from zraft.client.client import Client
from zraft.errors import PeerUnavailable


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_every_original_node_is_replaced(make_cluster: MakeCluster) -> None:
    """One after the other, under load; the last ones hold all that the first ones acknowledged."""
    cluster = make_cluster(6)
    peers = cluster.peers

    async def story(client: Client) -> int:
        ledger = Ledger()
        await client.ensure(peers[:3], timeout=60)
        async with written(client, peers, ledger):
            for number in range(3):
                await wait_writes(ledger, 30)
                await change_to(client, peers, peers[number + 1 : number + 4])
                await wait_gone(client, peers[number])
                await asyncio.to_thread(cluster.servers[peers[number]].kill)
            await wait_writes(ledger, 30)
        for peer in peers[3:]:
            await check_peer(client, peer, ledger)
        conf = await client.get_conf(peers[5], timeout=60)
        assert sorted(conf.peers) == sorted(peers[3:])
        return len(ledger.acknowledged)

    assert run(story) >= 120


def test_a_leader_that_is_removed_under_load_leaves_no_write_in_doubt(make_cluster: MakeCluster) -> None:
    """It answers all that it took, hands over, and stops; what it held is kept until it is deleted."""
    cluster = make_cluster(4, environment=CALM)
    peers = cluster.peers

    async def story(client: Client) -> None:
        ledger = Ledger()
        await client.ensure(peers, timeout=60)
        async with written(client, peers, ledger):
            await wait_writes(ledger, 100)
            leader = await leader_of(client, peers)
            others = [peer for peer in peers if peer != leader]
            assert await client.set_new_conf(leader, others, peers, timeout=10) == others
            await wait_gone(client, leader)
            await wait_writes(ledger, 100)
        assert ledger.unknown == {}
        for peer in others:
            await check_peer(client, peer, ledger)
        await client.remove([leader], timeout=60)
        with pytest.raises(PeerUnavailable, match="no peer"):
            await client.remove([leader], timeout=60)
        await client.create([leader], timeout=60)
        assert (await client.get_conf(leader, timeout=60)).peers == (leader,), "its name is free for another group"

    run(story)


def test_a_member_whose_disk_was_wiped_is_admitted_again(make_cluster: MakeCluster) -> None:
    """BM-043: what starts there is nobody until the group says so, and then holds everything."""
    cluster = make_cluster(3, environment=CALM)
    peers = cluster.peers

    async def story(client: Client) -> None:
        ledger = Ledger()
        await client.ensure(peers, timeout=60)
        async with written(client, peers, ledger):
            await wait_writes(ledger, 50)
            leader = await leader_of(client, peers)
            victim = next(peer for peer in peers if peer != leader)
            await asyncio.to_thread(cluster.servers[victim].kill)
            shutil.rmtree(cluster.servers[victim].folder)
            await asyncio.to_thread(cluster.servers[victim].start)
            await wait_writes(ledger, 50)
            with pytest.raises(PeerUnavailable, match="no peer"):
                await client.stat(victim, timeout=60)
            await change_to(client, peers, peers)
            await wait_writes(ledger, 20)
        await check_peer(client, victim, ledger)
        other = next(peer for peer in peers if peer not in (leader, victim))
        await asyncio.to_thread(cluster.servers[other].kill)
        await client.write(leader, ("with the new member", 1), timeout=60)

    run(story)


def test_leadership_goes_round_under_load(make_cluster: MakeCluster) -> None:
    """Each takes it in turn; whoever had written has it."""
    cluster = make_cluster(3, environment=CALM)
    peers = cluster.peers

    async def story(client: Client) -> None:
        ledger = Ledger()
        await client.ensure(peers, timeout=60)
        async with written(client, peers, ledger):
            for peer in [*peers, *peers[:2]] * ROUNDS:
                await wait_writes(ledger, 40)
                assert await client.transfer_leadership(peers[0], peer, timeout=10) == peer
                assert (await client.stat(peer, timeout=60)).role == "leader"
            await wait_writes(ledger, 40)
        for peer in peers:
            await check_peer(client, peer, ledger)

    run(story)
