"""A new peer that never catches up: the change is given up, and leaves nothing behind (§4.2.1, BM-048)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.stack.campaign.doors import house
from tests.stack.campaign.verdict import UNCOMPACTED
from tests.stack.membership.changes import leader_of
from zraft.client.client import Client
from zraft.errors import CatchUpTimeout, ChangeInProgress, PeersChanged, PeerUnavailable, RequestTimeout
from zraft.types import PeerId

PATIENT = {**UNCOMPACTED, "ZRAFT_ELECTION_TIMEOUT": "1s"}
"""A change is given up after ten times as long: not before the test has seen that it is under way."""


def test_a_peer_that_the_leader_cannot_reach_is_given_up(tmp_path: Path) -> None:
    """Its node answers clients and nobody else. Writes go on; who waits shorter is told so, who comes back joins."""

    async def story() -> None:
        async with house(tmp_path, 3, settings=PATIENT) as nodes, Client() as client:
            one, two, new = nodes.peers
            await client.create([one, two], timeout=60)
            nodes.weather.isolate(new, nodes.peers)
            wanted = [one, two, new]
            executed = ""
            while executed != "maybe":  # "no" where half a second was not enough to begin it
                with pytest.raises(RequestTimeout) as caught:
                    await client.set_new_conf(one, wanted, [one, two], timeout=0.5)
                executed = caught.value.executed
            with pytest.raises(ChangeInProgress):
                await client.set_new_conf(one, [one], [one, two])
            await client.write(one, ("meanwhile", 1), timeout=60)
            leader = await client.stat(await _leading(client, [one, two]))
            assert (leader.target, [peer for peer, _ in leader.joining]) == ((one, two, new), [new])
            with pytest.raises(CatchUpTimeout):
                await client.set_new_conf(one, wanted, [one, two], timeout=60)
            conf = await client.get_conf(one, timeout=60)
            assert sorted(conf.peers) == sorted([one, two])
            with pytest.raises(PeersChanged) as changed:
                await client.set_new_conf(one, [one], wanted)
            assert sorted(changed.value.peers) == sorted([one, two])
            nodes.weather.clear(lose=True)
            assert await client.set_new_conf(one, wanted, [one, two], timeout=60) == wanted
            assert await leader_of(client, wanted) in wanted

    asyncio.run(story())


def test_what_a_change_made_goes_when_the_change_is_given_up(tmp_path: Path) -> None:
    """Whoever waited for it removes the blank peer again."""

    async def story() -> None:
        async with house(tmp_path, 2) as nodes, Client() as client:
            one, new = nodes.peers
            await client.create([one], timeout=60)
            nodes.weather.isolate(new, nodes.peers)
            with pytest.raises(CatchUpTimeout):
                await client.set_new_conf(one, [one, new], [one], timeout=60)
            with pytest.raises(PeerUnavailable, match="no peer"):
                await client.stat(new, timeout=60)
            await client.write(one, ("k", "v"), timeout=60)

    asyncio.run(story())


async def _leading(client: Client, peers: list[PeerId]) -> PeerId:
    """While a change is under way there is no stable configuration to ask for."""
    for peer in peers:
        if (await client.stat(peer, timeout=60)).role == "leader":
            return peer
    raise AssertionError("nobody leads")
