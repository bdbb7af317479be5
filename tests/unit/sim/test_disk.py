"""The simulated disk: what survives a crash, when jobs end, and how they fail."""

from __future__ import annotations

import pytest

from zraft.sim.chance import MILLION, Chance
from zraft.sim.disk import SECTOR, DiskFaults, SimDisk
from zraft.sim.scheduler import Owner, Scheduler
from zraft.storage.disk import (
    Completion,
    CreateFile,
    DeleteFile,
    Job,
    Operation,
    ReadAt,
    RenameFile,
    SyncFile,
    SyncFolder,
    WriteAt,
)


class World:
    def __init__(self, seed: int = 1) -> None:
        self.scheduler, self.owner = Scheduler(Chance(seed)), Owner("a")
        self.disk = SimDisk(self.scheduler, Chance(seed), self.owner)
        self.done: list[tuple[int, Completion]] = []
        self.disk.done = lambda completion: self.done.append((self.scheduler.now_ms, completion))

    def run(self, *operations: Operation, number: int = 1) -> None:
        self.disk.submit(Job(number, operations))

    def errors(self) -> list[str]:
        return [completion.error.errno_name for _, completion in self.done if completion.error is not None]


def test_a_job_ends_when_its_sync_does_and_jobs_wait_for_each_other() -> None:
    """The completion comes later, never from within submit."""
    world = World()
    world.disk.faults = DiskFaults(sync_ms=5)
    world.run(CreateFile("f", 1024), SyncFolder(), number=1)
    world.run(WriteAt("f", 0, b"x"), SyncFile("f"), number=2)
    world.run(ReadAt("f", 0, 2), number=3)
    assert world.done == []
    world.scheduler.run_until(100)
    assert [(time_ms, completion.number) for time_ms, completion in world.done] == [(5, 1), (10, 2), (10, 3)]
    assert world.done[2][1].reads == (b"x\0",)
    assert (world.disk.tally.jobs, world.disk.tally.syncs) == (3, 2)


def test_what_was_synced_survives_a_power_loss() -> None:
    """Bytes by SyncFile, names by SyncFolder."""
    world = World()
    world.disk.perform(CreateFile("f", 2 * SECTOR), WriteAt("f", 100, b"hello"), SyncFile("f"), SyncFolder())
    world.disk.crash(power_loss=True)
    assert world.disk.names() == ["f"]
    assert world.disk.read("f", 100, 5) == b"hello"
    assert world.disk.size("f") == 2 * SECTOR


def test_unsynced_sectors_are_old_new_or_zero_each_on_its_own() -> None:
    """A torn write."""
    seen = set()
    for seed in range(40):
        world = World(seed)
        world.disk.perform(CreateFile("f", 2 * SECTOR), WriteAt("f", 0, b"o" * 2 * SECTOR), SyncFile("f"), SyncFolder())
        world.disk.perform(WriteAt("f", 0, b"n" * 2 * SECTOR))
        world.disk.crash(power_loss=True)
        seen.add((world.disk.read("f", 5, 1), world.disk.read("f", SECTOR + 5, 1)))
    assert seen == {(one, other) for one in (b"o", b"n", b"\0") for other in (b"o", b"n", b"\0")}


def test_a_killed_process_leaves_the_page_cache_to_the_next_life() -> None:
    """What it reads there may still be lost by a later power loss."""
    lost = False
    for seed in range(10):
        world = World(seed)
        world.disk.perform(CreateFile("f", SECTOR), SyncFile("f"), SyncFolder(), WriteAt("f", 0, b"x"))
        world.disk.crash(power_loss=False)
        assert world.disk.read("f", 0, 1) == b"x"
        world.disk.crash(power_loss=True)
        lost = lost or world.disk.read("f", 0, 1) != b"x"
    assert lost


def test_names_that_the_folder_did_not_sync_are_there_or_not() -> None:
    """Create, rename and delete are each dropped on their own (BM-100)."""
    seen = set()
    for seed in range(60):
        world = World(seed)
        world.disk.perform(CreateFile("old", 0), CreateFile("gone", 0), SyncFolder())
        world.disk.perform(CreateFile("new", 0), RenameFile("old", "renamed"), DeleteFile("gone"))
        world.disk.crash(power_loss=True)
        seen.add(tuple(world.disk.names()))
    assert len(seen) == 8


def test_a_file_may_be_shorter_after_a_power_loss() -> None:
    """Created, named, and never synced."""
    sizes = set()
    for seed in range(20):
        world = World(seed)
        world.disk.perform(CreateFile("f", 3 * SECTOR), SyncFolder(), WriteAt("f", 2 * SECTOR, b"x"))
        world.disk.crash(power_loss=True)
        sizes.add(world.disk.size("f"))
    assert sizes == {0, 3 * SECTOR}


def test_a_crash_in_the_middle_of_a_sync_drops_the_job() -> None:
    """No completion reaches the next life."""
    world = World()
    world.disk.faults = DiskFaults(sync_ms=50)
    world.run(CreateFile("f", SECTOR), WriteAt("f", 0, b"x"), SyncFile("f"))
    world.scheduler.run_until(10)
    world.owner.end_life()
    world.disk.crash(power_loss=True)
    world.run(CreateFile("g", 0), number=2)
    world.scheduler.run_until(100)
    assert [completion.number for _, completion in world.done] == [2]


