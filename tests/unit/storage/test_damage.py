"""Bytes that change on the medium: what was durable is missed, and the replica that it belongs to says so (D5, D6)."""

from __future__ import annotations

import pytest

from tests.unit.storage.fake_disk import FakeDisk
from tests.unit.storage.host import SMALL, Host, batch, configuration, mark
from zraft.core.entries import HardState
from zraft.core.recovered import Recovered
from zraft.errors import CorruptData, StorageError
from zraft.storage.hard_state import STATE_FILES
from zraft.storage.records import HEADER, HEADER_BYTES, MAGIC_BYTES, RecordKind
from zraft.storage.replica import RecoveredReplica, Save
from zraft.storage.segments import list_segments, segment_name
from zraft.storage.store import Store, StoreSettings


def filled(watermark: bool = True) -> FakeDisk:
    """Two replicas over four segments, with every kind of record, stopped cleanly."""
    disk = FakeDisk()
    host = Host(disk)
    host.create("a")
    host.create("b", HardState(2))
    host.save("a", configuration(1, "a"))
    host.save("b", batch(1, term=2, size=200))
    host.pump()
    for first in range(2, 14):
        host.write("a", batch(first, size=700))
        if first % 4 == 0:
            host.write("b", batch(first // 4 + 1, term=2, size=90))
    host.save("a", batch(13, 2, 2), truncate_from=13)
    host.save("b", reset_to=mark(10, 2))
    host.save("b", batch(11, 2, 2))
    host.compact("a", mark(3), 4)
    host.pump()
    if watermark:
        host.store.watermark()
        host.pump()
    return disk.copy()


def replicas(disk: FakeDisk, settings: StoreSettings = SMALL) -> dict[str, RecoveredReplica]:
    return {found.meta.name: found for found in Store.open(disk, settings).replicas}


def places(disk: FakeDisk) -> list[tuple[str, int, int, int, int]]:
    """Segment, offset, length of the payload, kind and owner of every record."""
    found = []
    for sequence in list_segments(disk.names()):
        data = disk.read(segment_name(sequence), 0, 1 << 30)
        at = data.find(MAGIC_BYTES)
        while at >= 0:
            header = HEADER.unpack_from(data, at)
            found.append((segment_name(sequence), at, header[10], header[16], header[4]))
            at = data.find(MAGIC_BYTES, at + HEADER_BYTES + header[10])
    return found


def same_or_fault(before: dict[str, Recovered], disk: FakeDisk) -> list[str]:
    """Asserts that every replica is complete or at fault; the names of those at fault."""
    after = replicas(disk)
    assert after.keys() == before.keys()
    for name, found in after.items():
        assert found.fault is not None or found.recovered == before[name]
        assert found.recovered.hard_state == before[name].hard_state
    return [name for name, found in after.items() if found.fault is not None]


def test_no_flipped_bit_shortens_a_log_silently() -> None:
    """One bit of any byte of the journal flips: each log is as before, or its replica is at fault (BM-095)."""
    disk = filled()
    before = {name: found.recovered for name, found in replicas(disk.copy()).items()}
    faults = 0
    for name, offset, length, _, _ in places(disk):
        for byte in (*range(0, HEADER_BYTES, 3), *range(HEADER_BYTES, HEADER_BYTES + length + 4, 61)):
            image = disk.copy()
            image.flip(name, min(offset + byte, image.size(name) - 1), byte % 8)
            faults += bool(same_or_fault(before, image))
    assert faults > 100


def test_damage_of_a_payload_concerns_its_owner_alone() -> None:
    """The header says whose the record is: the other replica serves on."""
    disk = filled()
    before = {name: found.recovered for name, found in replicas(disk.copy()).items()}
    name, offset, _, _, _ = next(item for item in places(disk) if item[2] == 700 and item[0] == segment_name(2))
    disk.flip(name, offset + HEADER_BYTES + 300)
    assert same_or_fault(before, disk) == ["a"]
    fault = replicas(disk)["a"].fault
    assert fault is not None
    assert (fault.path, fault.offset) == (name, offset)


def test_damage_of_a_header_concerns_every_replica_that_lived_then() -> None:
    """Nobody knows whose the record was, and nobody forgets it; a replica that is born later is not concerned."""
    disk = filled()
    name, offset, _, _, _ = next(item for item in places(disk) if item[2] == 700 and item[0] == segment_name(2))
    disk.flip(name, offset + 30)
    for _ in range(2):
        opened = Store.open(disk, SMALL)
        assert [found.fault is not None for found in opened.replicas] == [True, True]
        assert any("lost" in note for note in opened.notes)
    host = Host(disk)
    host.create("c")
    host.write("c", batch(1))
    again = replicas(disk.after_crash("lose"))
    assert again["a"].fault is not None
    assert again["b"].fault is not None
    assert again["c"].fault is None


def test_damaged_batch_that_was_forgotten_concerns_nobody() -> None:
    """A batch before the snapshot mark is not part of the log any more."""
    disk = filled()
    before = {name: found.recovered for name, found in replicas(disk.copy()).items()}
    name, offset, _, _, _ = next(item for item in places(disk) if item[2] == 700)  # index 2, the mark is 3
    disk.flip(name, offset + HEADER_BYTES + 5)
    assert same_or_fault(before, disk) == []
    assert any("does not match" in note for note in Store.open(disk, SMALL).notes)


def test_fault_stays_when_the_damaged_segment_is_gone() -> None:
    """Other replicas go on and their segments are deleted: the replica at fault stays at fault until it is removed."""
    disk = filled()
    name, offset, _, _, owner = next(item for item in places(disk) if item[2] == 700 and item[0] == segment_name(3))
    disk.flip(name, offset + HEADER_BYTES + 5)
    host = Host(disk)
    for first in range(13, 90):
        host.write("b", batch(first, term=2, size=900))
        host.compact("b", mark(first, 2), first)
        host.pump()
    assert name not in disk.names()
    assert len(list_segments(disk.names())) < 12
    found = replicas(disk)["a"]
    assert found.fault is not None
    assert found.fault.path == name
    host = Host(disk.after_crash("lose"))
    with pytest.raises(Exception, match="must not run"):
        host.store.save(Save("a", 1))
    host.remove("a")
    host.pump()
    host.create("a")
    host.pump()
    assert Host(host.disk.after_crash("lose"), known=host).found["a"].fault is None
    assert owner


def test_lost_mark_is_a_fault() -> None:
    """Without its snapshot mark a log cannot be understood."""
    disk = filled()
    name, offset, _, _, _ = next(item for item in places(disk) if item[3] == RecordKind.PREFIX)
    disk.flip(name, offset + HEADER_BYTES + 3)
    assert [bool(found.fault) for found in replicas(disk).values()] == [True, False]


def test_missing_segment_is_damage() -> None:
    """Whichever segment somebody deletes, no replica runs without it unknowingly."""
    disk = filled()
    before = {name: found.recovered for name, found in replicas(disk.copy()).items()}
    segments = list_segments(disk.names())
    for sequence in segments[:-2]:
        image = disk.copy()
        del image.files[segment_name(sequence)]
        image.durable_names = dict(image.files)
        assert same_or_fault(before, image) == ["a", "b"]


def test_missing_journal_is_damage_for_good() -> None:
    """State files without a journal: the logs are gone, which is said at every start."""
    disk = filled()
    Store.open(disk, SMALL)  # the state files now know how far the journal reaches
    for sequence in list_segments(disk.names()):
        del disk.files[segment_name(sequence)]
    for _ in range(2):
        assert all(found.fault is not None for found in replicas(disk).values())
    host = Host(disk)
    host.create("new")
    host.write("new", batch(1))
    after = replicas(disk.after_crash("lose"))
    assert [after[name].fault is None for name in ("a", "b", "new")] == [False, False, True]


def test_lost_end_is_known_from_the_state_files() -> None:
    """Every record after a point rots, so nothing later in the journal vouches for it; the state files do."""
    disk = filled()
    Store.open(disk, SMALL)
    name, offset, _, _, _ = places(disk)[-3]
    disk.overwrite(name, offset, bytes(disk.size(name) - offset))
    for _ in range(2):
        assert all(found.fault is not None for found in replicas(disk).values())
    host = Host(disk)
    host.create("new")
    host.write("new", batch(1), batch(2, size=600))
    host.write("new", batch(3))
    after = replicas(disk.after_crash("lose"))
    assert after["new"].recovered.lasts == [1, 2, 3]
    assert after["new"].fault is None


def test_garbage_between_saves_is_no_loss() -> None:
    """The padding before a sector boundary changes: the next record is the expected one, so nothing is missing."""
    disk = filled()
    before = {name: found.recovered for name, found in replicas(disk.copy()).items()}
    name, offset, length, _, _ = next(item for item in places(disk) if item[2] == 700)
    disk.overwrite(name, offset + HEADER_BYTES + length + 6, b"garbage")
    assert same_or_fault(before, disk) == []


def test_record_inside_a_command_is_no_record() -> None:
    """A user stores bytes of a journal, and the record before them is torn: they prove nothing."""
    disk = FakeDisk()
    host = Host(disk)
    host.create("a")
    host.write("a", batch(1))
    other = filled()
    name = segment_name(2)
    host.save("a", batch(2, payload=other.read(name, 0, 1500)))
    job = host.store.next_job()
    assert job is not None
    disk.submit(job)
    host.complete()
    disk.overwrite(segment_name(1), places(disk)[-1][1], bytes(96))
    opened = Store.open(disk, SMALL)
    assert opened.replicas[0].fault is None
    assert opened.replicas[0].recovered.lasts == [1]
    assert any("cut off" in note for note in opened.notes)


@pytest.mark.parametrize("which", STATE_FILES)
def test_one_rotten_state_file_is_written_anew(which: str) -> None:
    """Any byte of one of them: the other one counts, and it is said."""
    disk = filled()
    before = {name: found.recovered for name, found in replicas(disk.copy()).items()}
    for offset in range(0, 100, 7):
        image = disk.copy()
        image.flip(which, offset, offset % 8)
        opened = Store.open(image, SMALL)
        assert {found.meta.name: found.recovered for found in opened.replicas} == before
        assert len(opened.notes) == 1
        assert which in opened.notes[0]
        assert Store.open(image, SMALL).notes == []


def test_two_rotten_state_files_refuse_the_start() -> None:
    """Nothing is known of terms and votes: never begin at term 0, say what to do (D3)."""
    disk = filled()
    for name in STATE_FILES:
        disk.flip(name, 40)
    with pytest.raises(CorruptData, match="re-admit"):
        Store.open(disk, SMALL)
    for name in STATE_FILES:
        del disk.files[name]
    with pytest.raises(CorruptData, match="is missing"):
        Store.open(disk, SMALL)
    for name in list(disk.files):
        del disk.files[name]
    assert Store.open(disk, SMALL).replicas == []


def test_state_files_that_rot_without_a_journal_refuse_the_start_too() -> None:
    """Only empty or zero files can be the remains of a first start."""
    disk = filled()
    for sequence in list_segments(disk.names()):
        del disk.files[segment_name(sequence)]
    for name in STATE_FILES:
        disk.flip(name, 3)
    with pytest.raises(CorruptData):
        Store.open(disk, SMALL)


def test_read_error_while_opening_is_a_storage_error() -> None:
    """What the disk says at start comes as one error of the tree."""
    disk = filled()
    disk.fail = lambda _: 5
    with pytest.raises(StorageError, match="injected"):
        Store.open(disk, SMALL)
