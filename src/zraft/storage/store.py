"""The store of one node: one journal and two state files for all its replicas.

Nothing here touches the disk: `next_job` says what to do next, `completed` is told what became of it. What is saved
while a save is under way joins the next one, of all replicas together: one write and one sync (group commit).

    save, create_replica, ...  ─> collected ─> next_job: ONE save job ─> completed ─> SaveDone for every replica in it
    load                       ─> waits until its batches are handed out ─> a read job ─> LoadDone
    in between                 ─> the next segment is prepared; dead ones are deleted; live records are copied forward

A write or sync that fails poisons the store: what the disk then has is unknown, and a later sync that succeeds proves
nothing (BM-093). `StoreFailed` is reported once, nothing afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from errno import errorcode
from typing import Final, TypeAlias

import msgspec

from zraft import limits
from zraft.core.entries import Batch, HardState, SnapshotMark
from zraft.errors import CorruptData, DiskFull, StorageError, UsageError
from zraft.storage.cleaning import Cleaning, CopyJob
from zraft.storage.disk import Completion, DeleteFile, Disk, DiskError, Job, Operation, SyncFile, SyncFolder
from zraft.storage.hard_state import STATE_FILES, encode_state, write_state
from zraft.storage.index import Released
from zraft.storage.journal import Journal
from zraft.storage.logs import StoredLog, add_released
from zraft.storage.reading import Plan, Wanted, check_batch, plan_reads, wanted_at
from zraft.storage.recovery import mend, survey
from zraft.storage.replica import (
    LoadDone,
    LoadFailed,
    RecoveredReplica,
    ReplicaMeta,
    Save,
    SaveDone,
    StoreFailed,
    StoreResult,
)
from zraft.storage.segments import list_segments, segment_name
from zraft.types import Index

_NO_SPACE: Final = ("ENOSPC", "EDQUOT")


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a node writes. Raises UsageError where a segment could not hold what it must."""

    segment_bytes: int = 10 * limits.MIB
    tail_bytes: int = limits.LOG_CACHE_BYTES
    """What the newest batches that recovery hands back may take in memory, those of all replicas together."""
    sync: bool = True
    """False: batches are acknowledged before they are durable. Term and vote are synced all the same."""

    def __post_init__(self) -> None:
        if not limits.MIN_SEGMENT_BYTES <= self.segment_bytes <= limits.MAX_SEGMENT_BYTES:
            least, most = limits.MIN_SEGMENT_BYTES, limits.MAX_SEGMENT_BYTES
            raise UsageError(f"segment_bytes must be {least} to {most}, not {self.segment_bytes}")


class _SaveJob(msgspec.Struct, frozen=True):
    dones: dict[str, int]
    released: Released
    last_lsn: int
    durable_lsn: int


class _DeleteJob(msgspec.Struct, frozen=True):
    durable_lsn: int


class _SliceJob(msgspec.Struct, frozen=True):
    """The next segment, made ready a little more."""


class _DropJob(msgspec.Struct, frozen=True):
    """What may be left of a segment that could not be made; where nothing is, the job fails, and that is all right."""


class _Load(msgspec.Struct, frozen=True):
    name: str
    token: int
    first: Index
    last: Index
    limit_bytes: int


class _LoadJob(msgspec.Struct, frozen=True):
    load: _Load
    log: StoredLog | None
    wanted: list[Wanted]
    plan: Plan


_Submitted: TypeAlias = _SaveJob | _DeleteJob | _SliceJob | _DropJob | _LoadJob | CopyJob


