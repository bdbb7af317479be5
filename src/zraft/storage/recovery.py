"""From the bytes that a crash left to a folder that can be written to.

`survey` only reads, and says what is there. `mend` carries it out: it removes what was never durable, so that it can
never come back, and writes the state files anew. A crash at any moment of it leaves a folder of which the next survey
says the same, or less that has to be mended.

    found                                            done
    a save that was under way (torn tail)            later segments deleted, then the rest of the segment zeroed
    an unreadable state file beside a good one       written anew
    a spare segment                                  deleted
    a segment that nobody needs any more             deleted: its deletion was not durable
    durable records that are unreadable              kept; the replicas that they may belong to are at fault for ever,
                                                     or, where whoever opens wants that, abstain and go on without them

What a replica lost is given up in one write of the state files, together with the promise to abstain: a new term, a
vote for nobody, from which term on its log is whole again, and which records count no more (`core.abstention`). What
remains is its log as it was before the first record that cannot be read.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from zraft.core.entries import HardState, Kind
from zraft.errors import CorruptData
from zraft.storage.disk import CreateFile, DeleteFile, Disk, Operation, SyncFile, SyncFolder, WriteAt
from zraft.storage.hard_state import (
    STATE_FILES,
    Fault,
    FoundState,
    Lost,
    ReplicaRow,
    encode_row,
    encode_state,
    find_state,
    write_state,
)
from zraft.storage.records import HEADER_BYTES, Record, RecordKind, is_zero_from, next_sector
from zraft.storage.replay import Trace
from zraft.storage.scan import Damage, Scan
from zraft.storage.segments import Segment, Segments, list_segments, segment_name

_WITH_PAYLOAD = (RecordKind.RESET, RecordKind.PREFIX)


class Survey:
    """What is in a folder: the state files' word, every replica's log, and where the journal ends."""

    __slots__ = ("damages", "found", "notes", "scan", "segments", "traces")

    def __init__(self, found: FoundState, segments: list[int], scan: Scan) -> None:
        self.found = found
        self.segments = segments
        """Sequence numbers of all segments, ascending, also of those that are not needed any more."""
        self.scan = scan
        self.traces = {row.meta.incarnation: Trace(row) for row in found.state.replicas}
        self.damages: list[Damage] = []
        self.notes: list[str] = []
        """For the log: what was found that a clean stop does not leave."""


class Mended(msgspec.Struct, frozen=True):
    """The folder as it is now, ready for writing."""

    segments: Segments
    epoch: int
    generation: int
    oldest_lsn: int


def survey(disk: Disk, abstaining: Collection[int] = ()) -> Survey:
    """Reads everything and changes nothing.

    The replicas with the incarnations `abstaining` are to give up what they lost: of one that is rotten its log before
    that is left, of another one nothing. Raises CorruptData where neither state file is readable, StorageError where a
    newer program wrote the folder, and OSError.
    """
    found = _survey(disk, {})
    if not abstaining:
        return found
    traces = [found.traces[owner] for owner in abstaining if owner in found.traces]
    rows = {trace.row.meta.incarnation: _given_up(trace, trace.rotten_lsn, found.scan.expected) for trace in traces}
    result = _survey(disk, rows)
    broken = [trace for trace in traces if result.traces[trace.row.meta.incarnation].fault is not None]
    if broken:  # what was copied forward later on is needed to understand the rest: nothing is left then
        rows |= {trace.row.meta.incarnation: _given_up(trace, 0, found.scan.expected) for trace in broken}
        result = _survey(disk, rows)
    return result


def _given_up(trace: Trace, rotten_lsn: int, next_lsn: int) -> ReplicaRow:
    """The row of a replica that abstains from now on, without its records from `rotten_lsn` on; 0: without any."""
    row = trace.row
    first = row.born_lsn
    if rotten_lsn:
        first = rotten_lsn if row.lost is None else min(rotten_lsn, row.lost.first_lsn)
    term = row.hard_state.term + 1
    return ReplicaRow(row.meta, HardState(term, None, term), row.born_lsn, None, Lost(first, next_lsn))


def _survey(disk: Disk, rows: dict[int, ReplicaRow]) -> Survey:
    """With these rows, by incarnation, in place of those in the state files."""
    segments = list_segments(disk.names())
    found = find_state(disk, journal_exists=bool(segments))
    replicas = [rows.get(row.meta.incarnation, row) for row in found.state.replicas]
    found = msgspec.structs.replace(found, state=msgspec.structs.replace(found.state, replicas=replicas))
    state = found.state
    needed = [sequence for sequence in segments if sequence >= state.oldest_segment]
    scan = Scan(disk, needed, first_lsn=state.oldest_lsn, durable_lsn=state.durable_lsn)
    result = Survey(found, segments, scan)
    for name, reason in found.unreadable.items():
        result.notes.append(f"{name} {reason}; {found.newest} is good")
    traces = result.traces
    for item in scan.run():
        if isinstance(item, Damage):
            _take_damage(result, item)
            continue
        trace = traces.get(item.owner)
        if trace is None or item.lsn < trace.row.born_lsn or trace.first_lost <= item.lsn < trace.end_of_lost:
            continue
        if item.batch_kind == Kind.CONFIGURATION or item.kind in _WITH_PAYLOAD:
            start = item.offset + HEADER_BYTES
            trace.take(item, scan.data[start : start + item.length])
        else:
            trace.take(item, b"")
    for trace in traces.values():
        trace.finish()
    if scan.cut is not None:
        cut = scan.cut
        result.notes.append(
            f"{segment_name(cut.segment)} ends at offset {cut.offset}: {cut.what}, and nothing says that it ever was "
            "durable, so a save was under way that nobody was promised; it is cut off"
        )
    return result


def mend(disk: Disk, found: Survey, segment_bytes: int) -> Mended:
    """Makes the folder clean, durably, before anybody is promised anything. Raises OSError."""
    state, scan = found.found.state, found.scan
    kept = _kept(found)
    dropped = [sequence for sequence in found.segments if sequence not in kept]
    if dropped:
        disk.perform(*(DeleteFile(segment_name(sequence)) for sequence in reversed(dropped)), SyncFolder())
    segments = [_segment(found, sequence, segment_bytes) for sequence in kept]
    if kept and not scan.ends_in_damage:
        span = scan.spans.get(kept[-1])
        _zero_rest(disk, segments[-1], scan.read(kept[-1]), 0 if span is None else span.end)
    else:
        sequence = max(found.segments, default=0) + 1 if kept else state.oldest_segment
        segments.append(Segment(sequence, segment_bytes, scan.expected))
    is_same = bool(kept) and kept[0] == state.oldest_segment
    oldest_lsn = state.oldest_lsn if is_same else segments[0].first_lsn
    for trace in found.traces.values():
        trace.forget_lost(oldest_lsn)
    rows = [row_of(trace) for trace in found.traces.values()]
    image = encode_state(
        found.found.generation + 1,
        [encode_row(row) for row in rows],
        epoch=state.epoch + 1,
        oldest_segment=segments[0].sequence,
        oldest_lsn=oldest_lsn,
        durable_lsn=scan.expected - 1,
        version=max((row.needs_version for row in rows), default=1),
    )
    _write_state_anew(disk, found.found, image)
    active = segments[-1]
    if active.sequence not in kept:
        disk.perform(CreateFile(active.name, segment_bytes), SyncFile(active.name), SyncFolder())
    result = Segments(segments)
    for trace in found.traces.values():
        for sequence, size in zip(trace.index.segments, trace.index.sizes, strict=True):
            result.need(sequence, size)
        if trace.mark_place is not None:
            result.need(trace.mark_place.segment, trace.mark_place.size)
    return Mended(result, state.epoch + 1, found.found.generation + 1, oldest_lsn)


def row_of(trace: Trace) -> ReplicaRow:
    """The replica's row, with the fault that was found."""
    fault = None if trace.fault is None else Fault.of(trace.fault)
    return ReplicaRow(trace.row.meta, trace.row.hard_state, trace.row.born_lsn, fault, trace.row.lost)


