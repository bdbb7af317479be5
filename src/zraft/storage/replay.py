"""What the records of the journal add up to, replica by replica.

Segments are deleted oldest first, after what is still needed of them was copied to the end of the journal. So a log may
be found out of order, its older part behind its newer one:

    journal   [batch 6] [batch 8] [copy 1] [copy 2] [batch 9]
    log       1 2 6 8 9

Copies are kept aside until the last record is read, and obey truncations and snapshot marks like everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from zraft.core.entries import Kind, Membership, SnapshotMark
from zraft.core.memberships import decode_membership
from zraft.core.recovered import Recovered
from zraft.errors import CorruptData, InvariantViolation
from zraft.storage.disk import Disk
from zraft.storage.hard_state import ReplicaRow
from zraft.storage.index import LogIndex
from zraft.storage.journal import Place
from zraft.storage.reading import Wanted, read_batches, wanted_at
from zraft.storage.records import Record, RecordKind, decode_mark, record_bytes
from zraft.storage.replica import RecoveredReplica
from zraft.storage.segments import segment_name
from zraft.types import Index, Member

_BATCH_OVERHEAD: Final = 64
"""What a batch in memory takes beyond what its record takes on disk."""


class Trace:
    """One replica's log while the journal is read; after `finish`, the log as it is."""

    __slots__ = (
        "_configurations",
        "_copies",
        "_damaged",
        "_marks",
        "end_of_lost",
        "fault",
        "first_lost",
        "index",
        "mark",
        "mark_place",
        "rotten_lsn",
        "row",
    )

    def __init__(self, row: ReplicaRow) -> None:
        self.row = row
        self.index = LogIndex()
        self.mark = SnapshotMark()
        self.mark_place: Place | None = None
        """The record that `mark` is from."""
        self.fault: CorruptData | None = None if row.fault is None else row.fault.error()
        self.rotten_lsn = 0
        """The first record that was durable, is not readable and may be its own; 0: there is none."""
        lost = row.lost
        self.first_lost, self.end_of_lost = (0, 0) if lost is None else (lost.first_lsn, lost.end_lsn)
        self._copies: dict[Index, Wanted] = {}
        self._configurations: dict[Index, tuple[int, int, bytes]] = {}
        """Segment, offset and payload of every configuration entry, by its index."""
        self._damaged: list[tuple[Index, CorruptData, int, int, int]] = []
        self._marks: list[Membership] = []
        """The configurations of all snapshot marks."""

    def concerns(self, first_lsn: int, last_lsn: int) -> bool:
        """Some of these records may be its own, and count."""
        return self.row.born_lsn <= last_lsn and not self.first_lost <= first_lsn <= last_lsn < self.end_of_lost

    def forget_lost(self, oldest_lsn: int) -> None:
        """The journal begins with this record: what was lost before need not be remembered any more."""
        if self.row.lost is not None and self.row.lost.end_lsn <= oldest_lsn:
            self.row = msgspec.structs.replace(self.row, lost=None)

    def take(self, record: Record, payload: bytes) -> None:
        """A record of this replica. `payload` is there for configurations and marks only."""
        segment, offset, size = record.segment, record.offset, record_bytes(record.length)
        match record.kind:
            case RecordKind.BATCH | RecordKind.COPY:
                last = record.first + record.entries - 1
                if record.batch_kind == Kind.CONFIGURATION:
                    self._configurations[record.first] = segment, offset, payload
                if record.kind == RecordKind.COPY:
                    self._copies[record.first] = Wanted(record.first, last, record.term, segment, offset, size)
                    return
                index = self.index
                if index.lasts and record.first != index.lasts[-1] + 1:
                    self._fail(record, f"the log goes on with {record.first} after {index.last_index}")
                    index.drop_from(record.first)
                index.add(record.first, last, record.term, segment, offset, size)
            case RecordKind.TRUNCATE:
                self._copies = {first: copy for first, copy in self._copies.items() if first < record.first}
                try:
                    self.index.truncate_from(record.first)
                except InvariantViolation as error:
                    self._fail(record, str(error))
            case RecordKind.RESET | RecordKind.PREFIX:
                try:
                    mark = decode_mark(payload)
                except msgspec.DecodeError as error:
                    self._fail(record, f"the snapshot mark cannot be decoded: {error}")
                    return
                self.mark, self.mark_place = mark, Place(segment, offset, size)
                if mark.membership is not None:
                    self._marks.append(mark.membership)
                upto = mark.index if record.kind == RecordKind.PREFIX else 1 << 64
                self._copies = {first: copy for first, copy in self._copies.items() if copy.last > upto}
                self.index.forget_up_to(upto)
            case _:
                self._fail(record, f"a record of kind {record.kind} belongs to nobody")

    def take_damaged(self, record: Record, error: CorruptData) -> None:
        """The payload of this record is lost. A fault, unless the batch turns out to be forgotten anyway."""
        if record.kind in (RecordKind.BATCH, RecordKind.COPY):
            self.take(record, b"")
            self._damaged.append((record.first, error, record.segment, record.offset, record.lsn))
        else:
            self.fail(error, record.lsn)

    def fail(self, error: CorruptData, rotten_lsn: int = 0) -> None:
        """The replica must not run. The first reason stays, and the first unreadable record, where that is it."""
        self.fault = self.fault or error
        if rotten_lsn:
            self.rotten_lsn = min(rotten_lsn, self.rotten_lsn or rotten_lsn)

    def finish(self) -> None:
        """No more records: the log is put together, and what is missing in it found."""
        self._merge_copies()
        index = self.index
        index.forget_up_to(self.mark.index)
        for first, error, segment, offset, lsn in self._damaged:
            if index.is_at(first, segment, offset):
                self.fail(error, lsn)
                index.remove(index.find(first))
        whole = self._whole_batches()
        if whole < len(index):
            missing = index.lasts[whole - 1] + 1 if whole else self.mark.index + 1
            what = f"the log has nothing from {missing} on, and then a batch from {index.firsts[whole]} on"
            self.fail(CorruptData(segment_name(index.segments[whole]), index.offsets[whole], what))

    def recovered(self, disk: Disk, tail_bytes: int) -> RecoveredReplica:
        """What the core starts from: batches of the newest `tail_bytes` are read. Raises OSError."""
        memberships = self._memberships()
        whole = self._whole_batches()
        tail, time = [], self.mark.time
        if whole and self.fault is None:
            wanted = self._tail(whole, tail_bytes)
            try:
                tail = read_batches(disk, self.row.meta.incarnation, wanted or [wanted_at(self.index, whole - 1)])
                time = tail[-1].time
            except CorruptData as error:
                self.fail(error)
            if not wanted:
                tail = []
        recovered = Recovered(
            hard_state=self.row.hard_state,
            mark=self.mark,
            lasts=self.index.lasts[:whole].tolist(),
            terms=self.index.terms[:whole].tolist(),
            tail=tail,
            memberships=memberships,
            time=time,
        )
        is_rotten = self.fault is not None and self.rotten_lsn > 0
        return RecoveredReplica(self.row.meta, recovered, self.fault, is_rotten, self._named())

    def _named(self) -> tuple[Member, ...]:
        """By any configuration that can be read, of whatever part of the log."""
        known = list(self._marks)
        for _, _, payload in self._configurations.values():
            try:
                known.append(decode_membership(payload))
            except msgspec.DecodeError:
                continue  # what counts of them is looked at elsewhere
        return tuple(dict.fromkeys(member for membership in known for member in membership.everyone()))

    def _merge_copies(self) -> None:
        """Copies take the place of the records that they are copies of, and fill the gaps before them."""
        if not self._copies:
            return
        copies = dict(self._copies)
        rows: list[Wanted] = []
        for item in (wanted_at(self.index, position) for position in range(len(self.index))):
            copy = copies.pop(item.first, None)
            if copy is not None and (copy.last, copy.term) != (item.last, item.term):
                name = segment_name(copy.segment)
                self.fail(CorruptData(name, copy.offset, f"the copy of batch {item.first} is of another batch"))
                copy = None
            rows.append(copy or item)
        rows += copies.values()
        rows.sort()
        self.index = LogIndex()
        for row in rows:
            self.index.add(*row)

    def _whole_batches(self) -> int:
        """How many batches follow the mark, and each other, without a gap."""
        expected = self.mark.index + 1
        for position, (first, last) in enumerate(zip(self.index.firsts, self.index.lasts, strict=True)):
            if first != expected:
                return position
            expected = last + 1
        return len(self.index)

    def _memberships(self) -> list[tuple[Index, Membership]]:
        found = []
        for first, (segment, offset, payload) in sorted(self._configurations.items()):
            if self.index.is_at(first, segment, offset):
                try:
                    found.append((first, decode_membership(payload)))
                except msgspec.DecodeError as error:
                    what = f"the configuration at {first} cannot be decoded: {error}"
                    self.fail(CorruptData(segment_name(segment), offset, what))
        return found

    def _tail(self, whole: int, tail_bytes: int) -> Sequence[Wanted]:
        """The newest of the first `whole` batches, as many as weigh at most `tail_bytes` in memory."""
        position, sizes = whole, self.index.sizes
        while position and (tail_bytes := tail_bytes - sizes[position - 1] - _BATCH_OVERHEAD) >= 0:
            position -= 1
        return [wanted_at(self.index, at) for at in range(position, whole)]

    def _fail(self, record: Record, what: str) -> None:
        self.fail(CorruptData(segment_name(record.segment), record.offset, what))
