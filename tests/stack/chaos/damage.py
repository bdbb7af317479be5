"""Damage to the files of a node that does not run: torn tails, rot, and what people and file systems do to files.

What was promised may only be damaged where the disk can still tell: a record that is the last one, or whose successors
are gone with it, is forgotten by a folder as if it had never been, and no program could know. So a record is damaged
only where one that is left behind it names it durable. A torn tail is the remains of a save that was under way: it lies
behind the last record.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import google_crc32c

from zraft.storage.hard_state import STATE_FILES
from zraft.storage.records import HEADER, HEADER_BYTES, MAGIC_BYTES, SECTOR_BYTES, Header, header_at, record_bytes
from zraft.storage.segments import list_segments, segment_name

Damage = Callable[[Path, random.Random], str]
"""Does it to a folder; what was done, or "" where there is nothing that it could be done to."""


class Place(NamedTuple):
    """A record and its bytes."""

    segment: int
    begin: int
    end: int
    header: Header


def records(folder: Path) -> list[Place]:
    """Every record of the journal, in order."""
    found = []
    for segment in list_segments([path.name for path in folder.iterdir()]):
        data, offset = (folder / segment_name(segment)).read_bytes(), 0
        while (offset := data.find(MAGIC_BYTES, offset)) >= 0:
            header = header_at(data, offset, segment) if offset % 8 == 0 else None
            if header is None:
                offset += 1
                continue
            found.append(Place(segment, offset, min(offset + record_bytes(header.length), len(data)), header))
            offset = found[-1].end
    return found


def provable(every: Sequence[Place], *, longest: int = 1) -> list[Sequence[Place]]:
    """Rows of records of one segment, up to so long, of whose first one a record behind the row says it is durable."""
    found: list[Sequence[Place]] = []
    for place, record in enumerate(every):
        row = [one for one in every[place : place + longest] if one.segment == record.segment]
        if any(one.header.durable >= record.header.lsn for one in every[place + len(row) :]):
            found.append(row)
    return found


def torn_tail(folder: Path, chance: random.Random) -> str:
    """Behind the last record stands one whose payload is not whole, or old bytes, or chance."""
    every = records(folder)
    if not every:
        return ""
    last = max(every, key=lambda place: place.header.lsn)
    path = folder / segment_name(last.segment)
    data = bytearray(path.read_bytes())
    begin = (last.end + SECTOR_BYTES - 1) // SECTOR_BYTES * SECTOR_BYTES
    kind = chance.choice(["half", "old", "chance"])
    if kind == "half":
        tail = _next_header(last.header, begin)
        # Without a payload the header is the whole record, and only half of it is torn.
        tail = tail + chance.randbytes(last.header.length // 2) if last.header.length > 1 else tail[: HEADER_BYTES // 2]
    elif kind == "old":
        old = chance.choice(every)
        tail = (folder / segment_name(old.segment)).read_bytes()[old.begin : old.end]
    else:
        tail = chance.randbytes(chance.randrange(1, 2000))
    tail = tail[: max(0, len(data) - begin)]
    data[begin : begin + len(tail)] = tail
    path.write_bytes(data)
    return f"{path.name}: {kind}, {len(tail)} bytes at {begin}" if tail else ""


def _next_header(last: Header, offset: int) -> bytes:
    """Of the record that would have come next."""
    header = last._replace(lsn=last.lsn + 1, offset=offset, first=last.first + last.entries, crc=0)
    rest = HEADER.pack(*header)[8:]
    return HEADER.pack(*header._replace(crc=google_crc32c.value(rest)))


def flipped_bit(folder: Path, chance: random.Random) -> str:
    """One bit of a record, in its header or its payload."""
    found = provable(records(folder))
    if not found:
        return ""
    (record,) = chance.choice(found)
    path = folder / segment_name(record.segment)
    data = bytearray(path.read_bytes())
    # Padding behind the payload vouches for nothing: there nothing is lost.
    place = chance.randrange(record.begin, record.begin + HEADER_BYTES + record.header.length)
    data[place] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return f"{path.name}: a bit at {place}, of record {record.header.lsn}"


def zeroed(folder: Path, chance: random.Random) -> str:
    """A row of records reads as zeros."""
    found = provable(records(folder), longest=chance.choice([1, 3, 20]))
    if not found:
        return ""
    row = chance.choice(found)
    path = folder / segment_name(row[0].segment)
    data = bytearray(path.read_bytes())
    begin, end = row[0].begin, row[-1].end
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    return f"{path.name}: zeros from {begin} to {end}, of {len(row)} records from {row[0].header.lsn} on"


def truncated(folder: Path, chance: random.Random) -> str:
    """An older segment ends in the middle, is empty, or is all zeros."""
    found = _older_segments(records(folder))
    if not found:
        return ""
    last = chance.choice(found)
    path, kind = folder / segment_name(last.segment), chance.choice(["cut", "empty", "zeros"])
    size, within = path.stat().st_size, last.begin + HEADER_BYTES + last.header.length
    data = {"cut": path.read_bytes()[: chance.randrange(within)], "empty": b"", "zeros": bytes(size)}[kind]
    path.write_bytes(data)
    return f"{path.name}: {kind}, {len(data)} of {size} bytes"


def duplicated(folder: Path, chance: random.Random) -> str:
    """A segment stands there twice: also under the name of the one that would come next, or of the spare one."""
    segments = list_segments([path.name for path in folder.iterdir()])
    if not segments:
        return ""
    source, target = chance.choice(segments), segments[-1] + 1
    shutil.copyfile(folder / segment_name(source), folder / segment_name(target))
    (folder / segment_name(target)).chmod(0o600)
    return f"{segment_name(source)} also as {segment_name(target)}"


def lost_state_file(folder: Path, chance: random.Random) -> str:
    """One of the two state files is cut, zero or full of chance."""
    path = folder / chance.choice(STATE_FILES)
    if not path.exists():
        return ""
    return _spoil(path, chance)


def lost_state_files(folder: Path, chance: random.Random) -> str:
    """Both: nobody knows for whom this node has voted."""
    return "; ".join(_spoil(folder / name, chance) for name in STATE_FILES if (folder / name).exists())


def rotten_snapshot(folder: Path, chance: random.Random) -> str:
    """One byte of a file of a snapshot."""
    files = [path for path in sorted(folder.glob("snapshots/*/*/*")) if path.is_file() and path.stat().st_size]
    if not files:
        return ""
    path = chance.choice(files)
    data = bytearray(path.read_bytes())
    place = chance.randrange(len(data))
    data[place] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return f"{path.relative_to(folder)}: a bit at {place} of {len(data)} bytes"


HARMLESS: Final[tuple[Damage, ...]] = (torn_tail, duplicated, lost_state_file)
"""After these everything that was promised is there."""
HARMFUL: Final[tuple[Damage, ...]] = (flipped_bit, zeroed, truncated, rotten_snapshot, lost_state_files)
"""These lose something that was promised: the folder of a minority only."""


def _spoil(path: Path, chance: random.Random) -> str:
    size, kind = path.stat().st_size, chance.choice(["cut", "zeros", "chance"])
    data = {"cut": path.read_bytes()[: size // 3], "zeros": bytes(size), "chance": chance.randbytes(size)}[kind]
    path.write_bytes(data)
    return f"{path.name}: {kind}"


def _older_segments(every: Sequence[Place]) -> list[Place]:
    """The last record of each segment of which records of later ones say that all of it was durable."""
    found = []
    for segment in dict.fromkeys(place.segment for place in every):
        last = max((place for place in every if place.segment == segment), key=lambda place: place.header.lsn)
        if max((place.header.durable for place in every if place.segment > segment), default=0) >= last.header.lsn:
            found.append(last)
    return found
