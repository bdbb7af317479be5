"""The latest changes of a replica's state, by index: what a stream is told again after its leader was lost.

Every replica keeps it, as it applies, whether anybody streams or not: the next leader must know what the last one told.
It is memory, no state: not in a snapshot, not the same on all replicas, and empty after a start. What it can always say
is from where on it is whole, `floor`; of what is below nobody is told that nothing changed there (BM-082, BM-084).

    floor                         middle
      │ segment │ segment │ ...     │ segment │ ... │ the open one <── a list for each batch
      v  frozen, found by key once somebody asks

At each apply a list gets the keys that the backend reported, which exist already; a batch costs one entry more, with
its bytes, which the log shares. What became of the keys is made out of them when it is asked for: decoded commands
would be hundreds of thousands of objects, which the garbage collector walks through again and again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from zraft import limits
from zraft.machine.backend import Backend, Change
from zraft.session.decoding import BackendDecoder
from zraft.session.items import Item
from zraft.types import Index
from zraft.wire.changes import Entry, begins_so, is_prefix, plain

Keys: TypeAlias = tuple[Any, ...]
"""What a backend reported for one entry: keys, and `Change`s. Empty: nothing."""

SEGMENTS: Final = 16
"""What is forgotten goes by segments: this part of the whole at once."""

_FOUND_AT_MOST: Final = 1024
"""Prefixes of which a segment remembers what it has found."""


class HistorySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept: changes, and bytes of the commands that made them."""

    changes: int = limits.HISTORY_CHANGES
    bytes: int = limits.HISTORY_BYTES


class _Record(msgspec.Struct, frozen=True, gc=False):
    """A batch, or a slice of one: what each entry from `first` on changed."""

    first: Index
    changed: Sequence[Keys]
    payload: bytes
    """Of the whole batch."""
    offset: int
    """Of the first entry in it."""

    @property
    def last(self) -> Index:
        """The index of its last entry."""
        return self.first + len(self.changed) - 1


class _Segment:
    """Consecutive records, counted by who adds them. `below`: the index before which it says nothing."""

    __slots__ = ("_found", "below", "bytes", "changes", "records")

    def __init__(self, below: Index) -> None:
        self.below = below
        self.records: list[_Record] = []
        self.changes = self.bytes = 0
        self._found: dict[Hashable, list[Index]] = {}
        """By plain key, and by place of a prefix: where it changed. Empty until somebody asks."""

    @property
    def last(self) -> Index:
        """The last index of which it says something."""
        return self.records[-1].last if self.records else self.below

    def at(self, index: Index) -> tuple[_Record, int]:
        """The record that has the entry at `index`, and its place there."""
        record = self.records[bisect_right(self.records, index, key=_first_of) - 1]
        return record, index - record.first

    def scan(self, place: Hashable, after: Index) -> Iterator[Index]:
        """Where something changed at `place` after an index, by looking at everything."""
        by_prefix = is_prefix(place)
        for record in self.records[max(0, bisect_right(self.records, after, key=_first_of) - 1) :]:
            for index, changed in enumerate(record.changed, record.first):
                if index > after and changed:
                    keys = _keys(changed)
                    if any(begins_so(key, place) for key in keys) if by_prefix else place in keys:
                        yield index

    def find(self, place: Hashable, after: Index) -> list[Index]:
        """The same of a segment that is complete, which remembers what it has found."""
        found = self._found
        if not found:
            for record in self.records:
                for index, changed in enumerate(record.changed, record.first):
                    for key in dict.fromkeys(_keys(changed)):
                        found.setdefault(key, []).append(index)
        indexes = found.get(place)
        if indexes is None and is_prefix(place):
            keys = [key for key in found if not is_prefix(key) and begins_so(key, place)]
            indexes = sorted(dict.fromkeys(index for key in keys for index in found[key]))
            if len(found) < self.changes + _FOUND_AT_MOST:
                found[place] = indexes
        return indexes[bisect_right(indexes, after) :] if indexes else []


