"""A snapshot's directory in memory: the directory port of backends, for the simulated vault."""

from __future__ import annotations

import errno
from types import TracebackType
from typing import Self


class MemoryFile:
    """Open for writing, or for reading from its beginning."""

    def __init__(self, data: bytearray) -> None:
        self._data, self._place = data, 0

    def write(self, data: bytes, /) -> int:
        self._data += data
        return len(data)

    def read(self, size: int = -1, /) -> bytes:
        end = len(self._data) if size < 0 else self._place + size
        found = bytes(self._data[self._place : end])
        self._place += len(found)
        return found

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class MemoryFolder:
    """Files by name."""

    def __init__(self, files: dict[str, bytearray] | None = None) -> None:
        self.files: dict[str, bytearray] = {} if files is None else files

    def create(self, name: str) -> MemoryFile:
        if name in self.files:
            raise FileExistsError(errno.EEXIST, "the file exists", name)
        self.files[name] = bytearray()
        return MemoryFile(self.files[name])

    def open(self, name: str) -> MemoryFile:
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return MemoryFile(self.files[name])

    def names(self) -> list[str]:
        return sorted(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))
