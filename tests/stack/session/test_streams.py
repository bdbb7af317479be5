"""Streams over real nodes: every change once, in order, whoever leads, and an honest end where that is not possible."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import zraft
from tests.stack.clusters import WAIT_S, wait_until
from tests.stack.contract.backends import Counter, Teller
from zraft import table
from zraft.errors import SessionExpired
from zraft.testing import BlockingCluster, LocalCluster

LONG = 30.0


def test_a_stream_sees_everything_once_and_in_order_while_leaders_die() -> None:
    """Puts, temporary data and what goes by time, over two leaders that end, an idle stream beside."""

    async def story() -> None:
        async with LocalCluster(3, backend="table") as cluster, zraft.start_session(cluster.peers, LONG) as writer:
            reader = await zraft.start_session(cluster.peers, LONG)
            seen: list[zraft.Changed] = []
            idle = reader.watch("never")
            await idle.__aenter__()

            async def read() -> None:
                async with reader.watch(zraft.Prefix("k")) as stream:
                    ready.set()
                    async for change in stream:
                        seen.append(change)
                        if change.key == "k end":
                            return

            ready = asyncio.Event()
            reading = asyncio.create_task(read())
            await ready.wait()
            waiting = asyncio.create_task(idle.next())
            sums: list[Any] = []
            for place in range(60):
                sums.append(await writer.write(table.Increment(f"k{place % 3}"), timeout=WAIT_S))
                if place in (20, 40):
                    leader = await cluster.leader()
                    await cluster.stop(leader)
                    if place == 20:
                        await cluster.start(leader)
            async with zraft.start_session(cluster.peers, LONG) as other:
                await other.write(table.Put("k mine", 1), temporary=True, timeout=WAIT_S)
            await writer.write(table.Put("k short", 1, ttl=0.05), timeout=WAIT_S)
            await wait_until("it has gone", lambda: bool(seen) and seen[-1].kind == "expire")
            await writer.write(table.Put("k end", 1), timeout=WAIT_S)
            await asyncio.wait_for(reading, WAIT_S)
            assert [change.value for change in seen[:60]] == sums
            rest = [(change.key, change.kind) for change in seen[60:]]
            assert rest == [
                ("k mine", "put"),
                ("k mine", "session"),
                ("k short", "put"),
                ("k short", "expire"),
                ("k end", "put"),
            ]
            indexes = [change.index for change in seen]
            assert indexes == sorted(set(indexes))
            await writer.write(table.Put("never", "now"), timeout=WAIT_S)
            change = await asyncio.wait_for(waiting, WAIT_S)
            assert change is not None
            assert change.value == "now"
            again = reader.watch(zraft.Prefix("k"), seen[30].index)
            assert [await again.next() for _ in range(30)] == seen[31:61]
            await reader.stop()
            assert [change async for change in reader.watch("k")] == []

    asyncio.run(story())


def test_what_cannot_be_streamed_is_said() -> None:
    """A backend that reports no changes, a dict's prefix, a key that is none, a session that has expired."""

    async def story() -> None:
        backends = {"counter": Counter, "teller": Teller}
        async with LocalCluster(1, backend="counter", backends=backends) as cluster:
            async with zraft.start_session(cluster.peers, LONG) as session, session.watch("value") as stream:
                await session.write(5)
                assert await stream.next() == zraft.Changed("value", None, "change", stream.index or 0)
            teller, plain = await cluster.create("teller", "teller"), await cluster.create("plain", "dict")
            async with zraft.start_session(teller, LONG) as session:
                await session.write("x")
                with pytest.raises(zraft.WatchNotSupported, match="teller"):
                    await session.watch("x").next()
            async with zraft.start_session(plain, LONG) as session:
                with pytest.raises(zraft.WatchNotSupported, match="prefix"):
                    await session.watch(zraft.Prefix("x")).next()
                with pytest.raises(zraft.Rejected, match="bad_key"):
                    await session.watch({"a": 1}).next()

    asyncio.run(story())


def test_a_stream_without_async_is_a_plain_iterator() -> None:
    """In a thread that waits; it ends with its session, and a lost one is told."""
    with BlockingCluster(1) as cluster:
        session = cluster.client.start_session(cluster.peers, LONG)
        seen: list[zraft.Changed] = []
        with session.watch("k") as stream:

            def read() -> None:
                for change in stream:
                    seen.append(change)
                    if change.kind == "delete":
                        return

            reading = threading.Thread(target=read)
            reading.start()
            for value in range(5):
                cluster.client.write(cluster.peers[0], ("k", value))
            cluster.client.write(cluster.peers[0], ("k",))
            reading.join(WAIT_S)
        assert [(change.value, change.kind) for change in seen] == [*((n, "put") for n in range(5)), (None, "delete")]
        later = session.watch("k", seen[2].index)
        assert [next(later) for _ in range(3)] == seen[3:]
        session.stop()
        assert list(later) == []
        expiring = cluster.client.start_session(cluster.peers, 2)
        changes = expiring.watch("k")
        cluster.stop(0)
        with pytest.raises(SessionExpired):
            next(changes)