class History:
    """See the top of this file. Fresh, it knows nothing below index 1, where nothing is."""

    __slots__ = (
        "_backend",
        "_decoder",
        "_describes",
        "_full_bytes",
        "_full_changes",
        "_open",
        "_segments",
        "_settings",
        "has_reported",
        "is_silent",
    )

    def __init__(self, backend: Backend, decoder: BackendDecoder, settings: HistorySettings) -> None:
        self._backend, self._decoder, self._settings = backend, decoder, settings
        self._describes = type(backend).change_of is not Backend.change_of
        self._full_changes, self._full_bytes = -(-settings.changes // SEGMENTS), -(-settings.bytes // SEGMENTS)
        """A segment that has so much is complete."""
        self.has_reported = False
        """The backend has told of a change."""
        self.is_silent = False
        """A command had a result without telling whether something changed."""
        self.restart(0)

    def restart(self, index: Index) -> None:
        """It is about what follows `index`: what was before is in a snapshot, as state and not as changes."""
        self._open = _Segment(index)
        self._segments: list[_Segment] = []
        """Complete ones, oldest first."""

    @property
    def floor(self) -> Index:
        """Changes up to here are gone, all later ones are there."""
        return self._segments[0].below if self._segments else self._open.below

    @property
    def middle(self) -> Index:
        """Whoever knows everything up to here may still miss half of what is kept, and has lost nothing."""
        return self._segments[len(self._segments) // 2].below if self._segments else 0

    def add(self, first: Index, changed: Sequence[Keys], payload: bytes, offset: int, size: int) -> None:
        """The entries from `first` on were applied, and changed this; their commands have `size` bytes.

        They are in `payload` from number `offset` on; empty: no commands made the changes.
        Called for every batch on every replica: what only a reader needs to know is made out when somebody reads.
        """
        entries = len(changed)
        count = len(changed[0]) if entries == 1 else sum(map(len, changed))
        if not count:
            return
        self.has_reported = True
        if count > entries:
            size += sum(_weight(key) for keys in changed if len(keys) > 1 for key in keys)
        segment = self._open
        segment.records.append(_Record(first, changed, payload if self._describes else b"", offset))
        segment.changes = changes = segment.changes + count
        segment.bytes = size = segment.bytes + size
        if changes >= self._full_changes or size >= self._full_bytes:
            self._close(segment)

    def _close(self, segment: _Segment) -> None:
        """It is complete; the oldest go, until the rest is within bounds. What was applied last always stays."""
        segments, settings = self._segments, self._settings
        segments.append(segment)
        self._open = _Segment(segment.last)
        while len(segments) > 1 and (
            len(segments) > SEGMENTS
            or sum(each.changes for each in segments) > settings.changes
            or sum(each.bytes for each in segments) > settings.bytes
        ):
            del segments[0]

    def read(self, place: Hashable, after: Index) -> Iterator[Entry]:
        """Each entry after the index `after`, which is not below `floor`, that changed something at `place`."""
        decoded: _Record | None = None
        items: Sequence[Item[Any]] = ()
        for segment in (*self._segments, self._open):
            if segment.last <= after:
                continue
            is_open = segment is self._open
            for index in segment.scan(place, after) if is_open else segment.find(place, after):
                record, number = segment.at(index)
                if record is not decoded:
                    decoded, items = record, self._decoder.items(record.payload)[0] if record.payload else ()
                command = items[record.offset + number].command if items else None
                yield index, self._made_out(record.changed[number], command, place)

    def _made_out(self, keys: Keys, command: Any, place: Hashable) -> list[Change]:
        """What became of the keys at `place`: each once, as the entry left it (BM-087)."""
        by_prefix = is_prefix(place)
        found: dict[Hashable, Change] = {}
        for changed in keys:
            key = plain(changed.key if type(changed) is Change else changed)
            if begins_so(key, place) if by_prefix else key == place:
                found.pop(key, None)
                found[key] = changed if type(changed) is Change else self._backend.change_of(command, changed)
        return list(found.values())


def _first_of(record: _Record) -> Index:
    return record.first


def _keys(changed: Keys) -> list[Hashable]:
    return [plain(key.key if type(key) is Change else key) for key in changed]


def _weight(changed: Any) -> int:
    """About how many bytes a changed key keeps in memory that no command has brought."""
    key = changed.key if type(changed) is Change else changed
    if isinstance(key, str | bytes):
        return 64 + len(key)
    return 64 + sum(_weight(part) for part in key) if isinstance(key, tuple | list) else 64
