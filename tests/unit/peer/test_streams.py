"""Streams at a leader: asked for piece by piece, set where there is nothing to say, bounded in every direction."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.peer.session_world import Owner
from tests.unit.peer.world import ALONE, World, host_settings, wrote
from zraft import limits
from zraft.errors import BackendError, Lagged, Overloaded, Rejected, RequestError, SessionExpired, WatchNotSupported
from zraft.machine.backend import Applied, Backend, Change, Prefix
from zraft.session.history import HistorySettings
from zraft.wire.changes import entries_of
from zraft.wire.session_requests import SessionWatch

LONG_MS = 600_000


class Log(Backend):
    """Reports what it is told to."""

    name = "log"

    def apply(self, command: Any, ctx: Any) -> Any:
        if command == "silent":
            return "ok"
        if command == "set":
            return Applied("ok", (Change("k", {1, 2}),))
        return Applied("ok", (Change("k", command),))

    def query(self, query: Any) -> Any:
        return None


def alone(backend: str = "dict", **settings: Any) -> tuple[World, str, Owner]:
    """One node that leads, and a client with a session."""
    world = World(ALONE, host_settings(**settings), {"log": Log})
    node = world.found(backend=backend)
    owner = Owner(world, timeout_ms=LONG_MS)
    owner.start(node)
    return world, node, owner


def values(entries: list[tuple[int, list[Change]]]) -> list[Any]:
    return [change.value for _, changes in entries for change in changes]


def test_a_stream_that_is_set_is_told_once_and_then_asks() -> None:
    """What comes meanwhile is in the next piece."""
    world, node, owner = alone()
    upto, nothing = owner.piece(node, "k", 90)
    assert (upto, nothing) == (world[node].peer().machine.last_applied, [])
    assert world[node].peer().status().watchers == 1
    wrote(world, node, "other", 1)
    assert not owner.streamed
    for value in range(3):
        wrote(world, node, "k", value)
    (pushed,) = owner.streamed
    assert (pushed.id, values(entries_of(pushed.chunk))) == (90, [0])
    assert world[node].peer().status().watchers == 0
    last, entries = owner.piece(node, "k", 90, pushed.chunk.index)
    assert values(entries) == [1, 2]
    assert owner.piece(node, "k", 90, last) == (last, [])


def test_a_stream_that_asks_again_under_its_number_takes_the_place_of_the_earlier_one() -> None:
    """So an answer that was lost leaves nothing behind; what is pushed joins what was asked for last."""
    world, node, owner = alone()
    upto, _ = owner.piece(node, "k", 90)
    wrote(world, node, "other", 1)
    owner.piece(node, "k", 90, upto)
    assert world[node].peer().status().watchers == 1
    wrote(world, node, "k", 1)
    (pushed,) = owner.streamed
    assert pushed.chunk.after == upto
    assert values(entries_of(pushed.chunk)) == [1]


def test_a_long_history_comes_in_pieces_each_complete_up_to_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry is never split."""
    monkeypatch.setattr(limits, "STREAM_BYTES", 60)
    world, node, owner = alone("table")
    for number in range(10):
        world.write(node, ["txn", [], [["put", "k1", number], ["put", "k2", "x" * 30]], []])
    world.settle()
    upto, found, pieces = 0, list[Any](), 0
    while upto < world[node].peer().machine.last_applied:
        upto, entries = owner.piece(node, Prefix("k"), 90, upto)
        assert all(len(changes) == 2 for _, changes in entries)
        found += [changes[0].value for _, changes in entries]
        pieces += 1
    assert found == list(range(10))
    assert pieces == 10


def test_what_fits_in_no_frame_is_named_as_lost_and_the_rest_goes_on() -> None:
    """Rather than split, or never told."""
    world, node, owner = alone(max_result_bytes=500)
    wrote(world, node, "k", 1)
    first = world[node].peer().machine.last_applied
    wrote(world, node, "k", "x" * 1000)
    wrote(world, node, "k", 2)
    assert owner.piece(node, "k", 90, 0) == (first, [(first, [Change("k", 1)])])
    owner.watch(node, "k", 90, first)
    world.settle()
    error = owner.error(owner.last)
    assert isinstance(error, Lagged)
    assert error.index == first + 1
    upto, entries = owner.piece(node, "k", 90, error.index)
    assert values(entries) == [2]
    assert owner.piece(node, "k", 90, upto)[1] == []
    wrote(world, node, "k", "x" * 1000)
    assert (owner.streamed[0].chunk.index, owner.streamed[0].chunk.entries) == (upto, [])


