"""The backend "table" against a naive one, step by step: results, changes, queries, deadlines, digests, snapshots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.machine.dialects import TABLE
from tests.unit.machine.naive_table import NaiveTable, Refused, begins
from zraft import table
from zraft.machine.backend import Applied, Context, Reject
from zraft.machine.table_backend import TableBackend
from zraft.types import NOT_FOUND
from zraft.wire.values import decode_value, decoder_for, encode_value

# Few keys, so that they meet, of every kind, and such as are neighbours in the order.
KEYS = st.sampled_from([b"", b"\xff", b"a", "", "a", "a\x00", "ab", "é", -1, 0, 2**63, ("a",), ("a", 1), ("a\x00",)])
ENDS = st.none() | KEYS
INDEX_FIELDS = st.sampled_from(["version", "created_index", "modified_index"])
OPS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
VALUES = st.sampled_from([0, 1, 2**63 - 1, -(2**63), "", "x", None, True, 1.0])
TTLS = st.none() | st.sampled_from([0, -1, 0.0004, 1, 2.5])
COMPARES = st.builds(table.Compare, KEYS, st.just("value"), OPS, VALUES | st.just(NOT_FOUND)) | st.builds(
    table.Compare, KEYS, INDEX_FIELDS, OPS, st.integers(0, 4)
)
SINGLE = st.one_of(
    st.builds(table.Put, KEYS, VALUES, TTLS),
    st.builds(table.Delete, KEYS),
    st.builds(table.CompareAndSet, KEYS, VALUES | st.just(NOT_FOUND), VALUES),
    st.builds(table.Increment, KEYS, st.integers(-2, 2)),
    st.builds(table.DeleteRange, ENDS, ENDS),
)
ACTIONS = st.lists(SINGLE | st.builds(table.Get, KEYS), max_size=4)
COMMANDS = SINGLE | st.builds(table.Txn, st.lists(COMPARES, max_size=2), ACTIONS, ACTIONS)
# (what, session, how much time passes): a command, the end of a session, a time entry.
STEPS = st.lists(
    st.tuples(COMMANDS | st.sampled_from(["end", "time", "copy"]), st.integers(0, 2), st.integers(0, 1500)), max_size=15
)


def sent(value: Any) -> Any:
    """As it is after the wire."""
    return decode_value(encode_value(value))


def asked(backend: Any, query: Any) -> Any:
    """The answer to a query that came over the wire, as it is after the wire."""
    return sent(backend.query(decoder_for(TableBackend.Query).decode(encode_value(query))).value)


def told(changes: Iterable[Any]) -> list[tuple[Any, Any, str]]:
    """Changes as the model tells them."""
    return [(change.key, sent(change.value), change.kind) for change in changes]


def expect_same(backend: Any, command: Any, naive: NaiveTable, ctx: Context) -> None:
    """One command has the same result and changes in both."""
    received = decoder_for(TableBackend.Command).decode(encode_value(command))
    expected, refused = None, ""
    try:
        expected = sent(naive.apply(command, ctx))
    except Refused as refusal:
        refused = str(refusal)
    if refused:
        with pytest.raises(Reject) as found:
            backend.apply(received, ctx)
        assert found.value.code == refused
        return
    outcome = backend.apply(received, ctx)
    result, changed = (outcome.result, outcome.changed) if isinstance(outcome, Applied) else (outcome, ())
    answer = sent(result)
    assert (type(answer), answer) == (type(expected), expected)
    assert told(changed) == naive.changed


@given(STEPS)
def test_every_step_does_what_the_naive_table_does(steps: list[tuple[Any, int, int]]) -> None:
    """And the whole table is the same after each of them, also in a copy that goes on from a snapshot."""
    backend: Any = TABLE.fresh()
    naive, time = NaiveTable(), 0
    for index, (what, session, passed) in enumerate(steps, 1):
        time += passed
        ctx = Context(index=index, time=time, session=session or None, temporary=bool(session))
        if what == "end":
            naive.end(session)
            assert told(tuple(backend.expire_session(session, ctx))) == naive.changed
        elif what == "time":
            naive.advance(time)
            assert told(tuple(backend.advance(ctx))) == naive.changed
        elif what == "copy":
            backend, digest = TABLE.restored(backend), backend.digest()
            assert backend.digest() == digest
        else:
            expect_same(backend, what, naive, ctx)
        assert asked(backend, table.Range(None, None)) == [row.answer() for row in naive.between(None, None)]
        assert backend.due() == naive.due()
        assert backend.size == len(naive.rows)
    assert backend.digest() == TABLE.restored(backend).digest()


@given(st.sets(KEYS), ENDS, ENDS, st.integers(0, 4), st.booleans())
def test_ranges_are_slices_of_the_sorted_keys(keys: set[Any], start: Any, end: Any, limit: int, reverse: bool) -> None:
    """From either end, limited or not, and counted."""
    backend, naive = TABLE.fresh(), NaiveTable()
    for key in sorted(keys, key=repr):
        expect_same(backend, table.Put(key, 1), naive, Context())
    expected = [row.answer() for row in naive.between(start, end)]
    assert asked(backend, table.Count(start, end)) == len(expected)
    expected = expected[::-1] if reverse else expected
    assert asked(backend, table.Range(start, end, limit, reverse)) == (expected[:limit] if limit else expected)


@given(st.sets(KEYS), st.sampled_from(["", "a", "a\x00", "é", b"", b"a", b"\xff", (), ("a",), ("a", 1)]))
def test_a_prefix_finds_what_begins_with_it(keys: set[Any], prefix: Any) -> None:
    """Texts and bytes by their characters, tuples by their parts: ("a\\0",) does not begin with ("a",)."""
    backend, naive = TABLE.fresh(), NaiveTable()
    for key in sorted(keys, key=repr):
        expect_same(backend, table.Put(key, 1), naive, Context())
    expected = [row.answer() for row in naive.between(None, None) if begins(row.key, prefix)]
    assert asked(backend, table.Prefix(prefix)) == expected
    assert asked(backend, table.Prefix(prefix, 1)) == expected[:1]


@given(STEPS)
def test_a_digest_that_is_kept_up_is_the_one_that_is_made_anew(steps: list[tuple[Any, int, int]]) -> None:
    """Asked for after each step, which reads only what changed, or once at the end."""
    often, once = TABLE.fresh(), TABLE.fresh()
    digest: Any = often.digest()
    for index, (what, session, _) in enumerate(steps, 1):
        for backend in (often, once):
            ctx = Context(index=index, time=index, session=session or None, temporary=bool(session))
            if isinstance(what, str):
                backend.expire_session(session, ctx)
                continue
            try:
                TABLE.apply(backend, what, ctx)
            except Reject:
                continue
        digest = often.digest()
    assert digest == once.digest()
