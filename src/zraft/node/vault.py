"""The vault on a real folder: performs `peer.vault`'s jobs in worker threads and reports each to the event loop.

A few threads for all replicas: snapshots of many at once would take turns with the event loop at the interpreter, and
with the journal at the disk. Jobs of one replica are a queue of their own. A fetch holds no thread while it waits.

A job ends early where its replica is forgotten or the vault closes: work is done in pieces and asks between them. What
a job that failed had begun is removed; what was published before is not touched.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Protocol, assert_never

from zraft import limits
from zraft.core.entries import SnapshotMark
from zraft.errors import BackendError, CorruptData, DataDirUnsafe, DiskFull, StorageError, ZraftError
from zraft.node.archiving import archive
from zraft.node.disk import open_data_folder
from zraft.node.shelves import ARCHIVE, FETCHING, SNAPSHOTS, WRITING, Draft, Shelf
from zraft.node.snapshot_files import KeptSnapshot, NewSnapshot, open_folder, read_manifest, write_manifest, wrong_in
from zraft.peer.vault import Drop, Fetch, Forget, FoundSnapshot, Install, VaultDone, VaultJob, Write
from zraft.session.machine import ReplicatedMachine
from zraft.storage.manifest import Manifest, replica_folder
from zraft.storage.replica import ReplicaMeta
from zraft.types import GroupId, Index, Member

LOG: Final = logging.getLogger("zraft")

_CLOSE_S: Final = 10.0
"""How long `close` waits for a backend that does not come to the end of a piece of work."""
_PIECE_S: Final = 0.0005
_REST_S: Final = 0.005
"""A rest of a worker that writes, at the longest."""
_NO_GROUP: Final = GroupId(bytes(16))


class GivenUp(OSError):
    """The work is not wanted any more."""

    def __init__(self) -> None:
        super().__init__(errno.ECANCELED, "given up: its replica was removed, or the node stops")


class Transfers(Protocol):
    """How snapshots get from node to node; see `node.transfers`."""

    def offer(self, manifest: Manifest, to: Member) -> bytes:
        """What `to` needs to fetch this snapshot."""

    def offered(self, job: Fetch) -> Manifest:
        """What the offer of the job has. Raises CorruptData, StorageError."""

    def fetch(self, job: Fetch, manifest: Manifest, folder: Path, done: Callable[[ZraftError | None], None]) -> None:
        """Bring the files into the folder, durable and as the manifest says; then `done`, once, from any thread."""

    def cancel(self, number: int) -> None:
        """The fetch of this number is not wanted any more: `done` soon."""

    def progress(self, meta: ReplicaMeta, mark: SnapshotMark) -> tuple[int, int] | None:
        """How many bytes of how many have arrived; None where this is not being fetched."""

    def is_sending(self, meta: ReplicaMeta, index: Index) -> bool:
        """The snapshot at `index` is on its way to somebody."""

    def forget(self, meta: ReplicaMeta) -> None:
        """No offer of the replica counts any more."""


@dataclass(slots=True)
class _Lane:
    """The jobs of one replica, the first of which may be under way."""

    jobs: deque[VaultJob] = field(default_factory=deque)
    is_busy: bool = False
    is_given_up: bool = False
    """What is under way is not wanted any more."""
    draft: Draft | None = None
    """What is being fetched."""
    arrived: list[ZraftError | None] = field(default_factory=list)
    """The end of the fetch that is under way."""


class RealVault:
    """One node's snapshots in one folder."""

    def __init__(
        self,
        folder: Path,
        report: Callable[[VaultDone], None],
        *,
        data_folder: Path | None = None,
        transfers: Transfers | None = None,
    ) -> None:
        """Open `folder`, and lock it unless it is `data_folder`, which is locked already.

        `report` is called from worker threads. Raises DataDirUnsafe or DataDirInUse, with what to do about it, and
        StorageError.
        """
        self.folder = folder = folder.absolute()  # the process may change its own
        self._report, self._transfers = report, transfers
        self._root, self._lock = open_root(folder, data_folder)
        self._shelves: list[Shelf] = []
        try:
            for name in (SNAPSHOTS, ARCHIVE):
                self._shelves.append(Shelf(self._root, folder, name))
            self._snapshots, self._archive = self._shelves
        except OSError as error:
            self._let_go()
            raise storage_error(error, f"the folder of snapshots, {folder}") from error
        self._guard = threading.Lock()
        self._lanes: dict[int, _Lane] = {}
        """By incarnation. Belongs to the guard, as does every lane's `jobs` and `is_busy`."""
        self._kept: dict[int, dict[Index, Manifest]] = {}
        """What is published, by incarnation and index; for offers. Belongs to the guard."""
        self._ready: SimpleQueue[int | None] = SimpleQueue()
        """Incarnations of replicas with a job to be done."""
        self._is_closing = False
        self._workers = [
            threading.Thread(target=self._work, name=f"zraft-vault {folder}", daemon=True)
            for _ in range(limits.SNAPSHOT_WORKERS)
        ]
        for worker in self._workers:
            worker.start()

    # -- the port

    def found(self) -> list[FoundSnapshot]:
        """What is published, sorted by name, then index. Raises OSError, and StorageError for a newer format."""
        for shelf in self._shelves:
            for removed in shelf.clean():
                LOG.info("removed the beginning of a snapshot, %s", shelf.path / removed)
        return [
            self._found(name, incarnation, index, term, folder)
            for name, incarnation, index, term, folder in self._snapshots.published()
        ]

    def _found(self, name: str, incarnation: int, index: Index, term: int, folder: int) -> FoundSnapshot:
        """One of them; where its manifest cannot be believed, as the names of its folders say, of group zero."""
        try:
            manifest = read_manifest(folder, f"{name}-{incarnation:016x}/{index}-{term}")
            _check_place(manifest, name, incarnation, index, term)
        except CorruptData as fault:
            meta, mark = ReplicaMeta(name, _NO_GROUP, incarnation, ""), SnapshotMark(index, term)
            return FoundSnapshot(meta, mark, 0, fault)
        with self._guard:
            self._kept.setdefault(incarnation, {})[index] = manifest
        return FoundSnapshot(manifest.meta, manifest.mark, manifest.size)

    def load(self, meta: ReplicaMeta, mark: SnapshotMark, machine: ReplicatedMachine) -> None:
        """Read the published snapshot into the fresh `machine` now. Raises CorruptData and OSError."""
        self._install(meta, mark, machine, self._go_on)

    def submit(self, job: VaultJob) -> None:
        """Queue the job. A replica that is forgotten needs nothing that is under way."""
        incarnation = job.meta.incarnation
        with self._guard:
            lane = self._lanes.setdefault(incarnation, _Lane())
            lane.jobs.append(job)
            first = lane.jobs[0]
            if isinstance(job, Forget) and lane.is_busy:
                lane.is_given_up = True
            is_first = not lane.is_busy
            lane.is_busy = True
        if is_first:
            self._ready.put(incarnation)
        elif isinstance(job, Forget) and isinstance(first, Fetch) and self._transfers is not None:
            self._transfers.cancel(first.number)

    def offer(self, meta: ReplicaMeta, mark: SnapshotMark, to: Member) -> bytes | None:
        """What `to` needs to fetch the published snapshot at `mark`; None where there is none any more."""
        with self._guard:
            manifest = self._kept.get(meta.incarnation, {}).get(mark.index)
        if manifest is None or manifest.mark != mark or self._transfers is None:
            return None
        return self._transfers.offer(manifest, to)

    def is_sending(self, meta: ReplicaMeta, index: Index) -> bool:
        """The snapshot at `index` is on its way to somebody."""
        return self._transfers is not None and self._transfers.is_sending(meta, index)

    def progress(self, meta: ReplicaMeta, mark: SnapshotMark) -> tuple[int, int] | None:
        """How many bytes of how many have arrived; None where this is not being fetched."""
        return self._transfers.progress(meta, mark) if self._transfers is not None else None

    # -- beside the port

    def path_of(self, manifest: Manifest) -> Path:
        """Where a published snapshot is."""
        return self._snapshots.path_of(manifest.meta, manifest.mark)

    def close(self) -> None:
        """End what is under way, and let go of the folder. What is queued is not done. May be called twice."""
        self._is_closing = True
        for _ in self._workers:
            self._ready.put(None)
        deadline = time.monotonic() + _CLOSE_S
        for worker in self._workers:
            worker.join(max(deadline - time.monotonic(), 0))
        if any(worker.is_alive() for worker in self._workers):
            LOG.warning("a snapshot is still being written or read in %s; it is left alone", self.folder)
            return  # its descriptors are in use
        self._workers.clear()
        for lane in self._lanes.values():
            if lane.draft is not None:
                lane.draft.close()
                lane.draft = None
        self._let_go()

    def _let_go(self) -> None:
        for shelf in self._shelves:
            shelf.close()
        self._shelves.clear()
        for descriptor in (self._lock, self._root):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock = self._root = -1

    # -- worker threads

    def _work(self) -> None:
        while (incarnation := self._ready.get()) is not None and not self._is_closing:
            with self._guard:
                lane = self._lanes[incarnation]
                job = lane.jobs[0]
            self._attempt(lane, job)

    def _attempt(self, lane: _Lane, job: VaultJob) -> None:
        """Do the job and report it; whatever happens is reported: nobody else would notice."""
        error: ZraftError | None = None
        size: int | None = 0
        try:
            size = self._perform(lane, job)
        except OSError as failure:
            error = storage_error(failure, f"{type(job).__name__} of a snapshot of {job.meta.name}")
        except ZraftError as failure:
            error = failure
        except Exception as failure:
            LOG.exception("%s of a snapshot of %s failed", type(job).__name__, job.meta.name)
            error = BackendError(type(failure).__name__, executed="no")
        if error is not None or size is not None:
            self._finished(lane, job, VaultDone(job.number, size or 0, error))

    def _finished(self, lane: _Lane, job: VaultJob, done: VaultDone) -> None:
        incarnation = job.meta.incarnation
        with self._guard:
            lane.jobs.popleft()
            lane.is_given_up = any(isinstance(later, Forget) for later in lane.jobs)
            lane.is_busy = bool(lane.jobs)
            if not lane.is_busy:
                del self._lanes[incarnation]
        if not self._is_closing:
            self._report(done)
        if lane.is_busy:
            self._ready.put(incarnation)

    def _perform(self, lane: _Lane, job: VaultJob) -> int | None:
        """Bytes of the snapshot; None: it goes on elsewhere."""

        def check() -> None:
            if self._is_closing or lane.is_given_up:
                raise GivenUp

        match job:
            case Write():
                return self._write(job, _rested(check))
            case Fetch():
                return self._fetch(lane, job, check)
            case Install():
                self._install(job.meta, job.mark, job.machine, check)
            case Drop():
                self._drop(job)
            case Forget():
                self._forget(job.meta)
            case _:
                assert_never(job)
        return 0

    def _go_on(self) -> None:
        if self._is_closing:
            raise GivenUp

    # -- writing

    def _write(self, job: Write, check: Callable[[], None]) -> int:
        kept = self._sound(job.meta, job.mark, check)
        if kept is None:
            draft = self._snapshots.draft(job.meta, job.mark, WRITING)
            snapshot = NewSnapshot(draft.folder, draft.path, check)
            try:
                job.captured.write(snapshot)
                version = job.captured.surroundings.version
                now = int(time.time() * 1000)
                kept = Manifest(job.meta, version, job.mark, now, snapshot.seal())
                write_manifest(kept, draft.folder, check)
                if job.archive:
                    archive(self._archive, kept, draft.folder, check)
                draft.publish()
            finally:
                snapshot.drop()
                draft.close()
        elif job.archive:
            folder = self._opened(job.meta, job.mark)
            try:
                archive(self._archive, kept, folder, check)
            finally:
                os.close(folder)
        self._keep(kept)
        return kept.size

    def _sound(self, meta: ReplicaMeta, mark: SnapshotMark, check: Callable[[], None]) -> Manifest | None:
        """What is published at `mark` already, every byte of it as it was; what is not is removed."""
        folder = self._snapshots.open(meta, mark)
        if folder is None:
            return None
        path = str(self._snapshots.path_of(meta, mark))
        try:
            manifest = read_manifest(folder, path)
            wrong = wrong_in(manifest.files, folder, path, check)
            if wrong is None and (manifest.meta, manifest.mark) == (meta, mark):
                self._snapshots.settle(meta)
                return manifest
        except CorruptData as error:
            wrong = error
        finally:
            os.close(folder)
        LOG.warning("a snapshot is made anew: %s", wrong or f"{path} holds another")
        self._snapshots.delete(meta, [(mark.index, mark.term)])
        return None

    def _keep(self, manifest: Manifest) -> None:
        with self._guard:
            self._kept.setdefault(manifest.meta.incarnation, {})[manifest.mark.index] = manifest

    # -- fetching

    def _fetch(self, lane: _Lane, job: Fetch, check: Callable[[], None]) -> int | None:
        """Begins it; done for the second time, with what became of it."""
        if self._transfers is None:
            raise StorageError("this node fetches no snapshots")
        offered = self._transfers.offered(job)
        manifest = Manifest(job.meta, offered.backend_version, job.mark, offered.written_ms, offered.files)
        if lane.draft is None:
            return self._begin_fetch(lane, job, manifest, check)
        draft, lane.draft = lane.draft, None
        try:
            failure = lane.arrived.pop()
            if failure is not None:
                raise failure
            write_manifest(manifest, draft.folder, check)
            draft.publish()
        finally:
            draft.close()
        self._keep(manifest)
        return manifest.size

    def _begin_fetch(self, lane: _Lane, job: Fetch, manifest: Manifest, check: Callable[[], None]) -> int | None:
        kept = self._sound(job.meta, job.mark, check)
        if kept is not None:
            self._keep(kept)
            return kept.size
        lane.draft = draft = self._snapshots.draft(job.meta, job.mark, FETCHING)

        def done(error: ZraftError | None) -> None:
            lane.arrived.append(error)
            self._ready.put(job.meta.incarnation)

        try:
            _check_space(draft.folder, manifest)
            check()
            if self._transfers is not None:
                self._transfers.fetch(job, manifest, draft.path, done)
                if lane.is_given_up:  # since the check, and the cancelling may have come too early
                    self._transfers.cancel(job.number)
        except BaseException:
            lane.draft = None
            draft.close()
            raise
        return None

    # -- reading and removing

    def _install(
        self, meta: ReplicaMeta, mark: SnapshotMark, machine: ReplicatedMachine, check: Callable[[], None]
    ) -> None:
        """Every byte is checked before the machine sees the first one."""
        path = self._snapshots.path_of(meta, mark)
        folder = self._opened(meta, mark)
        try:
            manifest = read_manifest(folder, str(path))
            _check_place(manifest, meta.name, meta.incarnation, mark.index, mark.term)
            wrong = wrong_in(manifest.files, folder, str(path), check)
            if wrong is not None:
                raise wrong
            machine.install_snapshot(KeptSnapshot(manifest, folder, path, check), mark.index)
        finally:
            os.close(folder)

    def _opened(self, meta: ReplicaMeta, mark: SnapshotMark) -> int:
        folder = self._snapshots.open(meta, mark)
        if folder is None:
            raise CorruptData(str(self._snapshots.path_of(meta, mark)), 0, "is missing")
        return folder

    def _drop(self, job: Drop) -> None:
        """What is on its way to somebody goes with the next drop."""
        meta = job.meta
        marks = [
            (index, term)
            for index, term in self._snapshots.marks(meta)
            if index < job.below and index not in job.keep and not self.is_sending(meta, index)
        ]
        with self._guard:
            for index, _ in marks:
                self._kept.get(meta.incarnation, {}).pop(index, None)
        self._snapshots.delete(meta, marks)

    def _forget(self, meta: ReplicaMeta) -> None:
        with self._guard:
            self._kept.pop(meta.incarnation, None)
        if self._transfers is not None:
            self._transfers.forget(meta)
        self._snapshots.forget(meta)


