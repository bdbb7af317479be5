"""The payload of a COMMANDS batch: an array of items, one an entry, each with its command first.

    light write           [command]
    an item of a session  [command, [session, sequence, flags, acknowledged]]

    write   the command                          [id, n, 0 or TEMPORARY, a]    the client has every answer up to a < n
    open    [token digest, timeout in ms]        [0, 0, OPEN, 0]
    resume  [token digest, life]                 [0, 0, RESUME, 0]
    end     "stopped" or "expired"               [id, 0, END, 0]

The command stays the bytes that its client sent, from the client's frame to apply: the leader joins them without
decoding. So the door must have seen that each is exactly one complete value; a wrong count here stops the peer.

What an item may carry grows with the machine version, and a replica that does not know a flag or a further field stops:
to skip what one does not understand is to diverge (BM-117).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Generic, TypeVar

import msgspec

from zraft.errors import UsageError
from zraft.limits import BATCH_ENTRIES
from zraft.types import Millis

CommandT = TypeVar("CommandT")

_ONE: Final = b"\x91"  # msgpack: an array of one
_TWO: Final = b"\x92"

TEMPORARY: Final = 1
OPEN: Final = 2
END: Final = 4
RESUME: Final = 8

STOPPED: Final = "stopped"
EXPIRED: Final = "expired"


class Marks(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What makes an entry one of a session: of which one, which of its writes it is, and what its client has read."""

    session: int
    sequence: int
    flags: int
    acknowledged: int


class Item(msgspec.Struct, Generic[CommandT], frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One entry of a batch. Without `marks` it is a light write: one branch tells them apart."""

    command: CommandT
    marks: Marks | None = None


RawItem = Item[msgspec.Raw]
"""An item whose command is left as bytes."""

_ENCODER: Final = msgspec.msgpack.Encoder()


def encode_items(commands: Sequence[bytes]) -> bytes:
    """The payload for light writes, in this order. Each command is one complete MessagePack value.

    Raises `UsageError` for none, and for more than a batch may hold (`limits.BATCH_ENTRIES`).
    """
    return b"".join((_header(len(commands)), _ONE, _ONE.join(commands)))


def encode_session_items(items: Sequence[bytes]) -> bytes:
    """The payload for items that the functions below have made. Raises `UsageError` like `encode_items`."""
    return b"".join((_header(len(items)), *items))


def _header(count: int) -> bytes:
    if not 0 < count <= BATCH_ENTRIES:
        raise UsageError(f"a batch holds 1 to {BATCH_ENTRIES} items, not {count}")
    return (0x90 | count).to_bytes(1, "big") if count < 16 else b"\xdc" + count.to_bytes(2, "big")


def write_item(
    command: bytes | msgspec.Raw, session: int, sequence: int, acknowledged: int, *, temporary: bool
) -> bytes:
    """A write of a session. `command` is one complete MessagePack value."""
    flags = TEMPORARY if temporary else 0
    return b"".join((_TWO, command, _ENCODER.encode(Marks(session, sequence, flags, acknowledged))))


def open_item(digest: bytes, timeout_ms: Millis) -> bytes:
    """Opens a session for whoever holds the token with this digest."""
    return _ENCODER.encode(Item([digest, timeout_ms], Marks(0, 0, OPEN, 0)))


def resume_item(digest: bytes, life: int, session: int = 0) -> bytes:
    """A new life of the client goes on with the session of this token, if it has this id; 0: whichever it has."""
    return _ENCODER.encode(Item([digest, life, session], Marks(0, 0, RESUME, 0)))


def end_item(session: int, why: str) -> bytes:
    """Ends the session. `why` is for whoever reads a log."""
    return _ENCODER.encode(Item(why, Marks(session, 0, END, 0)))
