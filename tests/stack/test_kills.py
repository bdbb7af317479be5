"""Nodes that are killed: what was acknowledged is there afterwards, on every node (§3.6, §3.8).

`ZRAFT_KILLS` is how often; a campaign sets it to more than the few of every run.
"""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.stack.clusters import Cluster, cli, run, wait_until
from tests.stack.conftest import MakeCluster
from zraft.app.processes import ServerProcess
from zraft.app.writers import Ledger, check_peer, write_keys
from zraft.client.client import Client
from zraft.types import PeerId

pytestmark = pytest.mark.uncounted

KILLS = int(os.environ.get("ZRAFT_KILLS", "4"))
WRITERS = 4


async def under_load(client: Client, cluster: Cluster, ledger: Ledger, kills: int) -> None:
    """Kills who leads, waits for the next leader's first acknowledgement, starts the dead node; so many times."""
    async with asyncio.TaskGroup() as tasks:
        writers = [
            tasks.create_task(write_keys(client, cluster.peers, ledger, str(number))) for number in range(WRITERS)
        ]
        try:
            for _ in range(kills):
                await wait_progress(ledger, 50)
                leader = (await client.get_conf(cluster.peers[0], timeout=60)).leader
                await asyncio.to_thread(cluster.servers[leader].kill)
                if len(cluster.peers) > 1:
                    await wait_other(ledger, leader)
                    await wait_progress(ledger, 20)
                await asyncio.to_thread(cluster.servers[leader].start)
        finally:
            ledger.is_over = True
    assert all(writer.done() for writer in writers)


async def wait_other(ledger: Ledger, dead: PeerId) -> None:
    """Returns once another peer acknowledges."""
    await wait_until("another leads", lambda: ledger.leader != dead)


async def wait_progress(ledger: Ledger, count: int) -> None:
    """Returns after so many further acknowledgements."""
    goal = len(ledger.acknowledged) + count
    await wait_until(f"{count} writes", lambda: len(ledger.acknowledged) >= goal)


@pytest.mark.timeout(30 + 30 * KILLS)
def test_killed_leaders_lose_no_acknowledged_write(make_cluster: MakeCluster) -> None:
    """Three nodes, the leader killed again and again under load."""
    cluster = make_cluster(3)

    async def story(client: Client) -> int:
        ledger = Ledger()
        await client.ensure(cluster.peers, timeout=60)
        await under_load(client, cluster, ledger, KILLS)
        for peer in cluster.peers:
            await check_peer(client, peer, ledger)
        return len(ledger.acknowledged)

    assert run(story) >= 70 * KILLS


@pytest.mark.timeout(30 + 30 * KILLS)
def test_a_killed_group_of_one_loses_no_acknowledged_write(make_cluster: MakeCluster) -> None:
    """One node has only its own disk: what it acknowledged was durable."""
    cluster = make_cluster(1)

    async def story(client: Client) -> int:
        ledger = Ledger()
        await client.ensure(cluster.peers, timeout=60)
        await under_load(client, cluster, ledger, KILLS)
        await check_peer(client, cluster.peers[0], ledger)
        return len(ledger.acknowledged)

    assert run(story) >= 50 * KILLS


def test_all_nodes_killed_at_once_lose_no_acknowledged_write(make_cluster: MakeCluster) -> None:
    """The whole cluster goes, and comes back with what it acknowledged."""
    cluster = make_cluster(3)

    async def story(client: Client) -> None:
        ledger = Ledger()
        await client.ensure(cluster.peers, timeout=60)
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(write_keys(client, cluster.peers, ledger, "w"))
            await wait_progress(ledger, 100)
            for server in cluster.servers.values():
                await asyncio.to_thread(server.kill)
            ledger.is_over = True
        assert writing.done()
        await asyncio.to_thread(cluster.start)
        for peer in cluster.peers:
            await check_peer(client, peer, ledger)

    run(story)
    assert all(server.is_running for server in cluster.servers.values())


def test_a_node_that_is_told_to_stop_ends_well_and_keeps_its_data(make_cluster: MakeCluster) -> None:
    """SIGTERM: exit status 0, leadership handed over, everything there after the start."""
    cluster = make_cluster(3)
    assert cluster.cli("create", *map(str, cluster.peers)).returncode == 0
    assert cluster.cli("put", "k", "v").returncode == 0
    for server in cluster.servers.values():
        assert server.stop() == 0
        assert cluster.cli("get", "k").stdout == "v\n"
        server.start()
    assert all(server.stop() == 0 for server in cluster.servers.values())
    cluster.start()
    assert cluster.cli("get", "k", "--timeout", "10").stdout == "v\n"


def test_nodes_that_are_given_the_group_make_it_once(make_cluster: MakeCluster) -> None:
    """Every node is told `--peers`: whoever comes up first waits, and a restart changes nothing."""
    cluster = make_cluster(3, ensure=True)

    async def story(client: Client) -> None:
        ensured = await client.ensure(reversed(cluster.peers), timeout=60)
        assert ensured == cluster.peers[::-1]
        conf = await client.get_conf(cluster.peers[0], timeout=60)
        assert sorted(conf.peers) == sorted(cluster.peers)
        await client.write(cluster.peers[0], ("k", "v"), timeout=60)
        for server in cluster.servers.values():
            await asyncio.to_thread(server.kill)
        await asyncio.to_thread(cluster.start)
        assert (await client.query(cluster.peers[0], "k", timeout=60)).result == "v"
        assert (await client.get_conf(cluster.peers[0], timeout=60)).index == conf.index

    run(story)
    assert all(server.is_running for server in cluster.servers.values())


OFTEN = {"ZRAFT_MAX_LOG_COUNT": "50", "ZRAFT_TRAILING_LOG_COUNT": "5", "ZRAFT_MAX_SEGMENT_SIZE": "16KiB"}


async def kill_while_writing(server: ServerProcess) -> None:
    """Kills the node as soon as it is seen to write a snapshot."""
    snapshots = server.folder / "snapshots"
    await wait_until("a snapshot is written", lambda: any(snapshots.glob("*/*.writing")), pause_s=0)
    await asyncio.to_thread(server.kill)


@pytest.mark.timeout(30 + 30 * KILLS)
@pytest.mark.parametrize("size", [1, 3])
def test_a_node_that_is_killed_while_it_writes_a_snapshot_loses_nothing(make_cluster: MakeCluster, size: int) -> None:
    """BM-053, BM-054: the node starts from a whole one whatever there is of another, and has what it acknowledged."""
    cluster = make_cluster(size, environment=OFTEN)

    async def story(client: Client) -> None:
        ledger = Ledger()
        await client.ensure(cluster.peers, timeout=60)
        async with asyncio.TaskGroup() as tasks:
            for number in range(WRITERS):
                tasks.create_task(write_keys(client, cluster.peers, ledger, str(number)))
            try:
                for kill in range(KILLS):
                    await wait_progress(ledger, 60)
                    server = cluster.servers[cluster.peers[kill % size]]
                    await kill_while_writing(server)
                    await asyncio.to_thread(server.start)
            finally:
                ledger.is_over = True
        for peer in cluster.peers:
            await check_peer(client, peer, ledger)
            assert (await client.stat(peer, timeout=60)).snapshot_index > 0

    run(story)
    for server in cluster.servers.values():
        server.kill()
        verified = cli("snapshot", "verify", str(server.folder))
        assert verified.returncode == 0, verified.stdout
