"""The files of a machine's snapshot: two of our own, and whatever the backend writes beside them.

    zraft-machine    what replicated state surrounds the backend, and the index it belongs to
    zraft-sessions   chunks of sessions with their kept replies, in the order of their ids
    ...              the backend's files; it sees and makes no name that begins with "zraft-"

The index is captured in the same moment as the state and checked at installation: data of one index and a position of
another would skip entries or apply them twice (BM-078).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from zraft.errors import CorruptData, ReplicaFault, UsageError
from zraft.machine.backend import Backend, Directory, ReadableFile, SyncSnapshot, WritableFile
from zraft.machine.chunks import read_chunks, write_chunks
from zraft.session.sessions import SavedSession, Session, Sessions
from zraft.types import Index, Millis, Term

RESERVED: Final = "zraft-"
_FILE: Final = "zraft-machine"
_SESSIONS: Final = "zraft-sessions"
FORMAT: Final = 2
_SESSIONS_FORMAT: Final = 1


class Surroundings(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """The replicated state around a backend after the entry at `index`."""

    format: int
    index: Index
    term: Term
    time: Millis
    version: int


_DECODER: Final = msgspec.msgpack.Decoder(Surroundings)


class Captured(msgspec.Struct, frozen=True):
    """A machine's state, held still at one index until `write` has written it."""

    surroundings: Surroundings
    sessions: list[Session]
    writer: Callable[[Directory], None]
    is_sync: bool
    """`write` must run before anything more is applied; otherwise it may run in a worker thread, meanwhile."""

    @property
    def index(self) -> Index:
        return self.surroundings.index

    def write(self, directory: Directory) -> None:
        """Writes all files. Raises OSError, and what the backend raises; the snapshot has then failed."""
        with directory.create(_FILE) as file:
            file.write(msgspec.msgpack.encode(self.surroundings))
        sessions = self.sessions
        items = (msgspec.msgpack.encode(session.saved()) for session in sessions)
        write_chunks(directory, _SESSIONS, format=_SESSIONS_FORMAT, count=len(sessions), items=items)
        self.writer(backend_directory(directory))


def capture(backend: Backend, sessions: Sessions, surroundings: Surroundings) -> Captured:
    """Holds the present state. Raises what the backend's `snapshot` raises."""
    taken = backend.snapshot()
    if isinstance(taken, SyncSnapshot):
        return Captured(surroundings, sessions.capture(), taken.writer, is_sync=True)
    return Captured(surroundings, sessions.capture(), taken, is_sync=False)


def install(backend: Backend, sessions: Sessions, directory: Directory, index: Index) -> Surroundings:
    """Fills the fresh backend and sessions with the state after the entry at `index` and returns what surrounds it.

    Raises `CorruptData` where the snapshot is unreadable or of another index, `ReplicaFault` where a newer version
    wrote it, OSError, and what the backend raises.
    """
    surroundings = _read(directory)
    if surroundings.index != index:
        raise CorruptData(_FILE, 0, f"a state at index {surroundings.index} in a snapshot at index {index}")
    if surroundings.version > backend.version:
        raise ReplicaFault(
            f"the snapshot needs version {surroundings.version} of backend {backend.name!r}; here is {backend.version}"
        )
    _install_sessions(sessions, directory, index)
    backend.install_snapshot(backend_directory(directory))
    return surroundings


def _install_sessions(sessions: Sessions, directory: Directory, index: Index) -> None:
    def install(items: list[Any]) -> int:
        for item in items:
            saved = msgspec.convert(item, SavedSession)
            if saved.id > index:
                raise ValueError(f"session {saved.id} in a snapshot at {index}")
            sessions.install(saved)
        return len(sessions)

    read_chunks(directory, _SESSIONS, install, format=_SESSIONS_FORMAT)


def _read(directory: Directory) -> Surroundings:
    with directory.open(_FILE) as file:
        data = file.read()
    if data[1:2] and data[1] != FORMAT:
        raise ReplicaFault(f"{_FILE} has format {data[1]}; this version reads {FORMAT}")
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptData(_FILE, 0, f"not the state of a machine: {error}") from error


class _BackendDirectory:
    """A snapshot's directory without the files that are not the backend's."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def create(self, name: str) -> WritableFile:
        return self._directory.create(_allowed(name))

    def open(self, name: str) -> ReadableFile:
        return self._directory.open(_allowed(name))

    def names(self) -> list[str]:
        return [name for name in self._directory.names() if not name.startswith(RESERVED)]


class _RealBackendDirectory(_BackendDirectory):
    """The same for a directory with a path."""

    def __fspath__(self) -> str:
        path: Any = self._directory
        return str(path.__fspath__())


def backend_directory(directory: Directory) -> Directory:
    """What the backend gets to see of `directory`; an `os.PathLike` where that is one."""
    return _RealBackendDirectory(directory) if hasattr(directory, "__fspath__") else _BackendDirectory(directory)


def _allowed(name: str) -> str:
    if name.startswith(RESERVED):
        raise UsageError(f"a backend's snapshot has no file {name!r}: names with {RESERVED!r} are taken")
    return name
