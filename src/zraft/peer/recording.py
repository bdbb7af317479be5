"""A recording as a file, and what it says: docs/formats/recording.md has every byte.

What users wrote is not in it: of a command's payload only the length, which is all that the core knows of it, and of
the offer of a snapshot no token (S-13). So it can be passed on; names and addresses of peers are in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import google_crc32c
import msgspec

from zraft.core import events as e
from zraft.core.checkpoint import Held
from zraft.core.entries import Batch, Kind
from zraft.core.log import HeldLog
from zraft.core.messages import AppendEntries, InstallSnapshot
from zraft.errors import CorruptData
from zraft.limits import MAX_FRAME_BYTES, RECORDING_BYTES, RECORDING_ZEROS_BYTES
from zraft.peer.duties import Duties, Note, Recorded
from zraft.peer.flight import Entry
from zraft.types import GroupId, Millis

if TYPE_CHECKING:
    from zraft.peer.peer import Peer

MAGIC: Final = b"zrF1"
_FORMAT: Final = 1
_HEAD: Final = 8
_LENGTH: Final = 4

_Row: TypeAlias = tuple[Millis, str, msgspec.Raw]


class Recording(msgspec.Struct, frozen=True):
    """The end of a replica. `is_in_core`: its fault happened in a step, the last one."""

    peer: str
    group: GroupId
    backend: str
    fault: str
    is_in_core: bool
    held: Held
    log: HeldLog
    events: list[Entry]


class _File(msgspec.Struct, frozen=True):
    format: int
    peer: str
    group: GroupId
    backend: str
    fault: str
    is_in_core: bool
    held: Held
    log: HeldLog
    events: list[_Row]


_EVENTS: Final[dict[str, type]] = {
    kind.__name__: kind
    for kind in (
        e.Propose,
        e.ProposeTime,
        e.Read,
        e.ChangeMembership,
        e.TransferLeadership,
        e.Bootstrap,
        e.Received,
        e.Saved,
        e.Loaded,
        e.NodeLost,
        e.NodeBack,
        e.NodeSilent,
        e.NodeRestarted,
        e.Rouse,
        e.TimePassed,
        e.SnapshotTaken,
        e.SnapshotRestored,
        e.SnapshotFailed,
    )
}

_ENCODER: Final = msgspec.msgpack.Encoder()


def keep(peer: Peer, duties: Duties) -> None:
    """What the recorder has of a replica that has come to its end becomes a duty."""
    name, flight = peer.meta.name, peer.flight
    held, log, events = flight.recorded()
    recording = Recording(
        str(peer.id), peer.meta.group, peer.backend, peer.fault or "", flight.is_in_core, held, log, events
    )
    try:
        data = encode(recording)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        # It is for the curious, and must not cost the node its other replicas.
        duties.notes.append(Note(name, f"its last steps are not kept: {error}", is_alarm=True))
        return
    if data is None:
        duties.notes.append(Note(name, f"its last steps are not kept: more than {RECORDING_BYTES} bytes"))
    else:
        duties.recordings.append(Recorded(name, peer.meta.incarnation, data))


def encode(recording: Recording) -> bytes | None:
    """The bytes of the file; None where they would be more than `RECORDING_BYTES`."""
    log = recording.log
    rows = [(at, type(event).__name__, msgspec.Raw(_ENCODER.encode(_bared(event)))) for at, event in recording.events]
    file = _File(
        _FORMAT,
        recording.peer,
        recording.group,
        recording.backend,
        recording.fault,
        recording.is_in_core,
        recording.held,
        HeldLog(
            log.base_index,
            log.base_term,
            log.count,
            log.lasts[: log.count],
            log.terms[: log.count],
            log.in_memory,
            [_bare(batch) for batch in log.batches[: log.in_memory]],
        ),
        rows,
    )
    body: bytes = _ENCODER.encode(file)
    if len(body) > RECORDING_BYTES:
        return None
    checksum: int = google_crc32c.value(body)
    return MAGIC + checksum.to_bytes(4, "big") + body


def decode(name: str, data: bytes) -> Recording:
    """What `encode` made. Raises CorruptData for anything else."""
    body = data[_HEAD:]
    if data[:4] != MAGIC:
        raise CorruptData(name, 0, "not a recording")
    if google_crc32c.value(body) != int.from_bytes(data[4:_HEAD], "big"):
        raise CorruptData(name, 4, "a recording that is damaged or not whole")
    try:
        file = msgspec.msgpack.decode(body, type=_File)
        log = file.log
        if file.format != _FORMAT or not log.count == len(log.lasts) == len(log.terms) >= len(log.batches):
            raise ValueError(f"format {file.format}, a log of {log.count} positions")
        zeros = _Zeros()
        events = [(at, zeros.filled(msgspec.msgpack.decode(raw, type=_EVENTS[kind]))) for at, kind, raw in file.events]
        batches = [zeros.full(batch) for batch in log.batches]
    except (msgspec.MsgspecError, ValueError, KeyError, RecursionError) as error:
        raise CorruptData(name, _HEAD, f"a recording that this version cannot read: {error}") from error
    log = msgspec.structs.replace(log, batches=batches, in_memory=len(batches))
    return Recording(file.peer, file.group, file.backend, file.fault, file.is_in_core, file.held, log, events)


# -- commands go, their lengths stay


def _bared(event: e.Event) -> e.Event:
    match event:
        case e.Propose():
            proposals = tuple(e.Proposal(one.ref, one.count, _length(one.payload)) for one in event.proposals)
            return e.Propose(proposals, event.wall)
        case e.Loaded():
            return e.Loaded(event.to, event.first, tuple(map(_bare, event.batches)))
        case e.Received(AppendEntries() as message):
            return e.Received(msgspec.structs.replace(message, batches=list(map(_bare, message.batches))))
        case e.Received(InstallSnapshot() as message):
            return e.Received(msgspec.structs.replace(message, transfer=b""))
        case _:
            return event


def _bare(batch: Batch) -> Batch:
    """A configuration is what the core looks into; nothing else is."""
    if batch.kind == Kind.CONFIGURATION:
        return batch
    return msgspec.structs.replace(batch, payload=_length(batch.payload))


def _length(payload: bytes) -> bytes:
    return len(payload).to_bytes(_LENGTH, "big")


class _Zeros:
    """Gives commands their length back: zeros, of which there are never more than `RECORDING_ZEROS_BYTES`."""

    def __init__(self) -> None:
        self._of_length: dict[bytes, bytes] = {}
        self._room = RECORDING_ZEROS_BYTES

    def filled(self, event: e.Event) -> e.Event:
        match event:
            case e.Propose():
                proposals = tuple(e.Proposal(one.ref, one.count, self._take(one.payload)) for one in event.proposals)
                return e.Propose(proposals, event.wall)
            case e.Loaded():
                return e.Loaded(event.to, event.first, tuple(map(self.full, event.batches)))
            case e.Received(AppendEntries() as message):
                return e.Received(msgspec.structs.replace(message, batches=list(map(self.full, message.batches))))
            case _:
                return event

    def full(self, batch: Batch) -> Batch:
        if batch.kind == Kind.CONFIGURATION:
            return batch
        return msgspec.structs.replace(batch, payload=self._take(batch.payload))

    def _take(self, length: bytes) -> bytes:
        found = self._of_length.get(length)
        if found is None:
            size = int.from_bytes(length, "big")
            if len(length) != _LENGTH or size > MAX_FRAME_BYTES or size > self._room:
                raise ValueError(f"a payload of {length.hex()} bytes")
            self._room -= size
            found = self._of_length[length] = bytes(size)
        return found
