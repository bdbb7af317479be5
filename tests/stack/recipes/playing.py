"""Stories about recipes, told to a cluster that the tests of a file share: each takes names of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeVar

import zraft
from zraft import table
from zraft.testing import BlockingCluster

T = TypeVar("T")

LONG = 30.0
SHORT = 2.0
WAIT_S = 60.0

Story = Callable[[list[zraft.Session]], Awaitable[T]]


def play(cluster: BlockingCluster, story: Story[T], *, sessions: int = 1, timeout: float = LONG) -> T:
    """What the story returns, given so many sessions, each of a client of its own."""

    async def with_sessions() -> T:
        async with AsyncExitStack() as stack:
            made = []
            for _ in range(sessions):
                client = await stack.enter_async_context(zraft.Client())
                made.append(await stack.enter_async_context(client.start_session(cluster.peers, timeout)))
            return await story(made)

    return asyncio.run(with_sessions())


async def expire(cluster: BlockingCluster, session: zraft.Session) -> None:
    """It is over at the group, and the client does not know yet."""
    async with zraft.Client() as other:
        again = await other.start_session(cluster.peers, LONG, resume=session.token)
        await again.stop()


async def deposed(cluster: BlockingCluster) -> None:
    """Whoever led has been stopped and is back."""
    number = await asyncio.to_thread(cluster.leader)
    await asyncio.to_thread(cluster.stop, number)
    await asyncio.to_thread(cluster.start, number)


async def in_line(session: zraft.Session, root: str, name: str, count: int) -> None:
    """So many entries are there."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if len(await session.query(table.Prefix((root, name)))) == count:
                return
            await asyncio.sleep(0.005)
