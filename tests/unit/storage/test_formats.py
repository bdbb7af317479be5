"""Records, state files, indexes and segments one by one, and logs that no store would write."""

from __future__ import annotations

import google_crc32c
import msgspec
import pytest

from tests.unit.storage.fake_disk import FakeDisk
from tests.unit.storage.host import SMALL, Host, batch, configuration, mark, meta
from zraft.core.entries import Batch, HardState, Kind
from zraft.errors import CorruptData, InvariantViolation
from zraft.storage.disk import CreateFile, SyncFolder, WriteAt
from zraft.storage.hard_state import NodeState, ReplicaRow, decode_state, encode_row, encode_state, find_state
from zraft.storage.index import LogIndex
from zraft.storage.journal import Journal
from zraft.storage.reading import check_batch, plan_reads, wanted_at
from zraft.storage.records import HEADER_BYTES, RecordKind, encode_mark, header_at, is_zero_from, record_bytes
from zraft.storage.replica import RecoveredReplica
from zraft.storage.segments import Segment, Segments, list_segments, segment_name, segment_sequence
from zraft.storage.store import Store

OWNER = meta("a").incarnation


def state_image(generation: int, **changes: int) -> bytes:
    rows = [encode_row(ReplicaRow(meta("a"), HardState(3), 1))]
    fields = {"epoch": 1, "oldest_segment": 1, "oldest_lsn": 1, "durable_lsn": 0} | changes
    return encode_state(generation, rows, **fields)


def written(*records: Batch | tuple[int, int, bytes]) -> RecoveredReplica:
    """Recovers a journal with exactly these records of replica "a": batches, or kind, first index and payload."""
    journal = Journal(Segments([Segment(1, 1 << 20, 1)]), segment_bytes=1 << 20, sync=True, epoch=1, next_lsn=1)
    for record in records:
        if isinstance(record, Batch):
            journal.append_batch(OWNER, record)
        else:
            journal.append(record[0], record[2], owner=OWNER, first=record[1])
    disk = FakeDisk()
    disk.perform(CreateFile("state-a", 0), WriteAt("state-a", 0, state_image(1)), CreateFile(segment_name(1), 1 << 20))
    disk.perform(*journal.take().operations, SyncFolder())
    (found,) = Store.open(disk, SMALL).replicas
    (again,) = Store.open(disk, SMALL).replicas
    assert (again.fault is None) == (found.fault is None)
    return found


