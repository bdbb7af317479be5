"""The store at its door: what joins a save, when it counts, what a read brings, and what poison does."""

from __future__ import annotations

import errno

import pytest

from tests.unit.storage.fake_disk import FakeDisk
from tests.unit.storage.host import SMALL, Host, batch, configuration, mark, member, meta
from zraft.core.entries import HardState
from zraft.errors import DiskFull, InvariantViolation, StorageError, UsageError
from zraft.storage.disk import CreateFile, DeleteFile, Job, Operation, ReadAt, SyncFile, SyncFolder, WriteAt
from zraft.storage.replica import LoadDone, LoadFailed, Save, SaveDone, StoreFailed, StoreResult
from zraft.storage.segments import list_segments, segment_name
from zraft.storage.store import Store, StoreSettings

LARGE = StoreSettings(segment_bytes=1 << 20)


def ready(*names: str, settings: StoreSettings = LARGE) -> Host:
    """A host whose replicas are durable and whose next segment is prepared."""
    host = Host(FakeDisk(), settings)
    for name in names:
        host.create(name)
    host.pump()
    return host


def take(host: Host) -> Job:
    job = host.store.next_job()
    assert job is not None
    return job


def perform(host: Host, job: Job) -> list[StoreResult]:
    host.disk.submit(job)
    return host.complete()


def load(host: Host, first: int, last: int = 1 << 40, limit: int = 1 << 20, name: str = "a") -> list[int]:
    host.store.load(name, 1, first, last, limit)
    return firsts(host.pump())


def is_short(host: Host) -> bool:
    return host.store.is_short_of_space


def firsts(results: list[StoreResult]) -> list[int]:
    (done,) = (item for item in results if isinstance(item, LoadDone))
    return [item.first for item in done.batches]


def test_saves_of_all_replicas_share_one_write_and_one_sync() -> None:
    """Group commit: a turn of a hundred groups costs one WriteAt and one SyncFile."""
    names = [f"g{number}" for number in range(100)]
    host = ready(*names)
    for name in names:
        host.save(name, batch(1), batch(2))
    job = take(host)
    assert [type(operation) for operation in job.operations] == [WriteAt, SyncFile]
    assert host.store.next_job() is None
    assert sorted(item.name for item in perform(host, job) if isinstance(item, SaveDone)) == sorted(names)


def test_only_one_save_is_under_way() -> None:
    """What arrives meanwhile joins the next one, and is not acknowledged with the first."""
    host = ready("a")
    first = host.save("a", batch(1))
    job = take(host)
    second = host.save("a", batch(2))
    third = host.save("a", batch(3))
    assert host.store.next_job() is None
    assert not host.store.is_idle
    assert perform(host, job) == [SaveDone("a", first)]
    assert perform(host, take(host)) == [SaveDone("a", third)]
    assert second < third
    assert host.store.is_idle


def test_hard_state_is_durable_before_the_entries_of_its_save() -> None:
    """Both state files are written and synced, one after the other, before the journal is touched (§3.8)."""
    host = ready("a")
    host.save("a", batch(1), hard_state=HardState(1, member("a")))
    kinds = [(type(item), getattr(item, "name", "")) for item in take(host).operations]
    assert kinds == [
        (WriteAt, "state-a"),
        (SyncFile, "state-a"),
        (WriteAt, "state-b"),
        (SyncFile, "state-b"),
        (WriteAt, segment_name(1)),
        (SyncFile, segment_name(1)),
    ]


def test_a_save_never_touches_a_sector_that_an_earlier_one_wrote() -> None:
    """A torn sector can only hold bytes that nobody was promised."""
    host = ready("a")
    end = 0
    for first in range(1, 20):
        host.save("a", batch(first, size=first * 37))
        (write, _) = take(host).operations
        assert isinstance(write, WriteAt)
        assert write.offset % 512 == 0
        assert write.offset >= end
        end = write.offset + len(write.data)
        host.disk.submit(Job(host.store._last_job, (write,)))
        host.complete()


