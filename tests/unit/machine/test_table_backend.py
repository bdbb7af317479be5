"""The backend "table" in its details: results, refusals, times to live, watches, transactions, snapshots."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.machine.dialects import PEER, TABLE, temporary
from tests.unit.machine.directory import MemoryDirectory
from zraft import limits, table
from zraft.errors import CorruptData, TooLarge, UsageError, WatchNotSupported
from zraft.machine.backend import Applied, Change, Context, Prefix, Reject
from zraft.machine.chunks import write_chunks
from zraft.machine.table_backend import TableBackend
from zraft.session.machine import ReplicatedMachine
from zraft.types import NOT_FOUND
from zraft.wire.values import decode_value, decoder_for, encode_value


def nested(depth: int) -> Any:
    """A value of so many levels."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def refusal(backend: Any, command: Any, ctx: Context | None = None) -> Reject:
    """Why the command is refused; the table is then as it was."""
    before = backend.digest()
    with pytest.raises(Reject) as refused:
        TABLE.apply(backend, command, ctx or Context())
    assert backend.digest() == before
    return refused.value


def test_commands_and_queries_travel_as_arrays_with_a_name() -> None:
    """What a client in another language writes is what Python writes."""
    pairs: list[tuple[Any, list[Any]]] = [
        (table.Put("k", 1, ttl=2), ["put", "k", 1, 2]),
        (table.Delete("k"), ["delete", "k"]),
        (table.CompareAndSet("k", NOT_FOUND, 1), ["compare_and_set", "k", NOT_FOUND, 1]),
        (table.Increment("k"), ["increment", "k", 1]),
        (table.DeleteRange("a", None), ["delete_range", "a", None]),
        (
            table.Txn([table.Compare("k", "version", "==", 1)], [table.Get("k")]),
            ["txn", [["k", "version", "==", 1]], [["get", "k"]], []],
        ),
        (table.Get(("a", 1)), ["get", ["a", 1]]),
        (table.Range("a", "b", 3, reverse=True), ["range", "a", "b", 3, True]),
        (table.Prefix("a"), ["prefix", "a", 0]),
        (table.Count(None, None), ["count", None, None]),
    ]
    for typed, plain in pairs:
        assert encode_value(typed) == encode_value(plain)


def test_what_has_a_default_may_be_left_out() -> None:
    """At the end of an array."""
    backend = TABLE.fresh()
    assert TABLE.apply(backend, ["put", "k", 1]) == "ok"
    assert TABLE.apply(backend, ["increment", "k"]) == 2
    assert TABLE.apply(backend, ["txn", [], [["get", "k"]]])["succeeded"] is True
    assert decoder_for(TableBackend.Query).decode(encode_value(["range", "a", "b"])) == table.Range("a", "b")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (table.Put(None, 1), "bad_key"),
        (table.Put(True, 1), "bad_key"),
        (table.Put((), 1), "bad_key"),
        (table.Put(("a", ("b",)), 1), "bad_key"),
        (table.Put(("a", False), 1), "bad_key"),
        (table.Put("k", nested(61)), "bad_value"),
        (table.CompareAndSet("k", 1, {"a": nested(60)}), "bad_value"),
        (table.Put("k", 1, ttl=0), "bad_ttl"),
        (table.Put("k", 1, ttl=-1.5), "bad_ttl"),
        (table.Put("k", 1, ttl=True), "bad_ttl"),
        (table.Put("k", 1, ttl="soon"), "bad_ttl"),
        (table.Put("k", 1, ttl=[1]), "bad_ttl"),
        (table.Put("k", 1, ttl=math.nan), "bad_ttl"),
        (table.Put("k", 1, ttl=math.inf), "bad_ttl"),
        (table.Put("k", 1, ttl=timedelta(0)), "bad_ttl"),
        (table.Put("k", 1, ttl=limits.TABLE_TTL_S + 1), "bad_ttl"),
        (table.Put("k", 1, ttl=timedelta(days=200 * 365)), "bad_ttl"),
        (table.Increment("k", 1.0), "bad_amount"),
        (table.Increment("k", True), "bad_amount"),
        (table.Increment("text"), "not_a_number"),
        (table.Increment("float"), "not_a_number"),
        (table.Increment("flag"), "not_a_number"),
        (table.Increment("most"), "overflow"),
        (table.Increment("least", -1), "overflow"),
        (table.Increment("new", 2**63), "overflow"),
        (table.DeleteRange("a", 1.5), "bad_key"),
        (table.Txn([table.Compare({}, "value", "==", 1)], []), "bad_key"),
        (table.Txn([table.Compare("k", "age", "==", 1)], []), "bad_compare"),
        (table.Txn([table.Compare("k", [], "==", 1)], []), "bad_compare"),
        (table.Txn([table.Compare("k", "value", "=", 1)], []), "bad_compare"),
        (table.Txn([table.Compare("k", "value", [], 1)], []), "bad_compare"),
        (table.Txn([table.Compare("k", "version", "<", "1")], []), "bad_compare"),
        (table.Txn([table.Compare("k", "version", "==", 1)] * 1025, []), "too_many"),
        (table.Txn([], [table.Get("k")] * 600, [table.Get("k")] * 425), "too_many"),
    ],
)
def test_what_breaks_a_rule_is_refused_and_changes_nothing(command: Any, code: str) -> None:
    """With a code for programs and a text for people."""
    backend = TABLE.made(
        ("k", 1), ("text", "1"), ("float", 1.0), ("flag", True), ("most", 2**63 - 1), ("least", -(2**63))
    )
    refused = refusal(backend, command)
    assert refused.code == code
    assert isinstance(refused.detail, str)


