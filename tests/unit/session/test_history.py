"""The changes that a replica keeps: all of them above its floor, found by key and by prefix, within bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.session.backends import PEER, Scripted, commands, single
from zraft.core.entries import Kind
from zraft.errors import BackendError, Rejected, WatchNotSupported
from zraft.machine.backend import Applied, Change, Prefix, Reject
from zraft.machine.dict_backend import DictBackend
from zraft.machine.table_backend import TableBackend
from zraft.session.decoding import BackendDecoder
from zraft.session.history import History, HistorySettings
from zraft.session.machine import ReplicatedMachine
from zraft.wire.changes import place_of

SMALL = HistorySettings(changes=32, bytes=1 << 20)

KEYS = st.sampled_from(["a", "ab", "b", ("a", 1), ("a", "b"), 1, b"a"])
WATCHED = [*("a", "ab", "c", ("a", 1), 1, b"a"), *map(Prefix, ("a", "", ("a",), b"", 1))]


def fresh(settings: HistorySettings) -> History:
    backend = Scripted()
    return History(backend, BackendDecoder(backend), settings)


def begins(key: Any, prefix: Any) -> bool:
    if not isinstance(prefix, str | bytes | tuple):
        return bool(key == prefix)
    return type(key) is type(prefix) and key[: len(prefix)] == prefix


@given(st.lists(st.lists(st.lists(KEYS, max_size=3), min_size=1, max_size=4), max_size=40), st.integers(0, 100))
def test_what_is_read_is_what_was_added_above_the_floor(batches: list[list[list[Any]]], after: int) -> None:
    """By key and prefix, from any index that is not gone, as often as it is asked."""
    history = fresh(SMALL)
    added: list[tuple[int, list[Any]]] = []
    first = 1
    for batch in batches:
        history.add(first, [tuple(keys) for keys in batch], b"", 0, 10)
        added += enumerate(batch, first)
        first += len(batch)
    assert history.floor <= history.middle or history.middle == 0
    kept = sum(len(keys) for index, keys in added if index > history.floor)
    assert kept <= SMALL.changes + 2 * 12
    after = max(after, history.floor)
    for watched in WATCHED * 2:
        expected = []
        for index, keys in added:
            mine = dict.fromkeys(
                key
                for key in keys
                if (
                    begins(key, watched.key)
                    if isinstance(watched, Prefix)
                    else type(key) is type(watched) and key == watched
                )
            )
            if mine and index > after:
                expected.append((index, set(mine)))
        found = [
            (index, {change.key for change in changes}) for index, changes in history.read(place_of(watched), after)
        ]
        assert found == expected, watched


def test_history_is_bounded_in_bytes_and_keeps_what_came_last() -> None:
    """Of commands, and of keys that no command has brought; one entry may be larger than everything."""
    history = fresh(HistorySettings(changes=1000, bytes=1600))
    for index in range(1, 101):
        history.add(index, [("k",)], b"", 0, 100)
    assert 80 <= history.floor < 100
    assert history.floor < history.middle < 100
    history.add(101, [tuple(f"{number:0100}" for number in range(100))], b"", 0, 1)
    assert history.floor == 100
    history.add(102, [("k",)], b"", 0, 100_000)
    assert history.floor == 101
    assert [index for index, _ in history.read("k", 101)] == [102]


def test_entries_that_change_nothing_are_no_history() -> None:
    """A log that only moves on pushes nothing out."""
    history = fresh(SMALL)
    history.add(1, [("k",)], b"", 0, 1)
    for index in range(2, 1000):
        history.add(index, [()], b"", 0, 1)
    assert (history.floor, [index for index, _ in history.read("k", 0)]) == (0, [1])


def test_the_dict_says_what_became_of_keys_from_its_commands() -> None:
    """Values, removals, and keys whose session has ended; nested keys are tuples."""
    machine = ReplicatedMachine(DictBackend(PEER))
    machine.apply_batch(commands(1, [["k", 1], ["k"], ["k"], [["a", 1], {"b": [2]}]]))
    assert list(machine.history.read("k", 0)) == [(1, [Change("k", 1)]), (2, [Change("k", None, "delete")])]
    assert list(machine.history.read(("a", 1), 0)) == [(4, [Change(("a", 1), {"b": [2]})])]
    assert list(machine.history.read("k", 1)) == [(2, [Change("k", None, "delete")])]


def test_a_batch_that_is_applied_in_slices_is_the_same_history() -> None:
    """Entry by entry."""
    whole, sliced = ReplicatedMachine(DictBackend(PEER)), ReplicatedMachine(DictBackend(PEER))
    batch = commands(1, [["k", number] for number in range(7)])
    whole.apply_batch(batch)
    for offset in range(0, 7, 2):
        sliced.apply_batch(batch, offset, 2)
    assert list(sliced.history.read("k", 0)) == list(whole.history.read("k", 0))


def test_a_backend_that_names_keys_only_is_streamed_without_values() -> None:
    """And what goes by time says so, where the backend does not."""
    backend = Scripted()
    backend.on_apply = lambda command, ctx: Applied("ok", ["k", Change("m", 5, "made")])
    backend.on_due, backend.on_advance = lambda: 0, lambda ctx: ["k"]
    machine = ReplicatedMachine(backend)
    machine.apply_batch(commands(1, ["x"]))
    machine.apply_batch(single(2, Kind.TIME, time=5))
    assert list(machine.history.read("k", 0)) == [
        (1, [Change("k", None, "change")]),
        (2, [Change("k", None, "expire")]),
    ]
    assert list(machine.history.read("m", 0)) == [(1, [Change("m", 5, "made")])]


def test_a_backend_is_streamed_once_it_reports_changes_and_refused_when_it_reports_none() -> None:
    """What has applied nothing may still do either."""
    silent, telling = Scripted(), Scripted()
    silent.on_apply = lambda command, ctx: command
    telling.on_apply = lambda command, ctx: Applied(command, [command] if command == "k" else ())
    machines = [ReplicatedMachine(silent), ReplicatedMachine(telling)]
    assert [machine.offers_stream("k") for machine in machines] == [False, False]
    for machine in machines:
        machine.apply_batch(commands(1, ["x", "k"]))
    assert machines[1].offers_stream("k")
    with pytest.raises(WatchNotSupported, match="the key 'k'"):
        machines[0].offers_stream("k")


@pytest.mark.parametrize("kind", [DictBackend, TableBackend])
def test_a_key_that_is_none_is_rejected(kind: type[DictBackend] | type[TableBackend]) -> None:
    """As for a query; a dict has no prefixes."""
    machine = ReplicatedMachine(kind(PEER))
    assert machine.offers_stream("k")
    with pytest.raises(Rejected, match="bad_key"):
        machine.offers_stream({"k": 1})
    if kind is TableBackend:
        assert machine.offers_stream(Prefix(("a",)))
        with pytest.raises(Rejected, match="bad_key"):
            machine.offers_stream(Prefix(5))
    else:
        with pytest.raises(WatchNotSupported, match="prefix"):
            machine.offers_stream(Prefix("k"))


def test_a_backend_that_fails_to_say_is_an_error_of_whoever_asks() -> None:
    """Its own refusals stay what they are."""

    class Broken(DictBackend):
        def offers_stream(self, key: Any) -> bool:
            if key == "no":
                raise Reject("no")
            raise ValueError("a text with secrets")

    machine = ReplicatedMachine(Broken(PEER))
    with pytest.raises(Rejected, match="no"):
        machine.offers_stream("no")
    with pytest.raises(BackendError, match="ValueError"):
        machine.offers_stream("k")
