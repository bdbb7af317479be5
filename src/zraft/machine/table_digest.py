"""A number over all entries, kept up from one asking to the next: only what changed meanwhile is read again.

It is the sum of a 64-bit hash of each entry, so the order does not matter and one entry can be taken out of it. Whoever
never asks pays nothing for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from zraft.machine.table_keys import as_key
from zraft.machine.table_types import Entry
from zraft.types import Value
from zraft.wire.values import checksum_of, encode_value

_MASK: Final = (1 << 64) - 1
_KEPT: Final = 1 << 16
"""Changed entries that are remembered, with their old values; after more the next asking reads everything."""


class Digest:
    """Of the entries that it is told about."""

    __slots__ = ("_before", "_total", "is_kept")

    def __init__(self) -> None:
        self.is_kept = False
        """`changed` must be called for each change from now on."""
        self._total = 0
        self._before: dict[bytes, Entry | None] = {}

    def changed(self, place: bytes, before: Entry | None) -> None:
        """The entry at `place` is about to be another than `before`."""
        if place not in self._before:
            self._before[place] = before
            if len(self._before) > _KEPT:
                self.is_kept = False
                self._before.clear()

    def of(self, entries: Mapping[bytes, Entry]) -> int:
        """Of these entries, which are those of the last time but for what `changed` was told."""
        if self.is_kept:
            total = self._total
            for place, before in self._before.items():
                total += _hash(entries.get(place)) - _hash(before)
        else:
            total = sum(map(_hash, entries.values()))
        self._before.clear()
        self.is_kept, self._total = True, total & _MASK
        return self._total


def _hash(entry: Entry | None) -> int:
    return 0 if entry is None else int.from_bytes(hashlib.blake2b(encoded(entry), digest_size=8).digest(), "big")


def checksum(entry: Entry | None) -> int:
    """A quicker hash, for who looks at a few entries and needs no more than 32 good bits."""
    return 0 if entry is None else checksum_of(_parts(entry))


def encoded(entry: Entry) -> bytes:
    """All of an entry, as snapshots hold it."""
    return encode_value(_parts(entry))


def _parts(entry: Entry) -> list[Value]:
    return [
        entry.key,
        entry.value,
        entry.version,
        entry.created_index,
        entry.modified_index,
        entry.session,
        entry.expires_at,
    ]


def decoded(item: Any) -> Entry:
    """The entry of which `encoded` made the bytes of this value. Raises TypeError or ValueError where it is none."""
    key, value, version, created_index, modified_index, session, expires_at = item
    numbers = (version, created_index, modified_index, *(part for part in (session, expires_at) if part is not None))
    if any(type(number) is not int for number in numbers):
        raise TypeError("an entry whose history is no numbers")
    return Entry(as_key(key), value, version, created_index, modified_index, session, expires_at)