@pytest.mark.parametrize("command", [table.Get("k"), ["put", "k", 1], None, "put"])
def test_what_is_no_command_is_refused(command: Any) -> None:
    """By the backend, should it ever be handed one; a `Get` stands in transactions only."""
    with pytest.raises(Reject) as refused:
        TABLE.fresh().apply(command, Context())
    assert refused.value.code == "bad_command"
    with pytest.raises(Reject) as refused:
        TABLE.fresh().query(table.Put("k", 1))
    assert refused.value.code == "bad_query"


def test_half_of_a_surrogate_pair_and_a_number_beyond_64_bits_are_no_keys() -> None:
    """Neither can come over the wire."""
    for key in ("\ud800", ("a", "\udfff"), 2**64, -(2**63) - 1):
        with pytest.raises(Reject) as refused:
            TABLE.fresh().apply(table.Put(key, 1), Context())
        assert refused.value.code == "bad_key"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (table.Get(1.5), "bad_key"),
        (table.Range({}, None), "bad_key"),
        (table.Range(None, None, -1), "bad_limit"),
        (table.Prefix(1), "bad_key"),
        (table.Prefix(None), "bad_key"),
        (table.Prefix("a", -1), "bad_limit"),
        (table.Count(None, [{}]), "bad_key"),
    ],
)
def test_a_query_that_breaks_a_rule_is_refused(query: Any, code: str) -> None:
    """As commands are."""
    with pytest.raises(Reject) as refused:
        TABLE.made(("k", 1)).query(query)
    assert refused.value.code == code


