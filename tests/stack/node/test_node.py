"""Nodes in this process, on the loopback and a real disk: their life, their end, and what they say about it."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

import zraft
from tests.stack.transport.world import tell
from zraft.app.processes import PortLease
from zraft.errors import (
    AddressInUse,
    AllPeersFailed,
    BackendError,
    ConfigError,
    DataDirInUse,
    DataDirUnsafe,
    DiskFull,
    MembershipError,
    OutcomeUnknown,
    PeerUnavailable,
    RequestError,
    RequestTimeout,
    StorageError,
    UsageError,
)
from zraft.machine.backend import Backend, Context
from zraft.node.events import PeerEvent
from zraft.node.node import Node
from zraft.peer.desk import RESULT_TOO_LARGE
from zraft.peer.host import Host
from zraft.storage.disk import Completion
from zraft.testing import LocalCluster
from zraft.transport.counters import Counters
from zraft.transport.dialer import Target, connect
from zraft.transport.link import Link, LinkHandlers
from zraft.types import GroupId, PeerId
from zraft.wire.failures import Failed, failed_to_error
from zraft.wire.handshake import Role
from zraft.wire.requests import Bootstrap, ListPeers, Reply, Request, Started, StartPeer, decode_replies, encode_item

T = TypeVar("T")
LOOPS = ("asyncio", "uvloop")
GROUP = GroupId(b"group of a test!")
WAIT_S = 20.0


def config(folder: Path, listen: str = "127.0.0.1:0", **changes: Any) -> zraft.Config:
    settings: dict[str, Any] = {"election_timeout": 0.2, "max_segment_size": 1 << 16, **changes}
    return zraft.Config(listen=listen, log_dir=folder, snapshot_dir=folder, **settings)


async def within(work: Awaitable[T]) -> T:
    async with asyncio.timeout(WAIT_S):
        return await work


class Asker:
    """One connection to a node, which asks and waits for the answer."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.waiting: dict[int, asyncio.Future[Reply]] = {}
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.last = 0

    async def open(self, address: str) -> Asker:
        handlers = LinkHandlers(
            opened=lambda link: None, received=self._received, closed=self._closed, failed=self._failed
        )
        target = Target(to=address, role=Role.CLIENT, cluster="default", node="a test")
        self.link = await within(connect(target, handlers, counters=Counters()))
        return self

    def _received(self, link: Link, kind: int, payload: bytes) -> None:
        for reply in decode_replies(payload):
            self.waiting.pop(reply.id).set_result(reply)

    def _closed(self, link: Link, why: str) -> None:
        self.ended.set_result(why)

    def _failed(self, error: Exception) -> None:
        self.ended.set_exception(error)

    def ask(self, make: Callable[[int], Request]) -> asyncio.Future[Reply]:
        assert self.link is not None
        self.last += 1
        answer = self.waiting[self.last] = asyncio.get_running_loop().create_future()
        assert self.link.send(encode_item(make(self.last)))
        return answer


def flip(folder: Path, text: bytes) -> None:
    """One bit of the text rots, in the journal segment where it stands."""
    (segment,) = [path for path in folder.glob("journal-*") if text in path.read_bytes()]
    data = bytearray(segment.read_bytes())
    data[data.index(text)] ^= 1
    segment.write_bytes(data)


async def group_of_one(node: Node, client: zraft.Client, backend: str = "dict") -> PeerId:
    (peer,) = await client.create([PeerId("p", node.address)], backend, timeout=WAIT_S)
    return peer


