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
_OPENING: Final = Struct(f">{len(MAGIC)}sB{TOKEN_BYTES}s")
OPENING_BYTES: Final = _OPENING.size
_PART: Final = Struct(">IQQ")
PART_BYTES: Final = _PART.size


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
    TOKEN = "token"  # noqa: S105
    """A stranger: token unknown, used up, or no token at all."""
    SLOW = "slow"
    """A stranger that did not say its token in time."""
    BUSY = "busy"
    """A stranger that was closed because newer ones came."""