class Store:
    """All replicas of one node. Made by `open`."""

    def __init__(
        self, settings: StoreSettings, journal: Journal, logs: list[StoredLog], *, epoch: int, generation: int
    ) -> None:
        """Use `open`."""
        self._journal = journal
        self._epoch = epoch
        self._generation = generation
        self._logs = {log.meta.name: log for log in logs}
        self._owners = {log.owner: log.meta.name for log in logs}
        self._marred = [log for log in logs if log.needs_version > 1]
        """Replicas that lost part of their log, in this opening or an earlier one."""
        self._state_changed = False
        self._dones: dict[str, int] = {}
        """The last save of each replica since the last hand-out."""
        self._released: Released = {}
        self._loads: deque[_Load] = deque()
        self._cleaning = Cleaning(journal, settings.segment_bytes)
        self._jobs: dict[int, _Submitted] = {}
        self._last_job = 0
        self._saving = self._deleting = self._slicing = False
        self._failed = False
        self._is_at_rest = False
        """Nothing has happened since there was no job to do, but perhaps what makes a save due."""
        self._is_short_of_space = False
        self._debris: Operation | None = None
        self._tidy()

    @staticmethod
    def open(disk: Disk, settings: StoreSettings, *, abstaining: Collection[int] = ()) -> Opened:
        """Recovers what the disk has and leaves it clean, durably. `notes` are for the log, one event each.

        `abstaining`: incarnations of replicas that shall go on without what they lost, and abstain from votes: those
        that are rotten without what cannot be read and what followed it, others without any record; all of them in a
        new term, durably. Nothing of an earlier opening may be used any more.

        Raises CorruptData where the node cannot start at all, StorageError where a newer program wrote the folder or
        the disk fails, DiskFull.
        """
        try:
            return _open(disk, settings, abstaining)
        except OSError as error:
            raise storage_error(DiskError("recovery", errorcode.get(error.errno or 0, "EIO"), str(error))) from error

    def create_replica(self, meta: ReplicaMeta, number: int, hard_state: HardState | None = None) -> None:
        """A new replica with an empty log; `SaveDone(meta.name, number)` when it is durable. Raises UsageError."""
        if meta.name in self._logs:
            raise UsageError(f"there is a replica named {meta.name} already")
        if not 0 < meta.incarnation < 1 << 64 or meta.incarnation in self._owners:
            raise UsageError(f"incarnation {meta.incarnation} of {meta.name} is not a new 64-bit number")
        self._logs[meta.name] = StoredLog(meta, hard_state or HardState(), self._journal.next_lsn)
        self._owners[meta.incarnation] = meta.name
        self._state_changed = True
        self._dones[meta.name] = number

    def remove_replica(self, name: str, number: int) -> None:
        """The replica and its log are forgotten; `SaveDone(name, number)` when that is durable. Raises UsageError."""
        log = self._log(name)
        del self._logs[name], self._owners[log.owner]
        self._marred = [marred for marred in self._marred if marred is not log]
        add_released(self._released, log.forget_all())
        self._state_changed = True
        self._dones[name] = number

    def rename_replica(self, name: str, new_name: str) -> None:
        """The replica is called `new_name`, durably with the next save; its log stays as it is. Raises UsageError."""
        log = self._log(name)
        if new_name in self._logs:
            raise UsageError(f"there is a replica named {new_name} already")
        log.rename(new_name)
        self._logs[new_name] = self._logs.pop(name)
        self._owners[log.owner] = new_name
        self._state_changed = True

    def save(self, save: Save) -> None:
        """Carries the save out; `SaveDone` when it and all earlier ones are durable. Ignored by a poisoned store.

        Raises InvariantViolation, and then the replica must stop, where the save breaks a rule of the log; UsageError
        where the replica is unknown or at fault.
        """
        if self._failed:
            return
        log = self._log(save.name)
        if log.fault is not None:
            raise UsageError(f"{save.name} must not run: {log.fault}")
        log.check(save)
        log.carry_out(save, self._journal, self._released)
        if save.hard_state is not None:
            self._state_changed = True
        self._dones[save.name] = save.number

    def compact(self, name: str, mark: SnapshotMark, keep_from: Index) -> None:
        """A snapshot at `mark` is durable: batches that end before `keep_from` are not needed any more.

        After a restart the log begins after the mark. Raises InvariantViolation where no batch ends at the mark.
        """
        if not self._failed:
            self._is_at_rest = False
            self._log(name).compact(mark, keep_from, self._journal, self._released)

    def load(self, name: str, token: int, first: Index, last: Index, limit_bytes: int) -> None:
        """Read batches from `first`, the first index of one, up to `last`; about `limit_bytes`, at least one.

        Answered by LoadDone or LoadFailed, with what the log then still has. Batches that are not durable yet are
        included.
        """
        if not self._failed:
            self._is_at_rest = False
            self._loads.append(_Load(name, token, first, last, limit_bytes))

    def watermark(self) -> None:
        """Nothing happens: say on disk what is durable, so that a bad last record is not taken for a torn one."""
        if not (self._failed or self._saving or self._journal.is_pending):
            self._journal.append_watermark()

    @property
    def is_short_of_space(self) -> bool:
        """There was no space for the next segment: what the present one still holds is all there is.

        Whoever leads here should hand over, and new work should be refused: a save for which there is no space at all
        poisons the store. Over when segments were deleted here, or with `retry_space`, until making one fails again.
        """
        return self._is_short_of_space

    def retry_space(self) -> None:
        """Try again to make the next segment: somebody may have made room."""
        self._is_at_rest = self._is_short_of_space = False

    @property
    def is_idle(self) -> bool:
        """Nothing is collected and no save is under way."""
        return not (self._saving or self._is_save_due())

    def next_job(self) -> Job | None:
        """The next thing to submit, or None; ask until None after every call that may have made work."""
        if self._failed or (self._is_at_rest and not self._is_save_due()):
            return None
        if not self._saving and self._is_save_due():
            return self._save_job()
        job = self._load_job() or self._delete_job() or self._slice_job() or self._copy_job()
        self._is_at_rest = job is None
        return job

    def completed(self, completion: Completion) -> list[StoreResult]:
        """What became of a job. Completions come in the order of the jobs."""
        job = self._jobs.pop(completion.number)
        self._is_at_rest = False
        if self._failed:
            return []
        if isinstance(job, _LoadJob):
            return [self._loaded(job, completion)]
        if isinstance(job, CopyJob):
            self._cleaning.copied(job, completion, self._released)
            return []
        if isinstance(job, _DropJob):
            return []
        if completion.error is not None:
            is_full = completion.error.errno_name in _NO_SPACE
            if is_full and isinstance(job, _SliceJob) and not self._journal.needs_spare:
                self._slicing, self._is_short_of_space = False, True
                self._debris = self._journal.give_up_spare()
                return []
            self._failed = True
            return [StoreFailed(storage_error(completion.error))]
        match job:
            case _SaveJob():
                return self._saved(job)
            case _DeleteJob():
                self._deleting = False
                self._journal.settle(last_lsn=0, durable_lsn=job.durable_lsn)
                self._is_short_of_space = False
            case _SliceJob():
                self._slicing = False
        return []

    def _log(self, name: str) -> StoredLog:
        log = self._logs.get(name)
        if log is None:
            raise UsageError(f"there is no replica named {name}")
        return log

    def _is_save_due(self) -> bool:
        return bool(self._state_changed or self._dones or self._journal.is_pending)

    def _job(self, kind: _Submitted, *operations: Operation, forgives: tuple[str, ...] = ()) -> Job:
        self._last_job += 1
        self._jobs[self._last_job] = kind
        return Job(self._last_job, operations, forgives)

    def _save_job(self) -> Job:
        """Everything collected since the last one. Hard states go first: no entry is durable before its term is."""
        operations = self._state_operations() if self._state_changed else ()
        self._state_changed = False
        writes = self._journal.take()
        job = _SaveJob(self._dones, self._released, writes.last_lsn, writes.durable_lsn)
        self._dones, self._released = {}, {}
        self._saving = True
        return self._job(job, *operations, *writes.operations)

    def _saved(self, job: _SaveJob) -> list[StoreResult]:
        self._saving = False
        journal = self._journal
        journal.settle(last_lsn=job.last_lsn, durable_lsn=job.durable_lsn)
        journal.segments.release(job.released)
        self._tidy()
        return [SaveDone(name, number) for name, number in job.dones.items()]

    def _tidy(self) -> None:
        """Something may be superfluous now: is it worth emptying a segment?"""
        if len(self._journal.segments) > 1:
            self._cleaning.consider(self._logs.values(), self._released)

    def _state_operations(self) -> tuple[Operation, ...]:
        self._generation += 1
        oldest = self._journal.segments.oldest
        image = encode_state(
            self._generation,
            [log.row() for log in self._logs.values()],
            epoch=self._epoch,
            oldest_segment=oldest.sequence,
            oldest_lsn=oldest.first_lsn,
            durable_lsn=self._journal.durable_lsn,
            version=max((log.needs_version for log in self._marred), default=1),
        )
        return write_state(image)

    def _delete_job(self) -> Job | None:
        """The state files say first that the segments are not needed: none can be missed, or come back, unnoticed."""
        dead = [] if self._deleting else self._journal.segments.take_dead(self._journal.completed_lsn)
        if not dead:
            return None
        self._deleting = True
        syncs = self._journal.take_syncs()
        durable_lsn = self._journal.handed_lsn if syncs else 0
        deletes = (DeleteFile(segment.name) for segment in dead)
        return self._job(_DeleteJob(durable_lsn), *syncs, *self._state_operations(), *deletes, SyncFolder())

    def _slice_job(self) -> Job | None:
        if self._debris is not None:
            debris, self._debris = self._debris, None
            return self._job(_DropJob(), debris, forgives=("ENOENT",))
        operations = () if self._slicing or self._is_short_of_space else self._journal.next_slice()
        if not operations:
            return None
        self._slicing = True
        return self._job(_SliceJob(), *operations, forgives=_NO_SPACE)

    def _copy_job(self) -> Job | None:
        job = self._cleaning.next_slice()
        return None if job is None else self._job(job, *job.plan.reads)

    def _load_job(self) -> Job | None:
        """The first load that does not wait for a hand-out: jobs run in order, so it reads what was handed out."""
        for place, load in enumerate(self._loads):
            log = self._logs.get(load.name)
            wanted = [] if log is None else self._find(log, load)
            if wanted is not None:
                del self._loads[place]
                plan = plan_reads(wanted)
                return self._job(_LoadJob(load, log, wanted, plan), *plan.reads)
        return None

    def _find(self, log: StoredLog, load: _Load) -> list[Wanted] | None:
        """The records to read for a load; [] where there are none, None where the first is not handed out yet."""
        index, wanted, size = log.index, list[Wanted](), 0
        position = index.find(load.first)
        while 0 <= position < len(index) and index.firsts[position] <= load.last:
            item = wanted_at(index, position)
            if not self._journal.is_handed_out(item.segment, item.offset):
                return wanted or None
            size += item.size
            if wanted and size > load.limit_bytes:
                break
            wanted.append(item)
            position += 1
        return wanted

    def _loaded(self, job: _LoadJob, completion: Completion) -> StoreResult:
        """What was read, as far as the log still has it: it may have been truncated or compacted meanwhile."""
        load, log = job.load, self._logs.get(job.load.name)
        batches: list[Batch] = []
        if log is not None and log is job.log:
            for (read, at), item in zip(job.plan.spots, job.wanted, strict=True):
                if not log.has(item):
                    break
                try:
                    if completion.error is not None:
                        raise CorruptData(segment_name(item.segment), item.offset, completion.error.text)
                    batches.append(check_batch(completion.reads[read], at, log.owner, item))
                except CorruptData as error:
                    return LoadFailed(load.name, load.token, error)
        return LoadDone(load.name, load.token, tuple(batches))


