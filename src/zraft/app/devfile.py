"""`.zraft-dev.json`: how other commands find the cluster that `zraft dev` runs in the same folder.

The file is locked for as long as that process lives and removed at its end. One that is not locked is left over from a
process that was killed: it names nobody.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, Final

import msgspec

from zraft.app.processes import lock_file, unlock_file
from zraft.errors import ZraftError
from zraft.types import PeerId

NAME: Final = ".zraft-dev.json"


class DevRuns(ZraftError):
    """Another `zraft dev` runs in this folder."""


class _Content(msgspec.Struct, frozen=True):
    pid: int
    peers: list[str]


class DevFile:
    """The file of this process, in the current folder. A context manager; raises `DevRuns`."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None

    def __enter__(self) -> DevFile:
        self._file = lock_file(Path(NAME))
        if self._file is None:
            raise DevRuns(f"zraft dev{_pid_of(_read())} runs in this folder already: stop it, or use another folder")
        self._write(b"")
        return self

    def name(self, peers: list[PeerId]) -> None:
        """From now on other commands talk to these."""
        self._write(msgspec.json.encode(_Content(os.getpid(), [str(peer) for peer in peers])) + b"\n")

    def _write(self, data: bytes) -> None:
        if self._file is not None:
            self._file.truncate(0)
            self._file.write(data)
            self._file.flush()

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            unlock_file(self._file)
            self._file = None


def running_peers() -> tuple[list[PeerId], str]:
    """The peers of the cluster that `zraft dev` runs in this folder, or none and why; "" where there was no file."""
    try:
        with open(NAME, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                content = _read()
            else:
                return [], f"{NAME} here is left over: its zraft dev{_pid_of(_read())} runs no longer"
    except OSError:
        return [], ""
    if content is None:
        return [], "zraft dev is starting in this folder: try again in a moment"
    return [PeerId.parse(peer) for peer in content.peers], ""


def _read() -> _Content | None:
    try:
        return msgspec.json.decode(Path(NAME).read_bytes(), type=_Content)
    except (OSError, msgspec.DecodeError):
        return None


def _pid_of(content: _Content | None) -> str:
    return f" (pid {content.pid})" if content is not None else ""
