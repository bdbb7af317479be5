"""Who meets whom, over real nodes: barriers, double barriers, parties."""

from __future__ import annotations

import asyncio

import pytest

import zraft
from tests.stack.recipes.playing import WAIT_S, deposed, in_line, play
from zraft import table
from zraft.client.caller import each
from zraft.errors import RequestTimeout, SessionExpired, UsageError
from zraft.recipes import Barrier, DoubleBarrier, Party
from zraft.testing import BlockingCluster


def test_everybody_waits_while_a_barrier_is_there(cluster: BlockingCluster) -> None:
    """It stays when its maker goes; whoever removes it lets all of them on."""

    async def story(sessions: list[zraft.Session]) -> None:
        maker, other = sessions
        barrier = Barrier(other, "start")
        await barrier.wait(timeout=WAIT_S)
        assert [await Barrier(maker, "start").create(), await barrier.create()] == [True, False]
        await maker.stop()
        with pytest.raises(RequestTimeout) as caught:
            await barrier.wait(timeout=0.05)
        assert caught.value.executed == "no"
        waiting = [asyncio.create_task(Barrier(other, "start").wait()) for _ in range(5)]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in waiting)
        assert [await barrier.remove(), await barrier.remove()] == [True, False]
        await asyncio.wait_for(each(_done(task) for task in waiting), WAIT_S)

    play(cluster, story, sessions=2)


async def _done(task: asyncio.Task[None]) -> None:
    await task


def test_so_many_begin_and_end_together_round_after_round(cluster: BlockingCluster) -> None:
    """Twelve clients, three a round, while the leader changes: nobody is in while another round is."""

    async def story(sessions: list[zraft.Session]) -> None:
        inside: list[int] = []
        rounds: list[list[int]] = []
        is_full = asyncio.Condition()

        async def work(number: int) -> None:
            barrier = DoubleBarrier(sessions[number % 2], "rounds", 3, number)
            await barrier.enter()
            assert barrier.participating
            async with is_full:
                inside.append(number)
                is_full.notify_all()
                await is_full.wait_for(lambda: len(inside) == 3 or inside in rounds)
                if inside not in rounds:
                    rounds.append(list(inside))
            await asyncio.sleep(0)
            assert number in inside
            async with is_full:
                left.append(number)
                if len(left) % 3 == 0:
                    inside.clear()
            await barrier.leave()
            assert not barrier.participating

        left: list[int] = []
        working = asyncio.create_task(each(work(number) for number in range(12)))
        await deposed(cluster)
        await asyncio.wait_for(working, WAIT_S)
        assert sorted(number for one in rounds for number in one) == list(range(12))
        assert [len(one) for one in rounds] == [3] * 4
        await in_line(sessions[0], "zraft.double_barrier", "rounds", 0)

    play(cluster, story, sessions=2)


def test_who_gives_up_or_is_lost_does_not_count(cluster: BlockingCluster) -> None:
    """Before it is in, and after; a round of which everybody was lost makes room for the next."""

    async def story(sessions: list[zraft.Session]) -> None:
        stays, lost, other = sessions
        mine = DoubleBarrier(stays, "lost", 2, "mine")
        with pytest.raises(RequestTimeout):
            await mine.enter(timeout=0.05)
        entering = asyncio.create_task(mine.enter())
        await in_line(stays, "zraft.double_barrier", "lost", 1)
        with pytest.raises(UsageError):
            await mine.enter()
        with pytest.raises(UsageError, match="num_clients=2 by others, not 3"):
            await DoubleBarrier(other, "lost", 3).enter()
        await in_line(stays, "zraft.double_barrier", "lost", 1)
        assert await mine.contenders() == ["mine"]
        theirs = DoubleBarrier(lost, "lost", 2, "theirs")
        await theirs.enter()
        await entering
        late = asyncio.create_task(DoubleBarrier(other, "lost", 2).enter())
        with pytest.raises(RequestTimeout):
            await mine.leave(timeout=0.05)
        await lost.stop()
        again = DoubleBarrier(stays, "lost", 2)
        await again.enter(timeout=WAIT_S)
        await late
        await mine.leave()

    play(cluster, story, sessions=3)


def test_a_party_has_those_that_live(cluster: BlockingCluster) -> None:
    """In the order in which they joined; a change is told, and whose session ended is gone."""

    async def story(sessions: list[zraft.Session]) -> None:
        one, two = sessions
        first, second = Party(one, "team", "first"), Party(two, "team", {"name": "second"})
        assert await first.members() == []
        watching = asyncio.create_task(first.wait_change([]))
        await first.join()
        await first.join()
        assert await asyncio.wait_for(watching, WAIT_S) == ["first"]
        await second.join()
        assert (first.participating, await first.members()) == (True, ["first", {"name": "second"}])
        with pytest.raises(RequestTimeout):
            await first.wait_change(["first", {"name": "second"}], timeout=0.05)
        watching = asyncio.create_task(first.wait_change(["first", {"name": "second"}]))
        await two.stop()
        assert await asyncio.wait_for(watching, WAIT_S) == ["first"]
        with pytest.raises(zraft.SessionClosed):
            await second.members()
        await first.leave()
        assert (first.participating, await first.members()) == (False, [])

    play(cluster, story, sessions=2)


def test_who_could_not_join_is_no_member(cluster: BlockingCluster) -> None:
    """Its session is over."""

    async def story(sessions: list[zraft.Session]) -> None:
        party = Party(sessions[0], "gone")
        await sessions[0].stop()
        with pytest.raises((SessionExpired, zraft.SessionClosed)):
            await party.join()
        assert not party.participating
        found = await sessions[1].query(table.Prefix(("zraft.party", "gone")))
        assert found == []

    play(cluster, story, sessions=2)
