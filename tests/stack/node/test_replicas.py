"""One replica of a node: stopped, started, removed, waited for, listened to; and what backends may do."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import zraft
from tests.stack.node.scene import GROUP, WAIT_S, Asker, config, group_of_one, within
from tests.stack.transport.world import tell
from zraft.errors import (
    BackendError,
    MembershipError,
    PeerUnavailable,
    RequestError,
    RequestTimeout,
    UsageError,
)
from zraft.machine.backend import Backend, Context
from zraft.node.events import PeerEvent
from zraft.node.node import Node
from zraft.peer.desk import RESULT_TOO_LARGE
from zraft.testing import LocalCluster
from zraft.wire.failures import Failed, failed_to_error
from zraft.wire.requests import Bootstrap, Started, StartPeer


def test_replicas_stop_start_and_go(tmp_path: Path) -> None:
    """A stopped one keeps its data; one that belongs to its configuration is not removed; a blank one is."""

    async def story() -> None:
        async with Node(config(tmp_path)) as node, zraft.Client() as client:
            peer = await group_of_one(node, client)
            await client.write(peer, ("k", 1), timeout=WAIT_S)
            await within(node.stop_peer("p"))
            await within(node.stop_peer("p"))
            assert node.status("p").role == "failed"
            assert node.peers() == [peer]
            with pytest.raises(RequestError):
                await client.write(peer, ("k", 2), timeout=0.3)
            await within(node.start_peer("p"))
            await within(node.start_peer("p"))
            await within(node.wait_role("p", "leader", timeout=timedelta(seconds=WAIT_S)))
            answer, _ = await client.query(peer, "k", timeout=WAIT_S)
            assert answer == 1
            with pytest.raises(MembershipError):
                await node.remove_peer("p")
            for unknown in (node.remove_peer("q"), node.start_peer("q"), node.stop_peer("q")):
                with pytest.raises(PeerUnavailable):
                    await within(unknown)
            asker = await Asker().open(node.address)
            assert isinstance(await within(asker.ask(lambda n: StartPeer(n, "q", GROUP, "dict"))), Started)
            await within(node.wait_role("q", "blank", timeout=None))
            await within(node.remove_peer("q"))
            await within(node.wait_role("q", "removed", timeout=None))
            assert node.peers() == [peer]

    tell(story)


def test_a_replica_that_is_stopped_hands_over_first(tmp_path: Path) -> None:
    """The group has another leader when `stop_peer` returns; started again, the replica follows."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path) as cluster:
            leader = await cluster.leader()
            node = cluster.nodes[leader]
            assert node is not None
            await within(node.stop_peer("test"))
            others = [peer for number, peer in enumerate(cluster.peers) if number != leader]
            await cluster.client.write(others[0], ("k", 1), timeout=WAIT_S)
            await node.start_peer("test")
            await within(node.wait_role("test", "follower", timeout=None))
            assert await cluster.client.query_local(cluster.peers[leader], "k", min_index=1, timeout=WAIT_S) in (
                1,
                zraft.NOT_FOUND,
            )

    tell(story)


def test_a_role_that_does_not_come_is_told(tmp_path: Path) -> None:
    """By the deadline, by the end of the node, or at once where it is none."""

    async def story() -> None:
        async with Node(config(tmp_path)) as node:
            with pytest.raises(UsageError, match="not a role"):
                await node.wait_role("p", "king", timeout=1)
            with pytest.raises(RequestTimeout, match="is removed and not leader"):
                await node.wait_role("p", "leader", timeout=0.05)
            with pytest.raises(TimeoutError):
                await node.wait_role("p", "leader", timeout=0)
            waiting = asyncio.create_task(node.wait_role("p", "leader", timeout=None))
            await asyncio.sleep(0)
        with pytest.raises(PeerUnavailable, match="stopp"):
            await within(waiting)

    tell(story)