class Opened(msgspec.Struct, frozen=True):
    """A recovered folder."""

    store: Store
    replicas: list[RecoveredReplica]
    notes: list[str]


def storage_error(error: DiskError) -> StorageError:
    """The error of the tree for what a disk said."""
    text = f"{error.operation}: {error.text}"
    return DiskFull(text) if error.errno_name in _NO_SPACE else StorageError(text)


def _open(disk: Disk, settings: StoreSettings, abstaining: Collection[int]) -> Opened:
    names = disk.names()
    files: list[str] = [name for name in STATE_FILES if name in names]
    files += [segment_name(sequence) for sequence in list_segments(names)]
    # A process that was killed leaves bytes that can be read and are not durable yet.
    disk.perform(*(SyncFile(name) for name in files), SyncFolder())
    found = survey(disk, abstaining)
    share = settings.tail_bytes // max(len(found.traces), 1)
    replicas = [trace.recovered(disk, share) for trace in found.traces.values()]
    mended = mend(disk, found, settings.segment_bytes)
    journal = Journal(
        mended.segments,
        segment_bytes=settings.segment_bytes,
        sync=settings.sync,
        epoch=mended.epoch,
        next_lsn=found.scan.expected,
    )
    store = Store(
        settings,
        journal,
        [StoredLog.found(trace) for trace in found.traces.values()],
        epoch=mended.epoch,
        generation=mended.generation,
    )
    return Opened(store, replicas, found.notes)
