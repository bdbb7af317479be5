"""A snapshot directory in memory, and one on disk, for tests."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from hypothesis import strategies as st

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
KEYS = st.recursive(SCALARS, lambda inner: st.tuples(inner) | st.tuples(inner, inner), max_leaves=4)


class MemoryDirectory:
    """Files are bytes by name; a file counts once it is closed. `pieces` is every single write."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.pieces: list[bytes] = []

    def create(self, name: str) -> MemoryFile:
        if name in self.files:
            raise FileExistsError(name)
        return MemoryFile(self, name)

    def open(self, name: str) -> BinaryIO:
        if name not in self.files:
            raise FileNotFoundError(name)
        return io.BytesIO(self.files[name])

    def names(self) -> list[str]:
        return sorted(self.files)


class MemoryFile:
    """A file that is being written."""

    def __init__(self, directory: MemoryDirectory, name: str) -> None:
        self._directory, self._name = directory, name
        self._written: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._written.append(data)
        self._directory.pieces.append(data)
        return len(data)

    def close(self) -> None:
        self._directory.files[self._name] = b"".join(self._written)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class DiskDirectory:
    """A real folder, and an os.PathLike."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, name: str) -> BinaryIO:
        return open(self.path / name, "xb")

    def open(self, name: str) -> BinaryIO:
        return open(self.path / name, "rb")

    def names(self) -> list[str]:
        return sorted(entry.name for entry in self.path.iterdir())

    def __fspath__(self) -> str:
        return str(self.path)
