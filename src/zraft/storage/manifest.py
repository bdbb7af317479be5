"""What a snapshot's MANIFEST says, to and from bytes, and the names of folders and files of snapshots.

    byte  size  field
       0     8  magic "zrSnaps" and a zero
       8     4  CRC32C of everything after it
      12     4  format version
      16     4  length of the body
      20     4  zero
      24        body: MessagePack of `Manifest`; nothing follows it

The manifest is written last, so a folder that has one has everything. It comes from a disk or from another node: what
it says about names, numbers and bounds is checked here, before anybody opens a file because of it (S-09, S-15).
Every byte: docs/formats/snapshots.md.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Final

import google_crc32c
import msgspec

from zraft import limits
from zraft.core.entries import SnapshotMark
from zraft.errors import CorruptData, ProtocolError, StorageError, UsageError
from zraft.storage.replica import ReplicaMeta
from zraft.types import Index, PeerId, Term
from zraft.wire.peering import GROUP_BYTES, check_membership

MANIFEST: Final = "MANIFEST"
MANIFEST_VERSION: Final = 1

_MAGIC: Final = b"zrSnaps\0"
_FRONT: Final = struct.Struct("<8sI")
_REST: Final = struct.Struct("<III")
_BODY_AT: Final = _FRONT.size + _REST.size
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_REPLICA_FOLDER: Final = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,63})-([0-9a-f]{16})")
_SNAPSHOT_FOLDER: Final = re.compile(r"([1-9][0-9]{0,18})-([1-9][0-9]{0,18})")


class SnapshotFile(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One file of a snapshot; `crc` is the CRC32C of its content."""

    name: str
    size: int
    crc: int


class Manifest(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The snapshot of replica `meta` at `mark`."""

    meta: ReplicaMeta
    backend_version: int
    """The machine version in force at the mark."""
    mark: SnapshotMark
    written_ms: int
    """The wall clock when the state was written, milliseconds since 1970; informative."""
    files: tuple[SnapshotFile, ...]
    """Sorted by name, each once; the manifest itself is not among them."""

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(file.size for file in self.files)


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Manifest)


def encode_manifest(manifest: Manifest) -> bytes:
    """The content of the MANIFEST file. Raises `UsageError` where it would be refused when it is read."""
    problem = _problem(manifest)
    if problem:
        raise UsageError(f"no snapshot can be kept like this: {problem}")
    body = _ENCODER.encode(manifest)
    if len(body) > limits.MANIFEST_BYTES:
        raise UsageError(f"a manifest of {len(body)} bytes, {limits.MANIFEST_BYTES} are allowed")
    rest = _REST.pack(MANIFEST_VERSION, len(body), 0) + body
    return _FRONT.pack(_MAGIC, google_crc32c.value(rest)) + rest


def decode_manifest(data: bytes, path: str) -> Manifest:
    """What `encode_manifest` wrote; `path` is for the error.

    Raises CorruptData, or StorageError where the bytes are whole and of a version that this program does not know.
    """
    if len(data) < _BODY_AT:
        raise CorruptData(path, 0, f"has {len(data)} bytes, less than a header")
    magic, crc = _FRONT.unpack_from(data)
    version, length, zero = _REST.unpack_from(data, _FRONT.size)
    if magic != _MAGIC:
        raise CorruptData(path, 0, "does not begin with the magic of a snapshot's manifest")
    if google_crc32c.value(data[_FRONT.size :]) != crc:
        raise CorruptData(path, 8, "does not match its checksum")
    if version != MANIFEST_VERSION:
        raise StorageError(
            f"{path} has format {version} and this program knows {MANIFEST_VERSION}: the snapshot was written by a "
            "newer program, which must read it"
        )
    if zero or len(data) != _BODY_AT + length or length > limits.MANIFEST_BYTES:
        raise CorruptData(path, 16, f"has {len(data)} bytes and announces {length} after its header")
    try:
        manifest = _DECODER.decode(data[_BODY_AT:])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CorruptData(path, _BODY_AT, f"cannot be decoded: {error}") from error
    problem = _problem(manifest)
    if problem:
        raise CorruptData(path, _BODY_AT, f"says what cannot be: {problem}")
    return manifest


def _problem(manifest: Manifest) -> str:
    """What is wrong with what the manifest says; "" where nothing is."""
    meta, mark = manifest.meta, manifest.mark
    try:
        PeerId(meta.name, "node:0")
    except UsageError as error:
        return str(error)
    if not _FILE_NAME.fullmatch(meta.backend):
        return f"backend {meta.backend!r}"
    if len(meta.group) != GROUP_BYTES or not 0 < meta.incarnation < 1 << 64:
        return f"group {meta.group.hex()}, incarnation {meta.incarnation}"
    if not 0 < manifest.backend_version < 1 << 32 or not -(1 << 62) < manifest.written_ms < 1 << 62:
        return f"backend version {manifest.backend_version}, written at {manifest.written_ms}"
    return _wrong_mark(mark) or wrong_files(manifest.files)


def _wrong_mark(mark: SnapshotMark) -> str:
    if not (0 < mark.index <= limits.MAX_TERM and 0 < mark.term <= limits.MAX_TERM and 0 <= mark.time < 1 << 63):
        return f"a state at index {mark.index}, term {mark.term}, time {mark.time}"
    if not 0 <= mark.membership_index <= mark.index:
        return f"a configuration of index {mark.membership_index} at index {mark.index}"
    try:
        if mark.membership is not None:
            check_membership(mark.membership)
    except ProtocolError as error:
        return str(error)
    return ""


def wrong_files(files: Iterable[SnapshotFile]) -> str:
    """Why no snapshot has these files; "" where one may."""
    count, before = 0, ""
    for file in files:
        count += 1
        try:
            check_file_name(file.name)
        except UsageError as error:
            return str(error)
        if file.name <= before:
            return f"file {file.name} after file {before}"
        if not (0 <= file.size < 1 << 62 and 0 <= file.crc < 1 << 32):
            return f"{file.size} bytes with checksum {file.crc} in {file.name}"
        before = file.name
    return "" if 0 < count <= limits.SNAPSHOT_FILES else f"{count} files, 1 to {limits.SNAPSHOT_FILES} are allowed"


def check_file_name(name: str) -> None:
    """A file of a snapshot may have this name: never one that leads out of its folder. Raises `UsageError`."""
    if not _FILE_NAME.fullmatch(name) or name.upper() == MANIFEST:
        raise UsageError(
            f"not a name for a file of a snapshot: {name!r} (letters, digits, '_', '.', '-'; at most 64; not MANIFEST)"
        )


def replica_folder(meta: ReplicaMeta) -> str:
    """The name of the folder that holds the snapshots of this life of the replica."""
    return f"{meta.name}-{meta.incarnation:016x}"


def parse_replica_folder(name: str) -> tuple[str, int] | None:
    """Peer name and incarnation; None for any other name."""
    match = _REPLICA_FOLDER.fullmatch(name)
    return (match[1], int(match[2], 16)) if match else None


def snapshot_folder(mark: SnapshotMark) -> str:
    """The name of the folder of the snapshot at `mark`."""
    return f"{mark.index}-{mark.term}"


def parse_snapshot_folder(name: str) -> tuple[Index, Term] | None:
    """Index and term; None for any other name, that of a snapshot which is not published among them."""
    match = _SNAPSHOT_FOLDER.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None
