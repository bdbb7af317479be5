"""The real disk: the Disk port over one locked folder, with the node's one writer thread.

The thread performs jobs in order, one at a time, and reports each to the event loop. Writing and syncing release the
interpreter, so the loop goes on meanwhile. Files are private (0600 in a 0700 folder); a folder that others could write
to, or that another process uses, is refused before anything in it is touched.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Final, assert_never

from zraft.errors import DataDirInUse, DataDirUnsafe
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

LOCK_NAME: Final = "LOCK"
_ZEROS: Final = bytes(1 << 20)
_OPEN_FILES: Final = 64
"""Descriptors kept open; a journal in use needs a handful."""


class RealDisk:
    """One folder on a real file system. `close` stops the thread, after it has done what was submitted."""

    def __init__(self, folder: Path, report: Callable[[Completion], None]) -> None:
        """Open and lock `folder`, making it where it does not exist.

        `report` is called from the writer thread. Raises DataDirUnsafe or DataDirInUse, with what to do about it.
        """
        self.folder = folder
        self._report = report
        self._lock = _lock_folder(folder)
        self._files: dict[str, int] = {}
        self._guard = threading.Lock()
        """Recovery reads from the caller's thread, the writer from its own; never at once, but both use the cache."""
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"zraft-disk {folder}", daemon=True)
        self._thread.start()

    # -- the port

    def submit(self, job: Job) -> None:
        """Queue the job."""
        self._jobs.put(job)

    def names(self) -> list[str]:
        """The files there, sorted, without the lock."""
        return sorted(entry.name for entry in os.scandir(self.folder) if entry.name != LOCK_NAME and entry.is_file())

    def size(self, name: str) -> int:
        """Bytes in the file."""
        return os.stat(self.folder / name).st_size

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
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
        with self._guard:
            for file in self._files.values():
                os.close(file)
            self._files.clear()
            if self._lock >= 0:
                os.close(self._lock)
                self._lock = -1

    # -- the writer thread

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._report(self._perform_job(job))

    def _perform_job(self, job: Job) -> Completion:
        reads: list[bytes] = []
        for operation in job.operations:
            try:
                with self._guard:
                    data = self._do(operation)
            except OSError as error:
                name = errno.errorcode.get(error.errno or 0, "EIO")
                subject = getattr(operation, "name", getattr(operation, "old", str(self.folder)))
                return Completion(
                    job.number,
                    tuple(reads),
                    DiskError(f"{type(operation).__name__} {subject}", name, error.strerror or str(error)),
                )
            if data is not None:
                reads.append(data)
        return Completion(job.number, tuple(reads))

    def _do(self, operation: Operation) -> bytes | None:
        match operation:
            case WriteAt():
                _write(self._file(operation.name), operation.offset, operation.data)
            case SyncFile():
                _sync(self._file(operation.name))
            case ReadAt():
                return _read(self._file(operation.name), operation.offset, operation.length)
            case CreateFile():
                self._create(operation.name, operation.size)
            case RenameFile():
                self._forget(operation.old)
                self._forget(operation.new)
                os.rename(self.folder / operation.old, self.folder / operation.new)
            case DeleteFile():
                self._forget(operation.name)
                os.unlink(self.folder / operation.name)
            case SyncFolder():
                _sync_folder(self.folder)
            case _:
                assert_never(operation)
        return None

    def _create(self, name: str, size: int) -> None:
        """A file whose blocks exist: really written zeros, so that later syncs need not touch its metadata."""
        file = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            for offset in range(0, size, len(_ZEROS)):
                _write(file, offset, _ZEROS[: size - offset])
        except OSError:
            os.close(file)
            os.unlink(self.folder / name)
            raise
        self._remember(name, file)

    def _file(self, name: str) -> int:
        file = self._files.get(name)
        if file is None:
            file = os.open(self.folder / name, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            self._remember(name, file)
        return file

    def _remember(self, name: str, file: int) -> None:
        while len(self._files) >= _OPEN_FILES:
            self._forget(next(iter(self._files)))
        self._files[name] = file

    def _forget(self, name: str) -> None:
        file = self._files.pop(name, None)
        if file is not None:
            os.close(file)


def _write(file: int, offset: int, data: bytes) -> None:
    written = os.pwrite(file, data, offset)
    if written != len(data):
        # What follows a short write tells why it was short: usually that no space is left.
        rest = os.pwrite(file, memoryview(data)[written:], offset + written)
        if written + rest != len(data):
            raise OSError(errno.EIO, f"short write: {written + rest} of {len(data)} bytes")


def _read(file: int, offset: int, length: int) -> bytes:
    parts: list[bytes] = []
    while length > 0 and (data := os.pread(file, length, offset)):
        parts.append(data)
        offset += len(data)
        length -= len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _sync(file: int) -> None:
    """fdatasync; where a plain sync leaves the bytes in the drive's cache, the full one."""
    if sys.platform == "darwin":
        fcntl.fcntl(file, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(file)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _lock_folder(folder: Path) -> int:
    """The descriptor of the locked lock file."""
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            _sync_folder(folder.parent)
        found = folder.stat()
    except OSError as error:
        raise DataDirUnsafe(f"{folder} cannot be used as a data folder: {error.strerror or error}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise DataDirUnsafe(f"{folder} is not a folder: name one that is, or that does not exist yet")
    if found.st_mode & 0o022:
        raise DataDirUnsafe(f"others may write to {folder}: chmod go-w {folder}")
    if found.st_uid != os.geteuid():
        raise DataDirUnsafe(f"{folder} belongs to another user (uid {found.st_uid}): chown it, or run as that user")
    try:
        lock = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise DataDirUnsafe(f"{folder / LOCK_NAME} cannot be opened: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise DataDirInUse(f"another process uses {folder}: stop it, or name another folder") from error
    return lock
