"""One disk of three is empty, rots or is full: the group serves, the operator is told, in the end all three serve."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zraft
from tests.stack.clusters import wait_until
from tests.stack.node.scene import WAIT_S, flip, within
from tests.stack.transport.world import tell
from zraft.errors import DiskFull
from zraft.node.catalogue import kept_below
from zraft.testing import LocalCluster

VALUE = "a value that rots " * 4


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the operator can read in the log."""
    with caplog.at_level(logging.INFO, logger="zraft"):
        yield caplog


async def put(cluster: LocalCluster, key: str, value: Any) -> None:
    """Written, and read again."""
    async with cluster.client.light_session(cluster.peers, retry_unknown=True) as session:
        await session.write((key, value), timeout=WAIT_S)
        assert await session.query(key, timeout=WAIT_S) == value


async def a_follower(cluster: LocalCluster) -> int:
    return (await cluster.leader() + 1) % 3


def role(cluster: LocalCluster, number: int) -> str:
    node = cluster.nodes[number]
    return node.status(cluster.peers[number].name).role if node is not None else "down"


async def holds(cluster: LocalCluster, number: int, key: str, value: Any) -> None:
    """The peer on that node has it, follows, and has nothing to complain about."""
    node, peer = cluster.nodes[number], cluster.peers[number]
    assert node is not None
    await wait_until("it follows", lambda: node.status(peer.name).role in ("follower", "leader"))
    index = (await cluster.client.query(cluster.peers[await cluster.leader()], key, timeout=WAIT_S)).index
    assert await cluster.client.query_local(peer, key, min_index=index, timeout=WAIT_S) == value
    assert node.status(peer.name).fault is None


def test_bm_095_a_rotten_journal_and_a_rotten_snapshot_are_mended_by_the_others(
    tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    """Its peer says what it lost, gets it again, and votes again; the others serve all the time."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path, max_log_count=60, trailing_log_count=0) as cluster:
            await put(cluster, "k", VALUE)
            spoiled = await a_follower(cluster)
            folder = tmp_path / f"n{spoiled}"
            await cluster.stop(spoiled)
            flip(folder, VALUE.encode())
            await put(cluster, "other", 1)
            await cluster.start(spoiled)
            await holds(cluster, spoiled, "k", VALUE)
            assert "lost part of its data, does not vote" in told.text
            assert "has again what it lost" in told.text

            told.clear()
            for number in range(70):
                await put(cluster, f"k{number % 5}", number)
            node = cluster.nodes[spoiled]
            assert node is not None
            await wait_until("a snapshot", lambda: node.status(cluster.peers[spoiled].name).snapshot_index > 0)
            await cluster.stop(spoiled)
            for kept in kept_below(folder):
                data = bytearray((kept.path / "dict").read_bytes())
                data[len(data) // 2] ^= 4
                (kept.path / "dict").write_bytes(data)
            await put(cluster, "k", "newer")
            await cluster.start(spoiled)
            await holds(cluster, spoiled, "k", "newer")
            assert "lost part of its data, does not vote" in told.text
            assert "checksum" in told.text

    tell(story)


def test_a_rotten_disk_without_a_majority_is_said_to_be_loading(tmp_path: Path) -> None:
    """Unavailable rather than wrong: until another one of the group is back, which the status says."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path) as cluster:
            await put(cluster, "k", VALUE)
            leader = await cluster.leader()
            spoiled = (leader + 1) % 3
            for number in ((leader + 2) % 3, spoiled, leader):
                await cluster.stop(number)
            flip(tmp_path / f"n{spoiled}", VALUE.encode())
            await cluster.start(spoiled)
            node, peer = cluster.nodes[spoiled], cluster.peers[spoiled]
            assert node is not None
            status = await cluster.client.stat(peer, timeout=WAIT_S)
            assert status.role == "loading"
            assert "until then it does not vote" in str(status.fault)
            with pytest.raises(zraft.RequestError):
                await cluster.client.write(peer, ("k", 2), timeout=0.5)
            for number in range(3):
                if cluster.nodes[number] is None:
                    await cluster.start(number)
            await holds(cluster, spoiled, "k", VALUE)

    tell(story)


def test_bm_043_a_wiped_disk_is_taken_in_anew_while_the_others_serve(tmp_path: Path) -> None:
    """What starts there is nobody, and says so, until the operator names the members once more."""

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path) as cluster:
            await put(cluster, "k", VALUE)
            lost = await a_follower(cluster)
            await cluster.stop(lost)
            shutil.rmtree(tmp_path / f"n{lost}")
            await cluster.start(lost)
            await put(cluster, "k", "newer")
            with pytest.raises(zraft.PeerUnavailable, match="no peer"):
                await cluster.client.stat(cluster.peers[lost], timeout=WAIT_S)
            leader = cluster.peers[await cluster.leader()]
            await cluster.client.set_new_conf(leader, cluster.peers, cluster.peers, timeout=WAIT_S)
            await holds(cluster, lost, "k", "newer")

    tell(story)


def test_bm_098_a_full_disk_stops_its_node_and_the_others_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: pytest.LogCaptureFixture
) -> None:
    """The node ends with the reason; when there is space again it is started, and has what it missed."""
    real, full = os.pwrite, list[str]()

    def pwrite(file: int, data: bytes, offset: int) -> int:
        if full and threading.current_thread().name.endswith(full[0]):
            raise OSError(errno.ENOSPC, "no space left on device")
        return real(file, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)

    async def story() -> None:
        async with LocalCluster(3, folder=tmp_path) as cluster:
            await put(cluster, "k", VALUE)
            lost = await a_follower(cluster)
            node = cluster.nodes[lost]
            assert node is not None
            full.append(str(tmp_path / f"n{lost}"))
            await put(cluster, "k", "newer")
            with pytest.raises(DiskFull, match="no space left"):
                await within(node.wait_closed())
            cluster.nodes[lost] = None
            assert role(cluster, lost) == "down"
            await put(cluster, "k", "newest")
            full.clear()
            await cluster.start(lost)
            await holds(cluster, lost, "k", "newest")
            assert "no space left" in told.text

    tell(story)
