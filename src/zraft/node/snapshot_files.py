"""The files of one snapshot on a real file system: written, checked and read, within a folder that is kept open.

Nothing is followed that is a symbolic link, and no name is used that `storage.manifest` would refuse. Files are private
(0600) and synced every 8 MiB and at their end, so that no sync takes long and none is left for later. Work is done in
pieces; between any two of them `check` may end it by raising.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias

import google_crc32c

from zraft import limits
from zraft.errors import CorruptData, UsageError
from zraft.machine.backend import ReadableFile
from zraft.node.disk import sync_file
from zraft.storage.manifest import MANIFEST, Manifest, SnapshotFile, check_file_name, decode_manifest, encode_manifest

PIECE_BYTES: Final = 1 * limits.MIB
_MANIFEST_FILE_BYTES: Final = limits.MANIFEST_BYTES + limits.KIB
_UNLINKED: Final = os.O_CLOEXEC | os.O_NOFOLLOW

Check: TypeAlias = Callable[[], None]
"""Raises where the work is not wanted any more."""


def go_on() -> None:
    """The check of work that nobody ends."""


def open_folder(name: str | Path, parent: int | None = None) -> int:
    """The descriptor of an existing folder; a link to one is refused. Raises OSError."""
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | _UNLINKED, dir_fd=parent)


def make_folder(name: str, parent: int) -> int:
    """The descriptor of the folder `name`, which exists durably, made where it did not. Raises OSError."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    os.fsync(parent)
    return open_folder(name, parent)


def open_file(name: str, folder: int) -> int:
    """The descriptor of a plain file, for reading. Raises OSError."""
    file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _UNLINKED, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "not a plain file", name)
    return file


