"""The entries of a table: by key, in order, by owner, and by the time at which they go.

Everything else follows from the entries themselves. So there is one way to change them, `replace`, which can also be
taken back, and a snapshot is the entries and nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from sortedcontainers import SortedList

from zraft.limits import ALARM_ENTRIES, ALARM_SWEPT, ALARM_WHOLE
from zraft.machine.overlay import Capture, Overlay
from zraft.machine.table_digest import Digest, checksum
from zraft.machine.table_types import Entry
from zraft.types import Millis


class Entries:
    """Found by their place, see `table_keys`. `journal`, where it is a list, gets what was at each changed place."""

    __slots__ = ("_by_place", "_deadlines", "_digest", "_is_merging", "_order", "_owned", "journal")

    def __init__(self) -> None:
        self._by_place: dict[bytes, Entry] | Overlay[bytes, Entry] = {}
        self._is_merging = False
        """What changed during a snapshot goes back to where it belongs."""
        self._order: SortedList[bytes] = SortedList()
        self._deadlines: SortedList[tuple[Millis, bytes]] = SortedList()
        self._owned: dict[int, dict[bytes, None]] = {}
        self._digest = Digest()
        self.journal: list[tuple[bytes, Entry | None]] | None = None

    def __len__(self) -> int:
        return len(self._by_place)

    def get(self, place: bytes) -> Entry | None:
        """The entry there."""
        return self._by_place.get(place)

    def replace(self, place: bytes, entry: Entry | None) -> None:
        """`entry` is what stands there; None: nothing does."""
        if self._is_merging:
            self._merge()
        before = self._by_place.get(place)
        self._note(place, before)
        if entry is not None:
            self._by_place[place] = entry
            if before is None:
                self._order.add(place)
            if entry.session is not None or entry.expires_at is not None:
                self._leave(place, before)
                self._enter(place, entry)
                return
        elif before is not None:
            del self._by_place[place]
            self._order.remove(place)
        self._leave(place, before)

    def _note(self, place: bytes, before: Entry | None) -> None:
        if self.journal is not None:
            self.journal.append((place, before))
        if self._digest.is_kept:
            self._digest.changed(place, before)

    def _enter(self, place: bytes, entry: Entry) -> None:
        """It is its owner's, and goes at its time."""
        if entry.session is not None:
            self._owned.setdefault(entry.session, {})[place] = None
        if entry.expires_at is not None:
            self._deadlines.add((entry.expires_at, place))

    def _leave(self, place: bytes, before: Entry | None) -> None:
        """What was there is nobody's, and goes at no time."""
        if before is None:
            return
        if before.session is not None:
            owned = self._owned[before.session]
            del owned[place]
            if not owned:
                del self._owned[before.session]
        if before.expires_at is not None:
            self._deadlines.remove((before.expires_at, place))

    def positions(self, start: bytes, end: bytes) -> tuple[int, int]:
        """The position of the first entry from `start` on, and of the first one from `end` on (but not before it)."""
        first = self._order.bisect_left(start)
        return first, max(first, self._order.bisect_left(end))

    def between(self, first: int, stop: int, *, reverse: bool = False) -> list[Entry]:
        """The entries at these positions, `stop` not among them."""
        by_place = self._by_place
        return [by_place[place] for place in self._order.islice(first, stop, reverse)]

    def remove_between(self, first: int, stop: int) -> list[Entry]:
        """Removes and returns them."""
        places = list(self._order.islice(first, stop))
        del self._order[first:stop]
        removed = []
        for place in places:
            if self._is_merging:
                self._merge()
            entry = self._by_place.pop(place)
            self._note(place, entry)
            self._leave(place, entry)
            removed.append(entry)
        return removed

    def take_back(self, journal: Iterable[tuple[bytes, Entry | None]]) -> None:
        """Everything is as it was before what the journal, newest first, is about."""
        for place, before in journal:
            self.replace(place, before)

    def owned_count(self) -> int:
        """How many entries belong to sessions."""
        return sum(map(len, self._owned.values()))

    def owned_by(self, session: int) -> list[bytes]:
        """The places that go with the session, in order: the order in which they came to it is in no snapshot."""
        return sorted(self._owned.get(session, ()))

    def next_deadline(self) -> Millis | None:
        """When the next entry goes."""
        return self._deadlines[0][0] if self._deadlines else None

    def gone_by(self, time: Millis, limit: int) -> list[bytes]:
        """The first `limit` places whose time has come, earliest first."""
        found = []
        for deadline, place in self._deadlines.islice(0, limit):
            if deadline > time:
                break
            found.append(place)
        return found

    def digest(self) -> int:
        """A number over all entries with all that they hold."""
        return self._digest.of(self._by_place)

    def sample(self, places: Iterable[bytes], index: int) -> int:
        """A number over all entries where they are few; else over those at `places`, and the next ones to be swept."""
        count = len(self._order)
        swept: Iterable[bytes] = self._order
        if count > ALARM_WHOLE:
            start = index // ALARM_ENTRIES * ALARM_SWEPT % count
            swept = chain(places, self._order.islice(start, start + ALARM_SWEPT))
        parts = map(self._by_place.get, swept)
        return sum(map(checksum, parts), count + len(self._deadlines))

    def capture(self) -> Capture[bytes, Entry]:
        """Holds all entries, by place, and copies nothing: none ever changes, and what is new lies above them."""
        by_place = self._by_place if isinstance(self._by_place, Overlay) else Overlay(self._by_place)
        self._by_place, self._is_merging = by_place, False
        return by_place.capture()

    def release(self) -> None:
        """The last capture is over: what changed meanwhile is merged, a little with each further change."""
        if isinstance(self._by_place, Overlay):
            self._by_place.release()
            self._is_merging = not self._by_place.is_held
            self._merge()

    def _merge(self) -> None:
        by_place = self._by_place
        if isinstance(by_place, Overlay) and by_place.merge():
            self._by_place, self._is_merging = by_place.below, False

    def fill(self, entries: dict[bytes, Entry], order: Iterable[bytes]) -> None:
        """An empty table takes these over; `order` has their places, sorted."""
        self._by_place = entries
        self._order = SortedList(order)
        for place, entry in entries.items():
            if entry.session is not None or entry.expires_at is not None:
                self._enter(place, entry)
