"""A dict under an overlay against a plain dict: any changes, any captures, read at any time and half by half."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft.errors import UsageError
from zraft.machine.overlay import MERGED, Capture, Overlay

# 1, 1.0 and True are one key, and so are 0 and False.
KEYS: tuple[Any, ...] = (1, True, 1.0, 0, False, "a", "b", b"a", ("a", 1), None)
# (what, which key or capture, how many)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "remove", "remove", "capture", "read", "read", "release", "settle"]),
        st.integers(0, len(KEYS) - 1),
        st.integers(1, 4),
    ),
    min_size=10,
    max_size=60,
)


def shown(pairs: Iterable[tuple[Any, Any]]) -> list[str]:
    """Pairs in any order, with the keys as they are: equal ones may not be the same."""
    return sorted(map(repr, pairs))


class Reading:
    """A capture, what it has to show, and how much of it was read so far."""

    def __init__(self, capture: Capture[Any, Any], expected: list[str]) -> None:
        self.capture, self.expected = capture, expected
        self.unread: Iterator[tuple[Any, Any]] = capture.pairs()
        self.read: list[tuple[Any, Any]] = []


class OverlaidDict:
    """What a backend does with its dict, and a thread with what was captured of it."""

    def __init__(self) -> None:
        self.plain: dict[Any, Any] = {}
        self.table: dict[Any, Any] | Overlay[Any, Any] = {}
        self.held: list[Reading] = []
        self.over: list[Reading] = []
        self.number = 0

    def changed(self) -> None:
        if isinstance(self.table, Overlay) and self.table.merge():
            self.table = self.table.below

    def put(self, which: int, count: int) -> None:
        key = KEYS[which]
        self.number += 1
        self.plain[key] = self.table[key] = [self.number]
        self.changed()

    def remove(self, which: int, count: int) -> None:
        key = KEYS[which]
        if key in self.plain:
            del self.plain[key], self.table[key]
            self.changed()
        else:
            with pytest.raises(KeyError):
                del self.table[key]

    def capture(self, which: int, count: int) -> None:
        table = self.table if isinstance(self.table, Overlay) else Overlay(self.table)
        self.table = table
        self.held.append(Reading(table.capture(), shown(self.plain.items())))

    def read(self, which: int, count: int) -> None:
        if self.held:
            reading = self.held[which % len(self.held)]
            reading.read += islice(reading.unread, count)

    def release(self, which: int, count: int) -> None:
        if not self.held:
            return
        reading = self.held.pop()
        if count % 2:
            self.over.append(reading)  # it goes on being read, though nothing holds it any more
        else:
            assert shown([*reading.read, *reading.unread]) == reading.expected
            assert shown(reading.capture.lookup().items()) == reading.expected
        assert isinstance(self.table, Overlay)
        self.table.release()
        with pytest.raises(UsageError, match="before snapshot_done"):
            next(reading.capture.pairs())
        self.changed()

    def settle(self, which: int, count: int) -> None:
        """Changes shrink what lies above, whatever they are: after a few of them the dict is plain."""
        for _ in range(len(KEYS)):
            self.put(which, count)
        assert isinstance(self.table, dict) or self.held

    def expect_the_same_dict(self) -> None:
        table, plain = self.table, self.plain
        assert shown(table.items()) == shown(plain.items())
        assert sorted(map(repr, table)) == sorted(map(repr, plain))
        assert len(table) == len(plain)
        for key in KEYS:
            assert (key in table) == (key in plain)
            assert table.get(key, "none") == plain.get(key, "none")
            assert table.get(key) == plain.get(key)
            if key in plain:
                assert table[key] == plain[key]

    def end(self) -> None:
        while self.held:
            self.release(0, 1)
        for reading in self.over:
            try:
                whole = [*reading.read, *reading.unread]
            except (UsageError, RuntimeError):
                continue
            assert shown(whole) == reading.expected, "it was read to its end before it was over"


@given(STEPS)
def test_a_dict_under_an_overlay_is_a_dict_and_a_capture_is_of_its_moment(
    steps: list[tuple[str, int, int]],
) -> None:
    """With the very keys that a plain dict would have; what is held no longer is not read to its end."""
    overlaid = OverlaidDict()
    for what, which, count in steps:
        getattr(overlaid, what)(which, count)
        overlaid.expect_the_same_dict()
    overlaid.end()


def test_what_lies_above_is_merged_in_pieces() -> None:
    """Never more than a few keys at a time, and nothing while a capture is held."""
    below = dict.fromkeys(range(100), "old")
    table = Overlay(below)
    capture = table.capture()
    for number in range(30):
        table[number] = "new"
        table[1000 + number] = "new"
        del table[50 + number]
    assert not table.merge()
    assert set(below) == set(range(100))
    assert set(below.values()) == {"old"}
    assert dict(capture.pairs()) == below
    table.release()
    turns, before = 1, dict(below)
    while not table.merge():
        turns += 1
        assert len(before.items() ^ below.items()) <= 2 * MERGED
        before = dict(below)
    assert turns == -(-90 // MERGED)
    new, old = (*range(30), *range(1000, 1030)), (*range(30, 50), *range(80, 100))
    assert below == dict.fromkeys(new, "new") | dict.fromkeys(old, "old")


def test_nothing_is_copied_by_the_first_capture() -> None:
    """The dict that is read is the dict itself."""
    below = {"a": 1}
    table = Overlay(below)
    assert table.capture().lookup() is below
    table["b"] = 2
    assert table.capture().lookup() == {"a": 1, "b": 2}
    assert below == {"a": 1}


def test_a_second_capture_is_of_its_own_moment() -> None:
    """What changes after it changes neither: they share the dict, and each has what lay above it."""
    table = Overlay({"a": 1, "b": 1, "c": 1})
    first = table.capture()
    table["a"], table["d"] = 2, 2
    del table["b"]
    second = table.capture()
    table["a"], table["d"] = 3, 3
    del table["c"]
    assert dict(first.pairs()) == {"a": 1, "b": 1, "c": 1}
    assert dict(second.pairs()) == {"a": 2, "c": 1, "d": 2}
    assert dict(table) == {"a": 3, "d": 3}


def test_what_is_held_no_longer_is_not_read_to_its_end() -> None:
    """Part of it may be of a later moment: nobody may take it for what was captured."""
    table = Overlay({"a": 1, "b": 1})
    capture = table.capture()
    pairs = capture.pairs()
    assert next(pairs) == ("a", 1)
    table["b"] = 2
    table.release()
    assert table.merge()
    with pytest.raises(UsageError, match="before snapshot_done"):
        list(pairs)


def test_the_first_of_equal_keys_is_kept_until_it_is_removed() -> None:
    """Replicas that take snapshots at other times would differ in it, and the alarm would find them odd."""
    table = Overlay[Any, str]({1: "a", 0: "a"})
    table.capture()
    table[True] = "b"
    del table[0]
    table[False] = "b"
    assert list(map(repr, table)) == ["1", "False"]
    table.release()
    assert table.merge()
    assert list(map(repr, table.below)) == ["1", "False"]


def test_a_release_without_a_capture_changes_nothing() -> None:
    """A snapshot may have failed before anything was captured."""
    table = Overlay({"a": 1})
    table.release()
    assert not table.is_held
    assert table.merge()
    assert table.below == {"a": 1}
