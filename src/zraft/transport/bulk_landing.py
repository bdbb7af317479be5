"""What happens to the bytes of a transfer: into the file, into the checksum, onto the disk.

One thread at a time writes; another syncs behind it, so that receiving goes on meanwhile. The writer waits when more
than `BULK_UNSYNCED_BYTES` are not on the disk yet: a snapshot must not fill the kernel's queues in front of the
journal's syncs, and the last sync must not be a long one. Each file is synced through the descriptor that wrote it,
because the kernel reports an error of writing back there; after such an error nothing is believed any more (BM-093).

A position is what counts: bytes below it are in the file and in the checksum, whatever else is in the file is written
over. A checksum is only known at the end of its file. Nothing here knows of sockets.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from google_crc32c import extend

from zraft import limits
from zraft.errors import DiskFull, StorageError
from zraft.wire.bulk import FileEntry, check_files

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_FILE: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_WAITING_SYNCS: Final = 64
"""Files that wait for their sync with their descriptor open: small ones must not use up the node's."""


class Landing:
    """The files of one transfer: begun by `open`, ended by `verify` or `keep`; then it may be begun again."""

    def __init__(self, folder: Path, files: Sequence[FileEntry]) -> None:
        """Raises UsageError where `files` cannot be files of one folder. Touches nothing yet."""
        self.folder = folder
        self.files = check_files(files)
        self.positions = [0] * len(self.files)
        self._checksums = [0] * len(self.files)
        self._folder = -1
        self._file = -1
        self._number = 0
        self._unsynced = 0
        """Bytes of the open file since its last sync was asked for."""
        self._syncs: _Syncs | None = None

    @property
    def missing(self) -> int:
        """Bytes that are still to come."""
        return sum(size for _, size, _ in self.files) - sum(self.positions)

    def survey(self) -> None:
        """Sync and read what is already there; from now on it counts. Raises OSError and StorageError.

        A file that is longer than it should be, or whole with another checksum, counts for nothing.
        """
        folder = os.open(self.folder, _FOLDER)
        try:
            for number, (name, size, checksum) in enumerate(self.files):
                position, found = _read_through(folder, name, size)
                if position == size and found != checksum:
                    position = found = 0
                self.positions[number], self._checksums[number] = position, found
        finally:
            os.close(folder)

    def open(self) -> None:
        """Make ready for `write`. Raises OSError."""
        self._folder = os.open(self.folder, _FOLDER)
        self._syncs = _Syncs()

    def begin(self, number: int) -> None:
        """What `write` brings from now on continues file `number`. Raises OSError and StorageError."""
        if self._file >= 0 and number != self._number:
            self._leave()
        if self._file < 0:
            name, position = self.files[number][0], self.positions[number]
            fresh = 0 if position else os.O_CREAT | os.O_TRUNC
            self._file = os.open(name, _FILE | fresh, 0o600, dir_fd=self._folder)
            self._number = number
            self._unsynced = 0
            if os.fstat(self._file).st_size < position:
                raise StorageError(f"{name!r} in {self.folder} is shorter than what was received of it")

    def write(self, data: bytes) -> None:
        """Continue the file, which must have room for it. Raises OSError and StorageError."""
        number, size = self._number, len(data)
        position = self.positions[number]
        written = os.pwrite(self._file, data, position)
        while written < size:
            more = os.pwrite(self._file, memoryview(data)[written:], position + written)
            if not more:
                raise OSError(errno.EIO, f"short write: {written} of {size} bytes")
            written += more
        self._checksums[number] = extend(self._checksums[number], data)
        self.positions[number] = position + size
        self._unsynced += size
        if self.positions[number] == self.files[number][1]:
            self._leave()
        elif self._unsynced >= limits.BULK_SYNC_BYTES:
            self._hand_over(is_last=False)

    def verify(self) -> tuple[str, ...]:
        """All files and the folder are durable; the names of those whose checksum is wrong, which begin anew.

        Raises OSError and StorageError. Nothing may be missing.
        """
        for number, (_, size, _) in enumerate(self.files):
            if not size:
                self.begin(number)
                self._leave()
        self.keep()
        damaged: list[str] = []
        for number, (name, _, checksum) in enumerate(self.files):
            if self._checksums[number] != checksum:
                self.positions[number] = self._checksums[number] = 0
                damaged.append(name)
        return tuple(damaged)

    def keep(self) -> None:
        """Stop here: what has arrived is durable. Raises OSError and StorageError. Nothing is open afterwards."""
        try:
            if self._file >= 0:
                self._leave()
            if self._syncs is not None:
                self._syncs.finish()
                os.fsync(self._folder)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Stop here, whatever becomes of the files. Nothing is open afterwards. May be called at any time."""
        if self._syncs is not None:
            self._syncs.abandon()
            self._syncs = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def _leave(self) -> None:
        """The open file is left: synced and closed behind us."""
        self._hand_over(is_last=True)

    def _hand_over(self, *, is_last: bool) -> None:
        if self._syncs is None:
            raise StorageError("a transfer that was not opened")
        file, size = self._file, self._unsynced
        if is_last:
            self._file = -1
        self._unsynced = 0
        self._syncs.put(file, size, is_last=is_last)


class _Syncs:
    """The thread that syncs behind the writer. It starts with the first sync; `finish` or `abandon` end it."""

    def __init__(self) -> None:
        self._state = threading.Condition()
        self._waiting: deque[tuple[int, int, bool]] = deque()
        """(descriptor, bytes, whether it is closed then), with the one under way."""
        self._bytes = 0
        self._error: OSError | None = None
        self._is_ending = False
        self._thread: threading.Thread | None = None

    def put(self, file: int, size: int, *, is_last: bool) -> None:
        """Sync the file soon; with `is_last` it is closed then, in any case. Waits while too much is unsynced.

        Raises OSError where an earlier sync has failed.
        """
        with self._state:
            self._waiting.append((file, size, is_last))
            self._bytes += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="zraft-bulk-sync", daemon=True)
                self._thread.start()
            self._state.notify_all()
            self._state.wait_for(self._has_room)
            self._check()

    def finish(self) -> None:
        """Returns when everything is synced. Raises OSError where something could not be."""
        self._end()
        self._check()

    def abandon(self) -> None:
        """Returns when the thread is gone. Nothing that waits is synced any more."""
        with self._state:
            self._error = self._error or OSError(errno.ECANCELED, "given up")
        self._end()

    def _end(self) -> None:
        with self._state:
            self._is_ending = True
            self._state.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _has_room(self) -> bool:
        if self._error is not None:
            return True
        return self._bytes <= limits.BULK_UNSYNCED_BYTES and len(self._waiting) <= _WAITING_SYNCS

    def _run(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._waiting or self._is_ending)
                if not self._waiting:
                    return
                file, size, is_last = self._waiting[0]
                has_failed = self._error is not None
            error = None if has_failed else _attempt_sync(file)
            if is_last:
                os.close(file)
            with self._state:
                self._waiting.popleft()
                self._bytes -= size
                self._error = self._error or error
                self._state.notify_all()


def storage_error(error: OSError, what: str) -> StorageError:
    """The error as the owner of the data is told it."""
    kind = DiskFull if error.errno in _NO_SPACE else StorageError
    return kind(f"{what}: {error.strerror or error}")


def _attempt_sync(file: int) -> OSError | None:
    try:
        _sync(file)
    except OSError as error:
        return error
    _let_go(file)
    return None


def _let_go(file: int) -> None:
    """What is durable need not stay in memory: the next pieces go where it was.

    A large snapshot would push out what the machine needs, and memory that nobody had before is dear on virtual ones.
    """
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # advice that is not taken does no harm
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def _sync(file: int) -> None:
    """fdatasync; where a plain sync leaves the bytes in the drive's cache, the full one."""
    if sys.platform == "darwin":
        fcntl.fcntl(file, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(file)


def _read_through(folder: int, name: str, size: int) -> tuple[int, int]:
    """Bytes of the file, durable now, and their checksum; nothing of one that is not there or longer than `size`."""
    try:
        file = os.open(name, _FILE, dir_fd=folder)
    except FileNotFoundError:
        return 0, 0
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise StorageError(f"{name!r} is there and is not a file")
        _sync(file)
        position = checksum = 0
        while found.st_size <= size and (data := os.pread(file, limits.BULK_PIECE_BYTES, position)):
            checksum = extend(checksum, data)
            position += len(data)
        return position, checksum
    finally:
        os.close(file)
