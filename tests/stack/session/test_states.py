"""Waiting for a session to be in another state: suspended, connected again, over."""

from __future__ import annotations

import asyncio

import pytest

import zraft
from tests.stack.session.scripted_group import ScriptedGroup, play
from zraft.errors import ConnectionTimeout, RequestTimeout, SessionClosed, SessionExpired, UsageError
from zraft.wire.session_requests import SessionWrite

LONG = 20.0
WAIT_S = 60.0


def test_each_change_of_state_is_told_to_those_who_wait_for_it() -> None:
    """The leader goes, another one answers, the owner stops it."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client:
            session = await client.start_session(group.peers, LONG)
            assert await session.wait_state("connected", "closed") == "connected"
            with pytest.raises(RequestTimeout) as caught:
                await session.wait_state("suspended", timeout=0.02)
            assert caught.value.executed == "no"
            waiting = asyncio.create_task(session.wait_state("suspended", "expired"))
            group.leader = 1
            writing = asyncio.create_task(session.write("w"))  # the one that led sends it away
            assert await asyncio.wait_for(waiting, WAIT_S) == "suspended"
            assert await session.wait_state("connected", timeout=WAIT_S) == "connected"
            await writing
            over = [asyncio.create_task(session.wait_state(state)) for state in ("closed", "suspended")]
            await asyncio.sleep(0)
            await session.stop()
            assert await over[0] == "closed"
            with pytest.raises(SessionClosed):
                await over[1]
            assert len(group.asked(SessionWrite)) >= 1

    play(story)


def test_the_end_of_a_session_wakes_whoever_waits() -> None:
    """At the group, or because it never began."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client:
            session = await client.start_session(group.peers, LONG)
            waiting = asyncio.create_task(session.wait_state("expired"))
            group.is_alive = False
            with pytest.raises(SessionExpired):
                await session.query("q")
            assert await asyncio.wait_for(waiting, WAIT_S) == "expired"
            with pytest.raises(SessionExpired):
                await session.wait_state("connected")
            never = client.start_session(["nobody@127.0.0.1:1"], 0.05)
            waiting = asyncio.create_task(never.wait_state("connected"))
            with pytest.raises(ConnectionTimeout):
                assert (await never).id
            with pytest.raises(ConnectionTimeout):
                await waiting

    play(story)


def test_what_is_no_state_is_refused() -> None:
    """Rather than waited for."""

    async def story(group: ScriptedGroup) -> None:
        async with zraft.Client() as client, client.start_session(group.peers, LONG) as session:
            with pytest.raises(UsageError, match="lost"):
                await session.wait_state("lost")  # type: ignore[arg-type]  # on purpose
            with pytest.raises(UsageError):
                await session.wait_state()

    play(story)
