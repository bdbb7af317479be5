"""Nodes that take snapshots: logs stay short, restarts begin from them, followers that were away get one."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import zraft
from tests.stack.clusters import wait_until
from tests.stack.node.scene import WAIT_S, config, group_of_one, within
from zraft.app.processes import PortLease
from zraft.errors import AddressInUse, DataDirInUse
from zraft.node import transfers
from zraft.node.catalogue import kept_below
from zraft.node.node import Node
from zraft.testing import LocalCluster
from zraft.transport.bulk_send import send_files
from zraft.types import PeerId

OFTEN: dict[str, Any] = {"max_log_count": 100, "trailing_log_count": 10, "max_segment_size": 1 << 14}


async def fill(session: zraft.LightSession, first: int, last: int) -> None:
    """Keys k-first to k-last, a batch at a time; each has its number for a value, and some weight."""
    for at in range(first, last + 1, 20):
        numbers = range(at, min(at + 20, last + 1))
        await session.write_many([(f"k-{number}", [number, "x" * 100]) for number in numbers], timeout=WAIT_S)


async def check(client: zraft.Client, peer: PeerId, last: int, index: int) -> None:
    """The peer holds what `fill` wrote, once it has applied `index`."""
    for number in (1, last // 2, last):
        found = await client.query_local(peer, f"k-{number}", min_index=index, timeout=WAIT_S)
        assert found[0] == number


def journal_bytes(folder: Path) -> int:
    """Of the segments that are there; the node may delete some meanwhile."""
    size = 0
    for path in folder.glob("journal-*"):
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


@pytest.mark.parametrize("apart", [False, True])
def test_a_node_takes_snapshots_cuts_its_log_and_starts_from_them(tmp_path: Path, apart: bool) -> None:
    """§5.1: segments are deleted, `snapshot_index` is shown, and the state is there after a restart.

    Also where snapshots have a folder of their own.
    """
    log, snapshots = tmp_path / "log", tmp_path / ("snapshots" if apart else "log")

    async def work() -> None:
        with_lease = PortLease()
        settings = config(log, with_lease.address, snapshot_dir=snapshots, **OFTEN)
        node = Node(settings)
        try:
            await within(node.start())
            async with zraft.Client() as client:
                peer = await group_of_one(node, client)
                async with client.light_session(peer) as session:
                    await fill(session, 1, 1000)
                await wait_until("a snapshot", lambda: node.status("p").snapshot_index > 800)
                status = await client.stat(peer, timeout=WAIT_S)
                assert status.snapshot_index - 31 <= status.first_index <= status.snapshot_index + 1
                await wait_until("short journal", lambda: journal_bytes(log) <= 6 * settings.max_segment_size)
                await wait_until("older ones dropped", lambda: len(kept_below(snapshots)) == 1)
                await within(node.stop())
                node2 = Node(settings)
                await within(node2.start())
                try:
                    before = node2.status("p")
                    assert before.snapshot_index >= status.snapshot_index
                    assert before.last_applied >= before.snapshot_index
                    await client.write(peer, ("more", 1), timeout=WAIT_S)
                    await check(client, peer, 1000, 1000)
                finally:
                    await within(node2.stop())
        finally:
            await within(node.stop())
            with_lease.release()

    asyncio.run(work())
    assert (snapshots / "snapshots").is_dir()


def test_a_follower_that_was_down_gets_a_snapshot_while_writes_go_on(tmp_path: Path) -> None:
    """§5.1: what it lacks is not in any log; it is carried over the snapshot channel, and it catches up."""

    async def work() -> None:
        async with LocalCluster(3, folder=tmp_path, election_timeout=2, **OFTEN) as cluster:
            client, peers = cluster.client, cluster.peers
            session = await client.light_session(peers)
            away = (await cluster.leader() + 1) % 3
            await fill(session, 1, 50)
            await cluster.stop(away)
            await fill(session, 51, 500)
            writing, last = True, 500

            async def write_on() -> None:
                nonlocal last
                while writing:
                    await fill(session, last + 1, last + 20)
                    last += 20

            task = asyncio.create_task(write_on())
            await cluster.start(away)
            node = cluster.nodes[away]
            assert node is not None
            name = peers[away].name
            await wait_until("a snapshot came", lambda: node.status(name).snapshot_index >= 400)
            writing = False
            await within(task)
            newest = (await client.stat((await client.get_conf(peers[0])).leader, timeout=WAIT_S)).last_index
            await check(client, peers[away], last, newest)
            await session.close()
            found = [kept for kept in kept_below(tmp_path / f"n{away}") if kept.manifest is not None]
            assert all(kept.manifest is not None and kept.manifest.meta.name == name for kept in found)

    asyncio.run(work())


def test_a_follower_whose_leader_goes_meanwhile_gets_a_snapshot_from_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transfer is cut and given up, and the next leader's offer is taken."""
    slow = threading.Event()

    def limited(*arguments: Any, **named: Any) -> int:
        return send_files(*arguments, **{**named, "rate": 1 << 17 if slow.is_set() else None})

    monkeypatch.setattr(transfers, "send_files", limited)

    async def work() -> None:
        async with LocalCluster(3, folder=tmp_path, election_timeout=2, **OFTEN) as cluster:
            client, peers = cluster.client, cluster.peers
            session = await client.light_session(peers)
            first = await cluster.leader()
            away = (first + 1) % 3
            await cluster.stop(away)
            for at in range(0, 400, 20):
                numbers = range(at, at + 20)
                await session.write_many([(f"k-{number}", [number, "x" * 4000]) for number in numbers], timeout=WAIT_S)
            slow.set()
            await cluster.start(away)
            leading = await cluster.leader()
            name = f"zraft-send {peers[away]}"
            await wait_until("sending", lambda: any(one.name.startswith(name) for one in threading.enumerate()))
            slow.clear()
            await cluster.stop(leading)
            node = cluster.nodes[away]
            assert node is not None
            await wait_until("a snapshot came", lambda: node.status(peers[away].name).snapshot_index >= 300)
            await session.write(("last", 1), timeout=WAIT_S)
            found = await client.query_local(peers[away], "k-399", min_index=400, timeout=WAIT_S)
            assert found[0] == 399
            await session.close()

    asyncio.run(work())


