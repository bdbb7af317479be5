"""The real disk: the Disk port over one locked folder, with the node's one writer thread.

The thread performs jobs in order, one at a time, and reports each to the event loop. Writing and syncing release the
interpreter, so the loop goes on meanwhile. Where the disk is quick, small saves are done in the loop (`promptness`),
by whoever owns the disk, after everything that the turn has to send, and never out of order.

Files are private (0600 in a 0700 folder); a folder that others could write to, that holds a symbolic link, or that
another process uses is refused before anything in it is touched. The folder is kept open: renaming it, or putting
another in its place, changes nothing for who uses it.

After an operation that changes something has failed, none is performed any more: what the file then has is unknown, and
a later sync that succeeds would prove nothing (BM-093). For the same reason a file that was written keeps its
descriptor until it is synced: the kernel reports an error of writing back through it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Final, assert_never

from zraft.errors import DataDirInUse, DataDirUnsafe
from zraft.node.promptness import Promptness, is_small_save
from zraft.storage.disk import (
    Completion,
    CreateFile,
    DeleteFile,
    DiskError,
    Job,
    Operation,
    ReadAt,
    RenameFile,
    SyncFile,
    SyncFolder,
    WriteAt,
)

LOG: Final = logging.getLogger("zraft")

LOCK_NAME: Final = "LOCK"
_ZEROS: Final = bytes(1 << 20)
_OPEN_FILES: Final = 64
"""Descriptors kept open; a journal in use needs a handful."""


class RealDisk:
    """One folder on a real file system. `close` stops the thread, after it has done what was submitted."""

    def __init__(
        self, folder: Path, report: Callable[[Completion], None], *, deferring: Promptness | None = None
    ) -> None:
        """Open and lock `folder`, making it where it does not exist.

        `report` is called from the writer thread. `deferring`: says when small saves are left to the caller, who
        looks at `has_deferred` after each `submit`, and calls `heard` with each report; None: never.
        Raises DataDirUnsafe or DataDirInUse, with what to do about it.
        """
        self.folder = folder
        self._report = report
        self._promptness = deferring
        self._in_thread = 0
        """Jobs of the thread that the caller has not heard of yet: none of its own may be reported before them."""
        self._deferred: Job | None = None
        """The job that the caller does next; nothing that is submitted later may overtake it."""
        self._folder, self._lock = open_data_folder(folder)
        self._files: dict[str, int] = {}
        """Open descriptors, the one that was used longest ago first."""
        self._unsynced: dict[str, None] = {}
        self._broken: DiskError | None = None
        """The first failure of an operation that changes something, and that its job does not forgive."""
        self._guard = threading.Lock()
        """Recovery reads from the caller's thread, the writer from its own; never at once, but both use the cache."""
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"zraft-disk {folder}", daemon=True)
        self._thread.start()

    # -- the port

    def submit(self, job: Job) -> None:
        """Queue the job, or keep it for `do_deferred`."""
        if (
            self._promptness is not None
            and self._promptness.is_prompt
            and self._deferred is None
            and not self._in_thread
            and is_small_save(job)
        ):
            self._deferred = job
        else:
            self._give_up_deferred()
            self._queue(job)

    @property
    def has_deferred(self) -> bool:
        """A small save waits for `do_deferred`, to be called when the turn ends."""
        return self._deferred is not None

    def do_deferred(self, *, in_thread: bool) -> Completion | None:
        """Do the save that waits, here and now. None: there is none, or it was queued, as `in_thread` wants it."""
        job = self._deferred
        if job is None or in_thread:
            self._give_up_deferred()
            return None
        self._deferred = None
        return self._perform_timed(job, in_loop=True)

    def heard(self) -> None:
        """The caller was told of the next job that the thread has done."""
        self._in_thread -= 1

    def _queue(self, job: Job) -> None:
        self._in_thread += 1
        self._jobs.put(job)

    def _give_up_deferred(self) -> None:
        job, self._deferred = self._deferred, None
        if job is not None:
            self._queue(job)

    def names(self) -> list[str]:
        """The files there, sorted, without the lock."""
        with os.scandir(self._folder) as entries:
            return sorted(entry.name for entry in entries if entry.name != LOCK_NAME and entry.is_file())

    def size(self, name: str) -> int:
        """Bytes in the file."""
        return os.stat(name, dir_fd=self._folder, follow_symlinks=False).st_size

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`."""
        with self._guard:
            return _read(self._file(name), offset, length)

    def perform(self, *operations: Operation) -> None:
        """Do the operations now. For recovery."""
        for operation in operations:
            with self._guard:
                self._do(operation)

    def close(self) -> None:
        """Finish what was submitted, then let go of the folder. May be called twice."""
        self._give_up_deferred()
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
        with self._guard:
            for file in self._files.values():
                os.close(file)
            self._files.clear()
            if self._lock >= 0:
                os.close(self._lock)
                os.close(self._folder)
                self._lock = self._folder = -1

    # -- the writer thread

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._report(self._perform_timed(job, in_loop=False))

    def _perform_timed(self, job: Job, *, in_loop: bool) -> Completion:
        promptness = self._promptness
        if promptness is None or not is_small_save(job):
            return self._perform_job(job)
        began = time.perf_counter()
        completion = self._perform_job(job)
        promptness.took(time.perf_counter() - began, in_loop=in_loop)
        return completion

    def _perform_job(self, job: Job) -> Completion:
        reads: list[bytes] = []
        for operation in job.operations:
            error = None if isinstance(operation, ReadAt) else self._broken
            if error is None:
                error = self._attempt(operation, reads)
                if error is not None and not isinstance(operation, ReadAt) and error.errno_name not in job.forgives:
                    self._broken = error
            if error is not None:
                return Completion(job.number, tuple(reads), error)
        return Completion(job.number, tuple(reads))

    def _attempt(self, operation: Operation, reads: list[bytes]) -> DiskError | None:
        """Do it; what it failed with, else None. Whatever happens is reported: nobody else would notice."""
        try:
            with self._guard:
                data = self._do(operation)
        except OSError as error:
            code = errno.errorcode.get(error.errno or 0, "EIO")
            failure = DiskError(_named(operation, self.folder), code, error.strerror or str(error))
        except Exception as error:
            LOG.critical("%s failed", _named(operation, self.folder), exc_info=error)
            failure = DiskError(_named(operation, self.folder), "EIO", f"{type(error).__name__}: {error}")
        else:
            if data is not None:
                reads.append(data)
            return None
        return failure

    def _do(self, operation: Operation) -> bytes | None:
        match operation:
            case WriteAt():
                file = self._file(operation.name)
                self._unsynced[operation.name] = None
                _write(file, operation.offset, operation.data)
            case SyncFile():
                sync_file(self._file(operation.name))
                self._unsynced.pop(operation.name, None)
            case ReadAt():
                return _read(self._file(operation.name), operation.offset, operation.length)
            case CreateFile():
                self._create(operation.name, operation.size)
            case RenameFile():
                self._forget(operation.old)
                self._forget(operation.new)
                os.rename(operation.old, operation.new, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            case DeleteFile():
                self._forget(operation.name)
                os.unlink(operation.name, dir_fd=self._folder)
            case SyncFolder():
                os.fsync(self._folder)
            case _:
                assert_never(operation)
        return None

    def _create(self, name: str, size: int) -> None:
        """A file whose blocks exist: really written zeros, so that later syncs need not touch its metadata."""
        file = self._open(name, os.O_CREAT | os.O_EXCL)
        try:
            for offset in range(0, size, len(_ZEROS)):
                _write(file, offset, _ZEROS[: size - offset])
        except OSError:
            os.close(file)
            os.unlink(name, dir_fd=self._folder)
            raise
        self._unsynced[name] = None
        self._remember(name, file)

    def _file(self, name: str) -> int:
        file = self._files.pop(name, None)
        if file is None:
            file = self._open(name)
            self._remember(name, file)
        else:
            self._files[name] = file
        return file

    def _open(self, name: str, flags: int = 0) -> int:
        return os.open(name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600, dir_fd=self._folder)

    def _remember(self, name: str, file: int) -> None:
        if len(self._files) >= _OPEN_FILES:
            synced = [other for other in self._files if other not in self._unsynced]
            for other in synced[: len(self._files) - _OPEN_FILES + 1]:
                self._forget(other)
        self._files[name] = file

    def _forget(self, name: str) -> None:
        self._unsynced.pop(name, None)
        file = self._files.pop(name, None)
        if file is not None:
            os.close(file)


def _named(operation: Operation, folder: Path) -> str:
    subject = getattr(operation, "name", getattr(operation, "old", str(folder)))
    return f"{type(operation).__name__} {subject}"


def _write(file: int, offset: int, data: bytes) -> None:
    """All of it. What follows a short write tells why it was short: usually that no space is left."""
    written = os.pwrite(file, data, offset)
    while written < len(data):
        more = os.pwrite(file, memoryview(data)[written:], offset + written)
        if not more:
            raise OSError(errno.EIO, f"short write: {written} of {len(data)} bytes")
        written += more


def _read(file: int, offset: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length > 0 and (data := os.pread(file, length, offset)):
        parts.append(data)
        offset += len(data)
        length -= len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def sync_file(file: int) -> None:
    """fdatasync; where a plain sync leaves the bytes in the drive's cache, the full one."""
    if sys.platform == "darwin":
        fcntl.fcntl(file, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(file)


def open_data_folder(folder: Path) -> tuple[int, int]:
    """The descriptors of the folder, which is made where it is missing, and of its locked lock file.

    Raises DataDirUnsafe or DataDirInUse.
    """
    try:
        make_folder(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError as error:
        raise DataDirUnsafe(f"{folder} is not a folder: name one that is, or that does not exist yet") from error
    except OSError as error:
        raise DataDirUnsafe(f"{folder} cannot be used as a data folder: {error.strerror or error}") from error
    try:
        _check_folder(folder, os.fstat(descriptor))
        lock = _lock_folder(folder, descriptor)
        try:
            _check_files(folder, descriptor)
        except BaseException:
            os.close(lock)
            raise
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, lock


def make_folder(folder: Path) -> None:
    """The folder exists, and so will it after a power loss."""
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(mode=0o700)
        parent = os.open(one.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _check_folder(folder: Path, found: os.stat_result) -> None:
    if found.st_mode & 0o022:
        raise DataDirUnsafe(f"others may write to {folder}: chmod go-w {folder}")
    if found.st_uid != os.geteuid():
        raise DataDirUnsafe(f"{folder} belongs to another user (uid {found.st_uid}): chown it, or run as that user")


def _check_files(folder: Path, descriptor: int) -> None:
    """No file there is somebody else's, or elsewhere."""
    with os.scandir(descriptor) as entries:
        for entry in entries:
            path = folder / entry.name
            if entry.is_symlink():
                raise DataDirUnsafe(f"{path} is a symbolic link: a data folder holds none; put the file itself there")
            if entry.is_file(follow_symlinks=False):
                mode = entry.stat(follow_symlinks=False).st_mode
                if mode & (stat.S_IWGRP | stat.S_IWOTH):
                    raise DataDirUnsafe(f"others may write to {path}: chmod go-w {path}")


def _lock_folder(folder: Path, descriptor: int) -> int:
    """The descriptor of the locked lock file."""
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(LOCK_NAME, flags, 0o600, dir_fd=descriptor)
    except OSError as error:
        raise DataDirUnsafe(f"{folder / LOCK_NAME} cannot be opened: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise DataDirInUse(f"another process uses {folder}: stop it, or name another folder") from error
    except OSError as error:
        os.close(lock)
        raise DataDirUnsafe(f"{folder} cannot be locked ({error.strerror or error}): use a local disk") from error
    return lock
