"""`zraft.blocking.recipes`: the same from threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.stack.recipes.playing import LONG, WAIT_S
from zraft import blocking, table
from zraft.blocking.recipes import (
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
from zraft.errors import RequestTimeout
from zraft.testing import BlockingCluster
from zraft.types import NOT_FOUND


def test_every_recipe_works_from_many_threads(cluster: BlockingCluster) -> None:
    """Locks, semaphores, counters, double barriers and queues at once."""
    with blocking.start_session(cluster.peers, LONG) as session, ThreadPoolExecutor(4) as pool:
        counter = Counter(session, "n")

        def work(number: int) -> int:
            barrier = DoubleBarrier(session, "all", 4, number)
            barrier.enter(timeout=WAIT_S)
            assert barrier.participating
            assert set(barrier.contenders()) <= {0, 1, 2, 3}
            with Lock(session, "job") as token, Semaphore(session, "job", 2):
                counter.add()
            barrier.leave(timeout=WAIT_S)
            Queue(session, "done").put(number)
            return token

        assert len(set(pool.map(work, range(4)))) == 4
        queue = Queue(session, "done")
        queue.put_all([4, 5])
        assert (counter.value(), queue.size()) == (4, 6)
        assert {queue.get(timeout=WAIT_S) for _ in range(6)} == set(range(6))


def test_what_is_held_is_told(cluster: BlockingCluster) -> None:
    """Tokens, conditions, holders, and the loss."""
    with blocking.start_session(cluster.peers, LONG) as session:
        lock = Lock(session, "held", "me")
        assert lock.acquire(timeout=WAIT_S) == lock.token == lock.held.operand
        assert (lock.is_acquired, lock.contenders()) == (True, ["me"])
        with pytest.raises(RequestTimeout):
            lock.wait_lost(timeout=0.01)
        told: list[str] = []
        waiting = threading.Thread(target=lambda: told.append(lock.wait_lost(in_doubt=True)))
        waiting.start()
        session.write(table.DeleteRange(("zraft.lock",), ("zraft.lock", "z")))
        waiting.join(WAIT_S)
        assert told == ["removed"]
        lock.release()
        election = Election(session, "chief")
        assert election.campaign("me") == election.token
        assert (election.leader(), election.contenders()) == ("me", ["me"])
        election.resign()
        assert election.leader() is NOT_FOUND
        with Semaphore(session, "two", 2, "me") as token:
            semaphore = Semaphore(session, "two", 2)
            assert (token > 0, semaphore.lease_holders(), semaphore.max_leases) == (True, ["me"], 2)
        both = RWLock(session, "both", "me")
        with both.reader(), both.reader() as last:
            assert last > 0
        with both.writer() as token:
            assert token > last


def test_barriers_parties_and_caches(cluster: BlockingCluster) -> None:
    """What others do is seen."""
    with (
        blocking.start_session(cluster.peers, LONG) as session,
        blocking.start_session(cluster.peers, LONG) as other,
        Cache(session, "b/") as cache,
    ):
        assert session.wait_state("connected") == "connected"
        barrier = Barrier(session, "gate")
        assert barrier.create()
        assert Barrier(other, "gate").remove()
        barrier.wait()
        party = Party(session, "team", "me")
        party.join()
        assert (party.participating, Party(other, "team").members()) == (True, ["me"])
        party.leave()
        assert party.wait_change(["me"]) == []
        index = other.write_entry(table.Put("b/x", 1)).index
        cache.wait_change(index - 1, timeout=WAIT_S)
        assert (cache["b/x"], cache.get("b/y"), "b/x" in cache, list(cache), len(cache)) == (
            1,
            NOT_FOUND,
            True,
            ["b/x"],
            1,
        )
        other.write(table.Put("b/x", 2))
        cache.refresh()
        entry = cache.entry("b/x")
        assert (cache.as_dict(), entry is not None, cache.is_current) == ({"b/x": 2}, True, True)
