"""What is counted, queued and mirrored, over real nodes: nothing twice, nothing lost, nothing out of date."""

from __future__ import annotations

import asyncio

import pytest

import zraft
from tests.stack.clusters import wait_until
from tests.stack.recipes.playing import WAIT_S, deposed, expire, in_line, play
from zraft import table
from zraft.errors import Rejected, RequestTimeout, SessionExpired, UsageError
from zraft.recipes import Cache, Counter, Queue
from zraft.testing import BlockingCluster
from zraft.types import NOT_FOUND, Value


def test_a_counter_counts_each_once(cluster: BlockingCluster) -> None:
    """Also while the leader changes; a sum beyond 64 bits is refused and changes nothing."""

    async def story(sessions: list[zraft.Session]) -> None:
        counter = Counter(sessions[0], "n")
        assert await counter.value() == 0
        adding = [asyncio.create_task(counter.add(2, timeout=WAIT_S)) for _ in range(100)]
        await deposed(cluster)
        assert [await one for one in adding] == list(range(2, 202, 2))
        with pytest.raises(Rejected) as caught:
            await counter.add((1 << 63) - 1)
        assert caught.value.code == "overflow"
        assert await counter.value() == 200

    play(cluster, story)


def test_items_come_out_in_their_order(cluster: BlockingCluster) -> None:
    """By priority, then as they were put; many at once go in as one."""

    async def story(sessions: list[zraft.Session]) -> None:
        one, two = (Queue(session, "order") for session in sessions)
        await one.put("b")
        await two.put_all(["c", "d"])
        await two.put_all([])
        await one.put("a", priority=-5)
        assert await one.size() == 4
        assert [await two.get(timeout=WAIT_S) for _ in range(4)] == ["a", "b", "c", "d"]
        assert await two.size() == 0
        with pytest.raises(RequestTimeout) as caught:
            await two.get(timeout=0.05)
        assert caught.value.executed == "no"
        await in_line(sessions[0], "zraft.queue", "order", 1)

    play(cluster, story, sessions=2)


def test_no_item_is_taken_twice_or_lost(cluster: BlockingCluster) -> None:
    """Of two sessions' producers and consumers, some of whom give up, while the leader changes."""

    async def story(sessions: list[zraft.Session]) -> None:
        taken: list[Value] = []
        count = 24

        async def produce(number: int) -> None:
            queue = Queue(sessions[number % 2], "flow")
            for item in range(number, count, 3):
                await queue.put(item, timeout=WAIT_S)

        async def consume(number: int) -> None:
            queue = Queue(sessions[number % 2], "flow")
            while len(taken) < count:
                try:
                    taken.append(await queue.get(timeout=0.01 * (1 + number) if number < 3 else 0.3))
                except RequestTimeout:
                    continue

        async with asyncio.TaskGroup() as tasks:
            for number in range(3):
                tasks.create_task(produce(number))
            for number in range(6):
                tasks.create_task(consume(number))
            await deposed(cluster)
        assert sorted(taken) == list(range(count))
        await in_line(sessions[0], "zraft.queue", "flow", 1)

    play(cluster, story, sessions=2)


def test_an_item_that_was_taken_for_nobody_is_put_back(cluster: BlockingCluster) -> None:
    """Cancelled at every step: also when the taking is under way, and when its answer has come."""

    async def story(sessions: list[zraft.Session]) -> None:
        session = sessions[0]
        queue = Queue(session, "back")
        await queue.put_all(["x", "y"])
        write = session._upkeep.write
        for cancelled_at in (1, 2):
            sending = asyncio.Semaphore(0)

            def telling(*given: object, tell: asyncio.Semaphore = sending, **named: object) -> object:
                tell.release()
                return write(*given, **named)  # type: ignore[arg-type]  # as they came

            session._upkeep.write = telling  # type: ignore[method-assign, assignment]  # tells when
            getting = asyncio.create_task(queue.get())
            for _ in range(cancelled_at):
                await sending.acquire()
            getting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await getting
        session._upkeep.write = write  # type: ignore[method-assign]  # as it was
        await session.write(table.Put("behind", 1))  # nobody waited for what puts an item back; this write does
        assert await queue.size() == 2
        assert [await queue.get(), await queue.get()] == ["x", "y"]

    play(cluster, story)