def test_archives_are_kept_and_older_snapshots_are_not(tmp_path: Path) -> None:
    """`snapshot_backup`: also when the peer is removed."""

    async def work() -> None:
        node = Node(config(tmp_path, snapshot_backup=True, **OFTEN))
        await within(node.start())
        try:
            async with zraft.Client() as client:
                peer = await group_of_one(node, client)
                async with client.light_session(peer) as session:
                    for first in range(1, 720, 120):
                        await fill(session, first, first + 119)
                        await wait_until(f"one of {first}", lambda: node.status("p").snapshot_index >= first)  # noqa: B023
                await wait_until(
                    "older ones went", lambda: sum(not one.is_archived for one in kept_below(tmp_path)) <= 2
                )
        finally:
            await within(node.stop())

    asyncio.run(work())
    kept = kept_below(tmp_path)
    archived = [one for one in kept if one.is_archived]
    assert len(archived) >= 3
    assert len(kept) - len(archived) <= 3  # the stop may have come between a new one and the end of an older one
    assert all(one.manifest is not None and not one.fault for one in kept)


def test_bm_097_a_peer_whose_only_snapshot_is_damaged_stays_down(tmp_path: Path) -> None:
    """The log begins after it: nothing else has that state. The node and its other peers run."""

    async def work() -> None:
        node = Node(config(tmp_path, **OFTEN))
        await within(node.start())
        async with zraft.Client() as client:
            peer = await group_of_one(node, client)
            async with client.light_session(peer) as session:
                await fill(session, 1, 400)
            await wait_until("a snapshot", lambda: node.status("p").snapshot_index >= 300)
        await within(node.stop())
        for kept in kept_below(tmp_path):
            data = bytearray((kept.path / "dict").read_bytes())
            data[len(data) // 2] ^= 4
            (kept.path / "dict").write_bytes(data)
        again = Node(config(tmp_path, **OFTEN))
        await within(again.start())
        try:
            status = again.status("p")
            assert status.role == "failed"
            assert "checksum" in str(status.fault)
        finally:
            await within(again.stop())

    asyncio.run(work())


def test_folders_and_ports_that_are_taken_stop_the_start(tmp_path: Path) -> None:
    """With the error of the one that is; nothing stays open."""

    async def work() -> None:
        one = Node(config(tmp_path / "a"))
        await within(one.start())
        lease = PortLease()
        try:
            with pytest.raises(DataDirInUse):
                await within(Node(config(tmp_path / "b", snapshot_dir=tmp_path / "a")).start())
            port = int(one.address.rpartition(":")[2])
            with pytest.raises(AddressInUse):
                await within(Node(config(tmp_path / "b", snapshot_listener_port=port)).start())
            free = Node(config(tmp_path / "b", snapshot_listener_port=lease.port))
            await within(free.start())
            _, writer = await within(asyncio.open_connection("127.0.0.1", lease.port))
            writer.close()
            await within(free.stop())
        finally:
            lease.release()
            await within(one.stop())

    asyncio.run(work())


def test_the_status_shows_a_snapshot_on_its_way(tmp_path: Path) -> None:
    """At a `snapshot_transfer_rate` that takes seconds: bytes that become more, and where the leader sends it."""
    seen: list[zraft.SnapshotProgress] = []

    async def work() -> None:
        async with LocalCluster(
            3, folder=tmp_path, election_timeout=2, snapshot_transfer_rate=1 << 17, **OFTEN
        ) as cluster:
            client, peers = cluster.client, cluster.peers
            session = await client.light_session(peers)
            away = (await cluster.leader() + 1) % 3
            await cluster.stop(away)
            for at in range(0, 400, 20):
                numbers = range(at, at + 20)
                await session.write_many([(f"k-{number}", "x" * 4000) for number in numbers], timeout=WAIT_S)
            for live in filter(None, cluster.nodes):  # whichever will lead has a large one to send
                await wait_until("a large one", lambda: live.status("test").snapshot_index >= 300)  # noqa: B023
            await cluster.start(away)
            async with asyncio.timeout(WAIT_S):
                while len(seen) < 3:
                    status = await client.stat(peers[away], timeout=WAIT_S)
                    coming = status.fetching
                    # An offer from before the writes ended may be on its way first: of a small one.
                    if coming is not None and coming.index >= 300 and (not seen or coming.received > seen[-1].received):
                        seen.append(coming)
                        sender = await client.stat(peers[await cluster.leader()], timeout=WAIT_S)
                        if (peers[away], coming.index) in sender.sending:
                            told.append(sender.id)
                    assert status.snapshot_index < 300, f"it came before three looks: {seen}"
                    await asyncio.sleep(0.02)
            assert told
            node = cluster.nodes[away]
            assert node is not None
            await wait_until("a snapshot came", lambda: node.status(peers[away].name).snapshot_index >= 300)
            assert node.status(peers[away].name).fetching is None
            await session.close()

    told: list[PeerId] = []
    asyncio.run(work())
    assert all(0 <= one.received <= one.total and one.total > 1 << 20 for one in seen)
