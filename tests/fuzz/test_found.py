"""What fuzzing found, each as the shortest story of it: an error of somebody else where one of ours was promised."""

from __future__ import annotations

from random import Random

import google_crc32c
import msgspec
import pytest

from tests.fuzz.storage_targets import in_recording, in_state, recordings
from tests.unit.machine.directory import MemoryDirectory
from tests.unit.storage.fake_disk import FakeDisk
from tests.unit.storage.host import Host, mark, meta
from zraft.core.entries import Batch, HardState, Kind
from zraft.core.memberships import decode_membership
from zraft.errors import CorruptData, ProtocolError, ReplicaFault
from zraft.limits import MAX_FRAME_BYTES, RECORDING_ZEROS_BYTES
from zraft.machine.dict_backend import DictBackend
from zraft.machine.table_backend import TableBackend
from zraft.peer.recording import decode
from zraft.session.decoding import raw_items
from zraft.session.machine import ReplicatedMachine
from zraft.storage.hard_state import NodeState, ReplicaRow, decode_state
from zraft.storage.inspect import inspect_folder, verify_folder
from zraft.storage.records import HEADER, HEADER_BYTES, RecordKind, decode_mark
from zraft.storage.segments import segment_name
from zraft.storage.store import Store
from zraft.types import PeerId
from zraft.wire.changes import Chunk, decode_chunk, encode_chunk, entries_of
from zraft.wire.session_requests import decode_opened

DEEP = b"\x91" * 5000 + b"\x01"


def test_what_a_leader_says_of_a_session_may_be_nested_without_an_end() -> None:
    """A field that a newer version added is skipped, but not by exhausting the stack."""
    with pytest.raises(ProtocolError):
        decode_opened(b"\x94\x01\x01\x00" + DEEP)
    with pytest.raises(ProtocolError):
        decode_chunk(b"\x94\x01\x02\x90" + DEEP)


@pytest.mark.parametrize("depth", [600, 5000])
def test_a_key_in_a_stream_may_be_nested_without_an_end(depth: int) -> None:
    """Both where the value can still be decoded and where it cannot."""
    entry = b"\x92\x02\x93" + b"\x91" * depth + b"\x01" + b"\x01\xa3put"
    with pytest.raises(ProtocolError):
        entries_of(decode_chunk(encode_chunk(Chunk(1, 2, [msgspec.Raw(entry)]))))


def test_a_state_file_with_a_name_that_is_no_text_is_invalid() -> None:
    """It is told, and the other one counts; an error of the codec would have kept the node from starting."""
    body = msgspec.msgpack.encode(NodeState(1, 1, 1, 5, [ReplicaRow(meta("quiet"), HardState(), 3)]))
    assert isinstance(decode_state(in_state(body)), tuple)
    assert "cannot be decoded" in str(decode_state(in_state(body.replace(b"quiet", b"qu\xff\xfft"))))
    assert "cannot be decoded" in str(decode_state(in_state(b"\x96" + body[1:] + DEEP)))


def test_a_batch_that_is_nested_without_an_end_stops_the_replica() -> None:
    """Where one command cannot be decoded the items are looked at one by one, as bytes."""
    for payload in (b"\x91" + DEEP, b"\x91\x93\x01\xc0" + DEEP):
        machine = ReplicatedMachine(TableBackend(PeerId("a", "a:1")))
        with pytest.raises(ReplicaFault):
            machine.apply_batch(Batch(1, 1, 1, 0, 0, Kind.COMMANDS, payload))
    with pytest.raises(ReplicaFault, match="no array of items"):
        raw_items(b"\x91" + DEEP)


def test_what_is_no_configuration_and_no_mark_is_a_decode_error() -> None:
    """That is what recovery knows how to deal with."""
    for decoded in (decode_membership, decode_mark):
        for wrong in (b"\x95\x91\x92\x92\xa1\xff\xa3a:1\x01\x90\x90\x90\x90", DEEP, b""):
            with pytest.raises(msgspec.DecodeError):
                decoded(wrong)


def test_a_mark_that_is_none_stops_its_replica_and_can_be_looked_at() -> None:
    """The record is whole, and says nothing: its replica is at fault, the folder can be opened and inspected."""
    disk = FakeDisk()
    host = Host(disk)
    host.create("a")
    host.pump()
    host.save("a", reset_to=mark(10, 2))
    host.pump()
    data = disk.files[segment_name(1)].cached
    at = next(at for at in range(0, len(data), 8) if HEADER.unpack_from(data, at)[16] == RecordKind.RESET)
    length = HEADER.unpack_from(data, at)[10]
    data[at + HEADER_BYTES : at + HEADER_BYTES + length] = b"\xa1\xff" + bytes(length - 2)
    payload = bytes(data[at + HEADER_BYTES : at + HEADER_BYTES + length])
    data[at + 72 : at + 76] = google_crc32c.value(payload).to_bytes(4, "little")
    data[at + 4 : at + 8] = google_crc32c.value(bytes(data[at + 8 : at + HEADER_BYTES])).to_bytes(4, "little")
    assert list(inspect_folder(disk))
    assert not verify_folder(disk).is_sound
    [found] = Store.open(disk.copy(), host.settings).replicas
    assert "mark cannot be decoded" in str(found.fault)


def test_a_snapshot_with_a_value_that_is_nested_without_an_end_is_corrupt() -> None:
    """Neither an error of requests, which nobody expects there, nor an exhausted stack."""
    for depth in (600, 5000):
        item = b"\x92" + b"\x91" * depth + b"\x01\x01"
        chunks = [msgspec.msgpack.encode([1, 1]), msgspec.msgpack.encode([item])]
        directory = MemoryDirectory()
        directory.files["dict"] = b"".join(len(chunk).to_bytes(4, "big") + chunk for chunk in chunks)
        with pytest.raises(CorruptData):
            DictBackend(PeerId("a", "a:1")).install_snapshot(directory)


def test_a_recording_that_tells_of_more_than_memory_holds_is_refused() -> None:
    """Each length is one that a frame may have; together they are not."""
    with pytest.raises(CorruptData, match="cannot read"):
        decode("a", in_recording(b"\x81\xa1x" + DEEP))
    lengths = [MAX_FRAME_BYTES - number for number in range(RECORDING_ZEROS_BYTES // MAX_FRAME_BYTES + 2)]
    proposals = [{"ref": 1, "count": 1, "payload": length.to_bytes(4, "big")} for length in lengths]
    with pytest.raises(CorruptData, match="a payload of"):
        decode("a", in_recording(with_event("Propose", {"proposals": proposals, "wall": 0})))


def with_event(kind: str, event: object) -> bytes:
    """The body of a recording that has this event instead of its own."""
    body = msgspec.msgpack.decode(recordings(Random(1))[0])
    body["events"] = [[1, kind, event]]
    return msgspec.msgpack.encode(body)
