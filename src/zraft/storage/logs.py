"""One replica as the store keeps it: what it promised, and a log whose changes become journal records.

Every change is checked before the first record is written: a broken rule of the log stops the replica with nothing half
done. What a change makes superfluous is collected in `released`, and counts only when the change is durable.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from zraft.core.entries import Batch, HardState, SnapshotMark
from zraft.errors import CorruptData, InvariantViolation
from zraft.storage.hard_state import Fault, Lost, ReplicaRow, encode_row
from zraft.storage.index import LogIndex, Released
from zraft.storage.journal import Journal, Place
from zraft.storage.reading import Wanted, wanted_at
from zraft.storage.records import RecordKind, encode_mark
from zraft.storage.replay import Trace
from zraft.storage.replica import ReplicaMeta, Save
from zraft.types import Index


class StoredLog:
    """The durable state of one replica, as it will be when everything handed to the journal is."""

    __slots__ = ("_born_lsn", "_lost", "_row", "fault", "hard_state", "index", "mark", "mark_place", "meta")

    def __init__(self, meta: ReplicaMeta, hard_state: HardState, born_lsn: int) -> None:
        self.meta = meta
        self.hard_state = hard_state
        self.index = LogIndex()
        self.mark = SnapshotMark()
        self.mark_place: Place | None = None
        self.fault: CorruptData | None = None
        self._born_lsn = born_lsn
        self._lost: Lost | None = None
        self._row: msgspec.Raw | None = None

    @classmethod
    def found(cls, trace: Trace) -> StoredLog:
        """The replica that recovery found."""
        log = cls(trace.row.meta, trace.row.hard_state, trace.row.born_lsn)
        log.index, log.mark, log.mark_place, log.fault = trace.index, trace.mark, trace.mark_place, trace.fault
        log._lost = trace.row.lost
        return log

    def rename(self, name: str) -> None:
        """Another name; everything else stays."""
        self.meta = msgspec.structs.replace(self.meta, name=name)
        self._row = None

    @property
    def owner(self) -> int:
        """What marks this replica's records."""
        return self.meta.incarnation

    @property
    def next_first(self) -> Index:
        """Where the next batch begins."""
        return max(self.index.last_index, self.mark.index) + 1

    def row(self) -> msgspec.Raw:
        """This replica in the state files; encoded anew only after a change."""
        if self._row is None:
            self._row = encode_row(self._plain_row())
        return self._row

    @property
    def needs_version(self) -> int:
        """The least version of the state files that can hold this replica."""
        return self._plain_row().needs_version

    def _plain_row(self) -> ReplicaRow:
        fault = None if self.fault is None else Fault.of(self.fault)
        return ReplicaRow(self.meta, self.hard_state, self._born_lsn, fault, self._lost)

    def check(self, save: Save) -> None:
        """Raises InvariantViolation where carrying out the save would break a promise or leave a hole in the log."""
        name, hard_state = self.meta.name, save.hard_state
        if hard_state is not None:
            before = self.hard_state
            revoted = before.voted_for is not None and hard_state.voted_for != before.voted_for
            if hard_state.term < before.term or (hard_state.term == before.term and revoted):
                raise InvariantViolation(f"{name}: {hard_state} after {before} would take a promise back")
        expected = self.next_first
        if save.truncate_from:
            start = save.truncate_from
            if start <= self.mark.index or (start != expected and self.index.find(start) < 0):
                raise InvariantViolation(
                    f"{name}: truncation from {start} is no batch after {self.mark.index} and before {expected}"
                )
            expected = start
        if save.reset_to is not None:
            expected = save.reset_to.index + 1
        for batch in save.append:
            if batch.first != expected or batch.count < 1:
                raise InvariantViolation(f"{name}: a batch at {batch.first}+{batch.count} where {expected} is next")
            expected = batch.first + batch.count

    def carry_out(self, save: Save, journal: Journal, released: Released) -> None:
        """The save, checked before, in the order of its fields. The hard state is only remembered here."""
        if save.hard_state is not None:
            self.hard_state = save.hard_state
            self._row = None
        if save.truncate_from and save.truncate_from < self.next_first:
            journal.append(RecordKind.TRUNCATE, owner=self.owner, first=save.truncate_from)
            add_released(released, self.index.truncate_from(save.truncate_from))
        if save.reset_to is not None:
            self._write_mark(RecordKind.RESET, save.reset_to, journal, released)
            add_released(released, self.index.clear())
        for batch in save.append:
            place = journal.append_batch(self.owner, batch)
            self.index.add(batch.first, batch.first + batch.count - 1, batch.term, *place)
            journal.segments.need(place.segment, place.size)

    def compact(self, mark: SnapshotMark, keep_from: Index, journal: Journal, released: Released) -> None:
        """A snapshot at `mark` is durable: batches before `keep_from` are forgotten.

        At the next start the log begins after the mark. Raises InvariantViolation where no batch ends there.
        """
        if mark.index > self.mark.index:
            position = bisect_left(self.index.lasts, mark.index)
            if position == len(self.index) or self.index.lasts[position] != mark.index:
                raise InvariantViolation(f"{self.meta.name}: no batch ends at the snapshot's index {mark.index}")
            self._write_mark(RecordKind.PREFIX, mark, journal, released)
        add_released(released, self.index.forget_up_to(min(keep_from - 1, self.mark.index)))

    def rewrite_mark(self, journal: Journal, released: Released) -> None:
        """The record of the mark stands in a segment that is to be deleted: write it again."""
        if self.mark_place is not None:
            self._write_mark(RecordKind.PREFIX, self.mark, journal, released)

    def copy_forward(self, item: Wanted, batch: Batch, journal: Journal, released: Released) -> None:
        """The batch, read from where `item` says, is written again; its old record is needed no longer."""
        place = journal.append_batch(self.owner, batch, RecordKind.COPY)
        journal.segments.need(place.segment, place.size)
        self.index.move(self.index.find(item.first), place.segment, place.offset)
        add_released(released, {item.segment: item.size})

    def wanted_in(self, segment: int) -> list[Wanted]:
        """Batches whose record stands in `segment`."""
        index = self.index
        return [wanted_at(index, position) for position, at in enumerate(index.segments) if at == segment]

    def has(self, item: Wanted) -> bool:
        """The log still has this very batch, wherever its record stands now."""
        position = self.index.find(item.first)
        return position >= 0 and self.index.lasts[position] == item.last and self.index.terms[position] == item.term

    def forget_all(self) -> Released:
        """The replica is removed: nothing of it is needed any more."""
        released = self.index.clear()
        if self.mark_place is not None:
            add_released(released, {self.mark_place.segment: self.mark_place.size})
            self.mark_place = None
        return released

    def _write_mark(self, kind: RecordKind, mark: SnapshotMark, journal: Journal, released: Released) -> None:
        place = journal.append(kind, encode_mark(mark), owner=self.owner, first=mark.index + 1)
        journal.segments.need(place.segment, place.size)
        if self.mark_place is not None:
            add_released(released, {self.mark_place.segment: self.mark_place.size})
        self.mark, self.mark_place = mark, place


def add_released(total: Released, more: Released) -> None:
    """Counts `more` into `total`."""
    for segment, size in more.items():
        total[segment] = total.get(segment, 0) + size
