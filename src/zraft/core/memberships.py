"""Which configuration is in force: the last one in the log, committed or not (§4.1), else the snapshot's (M4).

Keeps every configuration after the snapshot, because truncation makes an earlier one effective again (BM-024, BM-034).
"""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from zraft.core.entries import Membership, SnapshotMark
from zraft.core.recovered import Recovered
from zraft.types import Index, Member

_DECODER = msgspec.msgpack.Decoder(Membership)
_ENCODER = msgspec.msgpack.Encoder()


def encode_membership(membership: Membership) -> bytes:
    """The payload of a configuration entry."""
    return _ENCODER.encode(membership)


def decode_membership(payload: bytes) -> Membership:
    """What `encode_membership` wrote. Raises msgspec.DecodeError."""
    try:
        return _DECODER.decode(payload)
    except (ValueError, RecursionError) as error:  # text that is none, and what is nested too deep
        raise msgspec.DecodeError(str(error)) from error


class MembershipHistory:
    """(index, membership), ascending by index; empty where the replica is blank."""

    __slots__ = ("_items",)

    def __init__(self, recovered: Recovered) -> None:
        self._items: list[tuple[Index, Membership]] = []
        if recovered.mark.membership is not None:
            self._items.append((recovered.mark.membership_index, recovered.mark.membership))
        self._items.extend(recovered.memberships)

    @property
    def current(self) -> Membership | None:
        """The configuration in force; None where the replica is blank."""
        return self._items[-1][1] if self._items else None

    @property
    def current_index(self) -> Index:
        """Where the configuration in force was appended; 0 where there is none."""
        return self._items[-1][0] if self._items else 0

    def as_of(self, index: Index) -> tuple[Index, Membership | None]:
        """The configuration in force when the log ended at `index`, and where it was appended."""
        position = bisect_right(self._items, index, key=lambda item: item[0])
        return self._items[position - 1] if position else (0, None)

    def newest_naming(self, member: Member) -> Index:
        """Where the newest configuration that is known and names `member` was appended; 0 where none does."""
        return next((index for index, known in reversed(self._items) if member in known.everyone()), 0)

    def names_from(self, index: Index, member: Member) -> bool:
        """The configuration in force when the log ended at `index`, or a later one, names `member`."""
        position = max(bisect_right(self._items, index, key=lambda item: item[0]) - 1, 0)
        return any(member in known.everyone() for _, known in self._items[position:])

    def ever_voter(self, member: Member) -> bool:
        """Some configuration that is known counts the votes of `member`."""
        return any(known.is_voter(member) for _, known in self._items)

    def items(self) -> list[tuple[Index, Membership]]:
        """All of it, held still; for `fill`."""
        return list(self._items)

    def fill(self, items: list[tuple[Index, Membership]]) -> None:
        """It is this."""
        self._items = list(items)

    def append(self, index: Index, membership: Membership) -> None:
        """A configuration entry was appended at `index`."""
        self._items.append((index, membership))

    def truncate_from(self, index: Index) -> bool:
        """Entries from `index` on are gone. True where that brought an earlier configuration back into force."""
        before = len(self._items)
        while self._items and self._items[-1][0] >= index:
            self._items.pop()
        return len(self._items) < before

    def compact_to(self, index: Index) -> None:
        """Entries up to `index` are in a snapshot: what was superseded by then is not needed any more."""
        position = bisect_right(self._items, index, key=lambda item: item[0])
        del self._items[: max(position - 1, 0)]

    def reset(self, mark: SnapshotMark) -> None:
        """The snapshot's configuration, and no other, is in force (BM-035)."""
        self._items.clear()
        if mark.membership is not None:
            self._items.append((mark.membership_index, mark.membership))
