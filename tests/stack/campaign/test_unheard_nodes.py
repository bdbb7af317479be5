"""Nodes that do not hear, or are not heard, while clients ask the old leader all the time (§6.2, §6.4).

Whatever it was, nothing that it answers is older than what another peer has acknowledged before it was asked.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from tests.stack.campaign.doors import House, house
from tests.stack.campaign.verdict import UNCOMPACTED, check_run
from tests.stack.campaign.workload import Recorder, clients
from tests.stack.clusters import ELECTION, run
from tests.stack.conftest import MakeCluster
from zraft.client.client import Client
from zraft.types import PeerId

pytestmark = pytest.mark.uncounted

ROUNDS = 1 if "ZRAFT_KILLS" not in os.environ else int(os.environ["ZRAFT_KILLS"]) // 4 + 1
ELECTION_S = float(ELECTION["ZRAFT_ELECTION_TIMEOUT"].removesuffix("ms")) / 1000


async def leader_of(client: Client, peers: list[PeerId]) -> PeerId:
    """Who leads now."""
    return (await client.get_conf(peers[0], timeout=60)).leader


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_leader_that_was_stopped_for_a_while_answers_no_stale_read(make_cluster: MakeCluster) -> None:
    """SIGSTOP for two to four election timeouts: when it goes on, requests wait in its sockets."""
    cluster = make_cluster(3, environment=UNCOMPACTED)

    async def story(client: Client) -> None:
        recorder, peers = Recorder(), cluster.peers
        await client.ensure(peers, timeout=60)
        leader = asked = await leader_of(client, peers)
        async with clients(client, peers, recorder, whom=lambda: asked):
            for number in range(3 * ROUNDS):
                reads = recorder.direct_reads
                while recorder.direct_reads == reads:  # on a busy machine another one may lead by now
                    leader = asked = await leader_of(client, peers)
                    await recorder.wait_writes(100)
                pid = cluster.servers[leader].pid
                os.kill(pid, signal.SIGSTOP)
                try:
                    await asyncio.sleep((2 + number % 3) * ELECTION_S)
                    if number % 2:
                        await recorder.wait_other_leader(leader)
                        await recorder.wait_writes(20)
                finally:
                    os.kill(pid, signal.SIGCONT)
                await recorder.wait_writes(50)
        await check_run(client, cluster.servers, recorder)

    run(story)


Fault: TypeAlias = Callable[[House, PeerId], Awaitable[None]]


async def cut_off(home: House, leader: PeerId) -> None:
    """Nothing gets in or out."""
    home.weather.isolate(leader, home.peers)


async def cut_its_voice(home: House, leader: PeerId) -> None:
    """It hears the others, and they do not hear it."""
    for peer in home.peers:
        home.weather.cut(leader, peer)


async def cut_its_ears(home: House, leader: PeerId) -> None:
    """The others hear it, and it does not hear them."""
    for peer in home.peers:
        home.weather.cut(peer, leader)


async def delay_it(home: House, leader: PeerId) -> None:
    """Everything from and to it takes longer than an election."""
    for peer in home.peers:
        home.weather.delay(peer, leader, 2 * ELECTION_S)
        home.weather.delay(leader, peer, 2 * ELECTION_S)


async def leave_it_with_old_answers(home: House, leader: PeerId) -> None:
    """It is not heard any more, and goes on hearing what the others answered when it still was.

    The only thing that then keeps it from answering a read is that these answers are to older questions: it believes
    to lead for long after another does.
    """
    for step in range(1, 13):  # slowly, or it misses the answers meanwhile and gives up
        for peer in home.peers:
            home.weather.delay(peer, leader, step / 4 * ELECTION_S)
        await asyncio.sleep(ELECTION_S / 3)
    await cut_its_voice(home, leader)


TAKEN_OVER: Final = (cut_off, cut_its_voice, leave_it_with_old_answers)
"""Faults after which another leads for certain."""


@pytest.mark.timeout(60 + 30 * ROUNDS)
@pytest.mark.parametrize("lose", [False, True], ids=["late", "lost"])
def test_leader_that_is_cut_off_answers_no_stale_read(tmp_path: Path, lose: bool) -> None:
    """Cut off wholly, in one direction, in the other, slow; what was sent meanwhile arrives late, or is lost."""
    others_took_over = 0

    async def story(client: Client) -> None:
        nonlocal others_took_over
        async with house(tmp_path, 3) as home:
            recorder, peers = Recorder(), home.peers
            await client.ensure(peers, timeout=60)
            leader = asked = await leader_of(client, peers)
            async with clients(client, peers, recorder, whom=lambda: asked):
                for fault in ROUNDS * (*TAKEN_OVER, cut_its_ears, delay_it):
                    reads = recorder.direct_reads
                    while recorder.direct_reads == reads:
                        leader = asked = await leader_of(client, peers)
                        await recorder.wait_writes(50)
                    await fault(home, leader)
                    if fault in TAKEN_OVER:
                        await recorder.wait_other_leader(leader)
                        others_took_over += 1
                    else:
                        await asyncio.sleep(4 * ELECTION_S)
                    await recorder.wait_writes(50)
                    home.weather.clear(lose=lose)
                    await recorder.wait_writes(50)
            await check_run(client, home.servers, recorder)

    run(story)
    assert others_took_over == len(TAKEN_OVER) * ROUNDS
