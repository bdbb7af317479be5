"""Bugs of other stores in journals, rollovers, truncations and compactions, put to this one."""

from __future__ import annotations

import errno

import google_crc32c
import pytest

from tests.unit.storage.fake_disk import FakeDisk, PowerLoss
from tests.unit.storage.host import SMALL, Host, batch, mark, member
from tests.unit.storage.scenarios import compaction, truncation
from tests.unit.storage.test_crashes import MODES, live, recover
from tests.unit.storage.test_damage import filled, places, replicas
from zraft.core.entries import HardState
from zraft.errors import StorageError
from zraft.storage.disk import CreateFile, DeleteFile, Job, SyncFile, WriteAt
from zraft.storage.hard_state import STATE_FILES, STATE_VERSION
from zraft.storage.records import HEADER, HEADER_BYTES, encode_header
from zraft.storage.replica import SaveDone, StoreFailed
from zraft.storage.segments import list_segments, segment_name
from zraft.storage.store import Store


def hand_out(host: Host) -> Job:
    job = host.store.next_job()
    assert job is not None
    host.disk.submit(job)
    return job


def test_bm_025_completion_of_an_old_save_does_not_vouch_for_a_newer_entry_at_its_index() -> None:
    """e(T1) is slow, truncated, e'(T3) is written: only the second completion says that e' is durable."""
    host = Host(FakeDisk())
    host.create("a")
    host.pump()
    old = host.save("a", batch(1, term=1))
    hand_out(host)
    new = host.save("a", batch(1, term=3), truncate_from=1)
    assert host.complete() == [SaveDone("a", old)]
    hand_out(host)
    assert host.complete() == [SaveDone("a", new)]
    assert Host(host.disk.after_crash("lose"), known=host).found["a"].recovered.terms == [3]


def test_bm_027_truncation_across_segments_leaves_no_hole_at_any_crash() -> None:
    """A suffix over three segments goes; crash anywhere: a contiguous prefix, never a resurrected entry."""
    power, ended = 0, False
    while not ended:
        disk, hosts, ended = live(truncation, power, SMALL)
        for mode, seed in MODES:
            recover(disk.after_crash(mode, seed + power), SMALL, hosts[0] if hosts else None)
        power += 1
    assert power > 40


def test_bm_053_snapshot_and_log_meet_at_every_crash() -> None:
    """Compaction and installation of snapshots, cut short anywhere: the log begins right after the recovered mark."""
    for power in range(400):
        disk = FakeDisk()
        host = Host(disk)
        disk.power = power
        try:
            host.create("a")
            for first in range(1, 12):
                host.write("a", batch(first, size=900))
            host.compact("a", mark(8), 6)
            host.write("a", batch(12, size=900))
            host.save("a", reset_to=mark(40, 2))
            host.save("a", batch(41, term=2, size=2000))
            host.pump()
            host.compact("a", mark(41, 2), 42)
            for first in range(42, 60):
                host.write("a", batch(first, term=2, size=900))
                host.compact("a", mark(first, 2), first + 1)
            host.pump()
        except PowerLoss:
            pass
        else:
            break
        again = Host(disk.after_crash("torn", power), known=host)
        for found in again.found.values():
            first = found.recovered.tail[0].first if found.recovered.tail else found.recovered.mark.index + 1
            assert first == found.recovered.mark.index + 1
    else:
        pytest.fail("the story has no end")


def test_bm_060_no_segment_that_is_needed_is_deleted_at_any_crash() -> None:
    """Rollover, deletion and copying forward, cut short anywhere: every batch that counts can be read."""
    power, ended = 0, False
    while not ended:
        disk, hosts, ended = live(compaction, power, SMALL)
        again = Host(disk.after_crash("torn", power), known=hosts[0] if hosts else None)
        for name, expected in again.replicas.items():
            for item in expected.logs[-1][1]:
                again.store.load(name, item.first, item.first, item.last, 1)
        loaded = [item for item in again.pump() if not isinstance(item, SaveDone)]
        assert [type(item).__name__ for item in loaded] == ["LoadDone"] * len(loaded)
        power += 1


def test_bm_090_nothing_is_acknowledged_before_its_bytes_are_synced() -> None:
    """Whenever a save is reported, everything it wrote, the names of its files included, survives a power loss."""
    host = Host(FakeDisk())
    host.create("a")
    host.pump()
    for first in range(1, 20):
        number = host.save("a", batch(first, size=700), hard_state=HardState(first))
        while not host.is_acked("a", number):
            hand_out(host)
            host.complete()
        again = replicas(host.disk.after_crash("lose"))["a"]
        assert again.recovered.lasts[-1] == first
        assert again.recovered.hard_state.term == first


