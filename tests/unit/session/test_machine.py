"""The replicated machine: order, slices, outcomes, time, changes, queries."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.machine.directory import VALUES
from tests.unit.session.backends import PEER, Add, Scripted, Sum, applied, commands, machine, raising, single
from zraft.core.entries import Batch, Kind
from zraft.errors import BackendError, Rejected, ReplicaFault, UsageError, WatchNotSupported
from zraft.machine.backend import Answer, Applied, Backend, Change, Reject
from zraft.machine.dict_backend import DictBackend
from zraft.session.machine import ADVANCE_RETRY
from zraft.session.outcomes import encode_result
from zraft.types import NOT_FOUND
from zraft.wire.values import decode_value, encode_value


def test_each_entry_is_applied_once_and_in_order() -> None:
    """Every entry has its own index and its batch's term, time and wall clock."""
    backend = Scripted()
    replica = machine(backend)
    assert replica.apply_batch(commands(1, ["a", "b"], time=5, wall=99)) == ["a", "b"]
    assert replica.apply_batch(single(3, Kind.NOOP, term=2, time=6)) == [None]
    assert replica.apply_batch(single(4, Kind.CONFIGURATION, term=2, time=6)) == [None]
    assert replica.apply_batch(commands(5, ["c"], term=2, time=6)) == ["c"]
    assert backend.told == [(1, 1, 5, 99, "a"), (2, 1, 5, 99, "b"), (5, 2, 6, 0, "c")]
    assert (replica.last_applied, replica.time, replica.term, replica.version) == (5, 6, 2, 1)


@given(st.lists(VALUES, min_size=1, max_size=20), st.lists(st.integers(1, 6), min_size=20, max_size=20))
def test_slices_add_up_to_the_whole(values: list[Any], limits: list[int]) -> None:
    """However a batch is divided, entries and outcomes are the same."""
    backend, sliced = Scripted(), Scripted()
    batch = commands(1, values)
    whole = machine(backend).apply_batch(batch)
    replica, outcomes = machine(sliced), []
    while replica.last_applied < batch.last:
        assert replica.is_between_batches == (replica.last_applied == 0)
        outcomes += replica.apply_batch(batch, replica.last_applied, limits.pop())
    assert [encode_result(outcome) for outcome in outcomes] == [encode_result(outcome) for outcome in whole]
    assert [repr(entry) for entry in sliced.told] == [repr(entry) for entry in backend.told]
    assert replica.is_between_batches


def test_without_replies_nothing_is_collected() -> None:
    """A follower answers nobody, and its state is the same."""
    leader, follower = machine(DictBackend(PEER)), machine(DictBackend(PEER))
    batch = commands(1, [("k", 1), ("x",)])
    assert leader.apply_batch(batch) == ["ok", NOT_FOUND]
    assert follower.apply_batch(batch, replies=False) == []
    assert follower.apply_batch(single(3, Kind.NOOP), replies=False) == []
    assert (follower.last_applied, follower.digest()) == (3, leader.digest())


@pytest.mark.parametrize(
    "batch", [commands(2, ["x"]), commands(5, ["x"]), Batch(3, 0, 1, 0, 0, Kind.COMMANDS, b"\x90")]
)
def test_what_does_not_follow_stops_the_peer(batch: Batch) -> None:
    """Applied before, a gap, nothing at all."""
    replica = machine()
    replica.apply_batch(commands(1, ["a", "b"]))
    with pytest.raises(ReplicaFault, match="cannot follow 2"):
        replica.apply_batch(batch)


def test_a_batch_goes_on_where_it_was_left() -> None:
    """Another offset is a fault: an entry would be skipped or run twice."""
    replica = machine()
    replica.apply_batch(commands(1, ["a", "b", "c"]), limit=1)
    with pytest.raises(ReplicaFault):
        replica.apply_batch(commands(1, ["a", "b", "c"]), 2)


def test_a_slice_has_a_length() -> None:
    """None of it would make no progress."""
    with pytest.raises(UsageError):
        machine().apply_batch(commands(1, ["a"]), limit=0)


