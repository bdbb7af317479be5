"""The reading side of the journal: every record in order, and a verdict on every byte that is none.

Where the expected record is not, three things can be:

1.  The journal goes on elsewhere with exactly that record: nothing is missing. (Padding before a sector boundary, the
    unused end of a segment, the remains of a save that an earlier opening cut off.)
2.  It was never durable: no readable record, nor the state files, say that it was. A torn tail: `Cut`. It belongs to a
    save that nobody was promised, and so does everything behind it.
3.  It was durable: `Damage`. Where the header is whole its owner is known and its length can be trusted; otherwise
    every record number up to the next readable record is missing, and it may have been anybody's.

Reads only; whoever repairs does so with what is found here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import google_crc32c
import msgspec

from zraft.storage.disk import Disk
from zraft.storage.records import (
    HEADER,
    HEADER_BYTES,
    LAST_KIND,
    MAGIC,
    MAGIC_BYTES,
    VERSION,
    Header,
    Record,
    header_at,
    is_zero_from,
    next_sector,
    record_bytes,
    refuse_unknown,
)
from zraft.storage.segments import segment_name


class Damage(msgspec.Struct, frozen=True):
    """Records `first_lsn` to `last_lsn` were durable and are not readable. `header`: of the one record, if it is."""

    segment: int
    offset: int
    what: str
    first_lsn: int
    last_lsn: int
    header: Header | None = None


class Cut(msgspec.Struct, frozen=True):
    """The journal ends before this place, where a save was under way."""

    segment: int
    offset: int
    what: str


class Span(msgspec.Struct, frozen=True):
    """The readable records of one segment: first number, last number, and where the last one ends."""

    first_lsn: int
    last_lsn: int
    end: int


class Scan:
    """One pass over the journal, oldest record first. The fields are final when `run` is exhausted."""

    def __init__(self, disk: Disk, segments: Sequence[int], *, first_lsn: int, durable_lsn: int) -> None:
        """`segments` ascending; the first record there is `first_lsn`; up to `durable_lsn` records must be there."""
        self._disk = disk
        self._segments = segments
        self._known_durable = durable_lsn
        self._evidence = -1
        self._cached = -1, b""
        self._lost: Damage | None = None
        self.expected = first_lsn
        """Number of the next record: after the scan, of the first one to write."""
        self.epoch = 0
        self.data = b""
        """The segment that the last record was in."""
        self.spans: dict[int, Span] = {}
        """Of every segment with readable records, ascending."""
        self.cut: Cut | None = None
        """Set where something has to be cut off; None where only zeros follow the last record."""
        self.ends_in_damage = False
        """What followed the last record was durable and is unreadable: nothing may be written there."""

    def run(self) -> Iterator[Record | Damage]:
        """Every record. Raises StorageError where one is of an unknown version or kind."""
        position = offset = 0
        while position < len(self._segments):
            segment = self._segments[position]
            self.data = self.read(segment)
            offset = yield from self._read_records(segment, offset)
            place = self._look(position, offset)
            if self._lost is not None:
                yield self._lost
                self._lost = None
            if place is None:
                return
            position, offset = place
        if self._known_durable >= self.expected:
            yield Damage(0, 0, "every segment is missing", self.expected, self._known_durable)
            self.expected = self._known_durable + 1

    def _read_records(self, segment: int, offset: int) -> Generator[Record, None, int]:
        """Records from `offset` on, up to the first place where the expected one is not."""
        data, expected, epoch = self.data, self.expected, self.epoch
        size, unpack, checksum = len(data), HEADER.unpack_from, google_crc32c.value
        while offset + HEADER_BYTES <= size:
            (
                magic, crc, lsn, _, owner, first, term, _, _, count, length, payload_crc,
                its_epoch, its_segment, its_offset, version, kind, _, batch_kind,
            ) = unpack(data, offset)  # fmt: skip
            payload_at = offset + HEADER_BYTES
            if magic != MAGIC:
                boundary = next_sector(offset)
                if boundary == offset or data[offset:boundary].strip(b"\0"):
                    break
                offset = boundary
                continue
            if crc != checksum(data[offset + 8 : payload_at]) or its_offset != offset or its_segment != segment:
                break
            if version != VERSION or not 0 < kind <= LAST_KIND:
                refuse_unknown(version, kind, segment, offset)
            end = payload_at + length
            if lsn != expected or its_epoch < epoch or end > size or checksum(data[payload_at:end]) != payload_crc:
                break
            yield Record(lsn, owner, first, term, count, length, segment, offset, kind, batch_kind)
            expected += 1
            epoch = its_epoch
            offset = (end + 7) & -8
        self.epoch = epoch
        self._note(segment, expected, offset)
        return offset

    def _look(self, position: int, offset: int) -> tuple[int, int] | None:
        """The expected record is not at `offset`: where to go on; None: nowhere. `_lost` is set where it must exist."""
        segment, expected = self._segments[position], self.expected
        header = header_at(self.data, offset, segment)
        if header is not None and header.lsn == expected and header.epoch >= self.epoch:
            what = f"the payload of record {expected} does not match its checksum"
            if not self._was_durable(position, offset):
                return self._end(position, offset, what)
            self._lost = Damage(segment, offset, what, expected, expected, header)
            end = min(offset + record_bytes(header.length), len(self.data))
            self._note(segment, expected + 1, end)
            self.epoch = header.epoch
            return position, end
        following = next(self._headers(position, offset), None)
        if following is not None and following.lsn == expected:
            return self._segments.index(following.segment, position), following.offset
        what = f"record {expected} is not there"
        if not self._was_durable(position, offset):
            return self._end(position, offset, what)
        if is_zero_from(self.data, offset) and position + 1 < len(self._segments):
            segment, offset = self._segments[position + 1], 0
        last = self._evidence if following is None else following.lsn - 1
        self._lost = Damage(segment, offset, what, expected, last)
        self.expected = last + 1
        if following is None:
            self.ends_in_damage = True
            return None
        return self._segments.index(following.segment, position), following.offset

    def _end(self, position: int, offset: int, what: str) -> tuple[int, int] | None:
        """Nothing from here on was durable. A cut, unless there is nothing but zeros. Always None."""
        later = (self.read(segment) for segment in self._segments[position + 1 :])
        if not is_zero_from(self.data, offset) or any(not is_zero_from(data, 0) for data in later):
            self.cut = Cut(self._segments[position], offset, what)
        return None

    def _was_durable(self, position: int, offset: int) -> bool:
        """The state files or a later record say that the expected record was durable."""
        if self._evidence < 0:
            later = (header.durable for header in self._headers(position, offset))
            self._evidence = max(self._known_durable, max(later, default=0))
        return self._evidence >= self.expected

    def _headers(self, position: int, offset: int) -> Iterator[Header]:
        """Every whole header from here to the end that may belong behind what was read so far."""
        for segment in self._segments[position:]:
            data = self.read(segment)
            if is_zero_from(data, offset):
                offset = 0
                continue
            while (offset := data.find(MAGIC_BYTES, offset)) >= 0:
                header = header_at(data, offset, segment) if offset % 8 == 0 else None
                if header is None or header.lsn < self.expected or header.epoch < self.epoch:
                    offset += 1
                    continue
                yield header
                offset += record_bytes(header.length)
            offset = 0

    def _note(self, segment: int, next_lsn: int, end: int) -> None:
        """Records up to `next_lsn - 1` were found; the last of them ends at `end`."""
        if next_lsn > self.expected:
            span = self.spans.get(segment)
            first_lsn = self.expected if span is None else span.first_lsn
            self.spans[segment] = Span(first_lsn, next_lsn - 1, end)
            self.expected = next_lsn

    def read(self, segment: int) -> bytes:
        """The whole file; the last one read stays at hand."""
        if self._cached[0] != segment:
            name = segment_name(segment)
            self._cached = segment, self._disk.read(name, 0, self._disk.size(name))
        return self._cached[1]
