"""What is over leaves nothing at the group, and hides nothing from its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

import zraft
from tests.stack.recipes.playing import LONG, expire, play
from zraft import recipes, table
from zraft.client.connection import Connection, Landed
from zraft.errors import RequestTimeout, SessionExpired, UsageError
from zraft.testing import BlockingCluster
from zraft.wire.requests import Request
from zraft.wire.session_requests import SessionQuery

MOMENT = 0.03

Wait = Callable[[zraft.Session], Awaitable[object]]


async def watchers(cluster: BlockingCluster, session: zraft.Session) -> int:
    """Watches and streams that are open anywhere, once all that the session sent before has run."""
    await session.query(table.Get("nothing"))
    async with zraft.Client() as client:
        return sum([(await client.stat(peer)).watchers for peer in cluster.peers])


async def closed_stream(session: zraft.Session) -> None:
    async with session.watch("key"):
        pass


async def closed_cache(session: zraft.Session) -> None:
    async with recipes.Cache(session, ("left", "cache")):
        pass


async def forgotten(session: zraft.Session) -> None:
    await session.query(table.Get("key"), watch="reference")
    session.forget("reference")


async def gone_barrier(session: zraft.Session) -> None:
    barrier = recipes.Barrier(session, "left")
    await barrier.create()
    await barrier.wait(timeout=MOMENT)


WAITS: dict[str, Wait] = {
    "a lock": lambda session: recipes.Lock(session, "left").acquire(timeout=MOMENT),
    "a writer": lambda session: recipes.RWLock(session, "left").writer().acquire(timeout=MOMENT),
    "a semaphore": lambda session: recipes.Semaphore(session, "left").acquire(timeout=MOMENT),
    "an election": lambda session: recipes.Election(session, "left").campaign("me", timeout=MOMENT),
    "a queue": lambda session: recipes.Queue(session, "left").get(timeout=MOMENT),
    "a meeting": lambda session: recipes.DoubleBarrier(session, "left", 2).enter(timeout=MOMENT),
    "a party": lambda session: recipes.Party(session, "left").wait_change([], timeout=MOMENT),
    "a barrier": gone_barrier,
    "a stream": closed_stream,
    "a cache": closed_cache,
    "a watch": forgotten,
}


@pytest.mark.parametrize("name", WAITS)
def test_no_watch_stays_open_for_nobody(cluster: BlockingCluster, name: str) -> None:
    """Whoever waits again and again would have no watch left in the end, and could not be told of a loss."""

    async def story(sessions: list[zraft.Session]) -> None:
        holder, session = sessions
        lock, writer = recipes.Lock(holder, "left"), recipes.RWLock(holder, "left").writer()
        semaphore, election = recipes.Semaphore(holder, "left"), recipes.Election(holder, "left")
        await lock.acquire()
        await writer.acquire()
        await semaphore.acquire()
        await election.campaign("holder")
        for _ in range(3):
            with suppress(RequestTimeout):
                await WAITS[name](session)
        assert await watchers(cluster, session) == 0

    play(cluster, story, sessions=2)


def test_a_query_that_is_cancelled_as_its_answer_comes_leaves_no_watch(
    cluster: BlockingCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader has set it, and nobody is left who could take what it fires."""
    put = Connection.put
    asking: list[asyncio.Task[object]] = []

    def cancelling(connection: Connection, request: Request, deadline: float) -> asyncio.Future[Landed] | None:
        future = put(connection, request, deadline)
        if future is not None and isinstance(request, SessionQuery) and request.watch:
            future.add_done_callback(lambda _: asking[0].cancel())
        return future

    async def story(sessions: list[zraft.Session]) -> None:
        asking.append(asyncio.create_task(sessions[0].query(table.Get("key"), watch="reference")))
        with pytest.raises(asyncio.CancelledError):
            await asking[0]
        assert await watchers(cluster, sessions[0]) == 0

    monkeypatch.setattr(Connection, "put", cancelling)
    play(cluster, story)


def test_who_asks_for_a_while_whether_something_was_lost_leaves_no_watch(cluster: BlockingCluster) -> None:
    """And a timeout that is none is told before anything is begun."""

    async def story(sessions: list[zraft.Session]) -> None:
        async with recipes.Lock(sessions[0], "asks") as token:
            assert token > 0
            lock = recipes.Lock(sessions[0], "asks too")
            await lock.acquire()
            for _ in range(3):
                with pytest.raises(RequestTimeout):
                    await lock.wait_lost(timeout=MOMENT)
            with pytest.raises(UsageError):
                await lock.wait_lost(timeout="soon")  # type: ignore[arg-type]
        assert await watchers(cluster, sessions[0]) == 0

    play(cluster, story)


@pytest.mark.parametrize("kind", [recipes.Lock, recipes.Semaphore])
def test_the_loss_of_what_was_had_does_not_hide_what_a_block_raised(
    cluster: BlockingCluster, kind: type[recipes.Lock] | type[recipes.Semaphore]
) -> None:
    """A block that raised nothing is told of the loss."""

    async def story(sessions: list[zraft.Session]) -> None:
        async def block(session: zraft.Session, error: Exception | None) -> None:
            async with kind(session, "lost"):
                await expire(cluster, session)
                if error is not None:
                    raise error

        with pytest.raises(ValueError, match="of the block"):
            await block(sessions[0], ValueError("of the block"))
        with pytest.raises(SessionExpired):
            await block(sessions[1], None)

    play(cluster, story, sessions=2, timeout=LONG)


def test_a_counter_takes_every_form_of_its_key(cluster: BlockingCluster) -> None:
    """A list is the key that the tuple is; what is no number is told."""

    async def story(sessions: list[zraft.Session]) -> None:
        counter = recipes.Counter(sessions[0], ["counts", 1])
        assert (await counter.add(2), await counter.value()) == (2, 2)
        assert await recipes.Counter(sessions[0], ("counts", 1)).value() == 2
        await sessions[0].write(table.Put("a text", "text"))
        with pytest.raises(UsageError, match="is no number"):
            await recipes.Counter(sessions[0], "a text").value()

    play(cluster, story)
