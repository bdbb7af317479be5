"""A change that is asked of a leader whom nobody hears (BM-045)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.stack.campaign.doors import house
from tests.stack.membership.changes import change_to, leader_of, wait_gone
from zraft.client.caller import Caller
from zraft.client.client import Client
from zraft.client.groups import entry_of
from zraft.errors import LeaderChanged, NotLeader, PeerUnavailable, RequestError
from zraft.wire.requests import ChangeMembership, Result


def test_an_isolated_leader_changes_nothing(tmp_path: Path) -> None:
    """It would be alone in the new group, and decide at once: the old majority has to agree, and cannot be asked."""

    async def story() -> None:
        async with house(tmp_path, 3) as nodes, Client() as client:
            peers = nodes.peers
            await client.ensure(peers, timeout=60)
            await client.write(peers[0], ("before", 1), timeout=60)
            leader = await leader_of(client, peers)
            nodes.weather.isolate(leader, peers)
            caller = Caller(secret=None, cluster=None)
            try:
                deadline = caller.deadline(10)
                entry = await entry_of(caller, leader, deadline)
                assert entry is not None
                with pytest.raises(RequestError) as caught:
                    await caller.ask(
                        leader.node,
                        lambda number: ChangeMembership(number, leader.name, [entry.member], peers),
                        Result,
                        deadline=deadline,
                    )
            finally:
                await caller.aclose()
            assert isinstance(caught.value, LeaderChanged | NotLeader | PeerUnavailable), caught.value
            others = [peer for peer in peers if peer != leader]
            written = await client.write(others[0], ("meanwhile", 2), timeout=60)
            nodes.weather.clear(lose=True)
            assert await client.query_local(leader, "meanwhile", min_index=written.index, timeout=60) == 2
            conf = await client.get_conf(others[0], timeout=60)
            assert sorted(conf.peers) == sorted(peers)
            await change_to(client, others, others)
            await wait_gone(client, leader)

    asyncio.run(story())
