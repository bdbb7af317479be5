"""The writing side of the journal: records become bytes at their final place at once, and wait there for the next save.

    ... │ durable │ handed out │ pending      │
        │         │ (one save) │              └ segments.active.used
        │         │            └ `pending_from`: begins a new sector

Every hand-out ends at a sector boundary, the next one begins there: a torn write never touches what was durable before.
A new segment begins with a watermark. A record never crosses segments; one that is larger than a segment gets a segment
as large as it needs.
"""

from __future__ import annotations

from typing import NamedTuple

from zraft import limits
from zraft.core.entries import Batch
from zraft.storage.disk import CreateFile, DeleteFile, Operation, SyncFile, SyncFolder, WriteAt
from zraft.storage.records import (
    HEADER_BYTES,
    RecordKind,
    encode_header,
    next_sector,
    padding,
    record_bytes,
)
from zraft.storage.segments import Segment, Segments, segment_name


class Place(NamedTuple):
    """Where a record stands, and what it takes."""

    segment: int
    offset: int
    size: int


class Writes(NamedTuple):
    """What one save writes. `durable` is the last record that is durable when it is done."""

    operations: tuple[Operation, ...]
    last_lsn: int
    durable_lsn: int


class _Run(NamedTuple):
    """Consecutive pending bytes of one segment."""

    segment: Segment
    offset: int
    parts: list[bytes]


