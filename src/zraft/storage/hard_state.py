"""The two files that hold what a node promised: term and vote of every replica, and where the journal begins.

    byte  size  field
       0     8  magic "zrState" and a zero
       8     4  CRC32C of everything after it
      12     4  format version
      16     8  generation: the higher valid one of the two files counts
      24     4  length of the body
      28     4  zero
      32        body: MessagePack of `NodeState`

Both files are written and synced, one after the other, before anything in them is promised (§3.8), in every sync mode.
So a crash can damage at most one file, and then the other has everything that was promised.
"""

from __future__ import annotations

import struct
from typing import Final

import google_crc32c
import msgspec

from zraft.core.entries import HardState
from zraft.errors import CorruptData, StorageError
from zraft.storage.disk import Disk, Operation, SyncFile, WriteAt
from zraft.storage.replica import ReplicaMeta

STATE_FILES: Final = ("state-a", "state-b")
STATE_VERSION: Final = 2
"""2 only where a row says that part of its log was lost: a program that knows no more than 1 would let it vote."""

_MAGIC: Final = b"zrState\0"
_FRONT: Final = struct.Struct("<8sI")
_REST: Final = struct.Struct("<IQII")
_BODY_AT: Final = _FRONT.size + _REST.size
_WAY_OUT: Final = (
    "terms and votes of the replicas here are unknown, and a replica that forgot its vote could vote twice. Restore "
    "state-a or state-b from a copy taken after the node was stopped, or delete the node's data folder and re-admit "
    "its peers by a change of configuration"
)


class Fault(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Corruption that was found once is remembered: it stays true when the segment is gone."""

    path: str
    offset: int
    what: str

    @classmethod
    def of(cls, error: CorruptData) -> Fault:
        """The fault to remember for this error."""
        return cls(error.path, error.offset, error.what)

    def error(self) -> CorruptData:
        """The error to raise for this fault."""
        return CorruptData(self.path, self.offset, self.what)


class Lost(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of the replica's records, those from `first_lsn` up to, and without, `end_lsn` do not count, whatever they say.

    The first one that was durable and cannot be read, and all that were there when that was found.
    """

    first_lsn: int
    end_lsn: int


class ReplicaRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One replica. `born_lsn` is the first record that can be its own: nothing before it concerns the replica."""

    meta: ReplicaMeta
    hard_state: HardState
    born_lsn: int
    fault: Fault | None = None
    lost: Lost | None = None

    @property
    def needs_version(self) -> int:
        """The least version of the file that can say this."""
        return 2 if self.lost is not None or self.hard_state.abstains_below else 1


class NodeState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The body. Segments before `oldest_segment` are not needed; that one begins with the record `oldest_lsn`."""

    epoch: int = 0
    """How often the folder was opened."""
    oldest_segment: int = 1
    oldest_lsn: int = 1
    durable_lsn: int = 0
    """The journal reaches at least up to this record."""
    replicas: list[ReplicaRow] = msgspec.field(default_factory=list)


class _RawState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`NodeState` for writing, with rows that are encoded only when they change."""

    epoch: int
    oldest_segment: int
    oldest_lsn: int
    durable_lsn: int
    replicas: list[msgspec.Raw]


class FoundState(msgspec.Struct, frozen=True):
    """What the two files say. `unreadable` names those with bytes that are not a valid state, with the reason."""

    state: NodeState
    generation: int
    newest: str
    """The file that counts; "" where the folder is new."""
    unreadable: dict[str, str]


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(NodeState)


def encode_row(row: ReplicaRow) -> msgspec.Raw:
    """One row of the body."""
    return msgspec.Raw(_ENCODER.encode(row))


def encode_state(
    generation: int,
    rows: list[msgspec.Raw],
    *,
    epoch: int,
    oldest_segment: int,
    oldest_lsn: int,
    durable_lsn: int,
    version: int = 1,
) -> bytes:
    """The content of a state file."""
    body = _ENCODER.encode(_RawState(epoch, oldest_segment, oldest_lsn, durable_lsn, rows))
    rest = _REST.pack(version, generation, len(body), 0) + body
    return _FRONT.pack(_MAGIC, google_crc32c.value(rest)) + rest


def write_state(image: bytes, order: tuple[str, ...] = STATE_FILES) -> tuple[Operation, ...]:
    """The operations that make `image` the content of both files, in such an order that one is whole at any time."""
    return tuple(op for name in order for op in (WriteAt(name, 0, image), SyncFile(name)))


def decode_state(data: bytes) -> tuple[int, NodeState] | str:
    """Generation and state, or what is wrong with the bytes.

    Raises StorageError where they are whole and of a version that this program does not know.
    """
    if len(data) < _BODY_AT:
        return f"has {len(data)} bytes, less than a header"
    magic, crc = _FRONT.unpack_from(data)
    version, generation, length, _ = _REST.unpack_from(data, _FRONT.size)
    if magic != _MAGIC:
        return "does not begin with the magic of a state file"
    if _BODY_AT + length > len(data):
        return f"has {len(data)} bytes and needs {_BODY_AT + length}"
    if google_crc32c.value(data[_FRONT.size : _BODY_AT + length]) != crc:
        return "does not match its checksum"
    if not 1 <= version <= STATE_VERSION:
        raise StorageError(
            f"the state files have format {version} and this program knows 1 to {STATE_VERSION}: the folder was "
            "written by a newer program, which must open it"
        )
    try:
        return generation, _DECODER.decode(data[_BODY_AT : _BODY_AT + length])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return f"cannot be decoded: {error}"


def find_state(disk: Disk, *, journal_exists: bool) -> FoundState:
    """The state that counts, of the two files in the folder.

    A folder without journal whose state files are absent, empty or zero is new: its first opening was interrupted at
    most. Raises CorruptData where neither file is valid otherwise.
    """
    names = disk.names()
    best: tuple[int, NodeState] | None = None
    newest = ""
    unreadable: dict[str, str] = {}
    untouched = True
    for name in STATE_FILES:
        data = disk.read(name, 0, disk.size(name)) if name in names else b""
        untouched = untouched and not any(data)
        found = decode_state(data)
        if isinstance(found, str):
            if name in names:
                unreadable[name] = found
        elif best is None or found[0] > best[0]:
            best, newest = found, name
    if best is not None:
        return FoundState(best[1], best[0], newest, unreadable)
    if untouched and not journal_exists:
        return FoundState(NodeState(), 0, "", {})
    reasons = "; ".join(f"{name} {unreadable.get(name, 'is missing')}" for name in STATE_FILES)
    raise CorruptData(STATE_FILES[0], 0, f"{reasons}: {_WAY_OUT}")
