"""A group with very short logs: a wiped follower and a leader that was cut off are brought back by snapshots.

    the leader, cut off      … 20 │ 21 22 … 41        term 1: 21 writes that nobody else has
    the others meanwhile     … 20 │ 21 22 … 36        term 2: decided, and mostly only in a snapshot by now

The snapshot ends in the middle of what the old leader has, at an index where it has an entry of another term.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.stack.campaign.doors import House, house
from tests.stack.campaign.verdict import local_state
from tests.stack.clusters import WAIT_S
from tests.stack.membership.changes import change_to, leader_of
from zraft.client.client import Client
from zraft.client.views import PeerStatus
from zraft.errors import RequestError
from zraft.types import Index, PeerId

pytestmark = pytest.mark.uncounted

SHORT: Final = {
    "ZRAFT_ELECTION_TIMEOUT": "1s",
    "ZRAFT_HEARTBEAT_INTERVAL": "50ms",
    "ZRAFT_MAX_LOG_COUNT": "10",
    "ZRAFT_TRAILING_LOG_COUNT": "2",
}
"""Long enough between elections that a leader takes all writes before it knows that nobody hears it."""

UNHEARD: Final = 21
MEANWHILE: Final = 15
"""Fewer than are unheard, and more than a log keeps."""


async def write_all(client: Client, peer: PeerId, keys: Sequence[str]) -> Index:
    """Each key holds itself, one after the other; the index of the last."""
    index = 0
    for key in keys:
        index = (await client.write(peer, (key, key), timeout=WAIT_S)).index
    return index


async def wait_snapshot(client: Client, peer: PeerId, index: Index, *, cut: Index = 1) -> PeerStatus:
    """What the peer says once it has a snapshot at the index or later, and its log begins after `cut`."""
    deadline = time.monotonic() + WAIT_S
    while True:
        status = await client.stat(peer, timeout=WAIT_S)
        if status.snapshot_index >= index and status.first_index > cut:
            return status
        assert time.monotonic() < deadline, f"never a snapshot at {index} and a log after {cut}: {status}"
        await asyncio.sleep(0.02)


async def wait_leading(client: Client, peers: Sequence[PeerId]) -> PeerId:
    """Which of these says of itself that it leads, once one does."""
    deadline = time.monotonic() + WAIT_S
    while True:
        for peer in peers:
            if (await client.stat(peer, timeout=WAIT_S)).role == "leader":
                return peer
        assert time.monotonic() < deadline, "none of them leads"
        await asyncio.sleep(0.02)


async def wipe(client: Client, nodes: House, victim: PeerId) -> None:
    """Its data is lost, it is admitted again, and has a snapshot: no log of the others begins with the first entry."""
    server = nodes.servers[victim]
    await asyncio.to_thread(server.kill)
    shutil.rmtree(server.folder)
    await asyncio.to_thread(server.start)
    await change_to(client, [peer for peer in nodes.peers if peer != victim], nodes.peers)
    await wait_snapshot(client, victim, 10)


async def try_unheard(client: Client, leader: PeerId, keys: Sequence[str]) -> list[str]:
    """How each of these writes ended, asked of a leader whom nobody hears, all at once."""

    async def one(key: str) -> str:
        try:
            await client.write(leader, (key, key), timeout=WAIT_S, redirect=False)
        except RequestError as error:
            return error.executed
        return "yes"

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(one(key)) for key in keys]
    return [task.result() for task in asked]


@pytest.mark.timeout(90)
def test_a_wiped_follower_and_an_isolated_leader_come_back_by_snapshot(tmp_path: Path) -> None:
    """§5.1, §4.2.2, BM-043: all have the same state in the end, and no write that was never decided is in it."""
    before = [f"before-{number}" for number in range(25)]
    unheard = [f"unheard-{number}" for number in range(UNHEARD)]
    meanwhile = [f"meanwhile-{number}" for number in range(MEANWHILE)]

    async def story() -> None:
        async with house(tmp_path, 3, settings=SHORT) as nodes, Client() as client:
            peers = nodes.peers
            await client.ensure(peers, timeout=60)
            written = await write_all(client, peers[0], before)
            for peer in peers:
                await wait_snapshot(client, peer, 10)
            leader = await leader_of(client, peers)
            victim = next(peer for peer in peers if peer != leader)
            await wipe(client, nodes, victim)
            assert await local_state(client, victim, before, min_index=written) == {key: key for key in before}
            leader = await leader_of(client, peers)
            others = [peer for peer in peers if peer != leader]
            held = await client.stat(leader, timeout=WAIT_S)
            assert held.last_index == held.commit_index

            nodes.weather.isolate(leader, peers)
            ends = asyncio.create_task(try_unheard(client, leader, unheard))
            successor = await wait_leading(client, others)
            decided = await write_all(client, successor, meanwhile)
            assert set(await ends) == {"maybe"}, "they are in its log: neither done nor refused"
            cut_off = await client.stat(leader, timeout=WAIT_S)
            assert cut_off.commit_index == held.commit_index, "alone it decides nothing"
            assert cut_off.last_index == held.last_index + UNHEARD
            lacking = held.last_index + 1
            present = await wait_snapshot(client, successor, lacking, cut=lacking)
            assert present.snapshot_index < cut_off.last_index, "the snapshot ends within what nobody heard"

            nodes.weather.clear(lose=False)  # what it sent to the others meanwhile arrives now, late
            returned = await wait_snapshot(client, leader, lacking)
            assert returned.term > held.term
            last = await write_all(client, leader, ["last"])
            assert last > decided
            expected: dict[Hashable, str | None] = {key: key for key in [*before, *meanwhile, "last"]}
            expected.update(dict.fromkeys(unheard))
            for peer in peers:
                assert await local_state(client, peer, list(expected), min_index=last) == expected
                assert (await client.stat(peer, timeout=WAIT_S)).snapshot_index >= 10

    asyncio.run(story())
