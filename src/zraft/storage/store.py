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

import msgspec

from zraft import limits
from zraft.core.entries import HardState, SnapshotMark
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
from zraft.storage.segments import Segment, list_segments, segment_name
from zraft.types import Index


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a node writes. Raises UsageError where a segment could not hold what it must."""

    segment_bytes: int = 10 * limits.MIB
    tail_bytes: int = limits.LOG_CACHE_BYTES
    """Payload of the newest batches that recovery hands back, over all replicas."""
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
    pass


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


class Store:
    """All replicas of one node. Made by `open`."""

    def __init__(self, settings: StoreSettings, journal: Journal, *, epoch: int, generation: int) -> None:
        """Use `open`."""
        self._settings = settings
        self._journal = journal
        self._epoch = epoch
        self._generation = generation
        self._logs: dict[str, StoredLog] = {}
        self._state_changed = False
        self._dones: dict[str, int] = {}
        """The last save of each replica since the last hand-out."""
        self._released: Released = {}
        self._loads: deque[_Load] = deque()
        self._dead: list[Segment] = []
        self._cleaning = Cleaning(journal)
        self._jobs: dict[int, _SaveJob | _DeleteJob | _SliceJob | _LoadJob | CopyJob] = {}
        self._last_job = 0
        self._saving = self._deleting = self._slicing = False
        self._failed = False

    @staticmethod
    def open(disk: Disk, settings: StoreSettings) -> Opened:
        """Recovers what the disk has and leaves it clean, durably. `notes` are for the log, one event each.

        Raises CorruptData where the node cannot start at all, StorageError where a newer program wrote the folder or
        the disk fails, DiskFull.
        """
        try:
            return _open(disk, settings)
        except OSError as error:
            raise storage_error(DiskError("recovery", errno_name(error), str(error))) from error

    def create_replica(self, meta: ReplicaMeta, number: int, hard_state: HardState | None = None) -> None:
        """A new replica with an empty log; `SaveDone(meta.name, number)` when it is durable. Raises UsageError."""
        if meta.name in self._logs:
            raise UsageError(f"there is a replica named {meta.name} already")
        if not 0 < meta.incarnation < 1 << 64 or any(log.owner == meta.incarnation for log in self._logs.values()):
            raise UsageError(f"incarnation {meta.incarnation} of {meta.name} is not a new 64-bit number")
        self._logs[meta.name] = StoredLog(meta, hard_state or HardState(), self._journal.next_lsn)
        self._state_changed = True
        self._dones[meta.name] = number

    def remove_replica(self, name: str, number: int) -> None:
        """The replica and its log are forgotten; `SaveDone(name, number)` when that is durable. Raises UsageError."""
        log = self._log(name)
        del self._logs[name]
        add_released(self._released, log.forget_all())
        self._state_changed = True
        self._dones[name] = number

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
            self._log(name).compact(mark, keep_from, self._journal, self._released)

    def load(self, name: str, token: int, first: Index, last: Index, limit_bytes: int) -> None:
        """Read batches from `first`, the first index of one, up to `last`; about `limit_bytes`, at least one.

        Answered by LoadDone or LoadFailed, with what the log then still has. Batches that are not durable yet are
        included.
        """
        if not self._failed:
            self._loads.append(_Load(name, token, first, last, limit_bytes))

    def watermark(self) -> None:
        """Nothing happens: say on disk what is durable, so that a bad last record is not taken for a torn one."""
        if not (self._failed or self._saving or self._journal.is_pending):
            self._journal.append_watermark()

    @property
    def is_idle(self) -> bool:
        """Nothing is collected and no save is under way."""
        return not (self._saving or self._is_save_due())

    def next_job(self) -> Job | None:
        """The next thing to submit, or None; ask until None after every call that may have made work."""
        if self._failed:
            return None
        if not self._saving and self._is_save_due():
            return self._save_job()
        return self._load_job() or self._delete_job() or self._slice_job() or self._copy_job()

    def completed(self, completion: Completion) -> list[StoreResult]:
        """What became of a job. Completions come in the order of the jobs."""
        job = self._jobs.pop(completion.number)
        if self._failed:
            return []
        if isinstance(job, _LoadJob):
            return [self._loaded(job, completion)]
        if isinstance(job, CopyJob):
            self._cleaning.copied(job, completion, self._released)
            return []
        if completion.error is not None:
            self._failed = True
            return [StoreFailed(storage_error(completion.error))]
        match job:
            case _SaveJob():
                return self._saved(job)
            case _DeleteJob():
                self._deleting = False
                self._journal.settle(last_lsn=0, durable_lsn=job.durable_lsn)
            case _SliceJob():
                self._slicing = False
        return []