def _rested(check: Callable[[], None]) -> Callable[[], None]:
    """The check, which rests as long as its thread has worked since the last time.

    A thread that only encodes would take the interpreter from the event loop whenever that waits for anything.
    """
    worked_s = time.thread_time()

    def rest() -> None:
        nonlocal worked_s
        check()
        took_s = time.thread_time() - worked_s
        if took_s > _PIECE_S:
            time.sleep(min(took_s, _REST_S))
            worked_s = time.thread_time()

    return rest


def storage_error(error: OSError, what: str) -> StorageError:
    """The error of the tree for what the operating system said about `what`."""
    text = f"{what}: {error.strerror or error}"
    return DiskFull(text) if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError(text)


def open_root(folder: Path, data_folder: Path | None) -> tuple[int, int]:
    """The descriptors of the folder and of its lock; of no lock (-1) where it is the data folder."""
    if data_folder is not None and folder.exists() and folder.samefile(data_folder):
        try:
            return open_folder(folder.resolve()), -1
        except OSError as error:
            raise DataDirUnsafe(f"{folder} cannot be used for snapshots: {error.strerror or error}") from error
    return open_data_folder(folder)


def _check_place(manifest: Manifest, name: str, incarnation: int, index: Index, term: int) -> None:
    """The manifest is of the folder that it is in. Raises CorruptData."""
    meta, mark = manifest.meta, manifest.mark
    if (meta.name, meta.incarnation, mark.index, mark.term) != (name, incarnation, index, term):
        path = f"{name}-{incarnation:016x}/{index}-{term}"
        raise CorruptData(path, 0, f"holds snapshot {mark.index}-{mark.term} of {replica_folder(meta)}")


def _check_space(folder: int, manifest: Manifest) -> None:
    """Raises OSError where there is no space for what is coming: it would be known only when most of it is here."""
    found = os.fstatvfs(folder)
    if found.f_bavail * found.f_frsize < manifest.size:
        raise OSError(errno.ENOSPC, f"{manifest.size} bytes are coming, and there is no space for them")
