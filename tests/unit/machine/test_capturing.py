"""The built-in backends while snapshots of them are written: they are what they would be without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.machine.dialects import BUILT_IN, CTX, DICT, TABLE, Dialect, keys_of, temporary
from tests.unit.machine.directory import MemoryDirectory
from tests.unit.machine.test_table_model import COMMANDS as TABLE_COMMANDS
from tests.unit.machine.test_table_model import KEYS as TABLE_KEYS
from zraft import table
from zraft.errors import UsageError
from zraft.machine.backend import Backend, Context, Reject, SnapshotWriter
from zraft.types import NOT_FOUND
from zraft.wire.values import encode_value

each_backend = pytest.mark.parametrize("dialect", BUILT_IN, ids=lambda dialect: dialect.name)

DICT_KEYS = st.sampled_from(["a", "b", 0, False, 1, 1.0, True, ("a", 1), None])
DICT_VALUES = st.integers(0, 2) | st.lists(st.integers(0, 1), max_size=2) | st.just(NOT_FOUND)
FEW_KEYS = st.sampled_from(["a", 1])
DICT_COMMANDS = st.tuples(DICT_KEYS, DICT_VALUES) | st.tuples(DICT_KEYS)


OTHER_STEPS = st.sampled_from(
    ["put", "put", "put", "end", "advance", "capture", "capture", "write", "done", "failed", "ask", "sample"]
)


def steps_of(commands: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """(what, a command or a key, a number)"""
    commanded, other = st.tuples(st.just("apply"), commands), st.tuples(OTHER_STEPS, FEW_KEYS | keys)
    return st.lists(st.tuples(commanded | other | other, st.integers(0, 2)), min_size=5, max_size=40)


def captured(backend: Backend) -> SnapshotWriter:
    """The writer of a state that can be written later."""
    writer = backend.snapshot()
    assert callable(writer)
    return writer


def installed(dialect: Dialect, writer: SnapshotWriter) -> Backend:
    """A fresh backend from what is written now."""
    directory = MemoryDirectory()
    writer(directory)
    fresh = dialect.fresh()
    fresh.install_snapshot(directory)
    return fresh


class Captured:
    """A backend of which snapshots are taken, and its twin, of which none are."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.backend: Any = dialect.fresh()
        self.twin: Any = dialect.fresh()
        self.index = self.time = 0
        self.held: list[tuple[SnapshotWriter, int | None]] = []
        self.asked: list[Any] = []

    def both(self, what: Callable[[Any], Any]) -> None:
        """The same is done to both, and comes to the same."""
        ends = []
        for backend in (self.backend, self.twin):
            try:
                ends.append(encode_value(what(backend)))
            except Reject as refusal:
                ends.append(encode_value(refusal.code))
        assert ends[0] == ends[1]

    def context(self, session: int) -> Context:
        self.index += 1
        return Context(index=self.index, time=self.time, session=session or None, temporary=bool(session))

    def apply(self, command: Any, session: int) -> None:
        ctx = self.context(session)
        self.both(lambda backend: self.dialect.apply(backend, command, ctx))

    def put(self, key: Any, session: int) -> None:
        self.apply(self.dialect.put(key, [self.index]), session)

    def end(self, key: Any, session: int) -> None:
        ctx = self.context(0)
        self.both(lambda backend: keys_of(backend.expire_session(session, ctx)))

    def advance(self, key: Any, count: int) -> None:
        self.time += 700 * count
        ctx = self.context(0)
        self.both(lambda backend: keys_of(backend.advance(ctx)))

    def capture(self, key: Any, count: int) -> None:
        self.held.append((captured(self.backend), self.twin.digest()))

    def write(self, key: Any, which: int) -> None:
        if self.held:
            writer, digest = self.held[which % len(self.held)]
            assert installed(self.dialect, writer).digest() == digest

    def done(self, key: Any, count: int) -> None:
        self.backend.snapshot_done()
        self.released()

    def failed(self, key: Any, count: int) -> None:
        self.backend.snapshot_failed(OSError())
        self.released()

    def released(self) -> None:
        if self.held:
            writer, _ = self.held.pop()
            with pytest.raises(UsageError, match="before snapshot_done"):
                writer(MemoryDirectory())

    def ask(self, key: Any, count: int) -> None:
        self.asked.append(key)
        self.both(lambda backend: [backend.query(self.dialect.get(known)).value for known in self.asked])
        if self.dialect is TABLE:
            self.both(lambda backend: backend.query(table.Range(None, None)).value)

    def sample(self, key: Any, count: int) -> None:
        self.both(lambda backend: str(backend.sample([key, *self.asked], self.index)))

    def expect_twins(self) -> None:
        self.both(lambda backend: (backend.digest(), backend.due(), backend.temporary_count(), backend.size))


def expect_moments(dialect: Dialect, steps: list[Any]) -> None:
    """Nothing of what was captured, and nothing of what goes on, is other than without."""
    found = Captured(dialect)
    for (what, subject), number in steps:
        getattr(found, what)(subject, number)
        found.expect_twins()
    for which in range(len(found.held)):
        found.write(None, which)


@given(steps_of(DICT_COMMANDS, DICT_KEYS))
def test_every_captured_dict_is_that_of_its_moment(steps: list[Any]) -> None:
    """Whatever is applied meanwhile, however many are captured, and in whichever way they end."""
    expect_moments(DICT, steps)


@given(steps_of(TABLE_COMMANDS, TABLE_KEYS))
def test_every_captured_table_is_that_of_its_moment(steps: list[Any]) -> None:
    """The same of a table, with its order, its transactions that are taken back, and its deadlines."""
    expect_moments(TABLE, steps)


@each_backend
def test_a_capture_costs_as_much_for_a_large_state_as_for_a_small_one(dialect: Dialect) -> None:
    """What is captured is the very dict that the backend had: there is no copy to pay for."""
    backend: Any = dialect.made(*((number, "x") for number in range(5000)))
    before = backend._data if dialect is DICT else backend._entries._by_place
    backend.snapshot()
    after = backend._data if dialect is DICT else backend._entries._by_place
    assert after.below is before


@each_backend
def test_after_a_snapshot_nothing_is_left_of_it(dialect: Dialect) -> None:
    """Further changes merge what changed meanwhile; then the backend is as quick as before."""
    backend: Any = dialect.made(*((number, "x") for number in range(100)))
    plain = backend._data if dialect is DICT else backend._entries._by_place
    for end in (backend.snapshot_done, lambda: backend.snapshot_failed(OSError())):
        backend.snapshot()
        for number in range(0, 200, 4):
            dialect.apply(backend, dialect.put(number, "y"), temporary(1))
            dialect.apply(backend, dialect.delete(number + 1))
        end()
        for _ in range(100):
            dialect.apply(backend, dialect.put("z", 0))
        assert (backend._data if dialect is DICT else backend._entries._by_place) is plain
        backend.expire_session(1, CTX)