def test_replicated_time_and_terms_never_run_back() -> None:
    """The text names both numbers (§7 of what replicas agree on)."""
    replica = machine()
    replica.apply_batch(commands(1, ["a"], term=3, time=50))
    with pytest.raises(ReplicaFault, match="50 to 49"):
        replica.apply_batch(commands(2, ["b"], term=3, time=49))
    replica = machine()
    replica.apply_batch(commands(1, ["a"], term=3, time=50))
    with pytest.raises(ReplicaFault, match="3 to 2"):
        replica.apply_batch(commands(2, ["b"], term=2, time=50))


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        (single(1, 77), "77"),
        (Batch(1, 2, 1, 0, 0, Kind.NOOP, b""), "one entry"),
        (Batch(1, 2, 1, 0, 0, Kind.COMMANDS, encode_value([["a"]])), "holds 1 items"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([["a", [5, 0, 0, 0]]])), "session=5"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([["a", [0, 1, 0, 0]]])), "sequence=1"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([["a", [5, 1, 16, 0]]])), "flags=16"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([["a", [0, 0, 6, 0]]])), "flags=6"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([["a", [0, 0, 1, 0]]])), "flags=1"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([["a", [5, 2, 0, 2]]])), "acknowledged=2"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([["a", [5, 2, 0, -1]]])), "acknowledged=-1"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([["a", [5, 0, 4, 1]]])), "acknowledged=1"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([["a", [0, 0, 2, 0]]])), "opens no session"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([[[b"d" * 15, 5], [0, 0, 2, 0]]])), "opens no session"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([[[b"d" * 16, 0], [0, 0, 2, 0]]])), "opens no session"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([[[b"d" * 16, -1], [0, 0, 8, 0]]])), "opens no session"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([["a", [0, 0, 0, 0], 0]])), "no array of items"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([["a", 0]])), "no array of items"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value({"a": 1})), "no array of items"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, b""), "no array of items"),
        (Batch(1, 1, 1, 0, 0, Kind.COMMANDS, encode_value([["a"]]) + b"\x01"), "no array of items"),
    ],
)
def test_what_this_version_does_not_know_stops_the_peer(batch: Batch, text: str) -> None:
    """It is named and never skipped (BM-117); the machine then applies nothing more."""
    backend = Scripted()
    replica = machine(backend)
    with pytest.raises(ReplicaFault, match=text):
        replica.apply_batch(batch)
    with pytest.raises(ReplicaFault, match=text):
        replica.apply_batch(commands(1, ["a"]))
    assert (replica.last_applied, backend.told, replica.is_between_batches) == (0, [], False)


def test_a_refusal_is_that_entrys_outcome() -> None:
    """The others of its batch run."""
    replica = machine(Sum(PEER))
    outcomes = replica.apply_batch(commands(1, [Add(1), Add(-5), Add(2)]))
    assert (outcomes[0], outcomes[2]) == (1, 3)
    assert isinstance(outcomes[1], Rejected)
    assert (outcomes[1].code, outcomes[1].detail) == ("negative", -5)


@pytest.mark.parametrize("bad", [["Add"], {"type": "Add", "by": "x"}, {"type": "Add"}, {"type": "Add", "by": 13}, 5])
def test_a_command_of_another_type_is_refused_alone(bad: Any) -> None:
    """Also where the type itself raises something odd; the batch is not lost with it, in slices or at once."""
    batch = commands(1, [Add(1), bad, Add(2)])
    whole, sliced = machine(Sum(PEER)), machine(Sum(PEER))
    outcomes = whole.apply_batch(batch)
    assert isinstance(outcomes[1], Rejected)
    assert (outcomes[0], outcomes[1].code, outcomes[2]) == (1, "bad_command", 3)
    again = [sliced.apply_batch(batch, offset, 1)[0] for offset in range(3)]
    assert list(map(repr, again)) == list(map(repr, outcomes))
    assert whole.apply_batch(commands(4, [Add(4)])) == [7]


