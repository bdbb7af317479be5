"""A disk in memory that can lose power at any operation, and a host that drives a store over it and remembers."""

from __future__ import annotations

import errno
import random
from collections import deque
from collections.abc import Callable

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

SECTOR = 512


class PowerLoss(Exception):
    """Raised instead of performing the operation at which the power goes."""


class File:
    """Bytes as a reader sees them, as the medium has them, and which sectors differ."""

    def __init__(self, size: int = 0) -> None:
        self.cached = bytearray(size)
        self.durable = bytearray()
        self.dirty: set[int] = set(range(-(-size // SECTOR)))

    def write(self, offset: int, data: bytes) -> None:
        if offset + len(data) > len(self.cached):
            self.cached.extend(bytes(offset + len(data) - len(self.cached)))
        self.cached[offset : offset + len(data)] = data
        self.dirty.update(range(offset // SECTOR, -(-(offset + len(data)) // SECTOR)))

    def sync(self) -> None:
        self.durable = bytearray(self.cached)
        self.dirty.clear()

    def twin(self) -> File:
        other = File()
        other.cached, other.durable, other.dirty = bytearray(self.cached), bytearray(self.durable), set(self.dirty)
        return other

    def settle(self, mode: str, chance: random.Random) -> File:
        """What is left: unsynced sectors are lost ("lose"), kept ("keep"), or old, new or zero by chance ("torn")."""
        left = File()
        left.durable = bytearray(self.durable)
        if mode == "keep" or (mode == "torn" and chance.random() < 0.7):
            left.durable.extend(bytes(max(0, len(self.cached) - len(left.durable))))
        for sector in sorted(self.dirty):
            start, end = sector * SECTOR, min(sector * SECTOR + SECTOR, len(left.durable))
            fate = {"lose": 0, "keep": 1}.get(mode, chance.randrange(3))
            if start < end and fate:
                left.durable[start:end] = self.cached[start:end] if fate == 1 else bytes(end - start)
        left.cached = bytearray(left.durable)
        return left


class FakeDisk:
    """The Disk port. `run` performs the oldest job; `power` counts down the operations until the power is lost."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.durable_names: dict[str, File] = {}
        self.renames: list[tuple[str, str, File]] = []
        self.jobs: deque[Job] = deque()
        self.power: int | None = None
        self.performed: list[Operation] = []
        self.fail: Callable[[Operation], int] = lambda _: 0
        """Which errno an operation fails with; 0: none."""

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def names(self) -> list[str]:
        return sorted(self.files)

    def size(self, name: str) -> int:
        return len(self._file(name).cached)

    def read(self, name: str, offset: int, length: int) -> bytes:
        return bytes(self._file(name).cached[offset : offset + length])

    def perform(self, *operations: Operation) -> None:
        for operation in operations:
            self._perform(operation, [])

    def run(self) -> Completion:
        job = self.jobs.popleft()
        reads: list[bytes] = []
        for operation in job.operations:
            try:
                self._perform(operation, reads)
            except OSError as error:
                name = errno.errorcode[error.errno or errno.EIO]
                return Completion(job.number, (), DiskError(type(operation).__name__, name, str(error)))
        return Completion(job.number, tuple(reads))

    def after_crash(self, mode: str, seed: int = 0) -> FakeDisk:
        """What another process finds: after a kill ("killed"), or after a power loss (see `File.settle`)."""
        chance = random.Random(f"{mode}{seed}")
        other = FakeDisk()
        if mode == "killed":
            twins = {id(file): file.twin() for file in (*self.files.values(), *self.durable_names.values())}
            other.files = {name: twins[id(file)] for name, file in self.files.items()}
            other.durable_names = {name: twins[id(file)] for name, file in self.durable_names.items()}
            other.renames = [(old, new, twins.get(id(file), file)) for old, new, file in self.renames]
            return other
        names = dict(self.durable_names)
        for old, new, file in self.renames:
            if mode == "keep" or (mode == "torn" and chance.randrange(2)):
                if old and names.get(old) is file:
                    del names[old]
                if new:
                    names[new] = file
        other.files = {name: file.settle(mode, chance) for name, file in names.items()}
        other.durable_names = dict(other.files)
        return other

    def flip(self, name: str, offset: int, bit: int = 0) -> None:
        file = self._file(name)
        file.cached[offset] ^= 1 << bit
        if offset < len(file.durable):
            file.durable[offset] ^= 1 << bit

    def overwrite(self, name: str, offset: int, data: bytes) -> None:
        """Bytes change on the medium without anybody writing them."""
        file = self._file(name)
        file.cached[offset : offset + len(data)] = data
        file.durable[offset : offset + len(data)] = data

    def copy(self) -> FakeDisk:
        """The same disk once more, everything on it durable."""
        other = FakeDisk()
        for name, file in self.files.items():
            other.files[name] = File()
            other.files[name].cached = bytearray(file.cached)
            other.files[name].sync()
        other.durable_names = dict(other.files)
        return other

    def image(self) -> dict[str, bytes]:
        return {name: bytes(file.cached) for name, file in self.files.items()}

    def _file(self, name: str) -> File:
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return self.files[name]

    def _perform(self, operation: Operation, reads: list[bytes]) -> None:
        if self.power is not None:
            if self.power == 0:
                raise PowerLoss
            self.power -= 1
        if number := self.fail(operation):
            raise OSError(number, "injected", getattr(operation, "name", ""))
        self.performed.append(operation)
        match operation:
            case CreateFile(name, size):
                if name in self.files:
                    raise FileExistsError(errno.EEXIST, "exists", name)
                self.files[name] = File(size)
                self.renames.append(("", name, self.files[name]))
            case WriteAt(name, offset, data):
                self._file(name).write(offset, data)
            case SyncFile(name):
                self._file(name).sync()
            case SyncFolder():
                self.durable_names = dict(self.files)
                self.renames.clear()
            case RenameFile(old, new):
                self.files[new] = self._file(old)
                del self.files[old]
                self.renames.append((old, new, self.files[new]))
            case DeleteFile(name):
                self.renames.append((name, "", self._file(name)))
                del self.files[name]
            case ReadAt(name, offset, length):
                reads.append(self.read(name, offset, length))
