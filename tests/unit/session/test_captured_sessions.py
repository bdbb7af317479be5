"""Sessions while snapshots of them are written: what was captured stays, what goes on is what it would be."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.session.backends import PEER, machine
from tests.unit.session.opening import OTHER, apply, ending, opening, resuming, writing
from tests.unit.session.test_sessions import STEPS, item_of
from zraft.machine.dict_backend import DictBackend
from zraft.session.sessions import SavedSession, Session


def held(sessions: list[Session]) -> list[SavedSession]:
    """What a snapshot would get of them now."""
    return [session.saved() for session in sessions]


# A session that is there from the start, so that much of what is drawn is about one.
FIRST = ("open", 0)


@given(st.lists(STEPS | st.just(("capture",)) | st.tuples(st.just("next"), st.booleans()), max_size=40))
def test_captured_sessions_are_those_of_their_moment(steps: list[Any]) -> None:
    """Whatever is opened, written, acknowledged, resumed or ended later; and a replica without captures is alike."""
    straight, captured = machine(DictBackend(PEER)), machine(DictBackend(PEER))
    moments: list[tuple[list[Session], list[SavedSession]]] = []
    for step in [FIRST, *steps]:
        if step[0] == "capture":
            moments.append((captured.sessions.capture(), straight.sessions.saved()))
            continue
        item = item_of(step) if step[0] != "next" else _next_write(captured.sessions.get(1), acknowledges=step[1])
        assert repr(apply(straight, item)) == repr(apply(captured, item))
        assert straight.sessions.saved() == captured.sessions.saved()
        for sessions, expected in moments:
            assert held(sessions) == expected


def _next_write(session: Session | None, *, acknowledges: bool) -> bytes:
    sequence = session.last + 1 if session is not None else 1
    return writing(1, sequence, ("k", sequence), sequence - 1 if acknowledges else 0)


def test_a_captured_session_is_copied_once_and_when_it_is_used() -> None:
    """A capture costs nothing for a session that does nothing meanwhile, and one copy for another."""
    replica = machine(DictBackend(PEER))
    apply(replica, opening(), opening(OTHER))
    idle, busy = replica.sessions.capture()
    apply(replica, writing(2, 1, ("k", 1)))
    fresh = replica.sessions.get(2)
    apply(replica, writing(2, 2, ("k", 2)))
    assert replica.sessions.get(1) is idle
    assert replica.sessions.get(2) is fresh
    assert fresh is not busy


def test_a_leader_hears_of_the_session_that_is_in_force() -> None:
    """Who opens or resumes a session that was captured meets the one that took its place."""
    replica = machine(DictBackend(PEER))
    apply(replica, opening())
    replica.sessions.collect_news = True
    for item in (opening(), resuming(1)):
        replica.sessions.capture()
        apply(replica, item)
        [told] = replica.sessions.take_news()
        assert told is replica.sessions.get(1)
    replica.sessions.capture()
    apply(replica, ending(1))
    assert apply(replica, opening()) == [[5, 5000, 0]]