def test_bm_093_failed_sync_is_final() -> None:
    """A sync fails once and the page cache drops what it had: no acknowledgement, no second try; restart reads disk."""
    host = Host(FakeDisk())
    host.create("a")
    host.write("a", batch(1))
    host.save("a", batch(2))
    host.disk.fail = lambda operation: errno.EIO if isinstance(operation, SyncFile) else 0
    hand_out(host)
    (failed,) = host.complete()
    assert isinstance(failed, StoreFailed)
    host.disk.fail = lambda _: 0
    host.save("a", batch(3))
    assert host.store.next_job() is None
    assert Host(host.disk.after_crash("lose"), known=host).found["a"].recovered.lasts == [1]


@pytest.mark.parametrize("filler", ["zeros", "old", "stale"])
@pytest.mark.parametrize("from_end", [False, True])
def test_bm_094_record_torn_at_any_sector_is_cut_and_nothing_else(filler: str, from_end: bool) -> None:
    """A save of two records, torn at each 512 bytes: the node starts, and only what was not acknowledged is gone."""
    host = Host(FakeDisk())
    host.create("a")
    host.write("a", batch(1, size=300))
    before = host.disk.copy()
    host.save("a", batch(2, size=1000), batch(3, size=1100))
    job = hand_out(host)
    host.pump()
    (write,) = (item for item in job.operations if isinstance(item, WriteAt))
    name, start, end = write.name, write.offset, write.offset + len(write.data)
    for sector in range(start, end + 512, 512):
        disk = host.disk.copy()
        low, high = (start, min(sector, end)) if from_end else (min(sector, end), end)
        fill = {"zeros": bytes(high - low), "stale": b"\xa5" * (high - low)}.get(filler)
        disk.overwrite(name, low, fill if fill is not None else before.read(name, low, high - low))
        opened = Store.open(disk, SMALL)
        (found,) = opened.replicas
        assert found.fault is None
        assert found.recovered.lasts in ([1], [1, 2], [1, 2, 3])
        gone = filler != "stale" and (low, high) == (start, end)
        assert bool(opened.notes) == (low < high and not gone)
        again = Host(disk)
        last = found.recovered.lasts[-1]
        again.write("a", batch(last + 1, term=2))
        assert replicas(disk.after_crash("lose"))["a"].recovered.lasts == [*found.recovered.lasts, last + 1]


