"""What is in a node's folder, for people: every record as a line, and a verdict. Reads only, and needs no running node.

Uses `names`, `size` and `read` of a Disk. Commands and results of users are never shown, only how long they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from zraft.core.entries import Kind
from zraft.errors import CorruptData
from zraft.storage.disk import Disk
from zraft.storage.hard_state import NodeState, find_state
from zraft.storage.records import HEADER_BYTES, MAGIC_BYTES, RecordKind, decode_mark, header_at
from zraft.storage.recovery import survey
from zraft.storage.scan import Damage, Scan
from zraft.storage.segments import list_segments, segment_name
from zraft.types import Index, Millis, Term

_KINDS = {int(kind): kind.name.lower() for kind in Kind}


class ReplicaLine(msgspec.Struct, frozen=True):
    """One replica as the state files have it, and what its log adds up to (not known to `inspect`: 0)."""

    name: str
    group: str
    incarnation: int
    backend: str
    term: Term
    voted_for: str
    fault: str
    """"" where there is none."""
    snapshot_index: Index = 0
    last_index: Index = 0
    batches: int = 0


class RecordLine(msgspec.Struct, frozen=True):
    """One record. `replica` is its owner's name; where that is removed, its incarnation; "" where it is nobody's."""

    file: str
    offset: int
    lsn: int
    durable_lsn: int
    kind: str
    replica: str
    first: Index
    last: Index
    term: Term
    time: Millis
    entries: str
    """What the batch has: a kind of `Kind`, or a number; "" where the record is no batch."""
    payload_bytes: int


class BadLine(msgspec.Struct, frozen=True):
    """A place where no record is that should be. `is_lost`: it was durable; otherwise a save was cut short there."""

    file: str
    offset: int
    what: str
    is_lost: bool


Line: TypeAlias = ReplicaLine | RecordLine | BadLine


class Report(msgspec.Struct, frozen=True):
    """The verdict on a folder. `notes` is what opening it would say; a torn tail alone leaves it sound."""

    replicas: tuple[ReplicaLine, ...]
    segments: int
    records: int
    notes: tuple[str, ...]
    lost: tuple[str, ...]
    """What was durable and cannot be read."""

    @property
    def is_sound(self) -> bool:
        """Everything that was durable is there."""
        return not self.lost and not any(replica.fault for replica in self.replicas)


def inspect_folder(disk: Disk) -> Iterator[Line]:
    """Replicas, then records in the order of the journal, with what is wrong where it is.

    Raises StorageError where a newer program wrote the folder, OSError.
    """
    segments = list_segments(disk.names())
    try:
        state = find_state(disk, journal_exists=bool(segments)).state
    except CorruptData as error:
        yield BadLine(error.path, error.offset, error.what, is_lost=True)
        state = NodeState(oldest_segment=min(segments, default=1), oldest_lsn=_first_lsn(disk, segments))
    names = {}
    for row in state.replicas:
        names[row.meta.incarnation] = row.meta.name
        yield ReplicaLine(
            row.meta.name,
            row.meta.group.hex(),
            row.meta.incarnation,
            row.meta.backend,
            row.hard_state.term,
            str(row.hard_state.voted_for or ""),
            "" if row.fault is None else str(row.fault.error()),
        )
    needed = [sequence for sequence in segments if sequence >= state.oldest_segment]
    scan = Scan(disk, needed, first_lsn=state.oldest_lsn, durable_lsn=state.durable_lsn)
    for item in scan.run():
        if isinstance(item, Damage):
            yield BadLine(segment_name(item.segment), item.offset, item.what, is_lost=True)
        else:
            yield _record_line(scan.data, item.segment, item.offset, names)
    if scan.cut is not None:
        yield BadLine(segment_name(scan.cut.segment), scan.cut.offset, scan.cut.what, is_lost=False)


def verify_folder(disk: Disk) -> Report:
    """Reads every byte that counts and checks all checksums, as opening would; changes nothing.

    Raises CorruptData where neither state file can be read, StorageError where a newer program wrote the folder,
    OSError.
    """
    found = survey(disk)
    replicas = []
    for trace in found.traces.values():
        replica = trace.recovered(disk, tail_bytes=0)
        replicas.append(
            ReplicaLine(
                replica.meta.name,
                replica.meta.group.hex(),
                replica.meta.incarnation,
                replica.meta.backend,
                replica.recovered.hard_state.term,
                str(replica.recovered.hard_state.voted_for or ""),
                "" if replica.fault is None else str(replica.fault),
                trace.mark.index,
                max(trace.index.last_index, trace.mark.index),
                len(trace.index),
            )
        )
    spans = found.scan.spans.values()
    return Report(
        tuple(replicas),
        len(spans),
        sum(span.last_lsn - span.first_lsn + 1 for span in spans),
        tuple(found.notes),
        tuple(f"{segment_name(damage.segment)} at offset {damage.offset}: {damage.what}" for damage in found.damages),
    )


def describe_line(line: Line) -> str:
    """One line of text."""
    match line:
        case ReplicaLine():
            vote = f", voted for {line.voted_for}" if line.voted_for else ""
            fault = f", FAILED: {line.fault}" if line.fault else ""
            log = f", log {line.snapshot_index + 1} to {line.last_index}" if line.last_index else ""
            return f"replica {line.name}#{line.incarnation:016x} of {line.group}: term {line.term}{vote}{log}{fault}"
        case BadLine():
            return f"{line.file} {line.offset:>9}  {'LOST' if line.is_lost else 'cut short'}: {line.what}"
        case RecordLine():
            text = f"{line.file} {line.offset:>9}  {line.lsn:>8}  {line.kind:<9}"
            if line.replica:
                text += f" {line.replica}"
            if line.entries:
                count = "" if line.first == line.last else f" to {line.last}"
                text += (
                    f" {line.first}{count} term {line.term} time {line.time} {line.entries} {line.payload_bytes} bytes"
                )
            elif line.replica:
                text += f" {line.first}"
            return text


def _record_line(data: bytes, segment: int, offset: int, names: dict[int, str]) -> RecordLine:
    header = header_at(data, offset, segment)
    if header is None:
        raise CorruptData(segment_name(segment), offset, "the record changed while it was read")
    kind = RecordKind(header.kind)
    is_batch = kind in (RecordKind.BATCH, RecordKind.COPY)
    first = header.first
    if kind in (RecordKind.RESET, RecordKind.PREFIX):
        first = _mark_index(data[offset + HEADER_BYTES : offset + HEADER_BYTES + header.length])
    return RecordLine(
        file=segment_name(segment),
        offset=offset,
        lsn=header.lsn,
        durable_lsn=header.durable,
        kind=kind.name.lower(),
        replica=names.get(header.owner, f"{header.owner:016x}") if header.owner else "",
        first=first,
        last=first + header.entries - 1 if is_batch else first,
        term=header.term,
        time=header.time,
        entries=_KINDS.get(header.batch_kind, str(header.batch_kind)) if is_batch else "",
        payload_bytes=header.length,
    )


def _mark_index(payload: bytes) -> Index:
    """0: what is there is no mark, as the verdict on the replica will say."""
    try:
        return decode_mark(payload).index
    except msgspec.DecodeError:
        return 0


def _first_lsn(disk: Disk, segments: list[int]) -> int:
    """Where the journal seems to begin, while nobody says where it does."""
    for sequence in segments:
        name = segment_name(sequence)
        data = disk.read(name, 0, disk.size(name))
        at = data.find(MAGIC_BYTES)
        while at >= 0:
            header = header_at(data, at, sequence)
            if header is not None:
                return header.lsn
            at = data.find(MAGIC_BYTES, at + 1)
    return 1