class SyncedFile:
    """A new file of a snapshot: what is written is counted, summed and synced."""

    def __init__(self, name: str, folder: int, check: Check) -> None:
        self.size = self.crc = 0
        self._check = check
        self._unsynced = 0
        self._file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _UNLINKED, 0o600, dir_fd=folder)

    def write(self, data: bytes, /) -> int:
        """Appends all of `data`."""
        self._check()
        whole = data if type(data) is bytes else bytes(data)
        view = memoryview(whole)
        while view:
            written = os.write(self._file, view[: limits.SNAPSHOT_SYNC_BYTES])
            if not written:
                raise OSError(errno.EIO, "a write made no progress")
            view = view[written:]
            self._unsynced += written
            if self._unsynced >= limits.SNAPSHOT_SYNC_BYTES:
                sync_file(self._file)
                self._unsynced = 0
        self.size += len(whole)
        self.crc = google_crc32c.extend(self.crc, whole)
        return len(whole)

    def close(self) -> None:
        """What was written is durable. May be called twice."""
        if self._file >= 0:
            file, self._file = self._file, -1
            try:
                sync_file(file)
            finally:
                os.close(file)

    def drop(self) -> None:
        """It is not wanted any more."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if error is None:
            self.close()
        else:
            self.drop()


class NewSnapshot:
    """The folder of a snapshot while it is written. A `Directory`, and an `os.PathLike`.

    Files that a backend made by their path instead of `create` are found, summed and synced by `seal`.
    """

    def __init__(self, folder: int, path: Path, check: Check = go_on) -> None:
        self._folder, self._path, self._check = folder, path, check
        self._made: dict[str, SyncedFile] = {}

    def create(self, name: str) -> SyncedFile:
        """A new file; the name must not exist yet."""
        check_file_name(name)
        if len(self._made) >= limits.SNAPSHOT_FILES:
            raise UsageError(f"a snapshot has at most {limits.SNAPSHOT_FILES} files")
        self._check()
        file = self._made[name] = SyncedFile(name, self._folder, self._check)
        return file

    def open(self, name: str) -> ReadableFile:
        """An existing file."""
        check_file_name(name)
        return os.fdopen(open_file(name, self._folder), "rb")

    def names(self) -> list[str]:
        """The files there, sorted."""
        return sorted(os.listdir(self._folder))

    def __fspath__(self) -> str:
        return str(self._path)

    def seal(self) -> tuple[SnapshotFile, ...]:
        """Every file is durable; what there is. Raises `UsageError` for what may not be there, OSError."""
        for made in self._made.values():
            made.close()
        files = []
        for name in self.names():
            check_file_name(name)
            self._check()
            known = self._made.get(name)
            file = open_file(name, self._folder)
            try:
                if known is not None and os.fstat(file).st_size == known.size:
                    files.append(SnapshotFile(name, known.size, known.crc))
                else:
                    os.fchmod(file, 0o600)
                    sync_file(file)
                    files.append(SnapshotFile(name, *_summed(file, self._check)))
            finally:
                os.close(file)
        return tuple(files)

    def drop(self) -> None:
        """No file of it is open any more."""
        for made in self._made.values():
            made.drop()


def write_manifest(manifest: Manifest, folder: int, check: Check = go_on) -> None:
    """The last file of a snapshot is there, and the whole folder is durable. Raises OSError."""
    with SyncedFile(MANIFEST, folder, check) as file:
        file.write(encode_manifest(manifest))
    os.fsync(folder)


def read_manifest(folder: int, path: str) -> Manifest:
    """The manifest in the folder, which `path` names in errors. Raises CorruptData, StorageError, OSError."""
    try:
        file = open_file(MANIFEST, folder)
    except FileNotFoundError:
        raise CorruptData(f"{path}/{MANIFEST}", 0, "is missing") from None
    with os.fdopen(file, "rb") as stream:
        data = stream.read(_MANIFEST_FILE_BYTES + 1)
    return decode_manifest(data, f"{path}/{MANIFEST}")


def wrong_in(files: Iterable[SnapshotFile], folder: int, path: str, check: Check = go_on) -> CorruptData | None:
    """The first of the files that is not what the manifest says. Raises OSError."""
    for file in files:
        problem = wrong_with(file, folder, check)
        if problem:
            return CorruptData(f"{path}/{file.name}", 0, problem)
    return None


def wrong_with(file: SnapshotFile, folder: int, check: Check = go_on) -> str:
    """What is wrong with one file of a snapshot; "" where it is as the manifest says. Raises OSError."""
    try:
        opened = open_file(file.name, folder)
    except FileNotFoundError:
        return "is missing"
    try:
        size = os.fstat(opened).st_size
        if size != file.size:
            return f"has {size} bytes where {file.size} were written"
        found = _summed(opened, check)
    finally:
        os.close(opened)
    return "" if found == (file.size, file.crc) else f"does not match its checksum: {found[1]:08x}, not {file.crc:08x}"


def _summed(file: int, check: Check) -> tuple[int, int]:
    """Size and CRC32C of what is in the file."""
    offset = crc = 0
    while data := os.pread(file, PIECE_BYTES, offset):
        check()
        offset += len(data)
        crc = google_crc32c.extend(crc, data)
    return offset, crc


class KeptSnapshot:
    """A snapshot whose files were checked, to be read: a `Directory` in which nothing can be made, an `os.PathLike`."""

    def __init__(self, manifest: Manifest, folder: int, path: Path, check: Check = go_on) -> None:
        self._names = [file.name for file in manifest.files]
        self._folder, self._path, self._check = folder, path, check

    def create(self, name: str) -> SyncedFile:
        """Never."""
        raise PermissionError(errno.EROFS, "a snapshot is only read once it is published", name)

    def open(self, name: str) -> ReadableFile:
        """An existing file."""
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no file of this snapshot", name)
        return _Reading(open_file(name, self._folder), self._check)

    def names(self) -> list[str]:
        """The files there, sorted."""
        return list(self._names)

    def __fspath__(self) -> str:
        return str(self._path)


class _Reading:
    """A file of a snapshot, until the work is not wanted any more."""

    def __init__(self, file: int, check: Check) -> None:
        self._stream = os.fdopen(file, "rb", buffering=256 * limits.KIB)
        self._check = check

    def read(self, size: int = -1, /) -> bytes:
        self._check()
        return self._stream.read(size)

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()