def test_an_answer_that_no_frame_could_hold_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit makes it possible."""
    monkeypatch.setattr("zraft.machine.table_backend.TABLE_ANSWER_ENTRIES", 3)
    backend = TABLE.made(*((number, number) for number in range(4)))
    with pytest.raises(Reject) as refused:
        backend.query(table.Range(None, None))
    assert refused.value.code == "too_many"
    assert len(backend.query(table.Range(None, None, 3)).value) == 3
    assert backend.query(table.Count(None, None)).value == 4


def test_a_value_of_the_greatest_depth_can_be_answered_in_every_way() -> None:
    """What can be stored can be read: alone, in a range, from a transaction, and from a snapshot."""
    backend = TABLE.made(("k", nested(60)))
    for query in (table.Get("k"), table.Range(None, None), table.Prefix("k")):
        assert decode_value(encode_value(backend.query(query).value))
    assert encode_value(TABLE.apply(backend, table.Txn([], [table.Get("k")])))
    assert TABLE.restored(backend).digest() == backend.digest()


def test_an_entry_tells_its_history() -> None:
    """Versions and indexes, the owner and the deadline where there are such; a client reads it back as an `Entry`."""
    backend = TABLE.fresh()
    TABLE.apply(backend, table.Put(("a", 1), "x"), Context(index=5))
    TABLE.apply(backend, table.Put(("a", 1), "y", ttl=2), Context(index=9, time=100, session=3, temporary=True))
    found = decode_value(encode_value(backend.query(table.Get(("a", 1))).value))
    assert found["key"] == ["a", 1]
    assert table.Entry.of(found) == table.Entry(("a", 1), "y", 2, 5, 9, session=3, expires_at=2100)
    TABLE.apply(backend, table.Put(("a", 1), "z"), Context(index=10))
    assert table.Entry.of(backend.query(table.Get(("a", 1))).value) == table.Entry(("a", 1), "z", 3, 5, 10)
    TABLE.apply(backend, table.Delete(("a", 1)))
    TABLE.apply(backend, table.Put(("a", 1), "z"), Context(index=12))
    assert table.Entry.of(backend.query(table.Get(("a", 1))).value).version == 1


@pytest.mark.parametrize("answer", [NOT_FOUND, None, "ok", {}, {"key": 1}, {"key": 1, "colour": 2}])
def test_what_is_no_entry_is_not_read_as_one(answer: Any) -> None:
    """NOT_FOUND above all."""
    with pytest.raises(UsageError, match="not an entry"):
        table.Entry.of(answer)


def test_values_are_the_same_where_type_and_content_are() -> None:
    """1 is not 1.0 and not True, at no depth; the order of a dict does not count; NaN is not the same as itself."""
    for present, expected, is_same in (
        (1, 1, True),
        (1, 1.0, False),
        (1, True, False),
        ([1, {"a": 1, "b": [2]}], [1, {"b": [2], "a": 1}], True),
        ([1, {"a": 1}], [1, {"a": True}], False),
        ({"a": 1}, {"b": 1}, False),
        ([1], [1, 2], False),
        (math.nan, math.nan, False),
        ([math.nan], [math.nan], False),
        (NOT_FOUND, NOT_FOUND, True),
    ):
        backend = TABLE.made(("k", present))
        assert TABLE.apply(backend, table.CompareAndSet("k", expected, "new")) is is_same
        assert (TABLE.ask(backend, "k") == "new") is is_same


def test_values_of_different_kinds_are_in_no_order() -> None:
    """Neither less nor greater; an absent value is in none, too. Numbers of both kinds are."""
    backend = TABLE.made(("text", "b"), ("int", 1), ("list", [1]), ("flag", True))
    for key, op, operand, holds in (
        ("text", "<", "c", True),
        ("text", ">=", "b", True),
        ("text", "<", b"c", False),
        ("text", ">", 1, False),
        ("int", "<", 1.5, True),
        ("int", ">", 0, True),
        ("list", "<", [2], False),
        ("flag", "<", 2, False),
        ("gone", "<", 1, False),
        ("gone", ">", 1, False),
        ("gone", "!=", 1, True),
    ):
        compare = table.Compare(key, "value", op, operand)
        assert TABLE.apply(backend, table.Txn([compare], []))["succeeded"] is holds, compare


def test_changes_say_what_a_key_became_and_why() -> None:
    """A put with the value; a removal by whom."""
    backend: Any = TableBackend(PEER)
    assert backend.apply(table.Put("k", 1), Context()).changed == (Change("k", 1, "put"),)
    assert backend.apply(table.Increment("k"), Context()).changed == (Change("k", 2, "put"),)
    assert backend.apply(table.Delete("k"), Context()).changed == (Change("k", None, "delete"),)
    backend.apply(table.Put("t", 1, ttl=1), Context())
    assert backend.advance(Context(time=1000)) == [Change("t", None, "expire")]
    backend.apply(table.Put("s", 1), temporary(4))
    assert backend.expire_session(4, Context()) == [Change("s", None, "session")]
    backend.apply(table.Put("k", 1), Context())
    txn = table.Txn([], [table.Put("k", 5), table.DeleteRange(None, None)])
    assert backend.apply(txn, Context()).changed == (Change("k", 5, "put"), Change("k", None, "delete"))
    for nothing in (
        table.Delete("k"),
        table.CompareAndSet("k", 1, 2),
        table.DeleteRange(None, None),
        table.Txn([], []),
    ):
        assert not isinstance(backend.apply(nothing, Context()), Applied)


def test_keys_and_prefixes_can_be_watched_and_ranges_cannot() -> None:
    """A range ends at keys that nobody has to begin with."""
    backend = TABLE.fresh()
    assert backend.query(table.Get(["a", 1])).watch == (("a", 1),)
    assert backend.query(table.Prefix(["a"])).watch == (Prefix(("a",)),)
    assert backend.query(table.Prefix("a", 1)).watch == (Prefix("a"),)
    machine = ReplicatedMachine(TableBackend(PEER))
    assert machine.answer(encode_value(table.Get("a")), watch=True).watch == ("a",)
    for query in (table.Range("a", "b"), table.Count("a", "b")):
        with pytest.raises(WatchNotSupported):
            machine.answer(encode_value(query), watch=True)


@pytest.mark.parametrize(
    ("ttl", "deadline"), [(1, 1100), (0.5, 600), (0.00001, 101), (timedelta(seconds=2), 2100), ("PT3S", 3100)]
)
def test_a_time_to_live_counts_from_its_entry_in_replicated_time(ttl: Any, deadline: int) -> None:
    """In milliseconds, rounded up: nothing goes early."""
    backend = TABLE.fresh()
    TABLE.apply(backend, table.Put("k", 1, ttl=ttl), Context(time=100))
    assert backend.due() == deadline
    assert tuple(backend.advance(Context(time=deadline - 1))) == ()
    assert backend.advance(Context(time=deadline)) == [Change("k", None, "expire")]
    assert backend.due() is None


def test_only_a_put_changes_the_time_to_live() -> None:
    """Another put gives another one or none; a sum and a swap keep it; a key that is made anew has none."""
    backend = TABLE.fresh()
    TABLE.apply(backend, table.Put("k", 1, ttl=1))
    TABLE.apply(backend, table.Increment("k"))
    TABLE.apply(backend, table.CompareAndSet("k", 2, 3))
    assert backend.due() == 1000
    TABLE.apply(backend, table.Put("k", 1, ttl=5), Context(time=500))
    assert backend.due() == 5500
    TABLE.apply(backend, table.Put("k", 1))
    assert backend.due() is None
    TABLE.apply(backend, table.Put("k", 1, ttl=5))
    TABLE.apply(backend, table.Delete("k"))
    TABLE.apply(backend, table.Put("k", 1))
    assert backend.due() is None


def test_deadlines_and_owners_survive_a_snapshot() -> None:
    """A replica that was restored removes the same entries at the same index."""
    backend = TABLE.fresh()
    for number in range(10):
        ctx = Context(index=number + 1, session=7, temporary=number % 2 == 0)
        TABLE.apply(backend, table.Put(number, number, ttl=10 - number), ctx)
    copy = TABLE.restored(backend)
    for each in (backend, copy):
        assert each.due() == 1000
        assert [change.key for change in each.advance(Context(time=3000))] == [9, 8, 7]
        assert [change.key for change in each.expire_session(7, Context())] == [0, 2, 4, 6]
    assert copy.digest() == backend.digest()


def test_a_flood_of_deadlines_is_removed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays due until the last of them is gone, so that the next time entry follows at once."""
    monkeypatch.setattr("zraft.machine.table_backend.TABLE_EXPIRIES", 4)
    backend = TABLE.fresh()
    for number in range(10):
        TABLE.apply(backend, table.Put(number, 1, ttl=1))
    removed = []
    while backend.due() is not None:
        removed.append(len(tuple(backend.advance(Context(time=5000)))))
    assert removed == [4, 4, 2]