def test_a_failed_sync_drops_dirty_pages_and_ends_all_jobs() -> None:
    """EIO, and what was written may be gone; no later job changes anything in this life, as with the real disk."""
    lost = False
    for seed in range(10):
        world = World(seed)
        world.disk.perform(CreateFile("f", SECTOR), SyncFile("f"), SyncFolder())
        world.disk.faults.sync_error = MILLION
        world.run(WriteAt("f", 0, b"x"), SyncFile("f"), WriteAt("f", 1, b"y"))
        world.scheduler.run_until(10)
        world.disk.faults.sync_error = 0
        world.run(WriteAt("f", 0, b"z"), SyncFile("f"), number=2)
        world.run(ReadAt("f", 1, 1), number=3)
        world.scheduler.run_until(20)
        assert world.errors() == ["EIO", "EIO"]
        assert world.done[-1][1].reads == (b"\0",)
        assert world.disk.read("f", 0, 1) != b"z"
        lost = lost or world.disk.read("f", 0, 2) == b"\0\0"
        world.disk.crash(power_loss=False)
        world.run(WriteAt("f", 0, b"z"), number=4)
        world.scheduler.run_until(30)
        assert world.disk.read("f", 0, 1) == b"z"
    assert lost


def test_an_error_that_the_job_forgives_stops_nothing_else() -> None:
    """No space for a file that nobody needs yet; any other error counts."""
    world = World()
    world.disk.perform(CreateFile("f", 100))
    world.disk.faults.quota = 200
    spare = CreateFile("g", 800)
    world.disk.submit(Job(1, (spare,), forgives=("ENOSPC",)))
    world.run(WriteAt("f", 0, b"x"), number=2)
    world.scheduler.run_until(5)
    assert world.errors() == ["ENOSPC"]
    world.disk.faults.write_error = MILLION
    world.disk.submit(Job(3, (spare,), forgives=("ENOSPC",)))
    world.scheduler.run_until(6)
    world.disk.faults.write_error = 0
    world.run(WriteAt("f", 0, b"x"), number=4)
    world.scheduler.run_until(10)
    assert world.errors() == ["ENOSPC", "EIO", "EIO"]


def test_a_sticky_error_never_goes_away_until_the_process_does() -> None:
    """Every later write and sync fails too."""
    world = World()
    world.disk.perform(CreateFile("f", SECTOR), SyncFolder())
    world.disk.faults = DiskFaults(write_error=MILLION, sticky=True)
    world.run(WriteAt("f", 0, b"x"))
    world.scheduler.run_until(1)
    world.disk.faults.write_error = 0
    world.run(SyncFile("f"), number=2)
    world.run(SyncFolder(), number=3)
    world.scheduler.run_until(10)
    assert world.errors() == ["EIO"] * 3
    world.disk.crash(power_loss=False)
    world.disk.perform(SyncFile("f"))


def test_stalled_and_slow_syncs_take_their_time() -> None:
    """A stalled one ends when the stall does."""
    world = World()
    world.disk.perform(CreateFile("f", SECTOR))
    world.disk.faults = DiskFaults(stalled_until_ms=700)
    world.run(SyncFile("f"), number=1)
    world.scheduler.run_until(600)
    world.disk.faults = DiskFaults(slow=MILLION, slow_ms=400, sync_jitter_ms=3)
    world.run(SyncFile("f"), number=2)
    world.scheduler.run_until(5000)
    assert [time_ms for time_ms, _ in world.done] == [700, 1100]
    assert world.disk.tally.slow_syncs == 1


def test_a_full_disk_refuses_growth_and_nothing_else() -> None:
    """ENOSPC by quota; writing in place goes on, deleting makes room."""
    world = World()
    world.disk.faults.quota = 1000
    world.disk.perform(CreateFile("f", 800))
    for growth in (CreateFile("g", 800), WriteAt("f", 900, bytes(200))):
        with pytest.raises(OSError, match="no space left"):
            world.disk.perform(growth)
    world.disk.perform(WriteAt("f", 700, bytes(200)), DeleteFile("f"), CreateFile("g", 800))
    world.run(CreateFile("h", 800))
    world.scheduler.run_until(10)
    assert (world.errors(), world.disk.tally.no_space) == (["ENOSPC"], 3)


def test_missing_and_existing_names_are_errors() -> None:
    """As on a real disk."""
    world = World()
    world.disk.perform(CreateFile("f", 1))
    with pytest.raises(FileExistsError):
        world.disk.perform(CreateFile("f", 1))
    for operation in (DeleteFile("g"), WriteAt("g", 0, b""), RenameFile("g", "h"), SyncFile("g")):
        with pytest.raises(FileNotFoundError):
            world.disk.perform(operation)
    world.disk.faults.read_error = MILLION
    with pytest.raises(OSError, match="read error"):
        world.disk.read("f", 0, 1)


def test_flips_wipes_and_images() -> None:
    """Rot is durable; a wiped disk is empty; an image shows what a power loss would leave, and is another disk."""
    world = World()
    world.disk.perform(CreateFile("f", SECTOR), WriteAt("f", 0, b"\x01"), SyncFile("f"), SyncFolder())
    world.disk.flip("f", 0, 1)
    world.disk.perform(WriteAt("f", 1, b"x"), CreateFile("g", 0))
    image = world.disk.durable_image(Chance(1), Owner("image"))
    assert (image.names(), image.read("f", 0, 2)) == (["f"], b"\x03\0")
    image.wipe()
    assert image.names() == []
    assert world.disk.read("f", 0, 2) == b"\x03x"
