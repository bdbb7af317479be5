"""Sessions against nodes that answer by a script: what is sent again and under which number, and what callers hear."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import zraft
from tests.stack.client.scripted import HANG_UP, SILENCE, Answer
from tests.stack.clusters import wait_until
from tests.stack.session.scripted_group import TOO_LARGE, ScriptedGroup, play
from zraft.client.caller import each
from zraft.errors import (
    ConnectionTimeout,
    NoPeers,
    OutcomeUnknown,
    Overloaded,
    Rejected,
    RequestError,
    RequestTimeout,
    SessionClosed,
    SessionExpired,
    TooLarge,
    UsageError,
)
from zraft.types import Value
from zraft.wire.requests import Request
from zraft.wire.session_requests import Ping, SessionQuery, SessionWrite, StartSession, StopSession, TriggerReason

LONG = 20.0
SHORT = 1.5
MIDDLE = 3.0


async def outcome(call: Coroutine[Any, Any, Value]) -> Value | RequestError:
    """What it returns, or raises."""
    try:
        return await call
    except RequestError as error:
        return error


def once(kind: type, answer: Answer) -> Callable[[Request], Answer | None]:
    """The first request of this kind gets this answer."""
    answers = iter([answer])
    return lambda request: next(answers, None) if isinstance(request, kind) else None


def always(kind: type, answer: Answer) -> Callable[[Request], Answer | None]:
    return lambda request: answer if isinstance(request, kind) else None


def test_a_session_begins_works_and_ends() -> None:
    """Its id and token come from the start; the end is told to the leader."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client:
            async with client.start_session(group.peers, LONG) as session:
                assert (session.id, session.token, session.state) == (10, group.token, "connected")
                assert await session.write("a") == ["ran", "a"]
                assert await session.query("all") == ["a"]
            assert session.state == "closed"
            assert not group.is_alive
            for late in (session.write("b"), session.query("all"), session.wait_trigger("x")):
                with pytest.raises(SessionClosed):
                    await late
            await session.stop()

    play(story)


def test_a_session_is_awaited_before_it_is_used() -> None:
    """There is no session yet that could have an id."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client:
            session = client.start_session(group.peers, LONG)
            assert session.state == "connecting"
            with pytest.raises(UsageError):
                await session.write("a")
            with pytest.raises(UsageError):
                assert session.id
            assert (await session) is session
            await session.stop()

    play(story)


def test_what_makes_no_session_is_refused_at_once() -> None:
    """No peers, a timeout that is none, a token that is none."""

    async def story(_: ScriptedGroup) -> None:
        async with zraft.Client() as client:
            with pytest.raises(NoPeers):
                assert client.start_session([], LONG).state
            for timeout in (0, -1, None, float("inf")):
                with pytest.raises(UsageError):
                    assert client.start_session(["a@h:1"], timeout).state
            for resume in (b"short", (1, b"short"), (-1, bytes(16))):
                with pytest.raises(UsageError):
                    assert client.start_session(["a@h:1"], LONG, resume=resume).state

    play(story, size=1)


def test_a_session_finds_the_leader_by_the_words_of_a_follower() -> None:
    """The list begins with somebody else."""

    async def story(group: ScriptedGroup) -> None:
        group.leader = 2
        async with zraft.Client() as client, client.start_session(group.peers, LONG) as session:
            assert await session.write("a") == ["ran", "a"]

    play(story)


def test_nobody_who_leads_within_the_timeout_is_a_connection_timeout() -> None:
    """And the session is over: it never was."""

    async def story(group: ScriptedGroup) -> None:
        group.twist = always(StartSession, SILENCE)
        async with zraft.Client() as client:
            session = client.start_session(group.peers, SHORT)
            with pytest.raises(ConnectionTimeout):
                assert (await session).id
            assert session.state == "closed"
            with pytest.raises(ConnectionTimeout):
                await session.write("a")

    play(story)


def test_a_lost_start_is_the_same_start_again() -> None:
    """With the same token: the leader knows it."""

    async def story(group: ScriptedGroup) -> None:
        group.twist = once(StartSession, HANG_UP)
        async with zraft.Client() as client, client.start_session(group.peers, LONG):
            starts = group.asked(StartSession)
            assert len(group.nodes[0].asked) >= 2
            assert len({start.token for start in starts}) == 1

    play(story)


def test_writes_run_in_the_order_of_their_calls() -> None:
    """A thousand of them, at once."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client, client.start_session(group.peers, LONG) as session:
            results = await each(session.write(number) for number in range(1000))
            assert results == [["ran", number] for number in range(1000)]
            assert group.ran == list(range(1000))

    play(story)