async def written(session: zraft.LightSession, key: Any, value: Any) -> None:
    """Written once; while every peer counts as failed, as where a disk is slow to vote, it is tried again."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await session.write((key, value), timeout=WAIT_S)
            except AllPeersFailed:
                await asyncio.sleep(0)
            else:
                return


# -- life


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_cluster_outlives_its_nodes_in_every_order(tmp_path: Path, order: tuple[int, ...], loop: str) -> None:
    """Each node is stopped and started again; what was written is there, from a new connection."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path) as cluster:
            session = await cluster.client.light_session(cluster.peers, fail_timeout=0.1, election_timeout=0.1)
            async with session:
                for number in order:
                    await written(session, number, "x")
                    await cluster.stop(number)
                    await written(session, number, "y")
                    await cluster.start(number)
                await written(session, 3, "z")
                assert [await session.query(number, timeout=WAIT_S) for number in range(3)] == ["y"] * 3

    tell(story, loop)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_cluster_that_was_stopped_as_a_whole_goes_on(tmp_path: Path, order: tuple[int, ...]) -> None:
    """All nodes stop, in one order, and start in another: the group has a leader and its data again."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path) as cluster:
            await cluster.client.write(cluster.peers[0], ("k", 1), timeout=WAIT_S)
            for number in order:
                await cluster.stop(number)
            for number in reversed(order):
                await cluster.start(number)
            answer, _ = await cluster.client.query(cluster.peers[order[0]], "k", timeout=WAIT_S)
            assert answer == 1

    tell(story)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_group_of_one_goes_on_where_it_was(tmp_path: Path, loop: str) -> None:
    """Restarted three times on another port each: its data and its name are in the folder, not in the port."""

    async def story() -> None:
        lease = PortLease()
        try:
            for life in range(4):
                async with Node(config(tmp_path, lease.address)) as node, zraft.Client() as client:
                    peer = node.peers()[0] if life else await group_of_one(node, client)
                    await within(node.wait_role("p", "leader", timeout=None))
                    answer, _ = await client.query(peer, "life", timeout=WAIT_S)
                    assert answer == (life - 1 if life else zraft.NOT_FOUND)
                    await client.write(peer, ("life", life), timeout=WAIT_S)
        finally:
            lease.release()

    tell(story, loop)


def test_the_nodes_of_a_group_are_connected_before_they_need_it(tmp_path: Path) -> None:
    """Each with each, also followers, who have nothing to say to each other yet: their first words would be votes."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path) as cluster:
            nodes = [node for node in cluster.nodes if node is not None]
            pairs = [(node, other.address) for node in nodes for other in nodes if other is not node]
            while not all(node._neighbours.is_connected(other) for node, other in pairs):
                await within(asyncio.sleep(0))

    tell(story)


def test_any_free_port_becomes_the_nodes_name(tmp_path: Path) -> None:
    """Port 0: the address is known once it listens, and stays known when it has stopped."""

    async def story() -> None:
        node = Node(config(tmp_path))
        async with node:
            host, _, port = node.address.rpartition(":")
            assert (host, int(port) > 0) == ("127.0.0.1", True)
            asker = await Asker().open(node.address)
            assert not isinstance(await within(asker.ask(ListPeers)), Failed)
        assert node.address == f"{host}:{port}"
        assert node.peers() == []
        with pytest.raises(PeerUnavailable):
            node.status("p")

    tell(story)


def test_a_node_is_started_once_and_stopped_as_often_as_you_like(tmp_path: Path) -> None:
    """What cannot be is told at once."""

    async def story() -> None:
        node = Node(config(tmp_path))
        await node.stop()
        with pytest.raises(UsageError):
            await node.wait_closed()
        for early in (node.start_peer("p"), node.remove_peer("p"), node.wait_role("p", "leader", timeout=1)):
            with pytest.raises(UsageError):
                await early
        starting = asyncio.create_task(node.start())
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="starting"):
            await node.stop()
        await starting
        with pytest.raises(UsageError):
            await node.start()
        assert node.status.__doc__
        await asyncio.wait([asyncio.create_task(node.stop()), asyncio.create_task(node.stop())])
        await node.stop()
        await node.wait_closed()
        with pytest.raises(PeerUnavailable):
            node.events()

    tell(story)


# -- a start that fails


