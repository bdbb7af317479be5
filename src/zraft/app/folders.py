"""The data folder of a node that is stopped, for commands that only read it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zraft.errors import DataDirInUse, StorageError, UsageError
from zraft.node.disk import LOCK_NAME
from zraft.storage.disk import Job, Operation


class FolderReader:
    """The part of the Disk port that reads, over a folder that is left as it is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """The files there, sorted, without the lock."""
        return sorted(entry.name for entry in os.scandir(self._folder) if entry.is_file() and entry.name != LOCK_NAME)

    def size(self, name: str) -> int:
        """Bytes in the file."""
        return os.stat(self._folder / name).st_size

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`."""
        with open(self._folder / name, "rb") as file:
            file.seek(offset)
            return file.read(length)

    def submit(self, job: Job) -> None:
        """Never: this only reads."""
        raise UsageError(f"job {job.number} on a folder that is only read")

    def perform(self, *operations: Operation) -> None:
        """Never: this only reads."""
        raise UsageError(f"{len(operations)} operations on a folder that is only read")


@contextmanager
def opened(folder: Path) -> Iterator[FolderReader]:
    """The folder, while no node uses it. Raises `StorageError` where one does, or where it cannot be read."""
    reader = FolderReader(folder)
    try:
        if not reader.names():
            raise StorageError(f"{folder} holds no data of a node; name the folder given to its --data-dir")
        lock = folder / LOCK_NAME
        held = os.open(lock, os.O_RDONLY) if lock.exists() else -1
        try:
            if held >= 0:
                _hold(held, folder)
            yield reader
        finally:
            if held >= 0:
                os.close(held)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror}; name the folder of a node's data") from error


def _hold(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataDirInUse(f"a node uses {folder}; stop it first, or look at a copy") from None