def test_answers_are_acknowledged_with_the_next_write() -> None:
    """The replicas may then forget them."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client, client.start_session(group.peers, LONG) as session:
            for number in range(3):
                await session.write(number)
            assert group.acknowledged == [0, 1, 2]

    play(story)


def test_a_write_whose_answer_is_lost_runs_once_and_is_answered() -> None:
    """It goes out again under its number (BM-076)."""

    def lose_answer(group: ScriptedGroup) -> Callable[[Request], Answer | None]:
        lost = iter([True])

        def twist(request: Request) -> Answer | None:
            if isinstance(request, SessionWrite) and next(lost, False):
                group.usual(request)
                group.leader = 1
                return HANG_UP
            return None

        return twist

    async def story(group: ScriptedGroup) -> None:
        group.twist = lose_answer(group)
        async with zraft.Client() as client, client.start_session(group.peers, LONG) as session:
            results = await each(session.write(number) for number in range(10))
            assert results == [["ran", number] for number in range(10)]
            assert group.ran == list(range(10))
            assert session.state == "connected"

    play(story)


@pytest.mark.parametrize("refusal", [Overloaded(reason="disk_full", retry_after=0.01), OutcomeUnknown("lost")])
def test_a_refused_write_goes_out_again_before_those_behind_it(refusal: RequestError) -> None:
    """The leader refuses them as out of order meanwhile."""

    async def story(group: ScriptedGroup) -> None:
        group.twist = once(SessionWrite, refusal)
        async with zraft.Client() as client, client.start_session(group.peers, LONG) as session:
            await each(session.write(number) for number in range(20))
            assert group.ran == list(range(20))

    play(story)


def test_a_write_that_is_too_large_is_told_so_and_those_behind_it_run() -> None:
    """Under the numbers that are free."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client, client.start_session(group.peers, LONG) as session:
            commands: list[Value] = ["a", TOO_LARGE, "b", TOO_LARGE, "c"]
            outcomes = await each(map(outcome, map(session.write, commands)))
            assert [type(one) for one in outcomes] == [list, TooLarge, list, TooLarge, list]
            assert await session.write("d") == ["ran", "d"]
            assert group.ran == ["a", "b", "c", "d"]

    play(story)


def test_a_rejected_write_has_had_its_turn() -> None:
    """Its number is used, and the next one follows."""

    async def story(group: ScriptedGroup) -> None:
        def twist(request: Request) -> Answer | None:
            if isinstance(request, SessionWrite) and request.sequence == 1:
                group.last = 1
                return Rejected("no", 7)
            return None

        group.twist = twist
        async with zraft.Client() as client, client.start_session(group.peers, LONG) as session:
            with pytest.raises(Rejected):
                await session.write("a")
            assert await session.write("b") == ["ran", "b"]

    play(story)


def test_a_timeout_ends_the_wait_and_not_the_write() -> None:
    """It is sent until it is answered; what comes later does not overtake it."""

    async def story(group: ScriptedGroup) -> None:
        group.twist = always(SessionWrite, SILENCE)
        async with zraft.Client() as client, client.start_session(group.peers, LONG) as session:
            with pytest.raises(RequestTimeout) as late:
                await session.write("a", timeout=0.05)
            assert late.value.executed == "maybe"
            waiting = asyncio.create_task(session.write("b"))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(session.write("c"), 0.05)
            group.twist = lambda _: None
            group.nodes[0].links[0].abort("so that all goes out again")
            assert await waiting == ["ran", "b"]
            await wait_until("the cancelled one ran, too", lambda: group.ran == ["a", "b", "c"])

    play(story)