def test_a_command_that_is_not_text_though_it_says_so_is_refused_alone() -> None:
    """Bytes that a careless door let through do not stop the group."""
    payload = b"\x92\x91\xa2\xff\xff" + b"\x91\x07"
    outcomes = machine().apply_batch(Batch(1, 2, 1, 0, 0, Kind.COMMANDS, payload))
    assert isinstance(outcomes[0], Rejected)
    assert outcomes[1] == 7


def test_a_command_too_deep_to_decode_stops_the_peer() -> None:
    """Whether the stack holds it differs between replicas; the door lets none through."""
    payload = b"\x91\x91" + b"\x91" * 100_000 + b"\x01"
    with pytest.raises(ReplicaFault, match="RecursionError"):
        machine().apply_batch(Batch(1, 1, 1, 0, 0, Kind.COMMANDS, payload))


def test_a_result_is_as_it_was_when_it_was_returned() -> None:
    """A later command of the batch that changes the same list is not in the earlier reply."""
    backend = Scripted()
    seen: list[Any] = []

    def remember(command: Any, ctx: Any) -> Any:
        seen.append(command)
        return Applied(seen)

    backend.on_apply = remember
    outcomes = machine(backend).apply_batch(commands(1, ["a", "b"]))
    assert [decode_value(encode_result(outcome)) for outcome in outcomes] == [["a"], ["a", "b"]]


def test_changes_are_kept_while_somebody_watches() -> None:
    """With their index, in order, once."""
    backend = Scripted()
    replica = machine(backend)
    backend.on_apply = applied("ok", "k")
    replica.apply_batch(commands(1, ["a"]))
    assert replica.take_changes() == []
    replica.collect_changes = True
    replica.apply_batch(commands(2, ["a"]))
    backend.on_apply = lambda command, ctx: Applied("ok", [Change("x", 1), "y"])
    replica.apply_batch(commands(3, ["a"]))
    backend.on_apply = applied("ok")
    replica.apply_batch(commands(4, ["a"]))
    assert replica.take_changes() == [(2, ("k",)), (3, (Change("x", 1), "y"))]
    assert replica.take_changes() == []


def test_changed_keys_that_cannot_be_read_are_an_error_everywhere() -> None:
    """Whether somebody watches decides nothing."""
    backend = Scripted()
    backend.on_apply = lambda command, ctx: Applied("ok", 5)  # type: ignore[arg-type]  # the mistake
    for watched in (False, True):
        replica = machine(backend)
        replica.collect_changes = watched
        (outcome,) = replica.apply_batch(commands(1, ["a"]))
        assert isinstance(outcome, BackendError)
        assert outcome.type == "TypeError"


def test_a_time_entry_does_what_is_due() -> None:
    """Not before it is due, and with the entry's own time."""
    backend = Scripted()
    replica = machine(backend)
    replica.collect_changes = True
    times: list[int] = []

    def advance(ctx: Any) -> list[str]:
        times.append(ctx.time)
        return ["gone"]

    backend.on_due, backend.on_advance = lambda: 100, advance
    assert replica.due() == 100
    replica.apply_batch(single(1, Kind.TIME, time=99))
    assert (times, replica.take_changes()) == ([], [])
    assert replica.apply_batch(single(2, Kind.TIME, time=100)) == [None]
    assert (times, replica.take_changes()) == ([100], [(2, (Change("gone", None, "expire"),))])
    backend.on_due = lambda: None
    replica.apply_batch(single(3, Kind.TIME, time=300))
    assert times == [100]
    assert replica.due() is None


def test_an_advance_that_raises_floods_no_log() -> None:
    """The entry counts as applied on every replica; the next one is asked for a second later (BM-118)."""
    backend = Scripted()
    replica = machine(backend)
    backend.on_due, backend.on_advance = lambda: 100, raising(KeyError("x"))
    replica.apply_batch(single(1, Kind.TIME, time=150))
    assert (replica.last_applied, replica.advance_error) == (1, "KeyError")
    assert replica.due() == 150 + ADVANCE_RETRY
    backend.on_due = raising(ValueError("x"))
    assert (replica.due(), replica.advance_error) == (None, "ValueError")
    backend.on_due = lambda: 2000
    assert replica.due() == 2000


