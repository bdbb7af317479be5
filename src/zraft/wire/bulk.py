"""The snapshot channel's bytes: who opens it, which part of which file follows, how it ended. No sockets, no files.

    sender                                             receiver
    "ZBULK" version token                        ->
                                                 <-    ACCEPTED, or nothing and the end of the connection
    file offset length, then `length` raw bytes  ->
    ... and so on, then the end of the stream    ->
                                                 <-    how it ended, one byte

What is carried is settled before, on the control connection: both sides have the same list of files. A name never
comes over this channel, and a part is taken only where it continues a file exactly where that file ends so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from struct import Struct
from typing import Final, TypeAlias

from zraft import limits
from zraft.errors import ProtocolError, UsageError

FileEntry: TypeAlias = tuple[str, int, int]
"""Name, bytes, CRC32C: one file of a transfer. A NamedTuple of the three is one too."""

MAGIC: Final = b"ZBULK"
VERSION: Final = 1
TOKEN_BYTES: Final = 32
_PREFIX: Final = MAGIC + bytes((VERSION,))
OPENING_BYTES: Final = len(_PREFIX) + TOKEN_BYTES
_PART: Final = Struct(">IQQ")
PART_BYTES: Final = _PART.size
_NAME_BYTES: Final = 255
_MAX_SIZE: Final = 1 << 62


class Signal(IntEnum):
    """The bytes that the receiver sends."""

    ACCEPTED = 1
    """The token is good; send."""
    DONE = 2
    """Everything arrived, is what it should be, and is durable."""
    CUT = 3
    """Something is missing; what has arrived is kept."""
    DAMAGED = 4
    """A checksum is wrong; the receiver knows of which file."""
    REFUSED = 5
    """What was sent is not what the receiver lacks."""
    FAILED = 6
    """The receiver cannot store it."""


class End(StrEnum):
    """How a transfer ended, or why a connection never became one: for counters, logs and `TransferError.reason`."""

    DONE = "done"
    CUT = "cut"
    """The connection ended too early."""
    STALLED = "stalled"
    """Nothing, or next to nothing, came or was taken for too long."""
    DAMAGED = "damaged"
    PROTOCOL = "protocol"
    """The other side sent what it may not send."""
    DISK = "disk"
    """This side could not read or write its files."""
    REFUSED = "refused"
    """The other side did not take it: the token is unknown there or used up, or its disk failed."""
    CANCELLED = "cancelled"
    """This side does not want it any more."""
    FAILURE = "failure"
    """A bug of this side."""
    TOKEN = "token"  # noqa: S105
    """A stranger: token unknown, used up, or no token at all."""
    SLOW = "slow"
    """A stranger that did not say its token in time."""
    BUSY = "busy"
    """A stranger that was closed because newer ones came."""


def opening(token: bytes) -> bytes:
    """The first bytes of the sender. Raises UsageError for what cannot be a token."""
    if len(token) != TOKEN_BYTES:
        raise UsageError(f"a token has {TOKEN_BYTES} bytes, not {len(token)}")
    return _PREFIX + token


def token_of(data: bytes) -> bytes | None:
    """The token in the first bytes of a sender, None while there are too few. What follows it is not looked at.

    Raises ProtocolError at the first wrong byte.
    """
    prefix = data[: len(_PREFIX)]
    if prefix != _PREFIX[: len(prefix)]:
        raise ProtocolError(f"not the snapshot channel, or another version of it: {prefix!r}")
    return data[len(_PREFIX) : OPENING_BYTES] if len(data) >= OPENING_BYTES else None


def part_header(number: int, offset: int, length: int) -> bytes:
    """What goes before `length` bytes of file `number` (from 0) from `offset` on."""
    return _PART.pack(number, offset, length)


def part_of(header: bytes, files: Sequence[FileEntry], positions: Sequence[int]) -> tuple[int, int]:
    """File number and length of the part that `header` announces.

    Raises ProtocolError unless it continues one of `files` where that stands, and not beyond its end. A part is never
    empty: every header brings the transfer forward.
    """
    number, offset, length = _PART.unpack(header)
    if number >= len(files):
        raise ProtocolError(f"file {number} of {len(files)}")
    missing = files[number][1] - positions[number]
    if offset != positions[number]:
        raise ProtocolError(f"file {number}: bytes from {offset} on, where {positions[number]} are there")
    if not 1 <= length <= missing:
        raise ProtocolError(f"file {number}: {length} bytes, where {missing} are missing")
    return number, length


def check_files(files: Sequence[FileEntry]) -> tuple[FileEntry, ...]:
    """The files, where each can be a file of its own in one folder. Raises UsageError."""
    if len(files) > limits.BULK_FILES:
        raise UsageError(f"{len(files)} files; at most {limits.BULK_FILES} are carried at once")
    names: set[str] = set()
    for name, size, checksum in files:
        if not _is_plain(name) or name in names:
            raise UsageError(f"cannot be the name of a file: {name!r}")
        if not (0 <= size <= _MAX_SIZE and 0 <= checksum <= 0xFFFFFFFF):
            raise UsageError(f"size {size} and checksum {checksum} of {name!r}")
        names.add(name)
    return tuple((name, size, checksum) for name, size, checksum in files)


def check_positions(files: Sequence[FileEntry], positions: Sequence[int]) -> tuple[int, ...]:
    """The positions, where each lies within its file. Raises ProtocolError: they come from the other node."""
    if len(positions) != len(files):
        raise ProtocolError(f"{len(positions)} positions for {len(files)} files")
    for number, (position, (_name, size, _checksum)) in enumerate(zip(positions, files, strict=True)):
        if not 0 <= position <= size:
            raise ProtocolError(f"file {number}: position {position} of {size}")
    return tuple(positions)


def _is_plain(name: str) -> bool:
    """One component of a path, which every file system can hold."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        return False
    return len(name.encode("utf-8", "replace")) <= _NAME_BYTES