def test_bm_095_rotten_record_in_the_middle_never_shortens_the_log() -> None:
    """One bit of a durable record: the replica is at fault, it does not come back with less."""
    disk = filled()
    for name, offset, length, _, _ in places(disk):
        image = disk.copy()
        image.flip(name, offset + HEADER_BYTES + length // 2 if length else offset + 9, 3)
        found = replicas(image)["a"]
        assert found.fault is not None or found.recovered == replicas(disk.copy())["a"].recovered


def test_bm_098_full_disk_at_any_write_loses_nothing_and_needs_no_repair() -> None:
    """No space from the n-th growing operation on: the store says so, and a restart without space finds everything."""
    for allowed in range(12):
        host = Host(FakeDisk())
        left = [allowed]

        def fail(operation: object, left: list[int] = left, host: Host = host) -> int:
            grows = isinstance(operation, CreateFile) or (
                isinstance(operation, WriteAt)
                and operation.offset + len(operation.data) > host.disk.size(operation.name)
            )
            left[0] -= grows
            return errno.ENOSPC if grows and left[0] < 0 else 0

        host.disk.fail = fail
        host.create("a")
        for first in range(1, 20):
            host.save("a", batch(first, size=1500))
            host.pump()
        disk = host.disk.after_crash("lose")
        disk.fail = lambda operation: errno.ENOSPC if isinstance(operation, CreateFile) else 0
        again = Host(disk, known=host)
        disk.fail = lambda _: 0
        again.store.retry_space()
        if "a" in again.found:
            last = max(again.found["a"].recovered.lasts, default=0)
            again.write("a", *(batch(first, size=1500) for first in range(last + 1, last + 9)))
            assert Host(disk.after_crash("lose"), known=again).found["a"].recovered.lasts[-1] == last + 8


def test_bm_100_segment_is_in_the_folder_for_good_before_anything_in_it_is_acknowledged() -> None:
    """Creations that no folder sync made durable vanish: no acknowledged batch goes with them, at any rollover."""
    host = Host(FakeDisk())
    host.create("a")
    for first in range(1, 30):
        host.write("a", batch(first, size=1000))
        written = {item.name for item in host.disk.performed if isinstance(item, WriteAt)}
        deleted = {item.name for item in host.disk.performed if isinstance(item, DeleteFile)}
        assert written - deleted <= host.disk.durable_names.keys()
    assert len(list_segments(host.disk.names())) > 7


@pytest.mark.parametrize("size", [0, 96, 512, 4096])
def test_bm_102_empty_and_barely_begun_files_do_not_hinder_the_start(size: int) -> None:
    """Zero-length, header-only and zeroed files of each kind, as a power loss leaves them."""
    fresh = FakeDisk()
    fresh.perform(*(CreateFile(name, size) for name in STATE_FILES))
    assert Store.open(fresh, SMALL).replicas == []
    disk = filled()
    spare = segment_name(list_segments(disk.names())[-1])
    for name in (spare, segment_name(99)):
        image = disk.copy()
        image.files.pop(name, None)
        image.perform(CreateFile(name, size))
        assert {name: found.recovered for name, found in replicas(image).items()} == {
            name: found.recovered for name, found in replicas(disk.copy()).items()
        }
    for name in STATE_FILES:
        image = disk.copy()
        del image.files[name]
        image.perform(CreateFile(name, size))
        opened = Store.open(image, SMALL)
        assert [found.fault for found in opened.replicas] == [None, None]
        assert opened.notes[0].startswith(name)


def test_bm_103_hard_state_ahead_of_the_log_is_no_contradiction() -> None:
    """The term is durable before the entries of it are: a crash between the two starts as it is, nothing is clamped."""
    host = Host(FakeDisk())
    host.create("a")
    host.write("a", batch(1))
    host.save("a", batch(2, term=9), hard_state=HardState(9, member("b")))
    job = host.store.next_job()
    assert job is not None
    host.disk.perform(*job.operations[:4])
    found = Host(host.disk.after_crash("lose"), known=host).found["a"]
    assert found.recovered.hard_state == HardState(9, member("b"))
    assert found.recovered.lasts == [1]


@pytest.mark.parametrize("length", [4000, 1 << 20, (1 << 32) - 1])
def test_bm_113_length_on_disk_allocates_nothing(length: int) -> None:
    """A header that vouches for a payload beyond the end of its file is a torn record, whatever length it names."""
    disk = filled()
    name, offset, _, _, owner = places(disk)[-1]
    header = bytearray(disk.read(name, offset, HEADER_BYTES))
    lsn = HEADER.unpack(header)[2]
    at = offset + 512
    fake = encode_header(
        lsn=lsn + 1, durable=lsn, owner=owner, first=15, term=2, time=0, wall=0, count=1, payload=b"", epoch=1,
        segment=int(name[8:24], 16), offset=at, kind=1, batch_kind=1,
    )  # fmt: skip
    rest = bytearray(fake[8:])
    rest[60:64] = length.to_bytes(4, "little")
    disk.overwrite(name, at, _sealed(bytes(rest)))
    opened = Store.open(disk, SMALL)
    assert [found.fault for found in opened.replicas] == [None, None]
    assert any("cut off" in note for note in opened.notes)


@pytest.mark.parametrize(("field", "value"), [("version", 2), ("kind", 0), ("kind", 7)])
@pytest.mark.parametrize("place", [2, -1])
def test_bm_117_record_of_a_newer_program_refuses_the_start(field: str, value: int, place: int) -> None:
    """Never skipped, never cut: the old program says which one must open the folder."""
    disk = filled()
    name, offset, *_ = places(disk)[place]
    rest = bytearray(disk.read(name, offset + 8, HEADER_BYTES - 8))
    rest[80 if field == "version" else 81] = value
    disk.overwrite(name, offset, _sealed(bytes(rest)))
    before = disk.image()
    with pytest.raises(StorageError, match="newer program"):
        Store.open(disk, SMALL)
    assert disk.image() == before


def test_bm_117_state_of_a_newer_program_refuses_the_start() -> None:
    """The same for the state files."""
    disk = filled()
    for name in STATE_FILES:
        content = bytearray(disk.read(name, 0, 1 << 20))
        content[12] = STATE_VERSION + 1
        disk.overwrite(name, 8, _crc(bytes(content[12:])))
        disk.overwrite(name, 12, bytes([STATE_VERSION + 1]))
    with pytest.raises(StorageError, match="newer program"):
        Store.open(disk, SMALL)


def _crc(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(4, "little")


def _sealed(rest: bytes) -> bytes:
    """A whole header around these fields."""
    return b"zrJ1" + _crc(rest) + rest