def test_save_without_content_is_done_after_the_earlier_ones() -> None:
    """An empty save is still a promise that everything before it is durable."""
    host = ready("a")
    host.save("a", batch(1))
    job = take(host)
    empty = host.save("a")
    perform(host, job)
    last = take(host)
    assert last.operations == ()
    assert perform(host, last) == [SaveDone("a", empty)]


def test_unsynced_mode_syncs_term_and_vote_all_the_same() -> None:
    """Only batches may be acknowledged before they are durable."""
    host = ready("a", settings=StoreSettings(segment_bytes=1 << 20, sync=False))
    host.save("a", batch(1))
    assert [type(item) for item in take(host).operations] == [WriteAt]
    host = ready("a", settings=StoreSettings(segment_bytes=1 << 20, sync=False))
    host.save("a", batch(1), hard_state=HardState(1))
    assert [type(item) for item in take(host).operations] == [WriteAt, SyncFile, WriteAt, SyncFile, WriteAt]


def test_watermark_in_unsynced_mode_says_only_what_was_synced() -> None:
    """The segments are synced first, in the same job."""
    host = ready("a", settings=StoreSettings(segment_bytes=1 << 20, sync=False))
    host.write("a", batch(1))
    host.store.watermark()
    assert [type(item) for item in take(host).operations] == [SyncFile, WriteAt, SyncFile]


def test_watermark_is_written_once_and_only_when_idle() -> None:
    """An idle node writes nothing again and again."""
    host = ready("a")
    host.save("a", batch(1))
    host.store.watermark()
    job = take(host)
    host.store.watermark()
    perform(host, job)
    assert host.store.next_job() is None
    host.store.watermark()
    perform(host, take(host))
    host.store.watermark()
    assert host.store.next_job() is None


def test_next_segment_is_prepared_in_slices_between_saves() -> None:
    """A rollover finds a file that is there: it costs what every save costs."""
    settings = StoreSettings(segment_bytes=3 << 20)
    host = Host(FakeDisk(), settings)
    host.create("a")
    perform(host, take(host))
    sizes = []
    host.save("a", batch(1))
    assert isinstance(take(host).operations[-1], SyncFile)  # the save goes first
    while (job := host.store.next_job()) is not None:
        host.disk.submit(job)
        operation = job.operations[0]
        sizes.append(operation.size if isinstance(operation, CreateFile) else len(operation.data))  # type: ignore[union-attr]  # a WriteAt
        host.disk.jobs.rotate(1)
        host.complete()
    assert sizes == [1 << 20] * 3


def test_rollover_onto_a_prepared_segment_creates_nothing() -> None:
    """WriteAt and SyncFile per segment, and nothing else."""
    host = ready("a", settings=SMALL)
    host.save("a", batch(1, size=3000), batch(2, size=3000))
    kinds = [type(item) for item in take(host).operations]
    assert kinds == [WriteAt, WriteAt, SyncFile, SyncFile]


def test_rollover_before_the_segment_is_prepared_creates_it() -> None:
    """The name is durable before the save is (BM-100)."""
    host = ready("a", settings=SMALL)
    host.save("a", batch(1, size=3000), batch(2, size=3000), batch(3, size=9000))
    kinds = [type(item) for item in take(host).operations]
    assert kinds == [CreateFile, SyncFolder, WriteAt, WriteAt, WriteAt, SyncFile, SyncFile, SyncFile]


def test_load_brings_what_was_asked_for() -> None:
    """From `first`, up to `last`, about `limit_bytes`, at least one; nothing where `first` begins no batch."""
    host = ready("a", "b")
    for first in range(1, 41, 2):
        host.save("a", batch(first, 2, size=1000))
        host.save("b", batch(first, 2, size=20000))
    host.pump()
    assert load(host, 1) == list(range(1, 41, 2))
    assert load(host, 5, 11) == [5, 7, 9, 11]
    assert load(host, 5, limit=3500) == [5, 7, 9]
    assert load(host, 5, limit=1) == [5]
    assert load(host, 6) == []
    assert load(host, 41) == []
    assert load(host, 1, name="nobody") == []


