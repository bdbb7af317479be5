"""Targets: whatever lies on a disk, where bits rot, writes are torn, and copies are made by hand (S-15)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any, Literal

import google_crc32c
import msgspec

from tests.fuzz.kit import PEAK_BYTES, Cost, Target
from tests.fuzz.shapes import any_of
from tests.raftkit.cluster import led_cluster
from tests.unit.core.samples import EVENT_SAMPLES, MARK, MESSAGE_SAMPLES
from tests.unit.machine.directory import MemoryDirectory
from tests.unit.storage.fake_disk import FakeDisk, File
from tests.unit.storage.host import SMALL, meta
from tests.unit.storage.host import Host as StoreHost
from tests.unit.storage.scenarios import SCENARIOS
from zraft.core.checkpoint import hold
from zraft.core.entries import Batch, HardState, Kind
from zraft.core.events import Received
from zraft.errors import CorruptData, ReplicaFault, StorageError, TooLarge
from zraft.limits import RECORDING_ZEROS_BYTES
from zraft.machine.backend import Backend
from zraft.machine.dict_backend import DictBackend
from zraft.machine.table_backend import TableBackend
from zraft.peer import recording
from zraft.session.items import encode_session_items, end_item, open_item, write_item
from zraft.session.machine import ReplicatedMachine
from zraft.storage.doctor import copies_in
from zraft.storage.hard_state import STATE_FILES, Fault, NodeState, ReplicaRow, decode_state, encode_row, encode_state
from zraft.storage.inspect import inspect_folder, verify_folder
from zraft.storage.manifest import Manifest, SnapshotFile, decode_manifest, encode_manifest
from zraft.storage.records import HEADER, HEADER_BYTES, MAGIC_BYTES
from zraft.storage.segments import list_segments, segment_name
from zraft.storage.store import Store
from zraft.types import GroupId, PeerId
from zraft.wire.values import encode_value

GROUP = GroupId(b"group of a test!")


def _checksum(data: bytes, order: Literal["little", "big"]) -> bytes:
    checksum: int = google_crc32c.value(data)
    return checksum.to_bytes(4, order)


# -- single files


def _manifest(data: bytes) -> None:
    manifest = decode_manifest(data, "MANIFEST")
    assert decode_manifest(encode_manifest(manifest), "MANIFEST") == manifest


def _manifests(chance: Random) -> list[bytes]:
    files = tuple(SnapshotFile(name, chance.randrange(1 << 40), chance.randrange(1 << 32)) for name in "abc")
    found = [Manifest(meta(name), 1 + chance.randrange(5), MARK, chance.randrange(1 << 40), files) for name in "ab"]
    return [encode_manifest(manifest)[24:] for manifest in found]


def _in_manifest(body: bytes) -> bytes:
    rest = struct.pack("<III", 1, len(body), 0) + body
    return b"zrSnaps\0" + _checksum(rest, "little") + rest


def _state(data: bytes) -> None:
    found = decode_state(data)
    if isinstance(found, str):
        raise CorruptData("state-a", 0, found)
    generation, state = found
    rows = [encode_row(row) for row in state.replicas]
    version = max([row.needs_version for row in state.replicas], default=1)
    again = encode_state(
        generation,
        rows,
        epoch=state.epoch,
        oldest_segment=state.oldest_segment,
        oldest_lsn=state.oldest_lsn,
        durable_lsn=state.durable_lsn,
        version=version,
    )
    assert decode_state(again) == found


def _states(chance: Random) -> list[bytes]:
    found = []
    for fault in (None, Fault("segment", 3, "is rotten")):
        row = ReplicaRow(meta("a"), any_of(HardState, chance), 3, fault)
        found.append(msgspec.msgpack.encode(NodeState(1, 1, 1, 5, [row, row])))
    return found


def in_state(body: bytes) -> bytes:
    """A state file with this body."""
    rest = struct.pack("<IQII", 1, 5, len(body), 0) + body
    return b"zrState\0" + _checksum(rest, "little") + rest


# -- a node's whole folder


@cache
def _folder(name: str) -> FakeDisk:
    """What a scenario leaves behind when the power goes at its end."""
    host = StoreHost(FakeDisk())
    SCENARIOS[name](host)
    host.store.watermark()
    host.pump()
    return host.disk.after_crash("lose")


def _open_folder(data: bytes) -> None:
    """Segments and state files in one input. Opened twice: the same replicas both times, or the same refusal."""
    disk = FakeDisk()
    for name, content in _unpacked(data):
        disk.files[name] = file = File(len(content))
        file.cached[:] = content
        file.sync()
        disk.durable_names[name] = file
    before = {name: bytes(file.cached) for name, file in disk.files.items()}
    lines = list(_tolerant(lambda: list(inspect_folder(disk))))
    _tolerant(lambda: verify_folder(disk))
    _tolerant(lambda: copies_in("here", disk, {}))
    assert {name: bytes(file.cached) for name, file in disk.files.items()} == before, "a look has changed something"
    try:
        opened = Store.open(disk, SMALL)
    except StorageError:
        assert {name: bytes(file.cached) for name, file in disk.files.items()} == before, "refused, and changed"
        raise
    assert lines or not opened.replicas
    for found in opened.replicas:
        recovered = found.recovered
        assert recovered.lasts == sorted(set(recovered.lasts))
        assert len(recovered.lasts) == len(recovered.terms)
    again = Store.open(disk.after_crash("lose"), SMALL)
    kept = {found.meta: (found.recovered, found.fault is None) for found in opened.replicas}
    assert {found.meta: (found.recovered, found.fault is None) for found in again.replicas} == kept


def _tolerant(look: Callable[[], Any]) -> Any:
    try:
        return look() or ()
    except StorageError:
        return ()


def _unpacked(data: bytes) -> list[tuple[str, bytes]]:
    """Files one after the other, each behind its name and length; whatever else the bytes are, some files."""
    files: list[tuple[str, bytes]] = []
    at = 0
    while at + 5 <= len(data) and len(files) < 20:
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 5], "big")
        name = STATE_FILES[kind] if kind < 2 else segment_name(kind - 1)
        files.append((name, data[at + 5 : at + 5 + size]))
        at += 5 + size
    return files


def _packed(disk: FakeDisk) -> bytes:
    found = b""
    segments = [(number + 1, segment_name(number)) for number in list_segments(disk.names())]
    for kind, name in (*enumerate(STATE_FILES), *segments):
        content = disk.read(name, 0, disk.size(name)).rstrip(b"\0")
        content += bytes(-len(content) % 512)
        found += bytes([kind]) + len(content).to_bytes(4, "big") + content
    return found


def _folders(_chance: Random) -> Sequence[bytes]:
    return [_packed(_folder(name)) for name in SCENARIOS if name != "copies"]


def _sealed(data: bytes) -> bytes:
    """Every header of a record has its checksum again, and so have state files: what is wrong is in the fields."""
    sealed = bytearray(data)
    at = sealed.find(MAGIC_BYTES)
    while 0 <= at <= len(sealed) - HEADER_BYTES:
        fields = HEADER.unpack_from(sealed, at)
        payload = bytes(sealed[at + HEADER_BYTES : at + HEADER_BYTES + min(fields[10], 1 << 16)])
        sealed[at + 72 : at + 76] = _checksum(payload, "little")
        sealed[at + 4 : at + 8] = _checksum(bytes(sealed[at + 8 : at + HEADER_BYTES]), "little")
        at = sealed.find(MAGIC_BYTES, at + 4)
    at = sealed.find(b"zrState\0")
    while 0 <= at <= len(sealed) - 32:
        length = int.from_bytes(sealed[at + 24 : at + 28], "little")
        sealed[at + 8 : at + 12] = _checksum(bytes(sealed[at + 12 : at + 32 + length]), "little")
        at = sealed.find(b"zrState\0", at + 8)
    return bytes(sealed)


# -- snapshots of a machine


def _machine(backend: type[Backend]) -> ReplicatedMachine:
    return ReplicatedMachine(backend(PeerId("a", "a:1")))


@cache
def _snapshot(backend: type[Backend]) -> dict[str, bytes]:
    """With sessions, kept replies, temporary data and keys of every kind."""
    machine = _machine(backend)
    is_dict = backend is DictBackend
    commands = [(key, key) if is_dict else ["put", key, key] for key in ("a", 1, b"x", ("t", 1))]
    items = [open_item(b"d" * 16, 5000), open_item(b"e" * 16, 9000)]
    items += [
        write_item(encode_value(command), 1, place + 1, place, temporary=True) for place, command in enumerate(commands)
    ]
    items += [write_item(encode_value(commands[0]), 2, 1, 0, temporary=False), end_item(2, "stopped")]
    machine.apply_batch(Batch(1, len(items), 1, 7, 9, Kind.COMMANDS, encode_session_items(items)))
    directory = MemoryDirectory()
    machine.capture().write(directory)
    return directory.files


def _installing(backend: type[Backend], name: str) -> Callable[[bytes], None]:
    """The file `name` has these bytes, the others are as they were.

    A value that is nested deeper than a command may be is read, and cannot be written again.
    """

    def feed(data: bytes) -> None:
        directory = MemoryDirectory()
        directory.files = {**_snapshot(backend), name: data}
        machine = _machine(backend)
        machine.install_snapshot(directory, 8)
        again = MemoryDirectory()
        try:
            machine.capture().write(again)
        except TooLarge:
            return
        other = _machine(backend)
        other.install_snapshot(again, 8)
        assert other.digest() == machine.digest(), "the same state has another digest after a snapshot"

    return feed


def _snapshot_target(backend: type[Backend], name: str) -> Target:
    return Target(
        f"storage.snapshot of {backend.name}: {name}",
        _installing(backend, name),
        (CorruptData, ReplicaFault),
        lambda _: [_snapshot(backend)[name]],
    )


def _chunk_target(backend: type[Backend], name: str) -> Target:
    """The same with chunks whose lengths fit, so that what is in them is looked at."""

    def wrap(body: bytes) -> bytes:
        head = _snapshot(backend)[name]
        size = 4 + int.from_bytes(head[:4], "big")
        return head[:size] + len(body).to_bytes(4, "big") + body

    def items(_: Random) -> list[bytes]:
        head = _snapshot(backend)[name]
        size = 4 + int.from_bytes(head[:4], "big")
        chunk = head[size + 4 :]
        inner = msgspec.msgpack.decode(chunk)
        return [chunk, *(msgspec.msgpack.encode([each]) for each in inner)]

    return Target(
        f"storage.chunks of {backend.name}: {name}",
        _installing(backend, name),
        (CorruptData, ReplicaFault),
        items,
        wrap,
    )


def _item_target(backend: type[Backend], name: str) -> Target:
    """The same for the values in a chunk, which are encoded for themselves."""

    def wrap(body: bytes) -> bytes:
        head = _snapshot(backend)[name]
        size = 4 + int.from_bytes(head[:4], "big")
        chunk = msgspec.msgpack.encode([body])
        return _counted(head[:size], 1) + len(chunk).to_bytes(4, "big") + chunk

    def items(_: Random) -> list[bytes]:
        head = _snapshot(backend)[name]
        size = 4 + int.from_bytes(head[:4], "big")
        return list(msgspec.msgpack.decode(head[size + 4 :], type=list[bytes]))

    return Target(
        f"storage.items of {backend.name}: {name}", _installing(backend, name), (CorruptData, ReplicaFault), items, wrap
    )


def _counted(head: bytes, count: int) -> bytes:
    """The first chunk, which says format and count, with another count."""
    first = msgspec.msgpack.decode(head[4:], type=list[int])
    body = msgspec.msgpack.encode([first[0], count])
    return len(body).to_bytes(4, "big") + body


# -- recordings


def _recording(data: bytes) -> None:
    """Read and written; what `zraft replay` then does with a state that cannot be is its own affair."""
    again = recording.encode(recording.decode("a", data))
    assert again is not None
    assert recording.encode(recording.decode("a", again)) == again


def recordings(_: Random) -> list[bytes]:
    """Of a leader and of a follower, each with an event of every kind."""
    cluster = led_cluster()
    events = [*EVENT_SAMPLES, *(Received(message) for message in MESSAGE_SAMPLES)]
    rows = list(enumerate(events))
    parts = [recording.Recording("a@a:1", GROUP, "dict", "why", True, *hold(cluster[name]), rows) for name in "ab"]
    return [data[8:] for part in parts if (data := recording.encode(part)) is not None]


def in_recording(body: bytes) -> bytes:
    """A recording with this body."""
    return recording.MAGIC + _checksum(body, "big") + body


_BACKENDS: tuple[tuple[type[Backend], str], ...] = (
    (DictBackend, "dict"),
    (TableBackend, "table"),
    (TableBackend, "zraft-sessions"),
)
STORAGE_TARGETS = (
    Target("storage.manifest", _manifest, (StorageError,), _manifests, _in_manifest),
    Target("storage.hard_state", _state, (StorageError,), _states, in_state),
    Target("storage.journal", _open_folder, (StorageError,), _folders, _sealed, cost=Cost.FOLDERS, peak_bytes=4 << 20),
    _snapshot_target(DictBackend, "zraft-machine"),
    *(_snapshot_target(backend, name) for backend, name in _BACKENDS),
    *(_chunk_target(backend, name) for backend, name in _BACKENDS),
    *(_item_target(backend, name) for backend, name in _BACKENDS),
    Target(
        "storage.recording",
        _recording,
        (CorruptData,),
        recordings,
        in_recording,
        peak_bytes=PEAK_BYTES + RECORDING_ZEROS_BYTES,
    ),
)
