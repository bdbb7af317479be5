"""Replicated sessions as state: opened once, written once, answered again, ended with their temporary data (§6.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.machine.directory import MemoryDirectory
from tests.unit.session.backends import PEER, Add, Scripted, Sum, commands, machine
from tests.unit.session.opening import (
    OTHER,
    TOKEN,
    apply,
    batch_of,
    ending,
    executed,
    opening,
    resuming,
    writing,
)
from zraft.errors import BackendError, CorruptData, Overloaded, Rejected, ReplicaFault, RequestError, SessionExpired
from zraft.limits import SESSION_UNANSWERED
from zraft.machine.backend import Applied, Context, Reject
from zraft.machine.dict_backend import DictBackend
from zraft.machine.table_backend import TableBackend
from zraft.session import sessions as sessions_room
from zraft.session.machine import ReplicatedMachine
from zraft.session.replies import Replayed
from zraft.session.sessions import token_digest
from zraft.wire.values import encode_value


def restored(replica: ReplicatedMachine, fresh: ReplicatedMachine) -> ReplicatedMachine:
    """What a snapshot of `replica` makes of a fresh machine."""
    directory = MemoryDirectory()
    replica.capture().write(directory)
    fresh.install_snapshot(directory, replica.last_applied)
    return fresh


def test_the_id_of_a_session_is_the_index_that_opened_it() -> None:
    """It grows, so it is a fencing token."""
    replica = machine()
    assert apply(replica, opening()) == [[1, 5000, 0]]
    replica.apply_batch(commands(2, ["a", "b"]))
    assert apply(replica, opening(OTHER, 70)) == [[4, 70, 0]]
    assert [session.id for session in replica.sessions] == [1, 4]


def test_a_repeated_open_is_the_same_session() -> None:
    """The reply was lost, the client asks again, perhaps with another timeout: the first one counts."""
    replica = machine()
    assert apply(replica, opening(), opening(timeout_ms=9)) == [[1, 5000, 0], [1, 5000, 0]]
    apply(replica, ending(1))
    assert apply(replica, opening()) == [[4, 5000, 0]]


def test_the_token_is_nowhere_in_the_state() -> None:
    """Log and snapshot hold what knows it again."""
    directory = MemoryDirectory()
    replica = machine(DictBackend(PEER))
    apply(replica, opening())
    replica.capture().write(directory)
    assert not any(TOKEN in content for content in directory.files.values())
    assert token_digest(TOKEN) in directory.files["zraft-sessions"]


def test_a_write_that_is_sent_again_runs_once_and_is_answered_again() -> None:
    """Value and index are those of the entry that ran it (BM-076)."""
    replica = machine(Sum(PEER))
    apply(replica, opening())
    assert apply(replica, writing(1, 1, Add(5)), writing(1, 2, Add(1))) == [5, 6]
    assert apply(replica, writing(1, 1, Add(5)), writing(1, 2, Add(1))) == [Replayed(2, 5), Replayed(3, 6)]
    assert replica.query(encode_value("")) == 6


def test_a_refusal_and_an_error_are_replies_too() -> None:
    """They are given again, with the same words and the same promise."""
    backend = Scripted()
    replica = machine(backend)
    answers: list[Any] = [Reject("no", [1]), KeyError("x"), {1, 2}, (1, [2])]

    def act(command: Any, ctx: Context) -> Any:
        if isinstance(answers[command], Exception):
            raise answers[command]
        return answers[command]

    backend.on_apply = act
    apply(replica, opening())
    first = apply(replica, *(writing(1, n + 1, n) for n in range(4)))
    again = apply(replica, *(writing(1, n + 1, n) for n in range(4)))
    assert [type(outcome) for outcome in first] == [Rejected, BackendError, BackendError, list]
    assert [executed(outcome) for outcome in first[:3]] == ["no", "yes", "yes"]
    assert first[3] == [1, [2]]
    for place, (one, other) in enumerate(zip(first, again, strict=True)):
        assert isinstance(other, Replayed)
        assert other.index == 2 + place
        assert repr(other.outcome) == repr(one)
    assert len(backend.told) == 4


def test_acknowledged_replies_are_forgotten() -> None:
    """By the log alone; whoever asks for one again has broken the contract, and is told that nobody knows."""
    replica = machine()
    apply(replica, opening(), writing(1, 1, "a"), writing(1, 2, "b"), writing(1, 3, "c", 2))
    session = replica.sessions.get(1)
    assert session is not None
    assert list(session.replies) == [3]
    (outcome,) = apply(replica, writing(1, 2, "b", 1))
    assert type(outcome) is RequestError
    assert outcome.executed == "maybe"
    assert apply(replica, writing(1, 3, "c")) == [Replayed(4, "c")]


def test_nobody_acknowledges_what_did_not_run() -> None:
    """The bound stays what it is, whatever a client says."""
    replica = machine()
    apply(replica, opening(), writing(1, 1, "a"), writing(1, 90, "z", 80))
    session = replica.sessions.get(1)
    assert session is not None
    assert (session.acknowledged, session.last, session.replies_bytes) == (1, 1, 0)


def test_a_write_out_of_order_does_not_run_and_takes_no_place() -> None:
    """An earlier one is missing: the client sends both again, in order."""
    backend = Scripted()
    replica = machine(backend)
    apply(replica, opening())
    (outcome,) = apply(replica, writing(1, 2, "b"))
    assert isinstance(outcome, Overloaded)
    assert (outcome.reason, outcome.executed) == ("order", "no")
    assert apply(replica, writing(1, 1, "a"), writing(1, 2, "b")) == ["a", "b"]
    assert [told[-1] for told in backend.told] == ["a", "b"]


def test_a_write_of_no_session_never_opens_one() -> None:
    """Never existed, or has ended: typed, and nothing changes (X3, S4)."""
    backend = Scripted()
    replica = machine(backend)
    apply(replica, opening(), ending(1))
    for outcome in apply(replica, writing(1, 1, "a"), writing(99, 1, "a"), resuming(1), ending(1)):
        assert isinstance(outcome, SessionExpired)
        assert outcome.executed == "no"
    assert backend.told == []
    assert len(replica.sessions) == 0


def test_replies_that_nobody_acknowledges_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In number and in bytes: further writes are refused before they run, until some are acknowledged."""
    backend = Scripted()
    replica = machine(backend)
    apply(replica, opening(), *(writing(1, n, n) for n in range(1, SESSION_UNANSWERED + 1)))
    more = SESSION_UNANSWERED + 1
    (outcome,) = apply(replica, writing(1, more, "x"))
    assert isinstance(outcome, Overloaded)
    assert outcome.reason == "unanswered"
    assert len(backend.told) == SESSION_UNANSWERED
    assert apply(replica, writing(1, more, "x", 1)) == ["x"]
    monkeypatch.setattr(sessions_room, "SESSION_REPLIES_BYTES", 10)
    apply(replica, writing(1, more + 1, "0123456789", more))
    (outcome,) = apply(replica, writing(1, more + 2, "x"))
    assert isinstance(outcome, Overloaded)
    assert apply(replica, writing(1, more + 2, "x", more + 1)) == ["x"]