def test_load_of_what_is_not_handed_out_waits_for_its_save() -> None:
    """The read is submitted after the save, so it finds the bytes, durable or not."""
    host = ready("a")
    host.save("a", batch(1))
    job = take(host)
    host.save("a", batch(2))
    host.store.load("a", 1, 1, 9, 1 << 20)
    first = take(host)
    assert [type(item) for item in first.operations] == [ReadAt]
    host.store.load("a", 2, 2, 9, 1 << 20)
    assert host.store.next_job() is None
    host.disk.submit(job)
    host.disk.submit(first)
    host.complete()
    assert firsts(host.complete()) == [1]
    host.disk.submit(take(host))
    second = take(host)
    host.disk.submit(second)
    host.complete()
    assert firsts(host.complete()) == [2]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("truncate", [1, 2]),
        ("truncate and write anew", [1, 2]),
        ("compact", []),
        ("reset", []),
        ("remove", []),
        ("remove and create", []),
        ("compact later", [1, 2, 3, 4]),
    ],
)
def test_load_that_races_brings_only_what_still_exists(change: str, left: list[int]) -> None:
    """Contiguous from `first`, as of the moment when the read is completed."""
    host = ready("a")
    host.write("a", *(batch(first) for first in range(1, 5)))
    host.store.load("a", 1, 1, 9, 1 << 20)
    job = take(host)
    match change:
        case "truncate":
            host.save("a", truncate_from=3)
        case "truncate and write anew":
            host.save("a", batch(3, term=2), truncate_from=3)
        case "compact":
            host.compact("a", mark(3), 3)
        case "compact later":
            host.compact("a", mark(3), 1)
        case "reset":
            host.save("a", reset_to=mark(9))
        case _:
            host.remove("a")
            if change == "remove and create":
                host.create("a")
    assert firsts(perform(host, job)) == left


def test_load_verifies_every_byte() -> None:
    """Rotten bytes, another record, a read error: LoadFailed, never a batch (D5)."""
    for damage in ("header", "payload", "short", "error"):
        host = ready("a")
        host.write("a", batch(1, size=700))
        host.store.load("a", 4, 1, 1, 1 << 20)
        name = segment_name(1)
        job = take(host)
        offset = job.operations[0].offset  # type: ignore[union-attr]  # a ReadAt
        if damage == "short":
            host.disk.files[name].cached = host.disk.files[name].cached[: offset + 500]
        elif damage == "error":
            host.disk.fail = lambda operation: errno.EIO if isinstance(operation, ReadAt) else 0
        else:
            host.disk.flip(name, offset + (20 if damage == "header" else 300))
        (failed,) = perform(host, job)
        assert isinstance(failed, LoadFailed)
        assert (failed.name, failed.token, failed.error.path, failed.error.offset) == ("a", 4, name, offset)
        host.write("a", batch(2))
        assert host.is_acked("a", host.numbers["a"])


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("which", [WriteAt, SyncFile, SyncFolder, DeleteFile])
def test_any_failed_write_poisons_the_store(number: int, which: type[Operation]) -> None:
    """Said once; then no job, no completion, no effect of any call (BM-093)."""
    host = ready("a", settings=SMALL)
    host.disk.fail = lambda operation: number if isinstance(operation, which) else 0
    first = 1
    while not any(isinstance(item, StoreFailed) for item in host.results):
        before = len(host.results)
        host.save("a", batch(first, size=2000))
        host.compact("a", mark(first), first)
        host.pump()
        first += 1
        assert len(host.results) > before
    failed = host.results[-1]
    assert isinstance(failed, StoreFailed)
    assert isinstance(failed.error, StorageError)
    assert isinstance(failed.error, DiskFull) == (number == errno.ENOSPC)
    host.disk.fail = lambda _: 0
    host.store.save(Save("a", 99, append=(batch(first),)))
    host.store.compact("a", mark(first), first)
    host.store.load("a", 1, 1, 2, 3)
    host.store.watermark()
    assert host.store.next_job() is None
    again = Host(host.disk.after_crash("lose"), known=host)
    assert again.found["a"].fault is None