def test_a_change_that_cannot_travel_ends_the_stream_with_an_error() -> None:
    """The backend's own fault, told where it happened."""
    world, node, owner = alone("log")
    world.write(node, "one")
    world.write(node, "set")
    world.settle()
    upto, entries = owner.piece(node, "k", 90, 0)
    assert values(entries) == ["one"]
    owner.watch(node, "k", 90, upto)
    world.settle()
    error = owner.error(owner.last)
    assert isinstance(error, BackendError)
    assert error.type == "UnencodableResult"


def test_a_stream_from_an_index_that_is_still_to_come_waits_for_it() -> None:
    """A leader that is not up to date, or a client that says so."""
    world, node, owner = alone()
    future = world[node].peer().machine.last_applied + 3
    assert owner.piece(node, "k", 90, future) == (future, [])
    for value in range(3):
        wrote(world, node, "k", value)
    assert not owner.streamed
    wrote(world, node, "k", 3)
    assert values(entries_of(owner.streamed[0].chunk)) == [3]


def test_an_idle_stream_is_told_how_far_nothing_happened_before_that_is_gone() -> None:
    """Half of the history, again and again: so it never lags for what does not concern it."""
    world, node, owner = alone(history=HistorySettings(changes=64))
    upto, _ = owner.piece(node, "k", 90)
    machine = world[node].peer().machine
    for value in range(300):
        wrote(world, node, "other", value)
        if owner.streamed:
            chunk = owner.streamed.pop().chunk
            assert (chunk.after, chunk.entries) == (upto, [])
            assert upto >= machine.history.floor
            upto, entries = owner.piece(node, "k", 90, chunk.index)
            assert entries == []
    assert upto > 200
    assert machine.history.floor > 200


def test_a_backend_that_turns_out_to_report_nothing_says_so_to_those_who_wait() -> None:
    """And one that reports its first change lets them stay."""
    world, node, owner = alone("log")
    owner.piece(node, "k", 90)
    world.write(node, "silent")
    world.settle()
    (pushed,) = owner.streamed
    assert (pushed.chunk.index, pushed.chunk.entries) == (pushed.chunk.after, [])
    owner.watch(node, "k", 90, pushed.chunk.after)
    world.settle()
    assert isinstance(owner.error(owner.last), WatchNotSupported)
    world.write(node, "told")
    world.settle()
    assert values(owner.piece(node, "k", 90, pushed.chunk.after)[1]) == ["told"]


def test_a_stream_goes_with_its_session_and_its_connection() -> None:
    """Nobody is told afterwards."""
    world, node, owner = alone()
    other = Owner(world, b"o" * 16, timeout_ms=LONG_MS)
    other.start(node)
    owner.piece(node, "k", 90)
    other.piece(node, "k", 90)
    other.now(other.stop(node))
    assert world[node].peer().status().watchers == 1
    world[node].it.forget(owner)
    assert world[node].peer().status().watchers == 0
    wrote(world, node, "k", 1)
    assert not owner.streamed
    assert not other.streamed
    other.watch(node, "k", 90, 0)
    world.settle()
    assert isinstance(other.error(other.last), SessionExpired)


def test_what_is_no_key_is_refused_to_its_asker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no value, values that are no key, and more streams than there may be."""
    world, node, owner = alone()
    owner.watch(node, {"a": 1}, 90)
    world.settle()
    assert isinstance(owner.error(owner.last), Rejected)
    raw = msgspec.Raw(b"\xc1")
    world.ask(node, lambda n: SessionWatch(n, "p", owner.session, owner.token, 90, raw), owner)
    world.settle()
    assert type(owner.error(owner.last)) is RequestError
    monkeypatch.setattr(limits, "WATCHES", 1)
    owner.piece(node, "k", 90)
    owner.watch(node, "m", 91)
    world.settle()
    assert isinstance(owner.error(owner.last), Overloaded)