def test_data_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    """In use, or open to others: the error says which; the waiting end with it; nothing is left open."""

    async def story() -> None:
        async with Node(config(tmp_path / "a")):
            second = Node(config(tmp_path / "a"))
            with pytest.raises(DataDirInUse):
                await second.start()
            with pytest.raises(DataDirInUse):
                await second.wait_closed()
            with pytest.raises(DataDirInUse):
                await second.stop()
        (tmp_path / "b").mkdir(mode=0o700)
        (tmp_path / "b").chmod(0o777)
        with pytest.raises(DataDirUnsafe):
            await Node(config(tmp_path / "b")).start()
        (tmp_path / "b").chmod(0o700)
        async with Node(config(tmp_path / "b")):
            pass

    threads = threading.active_count()
    tell(story)
    assert threading.active_count() == threads


def test_an_address_that_is_taken_stops_the_start_and_lets_go_of_the_data(tmp_path: Path) -> None:
    """The folder is free at once for the next attempt."""

    async def story() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(AddressInUse):
                await Node(config(tmp_path, address)).start()
        with pytest.raises(ConfigError):
            await Node(config(tmp_path, "192.0.2.1:1")).start()
        async with Node(config(tmp_path)):
            pass

    tell(story)


def test_corrupt_terms_and_votes_stop_the_start(tmp_path: Path) -> None:
    """Both copies: what the replicas promised is unknown, and the text says what can be done."""

    async def story() -> None:
        async with Node(config(tmp_path)) as node, zraft.Client() as client:
            await group_of_one(node, client)
        for name in ("state-a", "state-b"):
            data = bytearray((tmp_path / name).read_bytes())
            data[40] ^= 1
            (tmp_path / name).write_bytes(data)
        with pytest.raises(StorageError, match="re-admit"):
            await Node(config(tmp_path)).start()

    tell(story)


def test_a_start_that_is_cancelled_leaves_nothing_open(tmp_path: Path) -> None:
    """The folder is free, and whoever waits for the end has it."""

    async def story() -> None:
        node = Node(config(tmp_path))
        starting = asyncio.create_task(node.start())
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await within(node.wait_closed())
        async with Node(config(tmp_path)):
            pass

    tell(story)


def test_a_replica_that_cannot_run_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    """One corrupt log: that replica is down with the reason, the node serves the other."""

    lease = PortLease()

    async def story() -> None:
        async with Node(config(tmp_path, lease.address)) as node, zraft.Client() as client:
            (other,) = await client.create([PeerId("other", node.address)], timeout=WAIT_S)
            peer = await group_of_one(node, client)
            await client.write(other, ("k", 1), timeout=WAIT_S)
            await client.write(peer, ("k", "rotten" * 5), timeout=WAIT_S)
        # The last batch before the clean stop: only the mark after it tells that it is not merely torn.
        flip(tmp_path, b"rotten")
        async with Node(config(tmp_path, lease.address)) as node, zraft.Client() as client:
            status = node.status("p")
            assert status.role == "failed"
            assert "corrupt data" in (status.fault or "")
            with pytest.raises(PeerUnavailable, match="corrupt data"):
                await node.wait_role("p", "leader", timeout=1)
            await within(node.wait_role("other", "leader", timeout=None))
            answer, _ = await client.query(PeerId("other", node.address), "k", timeout=WAIT_S)
            assert answer == 1
            with pytest.raises(MembershipError):
                await node.remove_peer("p")

    tell(story)
    lease.release()


# -- the disk fails