def test_replicas_of_different_histories_have_one_digest() -> None:
    """Only what is there counts, not in which order it came, through which snapshots, nor what was there before."""
    straight, crooked = TABLE.fresh(), TABLE.fresh()
    for index in range(1, 200):
        TABLE.apply(straight, table.Put(("k", index % 50), [index]), Context(index=index))
        TABLE.apply(crooked, table.Put(("k", index % 50), [index]), Context(index=index))
        if index % 30 == 0:
            crooked = TABLE.restored(crooked)
            with pytest.raises(Reject):
                TABLE.apply(crooked, table.Txn([], [table.DeleteRange(None, None), table.Increment("k", "x")]))
    assert crooked.digest() == straight.digest()
    assert [entry["key"] for entry in crooked.query(table.Range(None, None)).value] == [("k", n) for n in range(50)]


def test_a_digest_gives_up_keeping_count_of_very_many_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads everything the next time, and is the same."""
    monkeypatch.setattr("zraft.machine.table_digest._KEPT", 5)
    backend = TABLE.made(*((number, 1) for number in range(20)))
    backend.digest()
    for number in range(20):
        TABLE.apply(backend, table.Put(number, 2))
    assert backend.digest() == TABLE.restored(backend).digest()


@pytest.mark.parametrize(
    "item",
    [[], ["k", 1, 1, 1], ["k", 1, "1", 1, 1, None, None], ["k", 1, 1, 1, 1, 1.5, None], [1.5, 1, 1, 1, 1, None, None]],
)
def test_a_snapshot_with_what_is_no_entry_is_corrupt(item: list[Any]) -> None:
    """Whatever it is that is wrong."""
    directory = MemoryDirectory()
    write_chunks(directory, "table", format=1, count=1, items=[encode_value(item)])
    with pytest.raises(CorruptData):
        TABLE.fresh().install_snapshot(directory)


def test_an_entry_twice_in_a_snapshot_is_corrupt() -> None:
    """The number of entries is announced."""
    directory = MemoryDirectory()
    item = encode_value(["k", 1, 1, 1, 1, None, None])
    write_chunks(directory, "table", format=1, count=2, items=[item, item])
    with pytest.raises(CorruptData, match="1 keys where 2"):
        TABLE.fresh().install_snapshot(directory)


def test_an_action_that_is_refused_says_where_it_stands() -> None:
    """And all that was done before it is taken back: entries, owners, deadlines, changes."""
    backend = TABLE.made(("n", "text"), ("a", 1))
    TABLE.apply(backend, table.Put("t", 1, ttl=1), temporary(3))
    txn = table.Txn(
        [table.Compare("a", "version", "==", 2)],
        [],
        [
            table.Put("a", 2),
            table.Put("t", 2),
            table.Delete("a"),
            table.DeleteRange(None, None),
            table.Increment("n", "x"),
        ],
    )
    refused = refusal(backend, txn)
    assert refused.code == "bad_amount"
    assert str(refused.detail).startswith("failure[4]: ")
    assert backend.due() == 1000
    assert [change.key for change in backend.expire_session(3, Context())] == ["t"]
    assert TABLE.ask(backend, "a") == 1


NAIVE = datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)


@pytest.mark.parametrize("value", [NAIVE, {1, 2}, {math.nan: 1}, [object()], 2**64])
def test_a_command_takes_no_value_that_does_not_travel(value: Any) -> None:
    """A naive datetime would become a text, a set a list: the client is told instead, wherever the value stands."""
    for command in (table.Put("k", value), table.Put("k", [value]), table.Txn([], [table.Put("k", value)])):
        with pytest.raises(UsageError):
            encode_value(command)


def test_a_command_that_is_nested_too_deep_does_not_travel() -> None:
    """It is one level itself."""
    encode_value(table.Put("k", nested(63)))
    for command in (table.Put("k", nested(64)), table.Txn([], [table.Put("k", nested(62))])):
        with pytest.raises(TooLarge):
            encode_value(command)
    with pytest.raises(TooLarge):
        encode_value([table.Put("k", nested(63))])