def test_one_write_more_than_may_be_unanswered_is_refused() -> None:
    """1024 of them."""

    async def story(group: ScriptedGroup) -> None:
        group.twist = always(SessionWrite, SILENCE)
        async with zraft.Client() as client, client.start_session(group.peers, LONG) as session:
            writes = [asyncio.create_task(session.write(number)) for number in range(1024)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await session.write("one more")
            group.twist = lambda _: None
            group.nodes[0].links[0].abort("so that all goes out again")
            for write in writes:
                await write
            assert group.ran == list(range(1024))

    play(story)


def test_pings_keep_an_idle_session_and_their_absence_ends_it() -> None:
    """A timeout after the last answered one was sent; whoever waits hears of it."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client:
            session = await client.start_session(group.peers, MIDDLE)
            began, until = session.expires_at, session.expires_at + MIDDLE
            await wait_until("pings move the end", lambda: session.expires_at > until)
            assert len(group.asked(Ping)) >= 2
            group.twist = lambda _: SILENCE
            write = asyncio.create_task(session.write("a"))
            trigger = asyncio.create_task(session.wait_trigger("x"))
            for waiting in (write, trigger):
                with pytest.raises(SessionExpired):
                    await waiting
            assert session.state == "expired"
            assert asyncio.get_running_loop().time() >= session.expires_at > began
            for late in (session.write("b"), session.query("all"), session.stop()):
                with pytest.raises(SessionExpired):
                    await late

    play(story)


def test_a_client_that_stood_still_for_too_long_knows_it_at_once() -> None:
    """Before anything is sent: the group may have given its temporary data to others."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client:
            session = await client.start_session(group.peers, SHORT)
            time.sleep(SHORT)  # noqa: ASYNC251 - this is the fault
            assert session.state == "expired"
            with pytest.raises(SessionExpired):
                await session.write("late")
            assert group.ran == []

    play(story)


def test_a_leader_that_says_so_ends_the_session() -> None:
    """What was sent before may have run."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client:
            session = await client.start_session(group.peers, LONG)
            group.is_alive = False
            with pytest.raises(SessionExpired) as ended:
                await session.write("a")
            assert ended.value.executed == "maybe"
            assert session.state == "expired"

    play(story)


def test_a_leader_that_falls_silent_is_left_for_another() -> None:
    """Long before the session expires; the write that waited runs there."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client, client.start_session(group.peers, 4 * MIDDLE) as session:
            group.nodes[0].script = lambda _: SILENCE
            group.leader = 1
            assert await session.write("a") == ["ran", "a"]
            assert await session.query("all") == ["a"]

    play(story)


def test_a_watch_fires_once_and_goes_to_whoever_waits_on_its_reference() -> None:
    """Else it is kept for whoever takes any."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client, client.start_session(group.peers, LONG) as session:
            for ref in ("a", "b", ("c", 1)):
                await session.query("all", watch=ref)
            watches = [request.watch for request in group.asked(SessionQuery)]
            waiting = asyncio.create_task(session.wait_trigger("b"))
            await asyncio.sleep(0)
            for watch in (watches[2], watches[1], watches[0], watches[0]):
                group.push(watch)
            assert await waiting == zraft.WatchTrigger("b", "change")
            found = [await anext(session.triggers()) for _ in range(2)]
            assert found == [zraft.WatchTrigger(("c", 1), "change"), zraft.WatchTrigger("a", "change")]
            with pytest.raises(RequestTimeout):
                await session.wait_trigger("a", timeout=0.05)
            await session.query("all", watch="forgotten")
            session.forget("forgotten")
            group.push(group.asked(SessionQuery)[-1].watch)
            with pytest.raises(RequestTimeout):
                await session.wait_trigger("forgotten", timeout=0.05)
            unhashable: Any = ["a"]
            for misuse in (
                session.query("all", watch=unhashable),
                session.wait_trigger(unhashable),
                session.wait_trigger(None),
            ):
                with pytest.raises(UsageError):
                    await misuse

    play(story)


def test_the_loss_of_the_leader_fires_every_open_watch() -> None:
    """A query that is under way is answered by the next leader, which then watches for it."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client, client.start_session(group.peers, LONG) as session:
            await session.query("all", watch="open")
            group.twist = always(SessionQuery, SILENCE)
            asked = asyncio.create_task(session.query("all", watch="asked"))
            await wait_until("both were asked", lambda: len(group.asked(SessionQuery)) == 2)
            group.twist = lambda _: None
            group.leader = 1
            group.nodes[0].links[0].abort("lost")
            assert await session.wait_trigger("open") == zraft.WatchTrigger("open", "change_leader")
            assert await asked == []
            group.push(group.asked(SessionQuery)[-1].watch, TriggerReason.CHANGE_LEADER)
            assert await anext(session.triggers()) == zraft.WatchTrigger("asked", "change_leader")

    play(story)


def test_triggers_end_with_a_stopped_session_and_raise_for_an_expired_one() -> None:
    """Nobody watches any more: that must not look like quiet."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client:
            for is_stopped in (True, False):
                session = await client.start_session(group.peers, LONG)
                taking = asyncio.create_task(_all_triggers(session))
                await asyncio.sleep(0)
                if is_stopped:
                    await session.stop()
                    assert await taking == []
                else:
                    group.is_alive = False
                    with pytest.raises(SessionExpired):
                        await session.write("a")
                    with pytest.raises(SessionExpired):
                        await taking

    play(story)


async def _all_triggers(session: zraft.Session) -> list[zraft.WatchTrigger]:
    return [trigger async for trigger in session.triggers()]


def test_a_stop_waits_for_the_writes_before_it_and_a_lost_answer_to_it_is_none() -> None:
    """The next leader knows of no such session: it has ended, as was asked."""

    async def story(group: ScriptedGroup) -> None:
        def twist(request: Request) -> Answer | None:
            if isinstance(request, StopSession):
                group.is_alive = False
                return HANG_UP
            return None

        group.twist = twist
        async with zraft.Client() as client:
            session = await client.start_session(group.peers, LONG)
            writes = [asyncio.create_task(session.write(number)) for number in range(10)]
            await asyncio.sleep(0)
            stopping = asyncio.create_task(session.stop())
            await asyncio.sleep(0)
            with pytest.raises(SessionClosed):
                await session.write("late")
            await stopping
            assert [await write for write in writes] == [["ran", number] for number in range(10)]
            assert session.state == "closed"

    play(story)


def test_a_restarted_client_resumes_by_token_and_goes_on_after_the_last_number() -> None:
    """With the timeout that the session was started with."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client:
            first = await client.start_session(group.peers, LONG)
            await first.write("a")
            number, token = first.id, first.token
        assert first.state == "closed"
        async with zraft.Client() as client:
            for resume in (token, (number, token)):
                again = await client.start_session(group.peers, 7.0, resume=resume)
                assert (again.id, again.token) == (number, token)
                assert again.expires_at > asyncio.get_running_loop().time() + 10
                await again.write("b")
            with pytest.raises(SessionExpired):
                assert (await client.start_session(group.peers, LONG, resume=(number + 1, token))).id
            with pytest.raises(SessionExpired):
                assert (await client.start_session(group.peers, LONG, resume=bytes(16))).id
        assert group.ran == ["a", "b", "b"]

    play(story)


def test_a_session_ends_with_its_client() -> None:
    """What waits is told, and nothing is left running."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client:
            session = await client.start_session(group.peers, LONG)
            group.twist = always(SessionWrite, SILENCE)
            write = asyncio.create_task(session.write("a"))
            await asyncio.sleep(0)
        with pytest.raises(SessionClosed) as ended:
            await write
        assert ended.value.executed == "maybe"
        assert session.state == "closed"

    play(story)