def test_an_item_wakes_one_of_those_who_wait(cluster: BlockingCluster) -> None:
    """The one that waits longest gets it."""

    async def story(sessions: list[zraft.Session]) -> None:
        queue = Queue(sessions[0], "wakes")
        waiting = []
        for number in range(4):
            waiting.append(asyncio.create_task(queue.get()))
            await in_line(sessions[0], "zraft.queue", "wakes", number + 1)
        for number in range(4):
            await queue.put(number)
            assert await asyncio.wait_for(waiting[number], WAIT_S) == number
            assert not any(task.done() for task in waiting[number + 1 :])

    play(cluster, story)


def test_who_is_lost_takes_nothing(cluster: BlockingCluster) -> None:
    """Its turn goes with its session, and the next one gets the item."""

    async def story(sessions: list[zraft.Session]) -> None:
        lost, heir = sessions
        first = asyncio.create_task(Queue(lost, "heirs").get())
        await in_line(heir, "zraft.queue", "heirs", 1)
        second = asyncio.create_task(Queue(heir, "heirs").get())
        await in_line(heir, "zraft.queue", "heirs", 2)
        await expire(cluster, lost)
        await Queue(heir, "heirs").put("item")
        assert await asyncio.wait_for(second, WAIT_S) == "item"
        with pytest.raises(SessionExpired):
            await lost.write(table.Put("k", 1))
        with pytest.raises(SessionExpired):
            await first

    play(cluster, story, sessions=2)


def test_a_cache_follows_what_others_write(cluster: BlockingCluster) -> None:
    """Also over a change of the leader; a refresh has seen what was answered before it."""

    async def story(sessions: list[zraft.Session]) -> None:
        mine, theirs = sessions
        await theirs.write_entry(table.Put("flag/a", 1))
        await theirs.write(table.Put("other", 1))
        async with Cache(mine, "flag/") as flags:
            assert (flags["flag/a"], flags.get("flag/b"), "flag/a" in flags, len(flags)) == (1, NOT_FOUND, True, 1)
            written = await theirs.write_entry(table.Put("flag/b", {"on": True}))
            assert await flags.wait_change(written.index - 1, timeout=WAIT_S) >= written.index
            assert flags.as_dict() == {"flag/a": 1, "flag/b": {"on": True}}
            entry = flags.entry("flag/b")
            assert entry is not None
            assert (entry.modified_index, flags.entry("other"), flags.is_current) == (written.index, None, True)
            await deposed(cluster)
            await theirs.write(table.Delete("flag/a"), timeout=WAIT_S)
            await flags.refresh(timeout=WAIT_S)
            assert list(flags) == ["flag/b"]
            before = flags.index
            await theirs.write(table.Put("flag/c", 3))
            assert await flags.wait_change(before, timeout=WAIT_S) > before
            with pytest.raises(UsageError):
                await flags.open()
        assert flags.is_current is False
        with pytest.raises(UsageError):
            await flags.wait_change(flags.index)

    play(cluster, story, sessions=2)


def test_a_cache_outlives_its_session_and_says_so(cluster: BlockingCluster) -> None:
    """It stays as it was, and whoever waits for a change is told why none comes."""

    async def story(sessions: list[zraft.Session]) -> None:
        session = sessions[0]
        await session.write(table.Put(("c", 1), "one"))
        async with Cache(session, ("c",)) as cache:
            with pytest.raises(RequestTimeout):
                await cache.wait_change(cache.index, timeout=0.02)
            waiting = asyncio.create_task(cache.wait_change(cache.index))
            await asyncio.sleep(0)
            await expire(cluster, session)
            with pytest.raises(SessionExpired):
                await cache.refresh()
            with pytest.raises(SessionExpired):
                await asyncio.wait_for(waiting, WAIT_S)
            await wait_until("it says so", lambda: not cache.is_current)
            assert cache[("c", 1)] == "one"

    play(cluster, story)
