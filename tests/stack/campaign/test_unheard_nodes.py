"""Nodes that do not hear, or are not heard, while clients ask the old leader all the time (§6.2, §6.4).

Whatever it was, nothing that it answers is older than what another peer has acknowledged before it was asked.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stack.campaign.doors import House, house
from tests.stack.campaign.verdict import UNCOMPACTED, check_run
from tests.stack.campaign.workload import Recorder, clients
from tests.stack.clusters import ELECTION, run
from tests.stack.conftest import MakeCluster
from zraft.client.client import Client
from zraft.types import PeerId

ROUNDS = 1 if "ZRAFT_KILLS" not in os.environ else int(os.environ["ZRAFT_KILLS"]) // 4 + 1
ELECTION_S = float(ELECTION["ZRAFT_ELECTION_TIMEOUT"].removesuffix("ms")) / 1000


async def leader_of(client: Client, peers: list[PeerId]) -> PeerId:
    """Who leads now."""
    return (await client.get_conf(peers[0], timeout=20)).leader


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_leader_that_was_stopped_for_a_while_answers_no_stale_read(make_cluster: MakeCluster) -> None:
    """SIGSTOP for two to four election timeouts: when it goes on, requests wait in its sockets."""
    cluster = make_cluster(3, environment=UNCOMPACTED)

    async def story(client: Client) -> None:
        recorder, peers = Recorder(), cluster.peers
        await client.create(peers)
        asked = await leader_of(client, peers)
        async with clients(client, peers, recorder, whom=lambda: asked):
            for number in range(3 * ROUNDS):
                leader = asked = await leader_of(client, peers)
                reads = recorder.direct_reads
                await recorder.wait_writes(100)
                assert recorder.direct_reads > reads
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


Fault = Callable[[House, PeerId], None]


def cut_off(home: House, leader: PeerId) -> None:
    """Nothing gets in or out."""
    home.weather.isolate(leader, home.peers)


def cut_its_voice(home: House, leader: PeerId) -> None:
    """It hears the others, and they do not hear it."""
    for peer in home.peers:
        home.weather.cut(leader, peer)


def cut_its_ears(home: House, leader: PeerId) -> None:
    """The others hear it, and it does not hear them."""
    for peer in home.peers:
        home.weather.cut(peer, leader)


def delay_it(home: House, leader: PeerId) -> None:
    """Everything to it takes longer than an election."""
    for peer in home.peers:
        home.weather.delay(peer, leader, 2 * ELECTION_S)
        home.weather.delay(leader, peer, 2 * ELECTION_S)


@pytest.mark.timeout(60 + 30 * ROUNDS)
@pytest.mark.parametrize("lose", [False, True], ids=["late", "lost"])
def test_leader_that_is_cut_off_answers_no_stale_read(tmp_path: Path, lose: bool) -> None:
    """Cut off wholly, in one direction, in the other; what was sent meanwhile arrives late, or is lost."""
    others_took_over = 0

    async def story(client: Client) -> None:
        nonlocal others_took_over
        async with house(tmp_path, 3) as home:
            recorder, peers = Recorder(), home.peers
            await client.create(peers)
            asked = await leader_of(client, peers)
            async with clients(client, peers, recorder, whom=lambda: asked):
                for fault in ROUNDS * (cut_off, cut_its_voice, cut_its_ears, delay_it):
                    leader = asked = await leader_of(client, peers)
                    reads = recorder.direct_reads
                    await recorder.wait_writes(50)
                    assert recorder.direct_reads > reads
                    fault(home, leader)
                    if fault in (cut_off, cut_its_voice):
                        await recorder.wait_other_leader(leader)
                        others_took_over += 1
                    else:
                        await asyncio.sleep(4 * ELECTION_S)
                    await recorder.wait_writes(50)
                    home.weather.clear(lose=lose)
                    await recorder.wait_writes(50)
            await check_run(client, home.servers, recorder)

    run(story)
    assert others_took_over == 2 * ROUNDS
