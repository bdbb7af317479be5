"""One journal record: a header that vouches for itself, and a payload that the header vouches for.

    byte  size  field
       0     4  magic "zrJ1"
       4     4  CRC32C of bytes 8 to 95
       8     8  LSN: number of this record, one more than the record before it
      16     8  every record up to this LSN was durable when this one was written
      24     8  incarnation of the replica that owns the record; 0: nobody
      32     8  first index of the batch; of a truncation, the index from which the log is forgotten
      40     8  term
      48     8  replicated time
      56     8  wall clock, signed
      64     4  count of entries
      68     4  length of the payload
      72     4  CRC32C of the payload
      76     4  epoch: how often the folder had been opened when this was written
      80     4  sequence of the segment that the record is in
      84     4  offset of the record in that segment
      88     1  format version
      89     1  kind of record
      90     2  zero
      92     4  kind of batch
      96        payload, then zeros up to a multiple of 8

All numbers are little-endian. Magic, checksum, and the places of version and kind stay the same in every version, so
that an old program can refuse what a new one wrote. Segment and offset bind a record to its place: bytes that look like
a record inside a user's command are not one.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

import google_crc32c
import msgspec

from zraft.core.entries import SnapshotMark
from zraft.errors import InvariantViolation, StorageError

MAGIC_BYTES: Final = b"zrJ1"
MAGIC: Final = int.from_bytes(MAGIC_BYTES, "little")
VERSION: Final = 1
HEADER: Final = struct.Struct("<IIQQQQQQqIIIIIIBBHI")
HEADER_BYTES: Final = HEADER.size
SECTOR_BYTES: Final = 512
"""What a disk writes whole or not at all. Every save begins a new one, so that no write touches what is durable."""

_FRONT: Final = struct.Struct("<II")
_REST: Final = struct.Struct("<QQQQQQqIIIIIIBBHI")
_ALIGN: Final = 8
_ZERO_BYTES: Final = 1 << 16
_ZEROS: Final = bytes(_ZERO_BYTES)
_PADDING: Final = tuple(bytes(count) for count in range(_ALIGN))
_MARK_ENCODER: Final = msgspec.msgpack.Encoder()
_MARK_DECODER: Final = msgspec.msgpack.Decoder(SnapshotMark)


class RecordKind(IntEnum):
    """What a record does to its owner's log. An unknown one stops the node: nothing is skipped (BM-117)."""

    BATCH = 1
    """Appends one batch."""
    TRUNCATE = 2
    """Forgets every batch from `first` on."""
    RESET = 3
    """Forgets the whole log, which continues after the snapshot mark in the payload."""
    PREFIX = 4
    """A durable snapshot covers the log up to the mark in the payload; what follows stays."""
    WATERMARK = 5
    """Nobody's: says what was durable."""
    COPY = 6
    """The same batch as one that stands in an older segment, which is about to be deleted."""


LAST_KIND: Final = max(RecordKind)


class Header(NamedTuple):
    """The fields in the order of the bytes."""

    magic: int
    crc: int
    lsn: int
    durable: int
    owner: int
    first: int
    term: int
    time: int
    wall: int
    entries: int
    length: int
    payload_crc: int
    epoch: int
    segment: int
    offset: int
    version: int
    kind: int
    zero: int
    batch_kind: int


class Record(NamedTuple):
    """The fields of a record that readers of the journal need, and where it stands."""

    lsn: int
    owner: int
    first: int
    term: int
    entries: int
    length: int
    segment: int
    offset: int
    kind: int
    batch_kind: int


def record_bytes(length: int) -> int:
    """What a record with a payload of `length` bytes takes in the journal."""
    return (HEADER_BYTES + length + _ALIGN - 1) & -_ALIGN


def is_zero_from(data: bytes, start: int) -> bool:
    """Nothing but zeros from there to the end. Blocks are compared: that is 30 times as fast as to strip them."""
    whole = len(data) - _ZERO_BYTES
    while start <= whole:
        if not data.startswith(_ZEROS, start):
            return False
        start += _ZERO_BYTES
    return start >= len(data) or data.startswith(bytes(len(data) - start), start)


def next_sector(offset: int) -> int:
    """The first sector boundary at or after `offset`."""
    return (offset + SECTOR_BYTES - 1) & -SECTOR_BYTES


def padding(length: int) -> bytes:
    """The zeros that follow a payload of `length` bytes."""
    return _PADDING[-length % _ALIGN]


def encode_header(
    *,
    lsn: int,
    durable: int,
    owner: int,
    first: int,
    term: int,
    time: int,
    wall: int,
    count: int,
    payload: bytes,
    epoch: int,
    segment: int,
    offset: int,
    kind: int,
    batch_kind: int,
) -> bytes:
    """The 96 bytes before `payload`. Raises InvariantViolation where a number does not fit its field."""
    try:
        rest = _REST.pack(
            lsn,
            durable,
            owner,
            first,
            term,
            time,
            wall,
            count,
            len(payload),
            google_crc32c.value(payload),
            epoch,
            segment,
            offset,
            VERSION,
            kind,
            0,
            batch_kind,
        )
    except struct.error as error:
        raise InvariantViolation(f"a record of kind {kind} at {first} does not fit its header: {error}") from error
    return _FRONT.pack(MAGIC, google_crc32c.value(rest)) + rest


def header_at(data: bytes, offset: int, segment: int) -> Header | None:
    """The header at `offset` of `segment`, whose bytes are `data`; None where none is, or one that is damaged.

    Raises StorageError where it is whole and of a version or kind that this program does not know.
    """
    if offset + HEADER_BYTES > len(data):
        return None
    header = Header._make(HEADER.unpack_from(data, offset))
    if header.magic != MAGIC or header.segment != segment or header.offset != offset:
        return None
    if header.crc != google_crc32c.value(data[offset + 8 : offset + HEADER_BYTES]):
        return None
    refuse_unknown(header.version, header.kind, segment, offset)
    return header


def refuse_unknown(version: int, kind: int, segment: int, offset: int) -> None:
    """Raises StorageError unless this program knows what the version and kind of record mean (BM-117)."""
    if version != VERSION or not 1 <= kind <= LAST_KIND:
        raise StorageError(
            f"journal segment {segment} has at offset {offset} a record of format {version}, kind {kind}, and this "
            f"program knows format {VERSION}, kinds 1 to {LAST_KIND}: the folder was written by a newer program, "
            "which must open it"
        )


def encode_mark(mark: SnapshotMark) -> bytes:
    """The payload of a RESET or PREFIX record."""
    return _MARK_ENCODER.encode(mark)


def decode_mark(payload: bytes) -> SnapshotMark:
    """What `encode_mark` wrote. Raises msgspec.DecodeError."""
    try:
        return _MARK_DECODER.decode(payload)
    except (ValueError, RecursionError) as error:  # text that is none, and what is nested too deep
        raise msgspec.DecodeError(str(error)) from error
