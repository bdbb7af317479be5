"""The way down: leadership first, then answers, then the disk; errors on it are not hushed up."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import zraft
from tests.stack.node.scene import GROUP, WAIT_S, Asker, config, group_of_one, within
from tests.stack.transport.world import tell
from zraft.errors import (
    DataDirInUse,
    OutcomeUnknown,
    PeerUnavailable,
)
from zraft.node.node import Node
from zraft.storage.disk import Completion
from zraft.testing import LocalCluster
from zraft.wire.failures import Failed, failed_to_error
from zraft.wire.requests import ListPeers, StartPeer


def test_a_leader_that_stops_hands_over_first(tmp_path: Path) -> None:
    """§3.10: the others have a leader when it is gone, in the next term, without waiting for a timeout."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path, election_timeout=30) as cluster:
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
            assert clock() - began < 25, "nobody waited for an election timeout"
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

                host = node._host  # this one: other nodes may live in this process
                assert host is not None
                broken.setattr(host, name, surprise)
                broken.setattr(host, "leading", lambda: ["p"])
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