def test_nothing_is_acknowledged_by_a_job_that_was_under_way_when_another_failed() -> None:
    """The segment's preparation fails while a save runs: the save counts for nobody."""
    host = Host(FakeDisk(), SMALL)
    host.create("a")
    perform(host, take(host))
    spare = take(host)
    host.save("a", batch(1))
    save = take(host)
    host.disk.fail = lambda operation: errno.EIO if isinstance(operation, CreateFile) else 0
    assert [type(item) for item in perform(host, spare)] == [StoreFailed]
    assert perform(host, save) == []


def test_store_refuses_what_breaks_the_log() -> None:
    """Holes, split batches, promises taken back: the replica stops, and nothing of it is written."""
    host = ready("a")
    host.write("a", batch(1, 3), batch(4), hard_state=HardState(3, member("a")))
    before = host.disk.image()
    wrong = [
        Save("a", 9, append=(batch(6),)),
        Save("a", 9, append=(batch(5), batch(7))),
        Save("a", 9, append=(batch(5, 0),)),
        Save("a", 9, truncate_from=2),
        Save("a", 9, truncate_from=6),
        Save("a", 9, truncate_from=4, append=(batch(5),)),
        Save("a", 9, reset_to=mark(9), append=(batch(5),)),
        Save("a", 9, HardState(2)),
        Save("a", 9, HardState(3)),
        Save("a", 9, HardState(3, member("b"))),
    ]
    for save in wrong:
        with pytest.raises(InvariantViolation):
            host.store.save(save)
    with pytest.raises(InvariantViolation, match="does not fit"):
        host.store.save(Save("a", 9, append=(batch(5, term=-1),)))
    with pytest.raises(InvariantViolation):
        host.store.compact("a", mark(2), 1)
    with pytest.raises(InvariantViolation):
        host.store.compact("a", mark(9), 1)
    host.compact("a", mark(3), 4)
    host.pump()
    with pytest.raises(InvariantViolation):
        host.store.save(Save("a", 9, truncate_from=1))
    assert Host(host.disk, LARGE, host).found["a"].recovered.lasts == [4]
    assert before


def test_store_refuses_what_is_no_replica() -> None:
    """Unknown names, names and incarnations that are taken, segments that are too small."""
    host = ready("a")
    with pytest.raises(UsageError):
        host.store.save(Save("nobody", 1))
    with pytest.raises(UsageError):
        host.store.remove_replica("nobody", 1)
    with pytest.raises(UsageError):
        host.store.create_replica(meta("a"), 1)
    with pytest.raises(UsageError):
        host.store.create_replica(meta("c", meta("a").incarnation), 1)
    with pytest.raises(UsageError):
        host.store.create_replica(meta("c", 1 << 64), 1)
    with pytest.raises(UsageError):
        host.store.rename_replica("nobody", "b")
    with pytest.raises(UsageError):
        host.store.rename_replica("a", "a")
    with pytest.raises(UsageError):
        StoreSettings(segment_bytes=1000)


def test_repeated_votes_and_older_marks_change_nothing() -> None:
    """The same hard state again is no promise taken back; a mark that is not newer writes no record."""
    host = ready("a")
    host.write("a", batch(1), batch(2), batch(3), hard_state=HardState(3, member("a")))
    host.write("a", hard_state=HardState(3, member("a")))
    host.compact("a", mark(2), 1)
    host.pump()
    host.store.compact("a", mark(1), 2)
    assert host.store.next_job() is None
    assert load(host, 1) == []
    assert load(host, 2) == [2, 3]


