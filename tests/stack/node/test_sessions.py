"""Sessions at a real node, by bare requests: opened, used, watched, ended; and there again after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

import zraft
from tests.stack.node.scene import Asker, config, group_of_one, within
from tests.stack.transport.world import tell
from zraft.node.node import Node
from zraft.wire.failures import Failed, FailureCode
from zraft.wire.requests import Result
from zraft.wire.session_requests import (
    Ping,
    SessionQuery,
    SessionWrite,
    StartSession,
    StopSession,
    Triggered,
    TriggerReason,
    decode_opened,
)
from zraft.wire.values import decode_value, encode_value


class Holder:
    """A client with a session on one connection."""

    def __init__(self, asker: Asker, token: bytes) -> None:
        self.asker, self.token, self.session = asker, token, 0

    async def start(self, timeout_ms: int) -> None:
        found = await within(self.asker.ask(lambda n: StartSession(n, "p", self.token, timeout_ms)))
        assert isinstance(found, Result), found
        self.session = decode_opened(found.value).session

    async def write(self, sequence: int, command: Any, *, temporary: bool = False) -> Result:
        raw = msgspec.Raw(encode_value(command))
        found = await within(
            self.asker.ask(
                lambda n: SessionWrite(n, "p", self.session, self.token, sequence, sequence - 1, raw, temporary)
            )
        )
        assert isinstance(found, Result), found
        return found

    async def query(self, key: Any, watch: int = 0) -> Any:
        raw = msgspec.Raw(encode_value(key))
        found = await within(self.asker.ask(lambda n: SessionQuery(n, "p", self.session, self.token, raw, watch)))
        assert isinstance(found, Result), found
        return decode_value(found.value)


def test_a_session_at_a_real_node(tmp_path: Path) -> None:
    """Twice the same write, temporary data that is watched, the end; and after a restart the same answer once more."""

    async def story() -> None:
        node = Node(config(tmp_path))
        async with zraft.Client() as client:
            await node.start()
            await group_of_one(node, client)
            address = node.address
            one = Holder(await Asker().open(address), b"1" * 16)
            other = Holder(await Asker().open(address), b"2" * 16)
            for holder in (one, other):
                await holder.start(60_000)
            first, again = await one.write(1, ("k", 1)), await one.write(1, ("k", 1))
            assert (first.index, first.value) == (again.index, again.value)
            await other.write(1, ("t", 1), temporary=True)
            one.asker.last += 1
            watch = one.asker.last
            fired = one.asker.waiting[watch] = asyncio.get_running_loop().create_future()
            assert await one.query("t", watch) == 1
            assert (node.status("p").sessions, node.status("p").watchers, node.status("p").ephemerals) == (2, 1, 1)
            ended = await within(other.asker.ask(lambda n: StopSession(n, "p", other.session, other.token)))
            assert isinstance(ended, Result)
            assert await within(fired) == Triggered(watch, ended.index, TriggerReason.CHANGE)
            assert await one.query("t") is zraft.NOT_FOUND
            await node.stop()
            node = Node(config(tmp_path, address))
            await node.start()
            holder = Holder(await Asker().open(address), b"1" * 16)
            await within(node.wait_role("p", "leader", timeout=None))
            await holder.start(60_000)
            assert holder.session == one.session
            assert (await holder.write(1, ("k", 1))).index == first.index
            await node.stop()

    tell(story)


def test_a_silent_client_loses_its_session_at_a_real_node(tmp_path: Path) -> None:
    """Nobody writes, and it is gone; whoever comes back is told so."""

    async def story() -> None:
        async with Node(config(tmp_path)) as node, zraft.Client() as client:
            await group_of_one(node, client)
            holder = Holder(await Asker().open(node.address), b"1" * 16)
            await holder.start(300)
            while node.status("p").sessions:
                await within(asyncio.sleep(0))
            found = await within(holder.asker.ask(lambda n: Ping(n, "p", holder.session, holder.token)))
            assert isinstance(found, Failed)
            assert found.code is FailureCode.SESSION_EXPIRED

    tell(story)


def test_a_connection_that_breaks_takes_its_watches(tmp_path: Path) -> None:
    """The session lives on."""

    async def story() -> None:
        async with Node(config(tmp_path)) as node, zraft.Client() as client:
            await group_of_one(node, client)
            holder = Holder(await Asker().open(node.address), b"1" * 16)
            await holder.start(60_000)
            await holder.query("k", 1000)
            assert node.status("p").watchers == 1
            assert holder.asker.link is not None
            holder.asker.link.abort("cut by the test")
            while node.status("p").watchers:
                await within(asyncio.sleep(0))
            assert node.status("p").sessions == 1

    tell(story)
