"""The manifest of a snapshot: what it says comes back, and no damage or hostile content passes."""

from __future__ import annotations

from typing import Any

import google_crc32c
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zraft import limits
from zraft.core.entries import Membership, SnapshotMark
from zraft.errors import CorruptData, StorageError, UsageError
from zraft.storage.manifest import (
    Manifest,
    SnapshotFile,
    check_file_name,
    decode_manifest,
    encode_manifest,
    parse_replica_folder,
    parse_snapshot_folder,
    replica_folder,
    snapshot_folder,
)
from zraft.storage.replica import ReplicaMeta
from zraft.types import GroupId, Member, PeerId

NAMES = st.builds(str.__add__, st.sampled_from("aB0_"), st.text("aB0_.-", max_size=20))
NUMBERS = st.integers(1, limits.MAX_TERM)
MEMBERS = st.builds(Member, st.builds(PeerId, NAMES, st.just("n:1")), st.integers(1, 2**64 - 1))
MEMBERSHIPS = st.builds(Membership, st.lists(MEMBERS, min_size=1, max_size=3, unique_by=lambda m: m.peer).map(tuple))
METAS = st.builds(ReplicaMeta, NAMES, st.binary(min_size=16, max_size=16), st.integers(1, 2**64 - 1), NAMES)
MARKS = st.builds(SnapshotMark, NUMBERS, NUMBERS, st.integers(0, 2**63 - 1), st.integers(0, 1), st.none() | MEMBERSHIPS)
FILES = st.builds(
    SnapshotFile,
    NAMES,
    st.integers(0, 2**61),
    st.integers(0, 2**32 - 1),
)
MANIFESTS = st.builds(
    Manifest,
    METAS,
    st.integers(1, 2**31),
    MARKS,
    st.integers(0, 2**50),
    st.lists(FILES, min_size=1, max_size=4, unique_by=lambda file: file.name).map(
        lambda files: tuple(sorted(files, key=lambda file: file.name))
    ),
)
EXAMPLE = Manifest(
    ReplicaMeta("a", GroupId(b"group of a test!"), 7, "dict"),
    1,
    SnapshotMark(5, 2, 40, 1, Membership((Member(PeerId("a", "n:1"), 7),))),
    1000,
    (SnapshotFile("dict", 3, 9), SnapshotFile("zraft-machine", 6, 8)),
)


@given(MANIFESTS)
def test_what_is_written_is_read(manifest: Manifest) -> None:
    """Every field, whatever it is."""
    assert decode_manifest(encode_manifest(manifest), "m") == manifest


def test_every_flipped_bit_is_detected() -> None:
    """BM-097: of each byte, the checksum's own included; and so is each missing or further byte."""
    data = encode_manifest(EXAMPLE)
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises(CorruptData, match="m at offset"):
                decode_manifest(bytes(damaged), "m")
    for length in range(len(data)):
        with pytest.raises(CorruptData):
            decode_manifest(data[:length], "m")
    with pytest.raises(CorruptData):
        decode_manifest(data + b"\0", "m")


def sealed(rest: bytes) -> bytes:
    """`rest` behind a magic and a checksum that match."""
    checksum: int = google_crc32c.value(rest)
    return b"zrSnaps\0" + checksum.to_bytes(4, "little") + rest


def test_a_newer_format_is_refused_clearly() -> None:
    """BM-117: it is no damage, and it is never skipped; the text says what to do."""
    rest = bytearray(encode_manifest(EXAMPLE)[12:])
    rest[0] = 2
    with pytest.raises(StorageError, match=r"format 2 and this program knows 1.*newer program") as caught:
        decode_manifest(sealed(bytes(rest)), "m")
    assert not isinstance(caught.value, CorruptData)


