"""The disk fails under a running node: nothing is acknowledged after it, and the reason is raised."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import zraft
from tests.stack.node.scene import WAIT_S, config, group_of_one, within
from tests.stack.transport.world import tell
from zraft.app.processes import PortLease
from zraft.errors import (
    DiskFull,
    OutcomeUnknown,
    RequestError,
    StorageError,
)
from zraft.node.node import Node
from zraft.testing import LocalCluster


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


def test_bm_098_without_space_for_the_next_segment_writes_are_refused_until_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node goes on: reads are answered, and writes again once somebody has made room."""
    real, is_full = os.pwrite, [True]

    def no_space(file: int, data: Any, offset: int) -> int:
        preparing = len(data) >= 1 << 16 and threading.current_thread().name.startswith("zraft-disk")
        if is_full and preparing and not any(bytes(data)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data, offset)

    monkeypatch.setattr(os, "pwrite", no_space)

    async def story() -> None:
        lease = PortLease()
        async with Node(config(tmp_path, lease.address)) as node, zraft.Client() as client:
            peer = await group_of_one(node, client)

            async def refusal() -> str:
                try:
                    await client.write(peer, ("key", 1), timeout=WAIT_S)
                except zraft.Overloaded as error:
                    return error.reason
                return ""

            async with asyncio.timeout(WAIT_S):
                while await refusal() != "disk_full":
                    pass
                assert (await client.query(peer, "nothing", timeout=WAIT_S))[0] is zraft.NOT_FOUND
                is_full.clear()
                while await refusal():  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.05)
        lease.release()

    asyncio.run(story())


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