class BrokenDisk:
    """`os.<name>` fails in the writer threads from `break_it` on; so many times, then it works again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, number: int, times: int = 1 << 30) -> None:
        self.left = 0
        self._times, self._number = times, number
        self._call = getattr(os, name)
        monkeypatch.setattr(os, name, self)

    def break_it(self) -> None:
        self.left = self._times

    def __call__(self, *arguments: Any) -> Any:
        if self.left and threading.current_thread().name.startswith("zraft-disk"):
            self.left -= 1
            raise OSError(self._number, os.strerror(self._number))
        return self._call(*arguments)


@pytest.mark.parametrize(
    ("name", "number", "times", "error"),
    [
        ("fdatasync", errno.EIO, 1, StorageError),
        ("fdatasync", errno.EIO, 1 << 30, StorageError),
        ("pwrite", errno.ENOSPC, 1 << 30, DiskFull),
    ],
)
def test_bm_093_a_disk_that_fails_ends_the_node_and_nothing_is_acknowledged_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, times: int, error: type[StorageError]
) -> None:
    """One failed sync, or all of them, or no space: the write is not acknowledged, the node ends with the reason."""
    broken = BrokenDisk(monkeypatch, name, number, times)

    async def story() -> None:
        lease = PortLease()
        node = Node(config(tmp_path, lease.address))
        async with zraft.Client() as client:
            await node.start()
            peer = await group_of_one(node, client)
            await client.write(peer, ("before", 1), timeout=WAIT_S)
            closing = asyncio.create_task(node.wait_closed())
            broken.break_it()
            with pytest.raises(OutcomeUnknown):
                await client.write(peer, ("during", 1), timeout=WAIT_S)
            with pytest.raises(error):
                await within(closing)
            with pytest.raises(error):
                await node.stop()
            with pytest.raises(RequestError):
                await client.write(peer, ("after", 1), timeout=0.5)
            assert node.peers() == []
        broken.left = 0
        async with Node(config(tmp_path, lease.address)) as node, zraft.Client() as client:
            await within(node.wait_role("p", "leader", timeout=None))
            before, _ = await client.query(peer, "before", timeout=WAIT_S)
            after, _ = await client.query(peer, "after", timeout=WAIT_S)
            assert (before, after) == (1, zraft.NOT_FOUND)
        lease.release()

    tell(story)


def test_a_disk_that_fails_while_the_node_stops_is_not_hushed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last save could not be made: `stop` raises it."""
    broken = BrokenDisk(monkeypatch, "fdatasync", errno.EIO)

    async def story() -> None:
        node = Node(config(tmp_path))
        async with zraft.Client() as client:
            await node.start()
            await group_of_one(node, client)
            broken.break_it()
            with pytest.raises(StorageError, match="SyncFile"):
                await within(node.stop())

    tell(story)


def test_the_others_go_on_when_a_leaders_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node ends with the reason; a write that was acknowledged before is read from the next leader."""
    real, broken = os.fdatasync, list[str]()

    def fdatasync(file: int) -> None:
        if broken and threading.current_thread().name.endswith(broken[0]):
            raise OSError(errno.EIO, "input/output error")
        real(file)

    monkeypatch.setattr(os, "fdatasync", fdatasync)

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path) as cluster:
            await cluster.client.write(cluster.peers[0], ("k", 1), timeout=WAIT_S)
            leader = await cluster.leader()
            node = cluster.nodes[leader]
            assert node is not None
            broken.append(str(tmp_path / f"n{leader}"))
            async with cluster.client.light_session(cluster.peers, fail_timeout=0.1, election_timeout=0.1) as session:
                with pytest.raises(OutcomeUnknown):
                    await session.write(("k", 2), timeout=WAIT_S)
                with pytest.raises(StorageError):
                    await within(node.wait_closed())
                cluster.nodes[leader] = None
                assert await session.query("k", timeout=WAIT_S) in (1, 2)
                await session.write(("k", 3), timeout=WAIT_S)

    tell(story)


# -- the end


def test_a_leader_that_stops_hands_over_first(tmp_path: Path) -> None:
    """§3.10: the others have a leader when it is gone, in the next term, without waiting for a timeout."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path, election_timeout=2) as cluster:
            leader = await cluster.leader()
            old = cluster.nodes[leader]
            assert old is not None
            term = old.status("test").term
            clock = asyncio.get_running_loop().time
            began = clock()
            await cluster.stop(leader)
            rest = [node for node in cluster.nodes if node is not None]
            while not any(node.status("test").role == "leader" for node in rest):
                await within(asyncio.sleep(0))
            assert clock() - began < 1.5, "nobody waited for an election timeout"
            assert {node.status("test").term for node in rest} == {term + 1}

    tell(story)