def test_tail_is_bounded_and_shared() -> None:
    """Recovery decodes the newest batches only; indexes, terms, configurations and time are complete."""
    host = ready("a", "b")
    for name in ("a", "b"):
        host.write(name, configuration(1, "x"), *(batch(first, size=1000) for first in range(2, 30)))
    for tail_bytes, count in ((0, 0), (10000, 4), (1 << 20, 29)):
        settings = StoreSettings(segment_bytes=1 << 20, tail_bytes=tail_bytes)
        for found in Store.open(host.disk.after_crash("killed"), settings).replicas:
            assert [item.first for item in found.recovered.tail] == list(range(30 - count, 30))[-count or 30 :]
            assert found.recovered.lasts == list(range(1, 30))
            assert [index for index, _ in found.recovered.memberships] == [1]
            assert found.recovered.time == 290


def test_segments_of_a_stopped_load_are_bounded() -> None:
    """A quiet replica does not keep the journal of a busy one: its batches are copied forward (BM-106)."""
    host = ready("quiet", "busy", settings=SMALL)
    host.write("quiet", configuration(1, "a"), *(batch(first, size=150) for first in range(2, 8)))
    host.compact("quiet", mark(1), 2)
    for first in range(1, 200):
        host.write("busy", batch(first, size=900))
        if first % 5 == 0:
            host.compact("busy", mark(first), first)
    host.pump()
    assert len(list_segments(host.disk.names())) <= 12
    assert load(host, 2, name="quiet") == [2, 3, 4, 5, 6, 7]
    again = Host(host.disk.after_crash("lose"), SMALL, host)
    assert again.found["quiet"].recovered.lasts == [2, 3, 4, 5, 6, 7]


def test_record_that_cannot_be_copied_keeps_its_segment() -> None:
    """It rots in a segment that is to be emptied: nothing of it is forgotten, and the next start says so."""
    for damage in ("rot", "error"):
        host = ready("quiet", "busy", settings=SMALL)
        host.write("quiet", batch(1, size=150), batch(2, size=150))
        if damage == "rot":
            (name, data) = segment_name(1), host.disk.read(segment_name(1), 0, 4096)
            host.disk.flip(name, data.index(b"2.1..") + 20)
        else:
            host.disk.fail = lambda operation: errno.EIO if isinstance(operation, ReadAt) else 0
        for first in range(1, 60):
            host.write("busy", batch(first, size=900))
            host.compact("busy", mark(first), first)
        host.pump()
        assert segment_name(1) in host.disk.names()
        again = Host(host.disk.after_crash("killed"), SMALL)
        assert (again.found["quiet"].fault is not None) == (damage == "rot")
        assert again.found["busy"].fault is None


def test_full_disk_is_known_before_the_last_segment_is_full() -> None:
    """No space for the next segment is no failure yet: the present one still serves, and room may come back."""
    host = Host(FakeDisk(), SMALL)
    host.disk.fail = lambda operation: errno.ENOSPC if isinstance(operation, CreateFile) else 0
    host.create("a")
    host.pump()
    assert is_short(host)
    host.write("a", batch(1, size=900))
    assert host.results[-1] == SaveDone("a", 2)
    host.store.retry_space()
    host.pump()
    assert is_short(host)
    host.disk.fail = lambda _: 0
    host.store.retry_space()
    host.pump()
    assert not is_short(host)
    host.write("a", *(batch(first, size=900) for first in range(2, 12)))
    again = Host(host.disk.after_crash("lose"), SMALL, host)
    assert again.notes == []
    assert len(again.found["a"].recovered.lasts) == 11


def test_full_disk_when_the_last_segment_is_full_poisons_the_store() -> None:
    """Nothing was promised, and what was stays; the next start needs no space at all."""
    for early in (False, True):
        host = Host(FakeDisk(), SMALL)
        host.disk.fail = lambda operation: errno.ENOSPC if isinstance(operation, CreateFile) else 0
        host.create("a")
        perform(host, take(host))
        if early:
            spare = take(host)
            host.save("a", batch(1, size=3000), batch(2, size=3000))
            assert [type(item) for item in perform(host, spare)] == [StoreFailed]
        else:
            host.pump()
            host.save("a", batch(1, size=3000), batch(2, size=3000))
            host.pump()
        failed = host.results[-1]
        assert isinstance(failed, StoreFailed)
        assert isinstance(failed.error, DiskFull)
        disk = host.disk.after_crash("lose")
        disk.fail = host.disk.fail
        again = Host(disk, SMALL, host)
        again.write("a", batch(1, size=900))
        assert again.results[-1] == SaveDone("a", 1)