def test_the_number_of_sessions_is_bounded() -> None:
    """One more is refused; one that exists is answered all the same, and an end makes room."""
    replica = machine()
    replica.sessions.most = 2
    third = opening(b"3" * 16)
    _, _, outcome, again = apply(replica, opening(), opening(OTHER), third, opening())
    assert isinstance(outcome, Overloaded)
    assert (outcome.reason, outcome.executed) == ("sessions", "no")
    assert again == [1, 5000, 0]
    assert apply(replica, ending(1), third) == [None, [6, 5000, 0]]


def test_the_backend_knows_the_writer_for_the_length_of_its_call() -> None:
    """Session and temporary are those of the item; a light write, a time entry, the next one know nothing of them."""
    backend = Scripted()
    seen: list[tuple[int | None, bool]] = []

    def act(command: Any, ctx: Context) -> Any:
        seen.append((ctx.session, ctx.temporary))
        raise Reject("no") if command == "refused" else KeyError

    backend.on_apply = act
    replica = machine(backend)
    apply(replica, opening(), writing(1, 1, "refused", temporary=True), writing(1, 2, "raised"))
    replica.apply_batch(commands(4, ["light"]))
    assert seen == [(1, True), (1, False), (None, False)]


@pytest.mark.parametrize("backend", [DictBackend, TableBackend])
def test_temporary_data_goes_with_its_session_in_one_apply(backend: type[DictBackend] | type[TableBackend]) -> None:
    """And in the same apply whoever watches is told (S3); what was written otherwise stays."""
    replica = machine(backend(PEER))
    replica.collect_changes = True

    def put(key: str) -> Any:
        return (key, 1) if backend is DictBackend else ["put", key.encode(), 1]

    apply(replica, opening(), opening(OTHER), writing(1, 1, put("a"), temporary=True), writing(1, 2, put("b")))
    apply(replica, writing(2, 1, put("c"), temporary=True))
    assert replica.backend.temporary_count() == 2
    replica.take_changes()
    assert apply(replica, ending(1)) == [None]
    ((index, (change,)),) = replica.take_changes()
    assert index == 6
    assert getattr(change, "key", change) in ("a", b"a")
    assert replica.backend.temporary_count() == 1
    assert replica.sessions.get(1) is None