def test_a_node_that_stops_answers_what_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes that wait for the disk get their result, what comes now is refused, and only then it lets go."""
    real, may_sync = os.fdatasync, threading.Event()

    def fdatasync(file: int) -> None:
        may_sync.wait(WAIT_S)
        real(file)

    async def story() -> None:
        node = Node(config(tmp_path, election_timeout=10))
        async with zraft.Client() as client:
            await node.start()
            peer = await group_of_one(node, client)
            monkeypatch.setattr(os, "fdatasync", fdatasync)
            writes = [asyncio.create_task(client.write(peer, (place, "x"), timeout=WAIT_S)) for place in range(50)]
            host = node._host
            assert host is not None
            while not host.has_unanswered:
                await within(asyncio.sleep(0))
            asker = await Asker().open(node.address)
            stopping = asyncio.create_task(node.stop())
            await asyncio.sleep(0)
            reply = await within(asker.ask(ListPeers))
            assert isinstance(reply, Failed)
            assert isinstance(failed_to_error(reply), PeerUnavailable)
            may_sync.set()
            assert [(await within(write))[0] for write in writes] == ["ok"] * 50
            assert await within(asker.ended)
            await within(stopping)

    tell(story)


def test_a_disk_that_stands_still_does_not_hold_back_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node stops while a save never ends: its clients hear "maybe" in time; the folder waits for the disk."""
    real, may_sync = os.fdatasync, threading.Event()

    def fdatasync(file: int) -> None:
        may_sync.wait(WAIT_S)
        real(file)

    async def story() -> None:
        node = Node(config(tmp_path))
        async with zraft.Client() as client:
            await node.start()
            peer = await group_of_one(node, client)
            monkeypatch.setattr(os, "fdatasync", fdatasync)
            writing = asyncio.create_task(client.write(peer, ("k", 1), timeout=WAIT_S))
            host = node._host
            assert host is not None
            while not host.has_unanswered:
                await within(asyncio.sleep(0))
            stopping = asyncio.create_task(node.stop())
            with pytest.raises(OutcomeUnknown):
                await within(writing)
            with pytest.raises(DataDirInUse):
                await Node(config(tmp_path)).start()
            may_sync.set()
            await within(stopping)

    tell(story)


def test_an_error_that_nobody_expected_ends_the_node_with_that_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is raised by `wait_closed`, not printed and forgotten; the folder is free afterwards."""

    async def story() -> None:
        for name in ("turn", "completed", "request", "hand_over"):
            node = Node(config(tmp_path / name))
            await node.start()
            asker = await Asker().open(node.address)
            with monkeypatch.context() as broken:

                def surprise(*_: Any, **__: Any) -> None:
                    raise KeyError("a bug")

                broken.setattr(Host, name, surprise)
                broken.setattr(Host, "leading", lambda host: ["p"])
                answer = asker.ask(lambda number: StartPeer(number, "p", GROUP, "dict"))
                if name == "hand_over":
                    with pytest.raises(KeyError):
                        await within(node.stop())
                with pytest.raises(KeyError, match="a bug"):
                    await within(node.wait_closed())
            assert await within(asker.ended)
            del answer

    tell(story)
    assert "stops: 'a bug'" in caplog.text


def test_a_report_that_comes_after_the_end_harms_nobody(tmp_path: Path) -> None:
    """The loop is closed, and the writer thread finds nobody to tell: it does not die of that."""
    node = Node(config(tmp_path))
    node._report(Completion(1))

    async def story() -> None:
        async with node:
            pass
        node._report(Completion(1))
        await asyncio.sleep(0)

    tell(story)
    node._report(Completion(1))
    assert node.peers() == []


# -- one replica


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


# -- what clients and backends may do


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
                    await other.query_local(peer, "k", min_index=1 << 40, timeout=0.2)
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
