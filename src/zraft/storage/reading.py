"""Batches back from the journal: which bytes to read, and every check before one of them is believed (D5)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import google_crc32c

from zraft import limits
from zraft.core.entries import Batch
from zraft.errors import CorruptData
from zraft.storage.disk import Disk, ReadAt
from zraft.storage.index import LogIndex
from zraft.storage.records import HEADER, HEADER_BYTES, MAGIC
from zraft.storage.segments import segment_name
from zraft.types import Index, Term

_CRC: Final = struct.Struct("<4xI")


class Wanted(NamedTuple):
    """A batch, and where its record stands."""

    first: Index
    last: Index
    term: Term
    segment: int
    offset: int
    size: int


class Plan(NamedTuple):
    """`spots[i]` says in which of the reads the i-th wanted record is, and how far from its beginning."""

    reads: tuple[ReadAt, ...]
    spots: list[tuple[int, int]]


def wanted_at(index: LogIndex, position: int) -> Wanted:
    """The batch at a position of the index."""
    return Wanted(
        index.firsts[position],
        index.lasts[position],
        index.terms[position],
        index.segments[position],
        index.offsets[position],
        index.sizes[position],
    )


def plan_reads(wanted: Sequence[Wanted]) -> Plan:
    """As few reads as possible, none of which brings much that is not wanted."""
    spots: list[tuple[int, int]] = []
    ranges: list[tuple[int, int, int]] = []
    for item in wanted:
        if ranges:
            segment, start, end = ranges[-1]
            if item.segment == segment and 0 <= item.offset - end <= limits.READ_GAP_BYTES:
                ranges[-1] = segment, start, item.offset + item.size
                spots.append((len(ranges) - 1, item.offset - start))
                continue
        ranges.append((item.segment, item.offset, item.offset + item.size))
        spots.append((len(ranges) - 1, 0))
    reads = tuple(ReadAt(segment_name(segment), start, end - start) for segment, start, end in ranges)
    return Plan(reads, spots)


def check_batch(data: bytes, at: int, owner: int, item: Wanted) -> Batch:
    """The batch whose record begins at `data[at]`. Raises CorruptData unless it is exactly the wanted one."""
    payload_at = at + HEADER_BYTES
    if len(data) < payload_at or google_crc32c.value(data[at + 8 : payload_at]) != _CRC.unpack_from(data, at)[0]:
        raise _corrupt(item, "the header does not match its checksum")
    (
        magic, _, _, _, its_owner, first, term, time, wall, count, length, payload_crc,
        _, segment, offset, _, _, _, kind,
    ) = HEADER.unpack_from(data, at)  # fmt: skip
    found = magic, its_owner, segment, offset, first, first + count - 1, term
    if found != (MAGIC, owner, item.segment, item.offset, item.first, item.last, item.term):
        raise _corrupt(item, "another record is there")
    payload = data[payload_at : payload_at + length]
    if len(payload) != length or google_crc32c.value(payload) != payload_crc:
        raise _corrupt(item, "the payload does not match its checksum")
    return Batch(first, count, term, time, wall, kind, payload)


def read_batches(disk: Disk, owner: int, wanted: Sequence[Wanted]) -> list[Batch]:
    """The wanted batches, now: for recovery, with the bytes of one read in memory. Raises CorruptData, OSError."""
    plan = plan_reads(wanted)
    batches: list[Batch] = []
    current, data = -1, b""
    for (read, at), item in zip(plan.spots, wanted, strict=True):
        if read != current:
            asked = plan.reads[read]
            current, data = read, disk.read(asked.name, asked.offset, asked.length)
        batches.append(check_batch(data, at, owner, item))
    return batches


def _corrupt(item: Wanted, what: str) -> CorruptData:
    return CorruptData(segment_name(item.segment), item.offset, f"batch {item.first} to {item.last}: {what}")