def test_a_backend_that_fails_to_clear_up_changes_nothing_else() -> None:
    """The session has ended on every replica; the class of the error is shown."""

    class Clumsy(Scripted):
        def expire_session(self, session: int, ctx: Context) -> Iterable[Any]:
            raise KeyError(session)

    replica = machine(Clumsy())
    assert apply(replica, opening(), ending(1)) == [[1, 5000, 0], None]
    assert (replica.advance_error, len(replica.sessions)) == ("KeyError", 0)


def test_a_backend_that_cannot_count_has_no_temporary_data_to_show() -> None:
    """A status is no reason to stop."""

    class Uncounted(Scripted):
        def temporary_count(self) -> int:
            raise KeyError

    assert machine(Uncounted()).temporary_count() == 0
    assert machine(Scripted()).temporary_count() == 0


def test_a_new_life_of_a_client_is_not_taken_for_an_earlier_one() -> None:
    """What the earlier life has under way never runs: not even where the new one would use the same number."""
    backend = Scripted()
    replica = machine(backend)
    apply(replica, opening(), writing(1, 1, "a"), writing(1, 2, "b"))
    ((session, _, last),) = apply(replica, resuming(7))
    assert (session, last) == (1, 2 + SESSION_UNANSWERED)
    assert apply(replica, resuming(7)) == [[1, 5000, last]]
    late = [writing(1, 3, "late"), writing(1, 2 + SESSION_UNANSWERED, "late", 2), writing(1, 2, "b")]
    assert [executed(outcome) for outcome in apply(replica, *late)] == ["maybe"] * 3
    assert apply(replica, writing(1, last + 1, "mine", last)) == ["mine"]
    assert [told[-1] for told in backend.told] == ["a", "b", "mine"]


def test_a_fatal_error_in_a_session_write_stops_the_peer() -> None:
    """As in a light one: another replica need not meet it."""
    backend = Scripted()
    replica = machine(backend)
    apply(replica, opening())

    def act(command: Any, ctx: Context) -> Any:
        raise MemoryError

    backend.on_apply = act
    with pytest.raises(ReplicaFault, match="MemoryError at index 2"):
        apply(replica, writing(1, 1, "a"))


def test_an_open_beside_typed_commands_is_read_from_its_bytes() -> None:
    """Whatever type of command a backend has: what opens a session is none of its commands."""
    replica = machine(Sum(PEER))
    outcomes = apply(replica, opening(), writing(1, 1, Add(5)), writing(1, 2, "nonsense"), resuming(3))
    assert outcomes[:2] == [[1, 5000, 0], 5]
    assert isinstance(outcomes[2], Rejected)
    assert outcomes[3][:2] == [1, 5000]


def test_changes_of_session_writes_are_collected_like_others() -> None:
    """One row an entry, with its index."""
    backend = Scripted()
    backend.on_apply = lambda command, ctx: Applied(command, (command, "too"))
    replica = machine(backend)
    apply(replica, opening(), writing(1, 1, "a"))
    replica.collect_changes = True
    assert apply(replica, writing(1, 2, "b"), writing(1, 2, "b")) == ["b", Replayed(3, "b")]
    assert replica.take_changes() == [(3, ("b", "too"))]


