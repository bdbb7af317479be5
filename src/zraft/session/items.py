"""The payload of a COMMANDS batch: an array of items, one an entry, each with its command first.

    light write     [command]
    session write   [command, session, sequence, flags]        with trailing zeros left out

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

CommandT = TypeVar("CommandT")

_ONE: Final = b"\x91"  # msgpack: an array of one


class Item(msgspec.Struct, Generic[CommandT], frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One entry of a batch. `session` 0: a light write, with neither sequence nor flags."""

    command: CommandT
    session: int = 0
    sequence: int = 0
    flags: int = 0


RawItem = Item[msgspec.Raw]
"""An item whose command is left as bytes."""


def encode_items(commands: Sequence[bytes]) -> bytes:
    """The payload for light writes, in this order. Each command is one complete MessagePack value.

    Raises `UsageError` for none, and for more than a batch may hold (`limits.BATCH_ENTRIES`).
    """
    count = len(commands)
    if not 0 < count <= BATCH_ENTRIES:
        raise UsageError(f"a batch holds 1 to {BATCH_ENTRIES} items, not {count}")
    header = (0x90 | count).to_bytes(1, "big") if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return b"".join((header, _ONE, _ONE.join(commands)))