@pytest.mark.parametrize("body", [b"", b"\xc0", b"\x95\x01", msgspec.msgpack.encode([1, 2, 3, 4, 5]), b"\x91" * 5000])
def test_a_body_that_is_no_manifest_is_corrupt(body: bytes) -> None:
    """Also where its checksum is right; nesting without end included."""
    rest = (1).to_bytes(4, "little") + len(body).to_bytes(4, "little") + bytes(4) + body
    with pytest.raises(CorruptData, match="cannot be decoded"):
        decode_manifest(sealed(rest), "m")


def test_a_length_that_does_not_fit_is_corrupt() -> None:
    """BM-113: and nothing is made of it."""
    for length in (0, 1, 1 << 31):
        rest = (1).to_bytes(4, "little") + length.to_bytes(4, "little") + bytes(4) + b"\xc0\xc0"
        with pytest.raises(CorruptData, match="announces"):
            decode_manifest(sealed(rest), "m")


def changed(**changes: Any) -> Manifest:
    return msgspec.structs.replace(EXAMPLE, **changes)


def with_files(*names: str, size: int = 1, crc: int = 1) -> Manifest:
    return changed(files=tuple(SnapshotFile(name, size, crc) for name in names))


def with_mark(**changes: Any) -> Manifest:
    return changed(mark=msgspec.structs.replace(EXAMPLE.mark, **changes))


def with_meta(**changes: Any) -> Manifest:
    return changed(meta=msgspec.structs.replace(EXAMPLE.meta, **changes))


@pytest.mark.parametrize(
    "manifest",
    [
        with_files(),
        with_files("b", "a"),
        with_files("a", "a"),
        with_files(*(f"f{number:04}" for number in range(limits.SNAPSHOT_FILES + 1))),
        with_files("a", size=-1),
        with_files("a", size=1 << 62),
        with_files("a", crc=1 << 32),
        with_mark(index=0),
        with_mark(term=0),
        with_mark(index=limits.MAX_TERM + 1),
        with_mark(time=-1),
        with_mark(membership_index=6),
        with_mark(membership=Membership(())),
        with_meta(name="../a"),
        with_meta(group=b"short"),
        with_meta(incarnation=0),
        with_meta(backend="a/b"),
        changed(backend_version=0),
        changed(written_ms=1 << 62),
    ],
)
def test_what_cannot_be_is_neither_written_nor_read(manifest: Manifest) -> None:
    """S-09, S-15: names that lead elsewhere, numbers out of bounds, configurations that cannot decide."""
    with pytest.raises(UsageError, match="no snapshot can be kept"):
        encode_manifest(manifest)
    body = msgspec.msgpack.encode(manifest)
    rest = (1).to_bytes(4, "little") + len(body).to_bytes(4, "little") + bytes(4) + body
    with pytest.raises(CorruptData, match="says what cannot be"):
        decode_manifest(sealed(rest), "m")


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "a\0", "a\n", "ä", "-a", ".a", "CON:", "a" * 65),
        *("MANIFEST", "manifest", "Manifest", " a", "a ", "~", "a:b"),
    ],
)
def test_bm_123_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    """The names of known attacks on archives, and the manifest's own in any case."""
    with pytest.raises(UsageError, match="not a name for a file of a snapshot"):
        check_file_name(name)


def test_names_of_folders_come_back() -> None:
    """A peer's name may look like the rest of its folder's."""
    for name in ("a", "a-0000000000000007", "x.writing"):
        meta = msgspec.structs.replace(EXAMPLE.meta, name=name)
        assert parse_replica_folder(replica_folder(meta)) == (name, 7)
    assert replica_folder(EXAMPLE.meta) == "a-0000000000000007"
    assert snapshot_folder(EXAMPLE.mark) == "5-2"
    assert parse_snapshot_folder("5-2") == (5, 2)


@pytest.mark.parametrize("name", ["5-2.writing", "05-2", "0-1", "5", "5-", "-5-2", "5-2-1", "MANIFEST", "5-2\n"])
def test_other_names_are_no_snapshots(name: str) -> None:
    """What is being written or deleted, and what others put there."""
    assert parse_snapshot_folder(name) is None
    assert parse_replica_folder(name) is None