@pytest.mark.parametrize("size", [0, 1, 511, 1 << 16, (1 << 16) + 1, 200_000])
def test_zeros_are_told_from_what_is_not(size: int) -> None:
    """From any place on, also behind the end; one byte anywhere behind it counts, one before it does not."""
    data = bytes(size)
    assert all(is_zero_from(data, start) for start in (0, size // 2, size, size + 7))
    for place in {0, size // 2, size - 1} if size else ():
        spoiled = data[:place] + b"\1" + data[place + 1 :]
        assert not is_zero_from(spoiled, 0)
        assert not is_zero_from(spoiled, place)
        assert is_zero_from(spoiled, place + 1)


def test_header_has_the_documented_places() -> None:
    """Magic, checksum, version and kind stand where every version has them."""
    disk = FakeDisk()
    host = Host(disk)
    host.create("a")
    host.write("a", Batch(1, 3, 2, 7, 9, Kind.COMMANDS, b"payload"))
    data = disk.read(segment_name(1), HEADER_BYTES, 4096)

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little")

    assert data[:4] == b"zrJ1"
    assert number(4, 4) == google_crc32c.value(data[8:96])
    assert [number(at, 8) for at in range(8, 64, 8)] == [2, 0, OWNER, 1, 2, 7, 9]
    assert [number(at, 4) for at in range(64, 88, 4)] == [3, 7, google_crc32c.value(b"payload"), 1, 1, 96]
    assert data[88:96] == bytes((1, RecordKind.BATCH, 0, 0, 1, 0, 0, 0))
    assert data[96:104] == b"payload\0"
    assert record_bytes(7) == 104
    assert header_at(data[:50], 0, 1) is None
    assert header_at(data, 0, 1) is None, "it says that it stands at 96"


def test_state_files_are_read_by_generation() -> None:
    """The higher valid one counts, whichever file it is in."""
    for first, second in ((1, 2), (2, 1)):
        disk = FakeDisk()
        for name, generation in (("state-a", first), ("state-b", second)):
            disk.perform(CreateFile(name, 0), WriteAt(name, 0, state_image(generation, epoch=generation)))
        found = find_state(disk, journal_exists=True)
        assert (found.generation, found.state.epoch) == (2, 2)
        assert found.newest == ("state-a" if first == 2 else "state-b")


def test_state_that_is_whole_and_senseless_is_unreadable() -> None:
    """A checksum vouches for bytes, not for their meaning."""
    image = bytearray(state_image(1))
    image[32:] = b"\xc1" * (len(image) - 32)
    image[8:12] = int(google_crc32c.value(bytes(image[12:]))).to_bytes(4, "little")
    assert "cannot be decoded" in str(decode_state(bytes(image)))
    assert "does not begin" in str(decode_state(b"x" * 99))
    assert "bytes and needs" in str(decode_state(state_image(1)[:-1]))
    found = decode_state(state_image(4))
    assert isinstance(found, tuple)
    assert found[0] == 4
    assert found[1] == NodeState(1, 1, 1, 0, [ReplicaRow(meta("a"), HardState(3), 1)])


def test_segment_names() -> None:
    """Sixteen hexadecimal digits; everything else in the folder is none of the journal's business."""
    assert segment_sequence(segment_name(0x1F)) == 0x1F
    for name in ("journal-1.log", "journal-000000000000000G.log", "journal-0000000000000001.tmp", "state-a", "LOCK"):
        assert segment_sequence(name) is None
    assert list_segments([segment_name(7), "state-a", segment_name(2)]) == [2, 7]


def test_index_refuses_to_split_a_batch() -> None:
    """And knows what it has where."""
    index = LogIndex()
    index.add(1, 3, 1, 1, 0, 100)
    index.add(4, 4, 1, 1, 104, 100)
    with pytest.raises(InvariantViolation, match="split the batch 1 to 3"):
        index.truncate_from(2)
    assert (index.find(4), index.find(2), index.find(9)) == (1, -1, -1)
    assert index.truncate_from(4) == {1: 100}
    assert index.last_index == 3


def test_reads_are_joined_only_over_small_gaps() -> None:
    """Near records of one segment come in one read."""
    index = LogIndex()
    for first, segment, offset in ((1, 1, 0), (2, 1, 5000), (3, 1, 40000), (4, 2, 0), (5, 1, 100)):
        index.add(first, first, 1, segment, offset, 1000)
    plan = plan_reads([wanted_at(index, position) for position in range(5)])
    assert [(read.name, read.offset, read.length) for read in plan.reads] == [
        (segment_name(1), 0, 6000),
        (segment_name(1), 40000, 1000),
        (segment_name(2), 0, 1000),
        (segment_name(1), 100, 1000),
    ]
    assert plan.spots == [(0, 0), (0, 5000), (1, 0), (2, 0), (3, 0)]


def test_another_record_than_the_wanted_one_is_refused() -> None:
    """A whole record at the wrong place, of another owner or batch, is corruption."""
    journal = Journal(Segments([Segment(1, 1 << 20, 1)]), segment_bytes=1 << 20, sync=True, epoch=1, next_lsn=1)
    place = journal.append_batch(OWNER, batch(4, 2))
    (write, _) = journal.take().operations
    assert isinstance(write, WriteAt)
    index = LogIndex()
    index.add(4, 5, 1, *place)
    wanted = wanted_at(index, 0)
    assert check_batch(write.data, place.offset, OWNER, wanted) == batch(4, 2)
    for owner, other in ((OWNER + 1, wanted), (OWNER, wanted._replace(last=4)), (OWNER, wanted._replace(offset=0))):
        with pytest.raises(CorruptData, match="another record"):
            check_batch(write.data, place.offset, owner, other)


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([batch(1), batch(3)], "goes on with 3 after 1"),
        ([batch(1, 3), batch(2, 2), batch(4)], "goes on with 2 after 3"),
        ([batch(2)], "nothing from 1 on"),
        ([batch(1, 3), (RecordKind.TRUNCATE, 2, b"")], "split the batch 1 to 3"),
        ([batch(1, 3), (RecordKind.PREFIX, 3, encode_mark(mark(2)))], "nothing from 3 on"),
        ([(RecordKind.RESET, 3, b"\xc1")], "cannot be decoded"),
        ([(RecordKind.WATERMARK, 0, b"")], "belongs to nobody"),
        ([Batch(1, 1, 1, 0, 0, Kind.CONFIGURATION, b"\xc1")], "configuration at 1 cannot be decoded"),
    ],
)
def test_log_that_no_store_writes_is_a_fault(records: list[Batch], why: str) -> None:
    """Whatever a bug or a forger leaves, the replica stays down, also at the next start."""
    found = written(*records)
    assert found.fault is not None
    assert why in str(found.fault)


def test_copy_of_another_batch_is_a_fault() -> None:
    """A copy stands for the batch that has its first index, and must be the same."""
    journal = Journal(Segments([Segment(1, 1 << 20, 1)]), segment_bytes=1 << 20, sync=True, epoch=1, next_lsn=1)
    journal.append_batch(OWNER, batch(1, term=1))
    journal.append_batch(OWNER, batch(1, term=2), RecordKind.COPY)
    disk = FakeDisk()
    disk.perform(CreateFile("state-b", 0), WriteAt("state-b", 0, state_image(1)), CreateFile(segment_name(1), 1 << 20))
    disk.perform(*journal.take().operations)
    (found,) = Store.open(disk, SMALL).replicas
    assert "copy of batch 1 is of another" in str(found.fault)


def test_unreadable_configuration_that_was_truncated_is_no_fault() -> None:
    """Only what the log still has counts."""
    bad = Batch(2, 1, 1, 0, 0, Kind.CONFIGURATION, b"\xc1")
    found = written(configuration(1, "a"), bad, (RecordKind.TRUNCATE, 2, b""), configuration(2, "b"))
    assert found.fault is None
    assert [index for index, _ in found.recovered.memberships] == [1, 2]


def test_rows_are_plain_messagepack() -> None:
    """Rows are encoded one by one and decoded together."""
    row = ReplicaRow(meta("a"), HardState(3), 1)
    assert msgspec.msgpack.decode(encode_row(row), type=ReplicaRow) == row