class Journal:
    """Assigns record numbers and places. `settle` is told what the disk has done; until then nothing counts."""

    __slots__ = (
        "_epoch",
        "_fresh_sync",
        "_handed_lsn",
        "_next_lsn",
        "_next_sequence",
        "_run",
        "_runs",
        "_segment_bytes",
        "_spare",
        "_spare_bytes",
        "_sync",
        "_uncreated",
        "_unsynced",
        "completed_lsn",
        "durable_lsn",
        "last_kind",
        "segments",
    )

    def __init__(self, segments: Segments, *, segment_bytes: int, sync: bool, epoch: int, next_lsn: int) -> None:
        """Everything before record `next_lsn` is durable. The active segment exists as a file."""
        self.segments = segments
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._epoch = epoch
        self._next_lsn = next_lsn
        self._handed_lsn = self.completed_lsn = self.durable_lsn = next_lsn - 1
        self.last_kind = 0
        """Kind of the last record of this opening; 0: none yet."""
        self._run: _Run | None = None
        self._runs: list[_Run] = []
        self._uncreated: dict[int, Segment] = {}
        self._unsynced: dict[str, None] = {}
        """Segments that were written without a sync, where saves are not synced."""
        self._fresh_sync = False
        self._next_sequence = 0
        """The least number that the next segment may have."""
        self._spare = segments.active.sequence
        """The last segment whose file was created, or is by a job that was handed out."""
        self._spare_bytes = segment_bytes

    @property
    def next_lsn(self) -> int:
        """Number of the next record."""
        return self._next_lsn

    @property
    def handed_lsn(self) -> int:
        """The last record that was handed out."""
        return self._handed_lsn

    @property
    def is_pending(self) -> bool:
        """There are records that were not handed out."""
        return bool(self._runs)

    def is_handed_out(self, segment: int, offset: int) -> bool:
        """A read that is submitted from now on finds the record there."""
        if not self._runs:
            return True
        first = self._runs[0]
        return (segment, offset) < (first.segment.sequence, first.offset)

    def append_batch(self, owner: int, batch: Batch, kind: int = RecordKind.BATCH) -> Place:
        """One batch of the replica with incarnation `owner`."""
        return self.append(
            kind,
            batch.payload,
            owner=owner,
            first=batch.first,
            count=batch.count,
            term=batch.term,
            time=batch.time,
            wall=batch.wall,
            batch_kind=batch.kind,
        )

    def append(
        self,
        kind: int,
        payload: bytes = b"",
        *,
        owner: int = 0,
        first: int = 0,
        count: int = 0,
        term: int = 0,
        time: int = 0,
        wall: int = 0,
        batch_kind: int = 0,
    ) -> Place:
        """One record of any kind. Raises InvariantViolation where a number does not fit; then nothing was appended."""
        size = record_bytes(len(payload))
        run = self._run
        if run is None or run.segment.used + size > run.segment.capacity:
            run = self._open_run(size)
        segment = run.segment
        offset = segment.used
        header = encode_header(
            lsn=self._next_lsn,
            durable=self.durable_lsn,
            owner=owner,
            first=first,
            term=term,
            time=time,
            wall=wall,
            count=count,
            payload=payload,
            epoch=self._epoch,
            segment=segment.sequence,
            offset=offset,
            kind=kind,
            batch_kind=batch_kind,
        )
        run.parts.extend((header, payload, padding(len(payload))))
        segment.last_lsn = self._next_lsn
        segment.used = offset + size
        self._next_lsn += 1
        self.last_kind = kind
        return Place(segment.sequence, offset, size)

    def append_watermark(self) -> None:
        """Says what is durable, now that nothing is pending or handed out. Nothing new since the last one: nothing."""
        if self.last_kind == RecordKind.WATERMARK:
            return
        if self._unsynced:
            self._fresh_sync = True
            self.durable_lsn = self.completed_lsn
        self.append(RecordKind.WATERMARK)

    def take(self) -> Writes:
        """Hands out everything pending: to be performed in order, and before any later hand-out."""
        before: list[Operation] = list(self.take_syncs()) if self._fresh_sync else []
        for segment in self._uncreated.values():
            before += (CreateFile(segment.name, segment.capacity), SyncFolder())
        writes: list[Operation] = []
        touched: dict[str, None] = {}
        for run in self._runs:
            name = run.segment.name
            writes.append(WriteAt(name, run.offset, b"".join(run.parts)))
            touched[name] = None
        if self._sync or self._fresh_sync:
            writes += map(SyncFile, touched)
            durable = self._next_lsn - 1
        else:
            self._unsynced.update(touched)
            durable = 0
        self._uncreated = {}
        self._runs, self._run, self._fresh_sync = [], None, False
        active = self.segments.active
        active.used = next_sector(active.used)
        self._handed_lsn = self._next_lsn - 1
        return Writes((*before, *writes), self._handed_lsn, durable)

    def take_syncs(self) -> tuple[Operation, ...]:
        """Syncs for everything that was handed out without one."""
        syncs = tuple(map(SyncFile, self._unsynced))
        self._unsynced = {}
        return syncs

    def settle(self, *, last_lsn: int, durable_lsn: int) -> None:
        """The hand-out that ended with record `last_lsn` was performed."""
        self.completed_lsn = max(self.completed_lsn, last_lsn)
        self.durable_lsn = max(self.durable_lsn, durable_lsn)

    @property
    def needs_spare(self) -> bool:
        """Records already have their place in the segment that was prepared last."""
        return self.segments.active.sequence >= self._spare

    def give_up_spare(self) -> Operation | None:
        """There was no space for the next segment. What may be left of its file has to go; its number is not used.

        None where the file exists and is merely shorter than wanted: it serves.
        """
        if self._spare_bytes > limits.JOURNAL_SLICE_BYTES:
            self._spare_bytes = self._segment_bytes
            return None
        self._next_sequence = self._spare + 1
        return DeleteFile(segment_name(self._spare))

    def next_slice(self) -> tuple[Operation, ...]:
        """Operations that make the next segment ready a little more; () where it is ready."""
        sequence = max(self.segments.active.sequence + 1, self._next_sequence)
        if self._spare >= sequence and self._spare_bytes >= self._segment_bytes:
            return ()
        name = segment_name(sequence)
        if self._spare < sequence:
            self._spare, self._spare_bytes = sequence, min(limits.JOURNAL_SLICE_BYTES, self._segment_bytes)
            return CreateFile(name, self._spare_bytes), SyncFile(name), SyncFolder()
        offset = self._spare_bytes
        length = min(limits.JOURNAL_SLICE_BYTES, self._segment_bytes - offset)
        self._spare_bytes += length
        return WriteAt(name, offset, bytes(length)), SyncFile(name)

    def _open_run(self, size: int) -> _Run:
        """Where a record of `size` bytes goes: behind what is in the active segment, or in a new one."""
        active = self.segments.active
        if active.used and active.used + size > active.capacity:
            sequence = max(active.sequence + 1, self._next_sequence)
            active = Segment(sequence, max(self._segment_bytes, HEADER_BYTES + size), self._next_lsn)
            if self._spare < sequence:
                self._spare, self._spare_bytes = sequence, self._segment_bytes
                self._uncreated[sequence] = active
            self.segments.begin(active)
        run = self._run = _Run(active, active.used, [])
        self._runs.append(run)
        if not active.used:
            active.first_lsn = self._next_lsn
            self.append(RecordKind.WATERMARK)
        return run