def test_applications_hear_of_roles_and_configurations(tmp_path: Path) -> None:
    """One peer from its birth on: blank, candidate perhaps, leader; the end of the node ends the events."""

    async def story() -> list[PeerEvent]:
        events: list[PeerEvent] = []
        async with Node(config(tmp_path)) as node, zraft.Client() as client:
            feed = node.events()

            async def listen() -> None:
                events.extend([event async for event in feed])

            listening = asyncio.create_task(listen())
            peer = await group_of_one(node, client)
            await client.write(peer, ("k", 1), timeout=WAIT_S)
            late = node.events()
            first = await within(anext(late))
            assert (first.role, first.changed) == ("leader", ())
        await within(listening)
        with pytest.raises(StopAsyncIteration):
            await within(anext(late))
        return events

    events = tell(story)
    roles = [event.role for event in events]
    assert roles[0] == "blank"
    assert roles[-1] == "leader"
    assert [event.peers for event in events if "configuration" in event.changed] == [(events[0].peer,)]
    assert all(event.changed for event in events)


class Weighty(Backend):
    """Answers with more than a frame holds."""

    name = "weighty"

    def apply(self, command: Any, ctx: Context) -> Any:
        return "x" * command

    def query(self, query: Any) -> Any:
        return "x" * query


def test_an_answer_that_fits_no_frame_harms_nobody(tmp_path: Path) -> None:
    """The write ran and its result cannot travel: its caller is told so, and the node serves on."""

    async def story() -> None:
        async with Node(config(tmp_path), backends={"weighty": Weighty}) as node, zraft.Client() as client:
            peer = await group_of_one(node, client, "weighty")
            with pytest.raises(BackendError) as wrote:
                await client.write(peer, 9 << 20, timeout=WAIT_S)
            assert (wrote.value.type, wrote.value.executed) == (RESULT_TOO_LARGE, "yes")
            with pytest.raises(BackendError) as asked:
                await client.query(peer, 9 << 20, timeout=WAIT_S)
            assert asked.value.executed == "no"
            result, _ = await client.write(peer, 3, timeout=WAIT_S)
            assert result == "xxx"

    tell(story)


def test_a_client_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its local query waits for a state that never comes; with its connection it is gone."""

    async def story() -> None:
        async with Node(config(tmp_path)) as node, zraft.Client() as client:
            peer = await group_of_one(node, client)
            async with zraft.Client() as other:
                with pytest.raises(RequestTimeout):
                    await other.query_local(peer, "k", min_index=1 << 40, timeout=2)
                host = node._host
                assert host is not None
                assert host.peers["p"].desk.has_local
            while host.peers["p"].desk.has_local:
                await within(asyncio.sleep(0))

    tell(story)


def test_a_founding_that_makes_no_sense_ends_no_connection(tmp_path: Path) -> None:
    """Remote nonsense is an answer, not the end of the node or of those who share the connection."""

    async def story() -> None:
        async with Node(config(tmp_path)) as node:
            asker = await Asker().open(node.address)
            started = await within(asker.ask(lambda number: StartPeer(number, "p", GROUP, "dict")))
            assert isinstance(started, Started)
            reply = await within(asker.ask(lambda number: Bootstrap(number, "p", [started.member, started.member])))
            assert isinstance(reply, Failed)
            assert isinstance(failed_to_error(reply), MembershipError)
            reply = await within(asker.ask(lambda number: Bootstrap(number, "p", [started.member])))
            assert not isinstance(reply, Failed)
            await within(node.wait_role("p", "leader", timeout=None))

    tell(story)


class Slow(Backend):
    """Each command takes a while: milliseconds of real time."""

    name = "slow"

    def apply(self, command: Any, ctx: Context) -> Any:
        ends = os.times().elapsed + command / 1000
        while os.times().elapsed < ends:
            pass
        return "ok"

    def query(self, query: Any) -> Any:
        return None


def test_a_slow_backend_is_applied_in_smaller_slices(tmp_path: Path) -> None:
    """Its neighbours wait for a slice, not for all of it."""

    async def story() -> None:
        async with Node(config(tmp_path), backends={"slow": Slow}) as node, zraft.Client() as client:
            peer = await group_of_one(node, client, "slow")
            host = node._host
            assert host is not None
            before = host.apply_entries
            for _ in range(3):
                await client.write(peer, 20, timeout=WAIT_S)
            assert host.apply_entries < before

    tell(story)