def test_slices_of_a_batch_of_sessions_add_up() -> None:
    """What opens one is found at its own place, wherever a slice begins."""
    items = [opening(), writing(1, 1, "a"), opening(OTHER), writing(3, 1, "b"), resuming(1, OTHER), ending(1)]
    whole, sliced = machine(DictBackend(PEER)), machine(DictBackend(PEER))
    whole.apply_batch(batch_of(items, 1))
    while sliced.last_applied < 6:
        sliced.apply_batch(batch_of(items, 1), sliced.last_applied, 1, replies=sliced.last_applied % 2 == 0)
    assert sliced.sessions.saved() == whole.sessions.saved()
    assert sliced.digest() == whole.digest()


def test_a_leader_is_told_which_sessions_were_opened() -> None:
    """Also those that were there: somebody has asked for them."""
    replica = machine()
    apply(replica, opening())
    assert replica.sessions.take_news() == []
    replica.sessions.collect_news = True
    apply(replica, opening(), opening(OTHER), resuming(1), ending(1))
    assert [session.id for session in replica.sessions.take_news()] == [1, 3, 1]
    assert replica.sessions.take_news() == []


STEPS = st.one_of(
    st.tuples(st.just("open"), st.integers(0, 3)),
    st.tuples(st.just("resume"), st.integers(0, 3), st.integers(0, 2)),
    st.tuples(st.just("write"), st.integers(1, 12), st.integers(1, 4), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("end"), st.integers(1, 12)),
)


def item_of(step: Any) -> bytes:
    match step:
        case ("open", token):
            return opening(bytes([token]) * 16)
        case ("resume", token, life):
            return resuming(life, bytes([token]) * 16)
        case ("write", session, sequence, acknowledged, temporary):
            command = (f"k{sequence}", session)
            return writing(session, sequence, command, min(acknowledged, sequence - 1), temporary=temporary)
        case _:
            return ending(step[1])


@settings(derandomize=True, max_examples=100, deadline=None, database=None)
@given(st.lists(STEPS, min_size=1, max_size=30), st.integers(0, 30))
def test_a_snapshot_in_between_changes_nothing(steps: list[Any], cut: int) -> None:
    """Sessions, kept replies and answers are the same, from a snapshot or from the log (X2)."""
    straight, cut_short = machine(DictBackend(PEER)), machine(DictBackend(PEER))
    for place, step in enumerate(steps):
        if place == cut:
            cut_short = restored(cut_short, machine(DictBackend(PEER)))
        assert repr(apply(straight, item_of(step))) == repr(apply(cut_short, item_of(step)))
        assert straight.digest() == cut_short.digest()
    assert straight.sessions.saved() == cut_short.sessions.saved()


def test_the_digest_covers_the_sessions() -> None:
    """Two replicas with the same data and different replies differ."""
    one, other = machine(DictBackend(PEER)), machine(DictBackend(PEER))
    apply(one, opening())
    apply(other, opening(OTHER))
    assert one.digest() != other.digest()
    assert one.backend.digest() == other.backend.digest()


@pytest.mark.parametrize(
    "rows",
    [
        [[1, b"d" * 15, 5, 0, 0, 0, []]],
        [[1, b"d" * 16, 5, 1, 0, 0, []]],
        [[1, b"d" * 16, 5, 1, 0, 0, [[3, 1, b"\xc0"]]]],
        [[1, b"d" * 16, 5, 1, 0, 0, [[1, 1, b"\xc0"]]]],
        [[9, b"d" * 16, 5, 0, 0, 0, []]],
        [[2, b"d" * 16, 5, 0, 0, 0, []], [1, b"e" * 16, 5, 0, 0, 0, []]],
        [[1, b"d" * 16, 5, 0, 0, 0, []], [2, b"d" * 16, 5, 0, 0, 0, []]],
        [[1, b"d" * 16, 5, 0, 0, 0]],
        ["x"],
    ],
)
def test_sessions_that_cannot_be_read_are_corrupt(rows: list[Any]) -> None:
    """Never another exception, never half a table."""
    directory = MemoryDirectory()
    replica = machine(DictBackend(PEER))
    apply(replica, opening(), ending(1))
    replica.capture().write(directory)
    head, body = encode_value([1, len(rows)]), encode_value([msgspec.msgpack.encode(row) for row in rows])
    directory.files["zraft-sessions"] = b"".join(len(part).to_bytes(4, "big") + part for part in (head, body))
    with pytest.raises(CorruptData):
        machine(DictBackend(PEER)).install_snapshot(directory, 2)
