"""Sessions over real nodes: exactly once, temporary data, triggers, ends of every kind (§6.3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

import zraft
from tests.stack.clusters import wait_until
from zraft import table
from zraft.client.caller import each
from zraft.errors import ConnectionTimeout, Overloaded, Rejected, SessionExpired, TooLarge, WatchNotSupported
from zraft.testing import LocalCluster
from zraft.types import NOT_FOUND, Value

T = TypeVar("T")

LONG = 20.0
SHORT = 3.0
WAIT_S = 60.0

Story = Callable[[LocalCluster, zraft.Client], Awaitable[T]]


def play(story: Story[T], *, backend: str = "dict", size: int = 3) -> T:
    """What the story returns, given a cluster and a client."""

    async def with_cluster() -> T:
        async with LocalCluster(size, backend=backend) as cluster, zraft.Client() as client:
            return await story(cluster, client)

    return asyncio.run(with_cluster())


@asynccontextmanager
async def moving_leader(cluster: LocalCluster, times: int) -> AsyncIterator[None]:
    """The leader's node is stopped and started again, so often, meanwhile."""

    async def move() -> None:
        for _ in range(times):
            number = await cluster.leader()
            await cluster.stop(number)
            await cluster.start(number)

    moving = asyncio.create_task(move())
    yield
    await moving


async def read(cluster: LocalCluster, key: str) -> Value:
    """The value, asked without any session."""
    return (await cluster.client.query(cluster.peers[0], key, timeout=WAIT_S)).result


async def wait_gone(cluster: LocalCluster, key: str) -> None:
    """The key is there no more."""
    async with zraft.start_session(cluster.peers, LONG, client=cluster.client) as session:
        while await session.query(key, watch=key, timeout=WAIT_S) is not NOT_FOUND:
            await session.wait_trigger(key, timeout=WAIT_S)


def test_a_session_writes_reads_and_ends() -> None:
    """By one peer, whose configuration is read, and by a list."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers[1], LONG) as first:
            assert await first.write(("a", 1)) == "ok"
            assert await first.query("a") == 1
            async with client.start_session(cluster.peers, LONG) as second:
                assert second.id > first.id
                assert await second.query("a") == 1
                written = await second.write_entry(("a", 2))
                assert (await first.query_entry("a")).index >= written.index

    play(story)


def test_every_write_runs_exactly_once_while_leaders_come_and_go() -> None:
    """A counter is what was added to it, and each answer is a sum that nobody else was told (BM-076)."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        sums: list[Value] = []
        async with client.start_session(cluster.peers, LONG) as session, moving_leader(cluster, 3):
            for _ in range(30):
                sums += await each(session.write(table.Increment("n"), timeout=WAIT_S) for _ in range(20))
                await asyncio.sleep(0.05)
        assert sums == list(range(1, 601))
        found = table.Entry.of((await client.query(cluster.peers[0], table.Get("n"), timeout=WAIT_S)).result)
        assert found.value == 600

    play(story, backend="table")


def test_a_thousand_writes_at_once_run_in_the_order_of_their_calls() -> None:
    """A transaction of one action tells in which order."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG) as session:
            sums = await each(session.write(table.Increment("n"), timeout=WAIT_S) for _ in range(1000))
            assert sums == list(range(1, 1001))

    play(story, backend="table")


def test_a_refusal_is_an_answer_and_what_follows_runs() -> None:
    """By the backend, and by the size."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG) as session:
            with pytest.raises(Rejected):
                await session.write("no command")
            large = asyncio.create_task(session.write(("large", bytes(2 << 20))))
            after = asyncio.create_task(session.write(("after", 1)))
            with pytest.raises(TooLarge):
                await large
            assert await after == "ok"
            assert await session.query("after") == 1

    play(story)


def test_temporary_data_goes_when_the_session_is_stopped() -> None:
    """In the same moment, and nothing else with it."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG) as watcher:
            session = await client.start_session(cluster.peers, LONG)
            await session.write(("temporary", 1), temporary=True)
            await session.write(("lasting", 2))
            assert await watcher.query("temporary", watch="t") == 1
            await session.stop()
            assert await watcher.wait_trigger("t", timeout=WAIT_S) == zraft.WatchTrigger("t", "change")
            assert await watcher.query("temporary") is NOT_FOUND
            assert await watcher.query("lasting") == 2

    play(story)


def test_temporary_data_goes_when_its_client_is_lost() -> None:
    """The leader misses its pings."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        lost = zraft.Client()
        session = await lost.start_session(cluster.peers, SHORT)
        await session.write(("temporary", 1), temporary=True)
        assert await read(cluster, "temporary") == 1
        await lost.aclose()
        assert session.state == "closed"
        await wait_gone(cluster, "temporary")

    play(story)