def test_partly_prepared_segment_serves_when_space_runs_out() -> None:
    """Its file is there and merely shorter: it grows with what is written."""
    settings = StoreSettings(segment_bytes=3 << 20)
    host = Host(FakeDisk(), settings)
    host.create("a")
    host.disk.fail = lambda op: errno.ENOSPC if isinstance(op, WriteAt) and not any(op.data) else 0
    host.pump()
    assert is_short(host)
    assert host.disk.size(segment_name(2)) == 1 << 20
    host.store.retry_space()
    host.write("a", *(batch(first, size=700_000) for first in range(1, 8)))
    assert host.disk.size(segment_name(2)) > 2 << 20
    assert Host(host.disk.after_crash("lose"), settings, host).notes == []


def kinds(job: Job | None) -> set[str]:
    return set() if job is None else {type(operation).__name__ for operation in job.operations}


def test_segment_is_deleted_only_when_its_mark_is_durable() -> None:
    """The mark is collected while another save runs: the deletion waits for the save that has it (BM-060)."""
    host = ready("a", settings=SMALL)
    for first in range(1, 8):
        host.write("a", batch(first, size=1900))
    host.save("a", batch(8, size=10))
    running = take(host)
    host.compact("a", mark(6), 7)
    assert host.store.next_job() is None
    perform(host, running)
    with_mark = take(host)
    assert kinds(with_mark) == {"WriteAt", "SyncFile"}
    assert host.store.next_job() is None
    perform(host, with_mark)
    assert kinds(host.store.next_job()) == {"WriteAt", "SyncFile", "DeleteFile", "SyncFolder"}


def test_segment_is_deleted_only_when_what_was_copied_from_it_is_durable() -> None:
    """The copy was collected while another save runs: the old record is needed until the copy is on disk (BM-060)."""
    host = ready("quiet", "busy", settings=SMALL)
    host.write("quiet", batch(1, size=300))
    first, job = 0, None
    while kinds(job) != {"ReadAt"}:
        if job is not None:
            perform(host, job)
        else:
            first += 1
            host.save("busy", batch(first, size=1900))
            host.compact("busy", mark(first), first + 1)
        job = host.store.next_job()
    assert job is not None
    host.save("busy", batch(first + 1, size=10))
    running = take(host)
    perform(host, job)
    host.disk.submit(running)
    assert host.store.next_job() is None
    host.complete()
    with_copy = take(host)
    assert kinds(with_copy) == {"WriteAt", "SyncFile"}
    assert host.store.next_job() is None
    perform(host, with_copy)
    assert "DeleteFile" in kinds(host.store.next_job())


def test_what_changes_while_it_is_copied_is_not_copied() -> None:
    """Several quiet replicas; batches that are truncated or compacted, or whose replica is removed, meanwhile."""
    host = ready("q", "r", "s", "busy", settings=SMALL)
    for name in ("q", "r", "s"):
        host.save(name, *(batch(first, size=100) for first in range(1, 6)))
    host.pump()
    first, job, reads = 0, None, 0
    while reads < 2:
        if kinds(job) == {"ReadAt"}:
            reads += 1
            if reads == 1:
                host.save("q", truncate_from=4)
                host.compact("r", mark(2), 3)
                host.remove("s")
        if job is not None:
            perform(host, job)
        else:
            first += 1
            host.save("busy", batch(first, size=1900))
            host.compact("busy", mark(first), first + 1)
        job = host.store.next_job()
    assert job is None or kinds(job) != {"ReadAt"}
    if job is not None:
        host.disk.submit(job)
    host.pump()
    assert load(host, 1, name="q") == [1, 2, 3]
    assert load(host, 3, name="r") == [3, 4, 5]
    again = Host(host.disk.after_crash("lose"), SMALL, host)
    assert again.found.keys() == {"q", "r", "busy"}
