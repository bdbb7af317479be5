"""What is held, over real nodes: one holder at a time, in the order of arrival, with tokens that only grow."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import zraft
from tests.stack.clusters import wait_until
from tests.stack.recipes.playing import LONG, SHORT, WAIT_S, deposed, expire, in_line, play
from zraft import blocking, table
from zraft.blocking import recipes as plain
from zraft.client.caller import each
from zraft.errors import RequestTimeout, SessionExpired, UsageError
from zraft.recipes import Election, Lock, RWLock, Semaphore
from zraft.recipes.holding import Loss
from zraft.testing import BlockingCluster
from zraft.types import NOT_FOUND


def test_a_lock_is_held_by_one_at_a_time_and_its_tokens_grow(cluster: BlockingCluster) -> None:
    """Ten tasks of two sessions, while the leader changes (BM-074)."""

    async def story(sessions: list[zraft.Session]) -> None:
        inside: list[int] = []
        tokens: list[int] = []

        async def work(session: zraft.Session) -> None:
            async with Lock(session, "grows") as token:
                inside.append(token)
                await session.write(table.Put("last", token), timeout=WAIT_S)
                assert inside == [token]
                tokens.append(inside.pop())

        working = asyncio.create_task(each(work(session) for session in sessions * 5))
        await deposed(cluster)
        await working
        assert tokens == sorted(set(tokens))
        assert len(tokens) == 10
        await in_line(sessions[0], "zraft.lock", "grows", 0)
        assert {session.state for session in sessions} == {"connected"}

    play(cluster, story, sessions=2)


def test_a_lock_that_is_not_had_in_time_is_given_up(cluster: BlockingCluster) -> None:
    """By a timeout or a cancellation nothing stays behind, and whoever waits behind gets its turn."""

    async def story(sessions: list[zraft.Session]) -> None:
        session = sessions[0]
        holder, late, cancelled, last = (Lock(session, "given up", who) for who in ("a", "b", "c", "d"))
        first = await holder.acquire()
        with pytest.raises(UsageError):
            await holder.acquire()
        with pytest.raises(RequestTimeout) as caught:
            await late.acquire(timeout=0.1)
        assert caught.value.executed == "no"
        waiting = asyncio.create_task(cancelled.acquire())
        await in_line(session, "zraft.lock", "given up", 2)
        behind = asyncio.create_task(last.acquire())
        await in_line(session, "zraft.lock", "given up", 3)
        assert await last.contenders() == ["a", "c", "d"]
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await in_line(session, "zraft.lock", "given up", 2)
        assert (holder.is_acquired, last.is_acquired) == (True, False)
        await holder.release()
        assert await asyncio.wait_for(behind, WAIT_S) > first
        assert (holder.token, late.token, cancelled.token) == (None, None, None)
        await holder.release()
        assert await last.contenders() == ["d"]

    play(cluster, story)


def test_a_lock_goes_with_its_session_and_what_it_guards_can_tell(cluster: BlockingCluster) -> None:
    """A transaction acts only while it is held."""

    async def story(sessions: list[zraft.Session]) -> None:
        lost, heir = sessions
        lock, next_lock = Lock(lost, "guards"), Lock(heir, "guards")
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

    play(cluster, story, sessions=2)


TAKEN: dict[str, Callable[[zraft.Session], Coroutine[Any, Any, int]]] = {
    "lock": lambda session: Lock(session, "expires").acquire(),
    "semaphore": lambda session: Semaphore(session, "expires").acquire(),
    "rwlock": lambda session: RWLock(session, "expires").writer().acquire(),
    "election": lambda session: Election(session, "expires").campaign("me"),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_bm_074_a_session_that_expires_while_it_waits_has_nothing(cluster: BlockingCluster, kind: str) -> None:
    """It must not return as if it had (BM-074)."""

    async def story(sessions: list[zraft.Session]) -> None:
        holder, waiter = sessions
        await TAKEN[kind](holder)
        waiting = asyncio.create_task(TAKEN[kind](waiter))
        await in_line(holder, f"zraft.{kind}", "expires", 2)
        await expire(cluster, waiter)
        with pytest.raises(SessionExpired):
            await waiter.write(table.Put("k", 1))
        with pytest.raises(SessionExpired):
            await waiting

    play(cluster, story, sessions=2)


def test_bm_074_a_client_that_was_held_up_for_too_long_has_nothing(cluster: BlockingCluster) -> None:
    """The lock became free meanwhile, and word of it has come: the session has expired nevertheless (BM-074)."""

    async def story(sessions: list[zraft.Session]) -> None:
        waiting = asyncio.create_task(Lock(sessions[0], "stalled").acquire())
        await asyncio.to_thread(wait_contenders, holder_session, 2)
        releasing = threading.Thread(target=holder.release)
        releasing.start()
        time_stands_still(SHORT * 1.3)
        releasing.join()
        with pytest.raises(SessionExpired):
            await waiting

    with blocking.start_session(cluster.peers, LONG) as holder_session:
        holder = plain.Lock(holder_session, "stalled")
        holder.acquire()
        play(cluster, story, timeout=SHORT)
        assert plain.Lock(holder_session, "stalled").acquire(timeout=WAIT_S) > 0


def time_stands_still(seconds: float) -> None:
    """For the event loop that calls it."""
    time.sleep(seconds)


def wait_contenders(session: blocking.Session, count: int) -> None:
    """So many have it or wait for it, or had to give up by now."""
    deadline = time.monotonic() + SHORT
    while len(plain.Lock(session, "stalled").contenders()) != count and time.monotonic() < deadline:
        time.sleep(0.005)


def test_a_turn_that_somebody_removed_is_told(cluster: BlockingCluster) -> None:
    """To whoever waits, and to whoever has it."""

    async def story(sessions: list[zraft.Session]) -> None:
        session = sessions[0]
        holder, waiter = Lock(session, "removed"), Lock(session, "removed")
        await holder.acquire()
        waiting = asyncio.create_task(waiter.acquire())
        await in_line(session, "zraft.lock", "removed", 2)
        lost = asyncio.create_task(holder.wait_lost())
        await session.write(table.DeleteRange(("zraft.lock", "removed"), ("zraft.lock", "removed!")))
        assert await asyncio.wait_for(lost, WAIT_S) == "removed"
        with pytest.raises(SessionExpired, match="somebody has removed it"):
            await waiting

    play(cluster, story)


def test_a_holder_is_told_when_it_is_lost_and_when_that_is_in_doubt(cluster: BlockingCluster) -> None:
    """By a release, a suspended session, an expired one."""

    async def story(sessions: list[zraft.Session]) -> None:
        session = sessions[0]
        lock = Lock(session, "lost")
        with pytest.raises(UsageError):
            await lock.wait_lost()
        await lock.acquire()
        with pytest.raises(RequestTimeout):
            await lock.wait_lost(in_doubt=True, timeout=0.05)
        told: list[Loss] = []

        async def tell(*, in_doubt: bool) -> None:
            told.append(await lock.wait_lost(in_doubt=in_doubt))

        releasing = asyncio.create_task(tell(in_doubt=True))
        await lock.release()
        await asyncio.wait_for(releasing, WAIT_S)
        await lock.acquire()
        lost, doubting = asyncio.create_task(tell(in_doubt=False)), asyncio.create_task(tell(in_doubt=True))
        await deposed(cluster)
        await asyncio.wait_for(doubting, WAIT_S)
        assert await session.wait_state("connected", timeout=WAIT_S) == "connected"
        assert not lost.done()
        await expire(cluster, session)
        with pytest.raises(SessionExpired):  # the next ping would tell, too
            await session.query(table.Get("k"))
        await asyncio.wait_for(lost, WAIT_S)
        assert told == ["released", "suspended", "expired"]

    play(cluster, story)


def test_many_read_or_one_writes(cluster: BlockingCluster) -> None:
    """A writer that waits keeps later readers out; tokens of writers lie between those before and after."""

    async def story(sessions: list[zraft.Session]) -> None:
        locks = RWLock(sessions[0], "shared", "me")
        first, second, writer, third, fourth = (
            locks.reader(), locks.reader(), locks.writer(), locks.reader(), locks.reader()
        )  # fmt: skip
        before = [await first.acquire(), await second.acquire()]
        writing = asyncio.create_task(writer.acquire())
        await in_line(sessions[0], "zraft.rwlock", "shared", 3)
        reading = [asyncio.create_task(one.acquire()) for one in (third, fourth)]
        await in_line(sessions[0], "zraft.rwlock", "shared", 5)
        assert await writer.contenders() == ["me"] * 5
        await first.release()
        with pytest.raises(RequestTimeout):
            await locks.writer().acquire(timeout=0.05)
        assert not writing.done()
        await second.release()
        token = await asyncio.wait_for(writing, WAIT_S)
        assert [task.done() for task in reading] == [False, False]
        await writer.release()
        after = [await asyncio.wait_for(task, WAIT_S) for task in reading]
        assert max(before) < token < min(after)

    play(cluster, story)


def test_a_semaphore_is_had_by_so_many_at_a_time(cluster: BlockingCluster) -> None:
    """Twelve tasks of two sessions and three leases, while the leader changes; tokens grow as they are given."""

    async def story(sessions: list[zraft.Session]) -> None:
        inside: set[int] = set()
        tokens: list[int] = []
        most = 0

        async def work(session: zraft.Session) -> None:
            nonlocal most
            async with Semaphore(session, "three", 3) as token:
                inside.add(token)
                most = max(most, len(inside))
                tokens.append(token)
                await session.query(table.Get("k"), timeout=WAIT_S)
                inside.remove(token)

        working = asyncio.create_task(each(work(session) for session in sessions * 6))
        await deposed(cluster)
        await working
        assert (most <= 3, len(set(tokens))) == (True, 12)
        await in_line(sessions[0], "zraft.semaphore", "three", 0)

    play(cluster, story, sessions=2)


def test_a_lease_that_is_not_had_in_time_is_given_up(cluster: BlockingCluster) -> None:
    """By a timeout or a cancellation; the room goes to the next."""

    async def story(sessions: list[zraft.Session]) -> None:
        session = sessions[0]
        one, two, late, cancelled, last = (Semaphore(session, "two", 2, who) for who in "abcde")
        before = [await one.acquire(), await two.acquire()]
        assert one.max_leases == 2
        with pytest.raises(RequestTimeout):
            await late.acquire(timeout=0.1)
        waiting = asyncio.create_task(cancelled.acquire())
        await in_line(session, "zraft.semaphore", "two", 3)
        behind = asyncio.create_task(last.acquire())
        await in_line(session, "zraft.semaphore", "two", 4)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await two.release()
        assert await asyncio.wait_for(behind, WAIT_S) > max(before)
        assert await session.query(table.Count(None, None)) >= 2
        assert await one.lease_holders() == ["a", "e"]
        guarded = await session.write(table.Txn([last.held], [table.Put("by", "e")]))
        assert guarded["succeeded"]

    play(cluster, story)


def test_a_semaphore_has_one_limit_at_a_time(cluster: BlockingCluster) -> None:
    """Who says another one is refused and leaves nothing; when nobody uses it, it may be another."""

    async def story(sessions: list[zraft.Session]) -> None:
        session = sessions[0]
        async with Semaphore(session, "limit", 2):
            with pytest.raises(UsageError, match="max_leases=2 by others, not 3"):
                await Semaphore(session, "limit", 3).acquire()
            await in_line(session, "zraft.semaphore", "limit", 1)
        async with Semaphore(session, "limit", 3) as token:
            assert token > 0

    play(cluster, story)


def test_an_election_has_one_leader_of_whom_everybody_hears(cluster: BlockingCluster) -> None:
    """The next one leads when it resigns, or is lost."""

    async def story(sessions: list[zraft.Session]) -> None:
        first, second = (Election(session, "chief") for session in sessions)
        assert await second.leader() is NOT_FOUND
        await first.campaign("one")
        assert await second.leader() == "one"
        waiting = asyncio.create_task(second.campaign({"name": "two"}))
        await in_line(sessions[0], "zraft.election", "chief", 2)
        assert await first.contenders() == ["one", {"name": "two"}]
        await first.resign()
        await waiting
        assert await first.leader() == {"name": "two"}
        await second.resign()
        assert await first.leader() is NOT_FOUND

    play(cluster, story, sessions=2)


def test_the_end_of_one_wakes_one(cluster: BlockingCluster) -> None:
    """Of twenty who wait one asks again, and the others stay as they are."""

    async def story(sessions: list[zraft.Session]) -> None:
        holder, waiter = sessions
        lock = Lock(holder, "herd")
        await lock.acquire()
        waiting = [asyncio.create_task(Lock(waiter, "herd").acquire()) for _ in range(20)]
        await in_line(holder, "zraft.lock", "herd", 21)
        asked: list[object] = []
        query = waiter._upkeep.query

        async def counting(*given: object) -> object:
            asked.append(given)
            return await query(*given)  # type: ignore[arg-type]  # as they came

        await wait_until("every one of them watches", lambda: watches(waiter) == 20)
        waiter._upkeep.query = counting  # type: ignore[method-assign, assignment]  # counts
        await lock.release()
        await wait_until("one has it", lambda: any(task.done() for task in waiting))
        assert (len(asked), sum(task.done() for task in waiting)) == (1, 1)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

    play(cluster, story, sessions=2)


def watches(session: zraft.Session) -> int:
    """How many are open."""
    return len(session._upkeep.watching._triggers._open)
