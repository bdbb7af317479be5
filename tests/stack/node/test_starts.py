"""A start that fails: it says why, whoever waits hears it, and nothing stays open."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

import zraft
from tests.stack.node.scene import WAIT_S, config, flip, group_of_one, within
from tests.stack.transport.world import tell
from zraft.app.processes import PortLease
from zraft.errors import (
    AddressInUse,
    ConfigError,
    DataDirInUse,
    DataDirUnsafe,
    MembershipError,
    PeerUnavailable,
    StorageError,
)
from zraft.node.node import Node
from zraft.types import PeerId


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