def test_an_idle_session_lives_by_its_pings() -> None:
    """For many times its timeout."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG / 4) as session:
            await session.write(("temporary", 1), temporary=True)
            until = session.expires_at + LONG / 4
            await wait_until("pings move the end", lambda: session.expires_at > until)
            assert session.state == "connected"
            assert await read(cluster, "temporary") == 1

    play(story)


def test_a_change_fires_the_watches_on_it() -> None:
    """Each once, by its reference; what fired before anybody waits is kept."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG) as session:
            for key in ("a", "b"):
                assert await session.query(key, watch=key) is NOT_FOUND
            await client.write(cluster.peers[0], ("b", 1), timeout=60)
            assert await session.wait_trigger("b", timeout=WAIT_S) == zraft.WatchTrigger("b", "change")
            await client.write(cluster.peers[0], ("b", 2), timeout=60)
            await session.write(("a", 3))
            async for trigger in session.triggers():
                assert trigger == zraft.WatchTrigger("a", "change")
                break

    play(story)


def test_a_query_that_cannot_be_watched_says_so() -> None:
    """A count would need every key."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG) as session:
            assert await session.query(table.Count(None, None)) == 0
            with pytest.raises(WatchNotSupported):
                await session.query(table.Count(None, None), watch="n")

    play(story, backend="table")


def test_a_lost_leader_fires_the_watches_and_what_was_asked_is_answered() -> None:
    """A write and a query under way reach the next leader by themselves."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG) as session:
            await session.write(("a", 1))
            await session.query("a", watch="a")
            stopping = asyncio.create_task(cluster.stop(await cluster.leader()))
            while not stopping.done():
                written = asyncio.create_task(session.write(("a", 2), timeout=WAIT_S))
                assert await session.query("a", timeout=WAIT_S) in (1, 2)
                assert await written == "ok"
            await stopping
            trigger = await session.wait_trigger("a", timeout=WAIT_S)
            assert trigger.reason in ("change", "change_leader")
            await session.query("a", watch="again", timeout=WAIT_S)
            await cluster.stop(
                await cluster.leader([cluster.peers[cluster.nodes.index(node)] for node in cluster.nodes if node])
            )
            assert await session.wait_trigger("again", timeout=WAIT_S) == zraft.WatchTrigger("again", "change_leader")

    play(story, size=5)


def test_a_session_without_a_leader_is_suspended_and_then_expired() -> None:
    """Every later call says so."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        session = await client.start_session(cluster.peers, SHORT)
        for number in range(3):
            await cluster.stop(number)
        await wait_until("it is suspended", lambda: session.state != "connected")
        with pytest.raises(SessionExpired):
            await session.write(("a", 1), timeout=None)
        assert session.state == "expired"
        with pytest.raises(SessionExpired):
            await session.query("a")

    play(story)


def test_a_session_lives_through_the_restart_of_every_node() -> None:
    """Its writes are numbered on; a new leader gives it its whole timeout."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG) as session:
            assert await session.write(table.Increment("n")) == 1
            for number in range(3):
                await cluster.stop(number)
            waiting = [asyncio.create_task(session.write(table.Increment("n"), timeout=WAIT_S)) for _ in range(5)]
            for number in range(3):
                await cluster.start(number)
            assert [await one for one in waiting] == [2, 3, 4, 5, 6]

    play(story, backend="table")


def test_a_client_that_was_restarted_resumes_its_session() -> None:
    """By its token; its temporary data has stayed."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with zraft.Client() as earlier:
            before = await earlier.start_session(cluster.peers, LONG)
            await before.write(("temporary", 1), temporary=True)
        async with client.start_session(cluster.peers, SHORT, resume=before.token) as session:
            assert session.id == before.id
            assert await session.query("temporary") == 1
            assert await session.write(("b", 2)) == "ok"
        await wait_gone(cluster, "temporary")
        with pytest.raises(SessionExpired):
            assert (await client.start_session(cluster.peers, SHORT, resume=before.token)).id

    play(story)


def test_no_leader_is_a_connection_timeout() -> None:
    """One node of three runs."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        for number in range(2):
            await cluster.stop(number)
        for peers in (cluster.peers, cluster.peers[2], cluster.peers[0]):
            with pytest.raises(ConnectionTimeout):
                assert (await client.start_session(peers, SHORT / 5)).id

    play(story)


def test_who_asks_for_one_session_too_many_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and the sessions that there are go on."""
    monkeypatch.setattr("zraft.session.sessions.SESSIONS", 1)

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        session = await client.start_session(cluster.peers, LONG)
        with pytest.raises(Overloaded) as refused:
            assert (await client.start_session(cluster.peers, LONG)).id
        assert (refused.value.reason, refused.value.executed) == ("sessions", "no")
        assert await session.write(("k", 1)) == "ok"
        await session.stop()
        async with client.start_session(cluster.peers, LONG) as again:
            assert await again.query("k") == 1

    play(story, size=1)