def _take_damage(found: Survey, damage: Damage) -> None:
    """Durable records are lost: whose they were, if it is known; else they may be anybody's who lived then."""
    found.damages.append(damage)
    name = segment_name(damage.segment)
    header = damage.header
    error = CorruptData(name, damage.offset, damage.what)
    if header is None:
        concerned = [trace for trace in found.traces.values() if trace.concerns(damage.first_lsn, damage.last_lsn)]
        whose = "they may be of every replica that was there" if concerned else "nobody needs them any more"
        found.notes.append(
            f"{name} at offset {damage.offset}: {damage.what}; records {damage.first_lsn} to {damage.last_lsn} were "
            f"durable and are lost; {whose}"
        )
        for trace in concerned:
            trace.fail(error, damage.first_lsn)
        return
    owner = found.traces.get(header.owner)
    if owner is not None and not owner.concerns(header.lsn, header.lsn):
        owner = None
    whose = "nobody any more" if owner is None else owner.row.meta.name
    found.notes.append(f"{name} at offset {damage.offset}: {damage.what}; it belongs to {whose}")
    if owner is not None:
        record = Record(
            header.lsn,
            header.owner,
            header.first,
            header.term,
            header.entries,
            header.length,
            header.segment,
            header.offset,
            header.kind,
            header.batch_kind,
        )
        owner.take_damaged(record, error)


def _kept(found: Survey) -> list[int]:
    """The segments that stay: what is needed, up to the last one with a readable record; the first one in any case."""
    oldest = found.found.state.oldest_segment
    needed = [sequence for sequence in found.segments if sequence >= oldest]
    if found.scan.ends_in_damage:
        return needed
    last = max(found.scan.spans, default=min(needed, default=0))
    return [sequence for sequence in needed if sequence <= last]


def _segment(found: Survey, sequence: int, segment_bytes: int) -> Segment:
    """What is known of a segment; one without a readable record is empty, or in the middle of what was lost."""
    spans = found.scan.spans
    span = spans.get(sequence)
    if span is None:
        before = (span.last_lsn for other, span in spans.items() if other < sequence)
        return Segment(sequence, segment_bytes, max(before, default=found.found.state.oldest_lsn - 1) + 1)
    segment = Segment(sequence, segment_bytes, span.first_lsn)
    segment.last_lsn = span.last_lsn
    segment.used = next_sector(span.end)
    return segment


def _zero_rest(disk: Disk, active: Segment, data: bytes, span_end: int) -> None:
    """Nothing that was cut off may ever look like a record again: the rest of the file becomes zero, durably."""
    if is_zero_from(data, span_end):
        return
    # Not one byte earlier: the sector of the last record may be durable and promised.
    rest = data[span_end:].rstrip(b"\0")
    zeros = len(rest.lstrip(b"\0"))
    disk.perform(WriteAt(active.name, span_end + len(rest) - zeros, bytes(zeros)), SyncFile(active.name))


def _write_state_anew(disk: Disk, found: FoundState, image: bytes) -> None:
    """The file that does not count first, so that a whole one exists at any time."""
    names = disk.names()
    missing = [name for name in STATE_FILES if name not in names]
    if missing:
        disk.perform(*(CreateFile(name, 0) for name in missing), SyncFolder())
    order = sorted(STATE_FILES, key=lambda name: name == found.newest)
    operations: tuple[Operation, ...] = write_state(image, tuple(order))
    disk.perform(*operations)