def test_an_advance_that_leaves_something_due_is_not_asked_twice_in_one_moment() -> None:
    """Time must have moved on."""
    backend = Scripted()
    replica = machine(backend)
    backend.on_due = lambda: 100
    replica.apply_batch(single(1, Kind.TIME, time=150))
    assert replica.due() == 151


@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), OSError(), SystemError(), ReplicaFault("x")])
def test_what_one_replica_meets_alone_stops_it(error: Exception) -> None:
    """In due and advance as in apply."""
    backend = Scripted()
    backend.on_due = raising(error)
    with pytest.raises(ReplicaFault, match=type(error).__name__):
        machine(backend).due()
    with pytest.raises(ReplicaFault, match=type(error).__name__):
        machine(backend).apply_batch(single(1, Kind.TIME))


def test_an_interrupt_in_apply_leaves_a_machine_that_is_not_used_again() -> None:
    """How much of the entry was done is unknown."""
    backend = Scripted()
    replica = machine(backend)
    backend.on_apply = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        replica.apply_batch(commands(1, ["a"]))
    with pytest.raises(ReplicaFault, match="did not end"):
        replica.apply_batch(commands(1, ["a"]))


def test_a_query_sees_what_was_applied() -> None:
    """Through a typed query, as bytes or as part of a message."""
    replica = machine(Sum(PEER))
    replica.apply_batch(commands(1, [Add(4)]))
    assert replica.query(encode_value("total")) == 4
    assert replica.query(msgspec.Raw(encode_value("total"))) == 4


def test_a_query_that_is_none_is_refused() -> None:
    """It did not run, and no text of a library is in the answer."""
    for data in (encode_value(5), b"", b"\xc1", b"\xa2\xff\xff", b"\x91" * 100_000, b"\xc7\x00\x55"):
        with pytest.raises(Rejected) as refused:
            machine(Sum(PEER)).query(data)
        assert (refused.value.code, refused.value.executed) == ("bad_query", "no")


def test_a_query_is_answered_refused_or_failed() -> None:
    """Whatever it raises, the peer goes on: only one replica answers it."""
    backend = Scripted()
    replica = machine(backend)
    backend.on_query = raising(Reject("no", 1))
    with pytest.raises(Rejected, match="no: 1"):
        replica.query(encode_value("q"))
    for error in (KeyError("x"), MemoryError(), RecursionError(), OSError()):
        backend.on_query = raising(error)
        with pytest.raises(BackendError) as failed:
            replica.query(encode_value("q"))
        assert (failed.value.type, failed.value.executed) == (type(error).__name__, "no")
    backend.on_query = lambda query: query
    assert replica.query(encode_value("q")) == "q"


def test_an_answer_says_what_to_watch() -> None:
    """Where it does not, a watch is refused and a plain query is answered."""
    replica = machine(DictBackend(PEER))
    assert replica.answer(encode_value("k"), watch=True) == Answer(NOT_FOUND, ("k",))
    backend = Scripted()
    backend.on_query = lambda query: Answer(query, ["a", "b"])
    assert machine(backend).answer(encode_value("k"), watch=True) == Answer("k", ("a", "b"))
    backend.on_query = lambda query: query
    assert machine(backend).answer(encode_value("k")) == Answer("k")
    with pytest.raises(WatchNotSupported):
        machine(backend).answer(encode_value("k"), watch=True)


def test_a_type_that_msgspec_cannot_decode_is_refused_at_start() -> None:
    """Before the first command."""

    class UnknownCommand(Sum):
        Command = Add | Other

    class UnknownQuery(Sum):
        Query = Add | Other

    for kind in (UnknownCommand, UnknownQuery):
        with pytest.raises(UsageError, match="Command or Query"):
            machine(kind(PEER))


class Other(msgspec.Struct):
    """Without a tag it cannot be told from another."""


def test_digest_is_the_backends() -> None:
    """None where it offers none."""
    backend: Backend = DictBackend(PEER)
    assert machine(backend).digest() == backend.digest()
    assert machine(Sum(PEER)).digest() is None
