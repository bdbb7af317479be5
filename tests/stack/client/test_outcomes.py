"""Truthful outcomes: nodes are killed, stopped and frozen under light sessions, and every error is held to its word.

Each key is written once. In the end every peer holds all that was acknowledged, nothing of what was said not to have
run ("no"), and of what was said to be unknown ("maybe") whatever it likes. `ZRAFT_KILLS` is how often each is done.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.stack.clusters import Cluster, run, wait_until
from tests.stack.conftest import MakeCluster
from zraft.app.writers import Ledger, check_peer
from zraft.client.client import Client
from zraft.client.light_session import LightSession
from zraft.errors import OutcomeUnknown, RequestError
from zraft.types import PeerId

pytestmark = pytest.mark.uncounted

KILLS = int(os.environ.get("ZRAFT_KILLS", "1"))
WRITERS = 8
TIMEOUT_S = 0.6
"""Short enough for writes to give up while there is no leader."""

Blow = Callable[[Cluster, PeerId], Awaitable[None]]


async def write_on(session: LightSession, ledger: Ledger, writer: int) -> None:
    """One write after the other, each of a key of its own, until the ledger is over."""
    for number in itertools.count():
        if ledger.is_over:
            return
        key = f"{writer}-{number}"
        try:
            written = await session.write_entry((key, number), timeout=TIMEOUT_S)
        except RequestError as error:
            (ledger.refused if error.executed == "no" else ledger.unknown)[key] = number
            await asyncio.sleep(0.005)  # a refusal may come at once
        else:
            ledger.acknowledged[key] = number
            ledger.highest = max(ledger.highest, written.index)
            ledger.leader, ledger.leader_at = session.leader, time.perf_counter()


async def wait_progress(ledger: Ledger, count: int = 100) -> None:
    """Returns after so many further acknowledgements."""
    goal = len(ledger.acknowledged) + count
    await wait_until(f"{count} more writes", lambda: len(ledger.acknowledged) >= goal)


async def kill(cluster: Cluster, leader: PeerId) -> None:
    """SIGKILL, and started again."""
    await asyncio.to_thread(cluster.servers[leader].kill)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(cluster.servers[leader].start)


async def stop(cluster: Cluster, leader: PeerId) -> None:
    """SIGTERM, and started again."""
    await asyncio.to_thread(cluster.servers[leader].stop)
    await asyncio.to_thread(cluster.servers[leader].start)


async def freeze(cluster: Cluster, leader: PeerId) -> None:
    """SIGSTOP for longer than an election takes: it wakes up and believes that it still leads."""
    os.kill(cluster.servers[leader].pid, signal.SIGSTOP)
    await asyncio.sleep(1.5)
    os.kill(cluster.servers[leader].pid, signal.SIGCONT)


async def kill_two(cluster: Cluster, leader: PeerId) -> None:
    """SIGKILL of the leader and another: for a while nobody can be elected, and writes are refused or unknown."""
    dead = [leader, next(peer for peer in cluster.peers if peer != leader)]
    for peer in dead:
        await asyncio.to_thread(cluster.servers[peer].kill)
    await asyncio.sleep(1.5)
    for peer in dead:
        await asyncio.to_thread(cluster.servers[peer].start)


async def under_blows(client: Client, cluster: Cluster, ledger: Ledger, blow: Blow) -> None:
    """Writers on sessions of their own, while the leader is struck again and again."""
    async with asyncio.TaskGroup() as tasks:
        sessions = [client.light_session(cluster.peers, fail_timeout=0.3, election_timeout=0.1) for _ in range(3)]
        for writer in range(WRITERS):
            tasks.create_task(write_on(sessions[writer % len(sessions)], ledger, writer))
        try:
            for _ in range(KILLS):
                await wait_progress(ledger)
                leader = (await client.get_conf(cluster.peers[0], timeout=60)).leader
                await blow(cluster, leader)
                await wait_progress(ledger)
        finally:
            ledger.is_over = True


async def end(client: Client, cluster: Cluster) -> int:
    """The index of a last write. Whoever leads after so many blows may lose that once more, on a busy machine."""
    while True:
        try:
            return (await client.write(cluster.peers[0], ("end", 0), timeout=60)).index
        except OutcomeUnknown:
            continue


@pytest.mark.timeout(60 + 30 * KILLS)
@pytest.mark.parametrize("blow", [kill, stop, freeze, kill_two])
def test_every_outcome_is_true(make_cluster: MakeCluster, blow: Blow) -> None:
    """Acknowledged writes are on every peer, refused ones on none, whatever happens to leaders."""
    cluster = make_cluster(3)

    async def story(client: Client) -> Ledger:
        ledger = Ledger()
        await client.ensure(cluster.peers, timeout=60)
        await under_blows(client, cluster, ledger, blow)
        ledger.highest = await end(client, cluster)
        for peer in cluster.peers:
            assert await check_peer(client, peer, ledger) <= len(ledger.unknown)
        return ledger

    ledger = run(story)
    assert len(ledger.acknowledged) >= 200 * KILLS
    if blow is kill_two:
        assert ledger.refused, "without a quorum for so long something is refused"
