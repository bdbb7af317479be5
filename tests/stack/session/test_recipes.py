"""`zraft.recipes` over real nodes: one holder at a time, in the order of arrival, with tokens that only grow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

import zraft
from zraft import blocking, table
from zraft.blocking import recipes as plain
from zraft.client.caller import each
from zraft.errors import RequestTimeout, SessionExpired, UsageError
from zraft.recipes import Counter, Election, Lock
from zraft.testing import BlockingCluster, LocalCluster
from zraft.types import NOT_FOUND

T = TypeVar("T")

LONG = 20.0
SHORT = 1.0
WAIT_S = 20.0

Story = Callable[[LocalCluster, zraft.Client], Awaitable[T]]


def play(story: Story[T]) -> T:
    """What the story returns, given a cluster with a table, and a client."""

    async def with_cluster() -> T:
        async with LocalCluster(3, backend="table") as cluster, zraft.Client() as client:
            return await story(cluster, client)

    return asyncio.run(with_cluster())


def test_a_lock_is_held_by_one_at_a_time_and_its_tokens_grow() -> None:
    """Ten tasks of two sessions, while the leader changes (BM-074)."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        inside: list[int] = []
        tokens: list[int] = []

        async def work(session: zraft.Session) -> None:
            async with Lock(session, "job") as token:
                inside.append(token)
                await session.write(table.Put("last", token), timeout=WAIT_S)
                assert inside == [token]
                tokens.append(inside.pop())

        async with client.start_session(cluster.peers, LONG) as one, client.start_session(cluster.peers, LONG) as two:
            working = asyncio.create_task(each(work(session) for session in (one, two) * 5))
            await cluster.stop(await cluster.leader())
            await working
            assert tokens == sorted(set(tokens))
            assert len(tokens) == 10
            assert await one.query(table.Prefix(("zraft.lock",))) == []
            assert one.state == two.state == "connected"

    play(story)


def test_a_lock_that_is_not_had_in_time_is_given_up() -> None:
    """By a timeout or a cancellation; whoever waits behind gets its turn."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG) as session:
            holder, late, cancelled, last = (Lock(session, "job") for _ in range(4))
            first = await holder.acquire()
            with pytest.raises(UsageError):
                await holder.acquire()
            with pytest.raises(RequestTimeout):
                await late.acquire(timeout=0.2)
            waiting = asyncio.create_task(cancelled.acquire())
            await asyncio.sleep(0.1)
            behind = asyncio.create_task(last.acquire())
            await asyncio.sleep(0.1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await holder.release()
            assert await asyncio.wait_for(behind, WAIT_S) > first
            assert (holder.token, late.token, cancelled.token) == (None, None, None)
            await holder.release()

    play(story)


def test_a_lock_goes_with_its_session_and_what_it_guards_can_tell() -> None:
    """A transaction acts only while it is held."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG) as heir:
            lost = await client.start_session(cluster.peers, LONG)
            lock, next_lock = Lock(lost, "job"), Lock(heir, "job")
            with pytest.raises(UsageError):
                assert lock.held.operand
            await lock.acquire()
            guarded = table.Txn([lock.held], [table.Put("by", "lost")])
            assert (await lost.write(guarded))["succeeded"]
            waiting = asyncio.create_task(next_lock.acquire())
            await lost.stop()
            await waiting
            assert not (await heir.write(guarded))["succeeded"]
            assert (await heir.write(table.Txn([next_lock.held], [table.Put("by", "heir")])))["succeeded"]
            await next_lock.release()

    play(story)


def test_a_session_that_expires_while_it_waits_has_no_lock() -> None:
    """It must not return as if it had (BM-074)."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG) as holder, Lock(holder, "job"):
            waiter = await client.start_session(cluster.peers, LONG)
            waiting = asyncio.create_task(Lock(waiter, "job").acquire())
            await asyncio.sleep(0.1)
            again = await client.start_session(cluster.peers, LONG, resume=waiter.token)
            await again.stop()
            with pytest.raises(SessionExpired):
                await waiter.write(table.Put("k", 1))
            with pytest.raises(SessionExpired):
                await waiting

    play(story)


def test_an_election_has_one_leader_of_whom_everybody_hears() -> None:
    """The next one leads when it resigns, or is lost."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG) as one, client.start_session(cluster.peers, LONG) as two:
            first, second = Election(one, "chief"), Election(two, "chief")
            assert await second.leader() is NOT_FOUND
            await first.campaign("one")
            assert await second.leader() == "one"
            waiting = asyncio.create_task(second.campaign({"name": "two"}))
            await first.resign()
            await waiting
            assert await first.leader() == {"name": "two"}
            await second.resign()
            assert await first.leader() is NOT_FOUND

    play(story)


def test_a_counter_counts_each_once() -> None:
    """Also while the leader changes."""

    async def story(cluster: LocalCluster, client: zraft.Client) -> None:
        async with client.start_session(cluster.peers, LONG) as session:
            counter = Counter(session, "n")
            assert await counter.value() == 0
            adding = [asyncio.create_task(counter.add(2, timeout=WAIT_S)) for _ in range(100)]
            await cluster.stop(await cluster.leader())
            assert [await one for one in adding] == list(range(2, 202, 2))
            assert await counter.value() == 200

    play(story)


def test_the_blocking_forms_do_the_same() -> None:
    """From many threads."""
    with (
        BlockingCluster(3, backend="table") as cluster,
        blocking.start_session(cluster.peers, LONG) as session,
        ThreadPoolExecutor(4) as pool,
    ):
        counter = plain.Counter(session, "n")

        def work(_: int) -> int:
            with plain.Lock(session, "job") as token:
                counter.add()
            return token

        assert len(set(pool.map(work, range(12)))) == 12
        assert counter.value() == 12
        lock = plain.Lock(session, "job")
        assert lock.acquire(timeout=WAIT_S) == lock.token
        assert lock.held.operand == lock.token
        lock.release()
        election = plain.Election(session, "chief")
        assert election.campaign("me") == election.token
        assert (election.leader(), election.held.operand) == ("me", election.token)
        election.resign()
        assert election.leader() is NOT_FOUND
