"""What `zraft log inspect` and `zraft log verify` find in a folder, without changing it."""

from __future__ import annotations

import pytest

from tests.unit.storage.fake_disk import FakeDisk
from tests.unit.storage.host import Host, batch
from tests.unit.storage.test_damage import filled, places
from zraft.core.entries import Batch
from zraft.errors import CorruptData
from zraft.storage.hard_state import STATE_FILES
from zraft.storage.inspect import BadLine, RecordLine, ReplicaLine, describe_line, inspect_folder, verify_folder
from zraft.storage.segments import list_segments, segment_name


def test_every_record_is_a_line() -> None:
    """In the order of the journal, each with its place, number and owner; replicas first."""
    disk = filled()
    before = disk.image()
    lines = list(inspect_folder(disk))
    records = [line for line in lines if isinstance(line, RecordLine)]
    assert [(line.file, line.offset) for line in records] == [item[:2] for item in places(disk)]
    assert [line.lsn for line in records] == list(range(1, len(records) + 1))
    assert {line.kind for line in records} == {"batch", "truncate", "reset", "prefix", "watermark"}
    assert [line.name for line in lines if isinstance(line, ReplicaLine)] == ["a", "b"]
    assert disk.image() == before


def test_lines_are_readable() -> None:
    """One line of text each, with no byte of a user's command."""
    disk = filled()
    texts = [describe_line(line) for line in inspect_folder(disk)]
    assert all("\n" not in text and "...." not in text for text in texts)
    assert texts[0].startswith("replica a#")
    name, offset, *_ = places(disk)[1]
    assert texts[3] == f"{name} {offset:>9}         2  batch     a 1 term 1 time 10 configuration 25 bytes"
    assert any(text.endswith("truncate  a 13") for text in texts)
    assert any(text.endswith("reset     b 10") for text in texts)
    assert any("a 13 to 14 term 2" in text for text in texts)


def test_sound_folder_is_sound() -> None:
    """How many segments and records, and where each log ends."""
    disk = filled()
    before = disk.image()
    report = verify_folder(disk)
    assert report.is_sound
    assert (report.notes, report.lost) == ((), ())
    assert report.records == len(places(disk))
    assert report.segments == len({item[0] for item in places(disk)})
    assert [(line.name, line.snapshot_index, line.last_index, line.batches) for line in report.replicas] == [
        ("a", 3, 14, 10),
        ("b", 10, 12, 1),
    ]
    assert "log 4 to 14" in describe_line(report.replicas[0])
    assert disk.image() == before


def test_lost_record_is_found_and_said() -> None:
    """The verdict names the place and the replica; the records behind it are shown all the same."""
    disk = filled()
    name, offset, *_ = next(item for item in places(disk) if item[2] == 700 and item[0] == segment_name(2))
    disk.flip(name, offset + 300)
    report = verify_folder(disk)
    assert not report.is_sound
    assert report.lost[0].startswith(f"{name} at offset {offset}")
    assert "FAILED" in describe_line(report.replicas[0])
    bad = [line for line in inspect_folder(disk) if isinstance(line, BadLine)]
    assert [(line.file, line.offset, line.is_lost) for line in bad] == [(name, offset, True)]
    assert "LOST" in describe_line(bad[0])


def test_torn_tail_is_sound() -> None:
    """A save that was cut short is nobody's loss."""
    disk = filled(watermark=False)
    name, offset, *_ = places(disk)[-1]
    disk.overwrite(name, offset + 20, bytes(10))
    report = verify_folder(disk)
    assert report.is_sound
    assert "cut off" in report.notes[0]
    bad = list(inspect_folder(disk))[-1]
    assert describe_line(bad) == f"{name} {offset:>9}  cut short: record {report.records + 1} is not there"


def test_folder_without_state_can_be_inspected() -> None:
    """The owners are known by their incarnations only; a verdict is not possible."""
    disk = filled()
    for sequence in list_segments(disk.names())[:1]:
        del disk.files[segment_name(sequence)]
    for name in STATE_FILES:
        disk.flip(name, 40)
    lines = list(inspect_folder(disk))
    assert isinstance(lines[0], BadLine)
    owners = {line.replica for line in lines if isinstance(line, RecordLine)}
    assert owners == {"", f"{1000 + ord('a'):016x}", f"{1000 + ord('b'):016x}"}
    with pytest.raises(CorruptData):
        verify_folder(disk)
    for name in disk.names():
        if name not in STATE_FILES:
            disk.overwrite(name, 0, b"zrJ1" * 1024)
    assert [type(line) for line in inspect_folder(disk)] == [BadLine, BadLine]


def test_unknown_kind_of_batch_is_shown_as_a_number() -> None:
    """Storage carries it; who would apply it refuses."""
    host = Host(FakeDisk())
    host.create("a")
    host.write("a", Batch(1, 1, 1, 0, 0, 77, b"x"), batch(2))
    assert any(" time 0 77 1 bytes" in describe_line(line) for line in inspect_folder(host.disk))
    host.remove("a")
    host.pump()
    assert [line.replica for line in inspect_folder(host.disk) if isinstance(line, RecordLine)][1] == f"{1097:016x}"
