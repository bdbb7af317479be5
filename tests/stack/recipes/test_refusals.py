"""What recipes refuse: wrong arguments, and groups that have no table."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

import zraft
from zraft.errors import UsageError
from zraft.recipes import (
    Barrier,
    Cache,
    Counter,
    DoubleBarrier,
    Election,
    Lock,
    Party,
    Queue,
    RWLock,
    Semaphore,
)
from zraft.testing import BlockingCluster

Attempt = Callable[[zraft.Session], Awaitable[object]]

ON_A_DICT: dict[str, Attempt] = {
    "lock": lambda session: Lock(session, "x").acquire(),
    "contenders": lambda session: Lock(session, "x").contenders(),
    "reader": lambda session: RWLock(session, "x").reader().acquire(),
    "semaphore": lambda session: Semaphore(session, "x").acquire(),
    "holders": lambda session: Semaphore(session, "x").lease_holders(),
    "election": lambda session: Election(session, "x").campaign("me"),
    "leader": lambda session: Election(session, "x").leader(),
    "barrier": lambda session: Barrier(session, "x").create(),
    "no barrier": lambda session: Barrier(session, "x").remove(),
    "at the barrier": lambda session: Barrier(session, "x").wait(),
    "double barrier": lambda session: DoubleBarrier(session, "x", 2).enter(),
    "counter": lambda session: Counter(session, "x").add(),
    "value": lambda session: Counter(session, "x").value(),
    "queue": lambda session: Queue(session, "x").put(1),
    "item": lambda session: Queue(session, "x").get(),
    "size": lambda session: Queue(session, "x").size(),
    "party": lambda session: Party(session, "x").join(),
    "members": lambda session: Party(session, "x").members(),
    "change": lambda session: Party(session, "x").wait_change([]),
    "cache": lambda session: Cache(session, "x").open(),
}


def test_a_group_without_a_table_is_refused_and_left_as_it_is(cluster: BlockingCluster) -> None:
    """By every recipe, whatever is asked first; nothing of it is stored."""

    async def story() -> None:
        async with zraft.Client() as client, client.start_session(peers, 20) as session:
            for name, attempt in ON_A_DICT.items():
                with pytest.raises(UsageError, match='of the backend "table"'):
                    assert name == await attempt(session)
            for key in ("delete", "put", "increment", "txn", "compare_and_set", "x"):
                assert await session.query(key) is zraft.NOT_FOUND

    peers = cluster.create("plain", "dict", on=[0])
    asyncio.run(story())


WRONG: dict[str, Attempt] = {
    "no priority": lambda session: Queue(session, "x").put(1, priority=1 << 63),
    "a text": lambda session: Queue(session, "x").put(1, priority="high"),  # type: ignore[arg-type]  # on purpose
    "too many": lambda session: Queue(session, "x").put_all(range(1025)),
    "beyond 64 bits": lambda session: Counter(session, "x").add(1 << 63),
    "no number": lambda session: Counter(session, "x").add(True),
}


def test_what_is_no_argument_is_told_before_anything_is_sent(cluster: BlockingCluster) -> None:
    """Names, numbers, prefixes."""

    async def story() -> None:
        async with zraft.Client() as client, client.start_session(cluster.peers, 20) as session:
            for kind in (Lock, RWLock, Semaphore, Election, Barrier, Queue, Party):
                for name in ("", None, 7, "\ud800"):
                    with pytest.raises(UsageError):
                        kind(session, name)  # type: ignore[arg-type]  # on purpose
            for count in (0, -1, True, 1.5):
                with pytest.raises(UsageError):
                    Semaphore(session, "x", count)  # type: ignore[arg-type]  # on purpose
                with pytest.raises(UsageError):
                    DoubleBarrier(session, "x", count)  # type: ignore[arg-type]  # on purpose
            for key in ("", b"", None, (), 1.5):
                with pytest.raises(UsageError):
                    Counter(session, key)
            for prefix in (None, 7, 1.5):
                with pytest.raises(UsageError):
                    Cache(session, prefix)
            for attempt in WRONG.values():
                with pytest.raises(UsageError):
                    await attempt(session)

    asyncio.run(story())
