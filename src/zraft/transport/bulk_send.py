"""Sends the files of a snapshot to a `bulk.Receiver`, from a worker thread.

The kernel carries them from the file to the socket (`os.sendfile`); where it cannot, they are read and written. Sockets
block, with short timeouts, so that being cancelled and a receiver that takes nothing are noticed. Names stay here: the
receiver is told the numbers of files, in an order that both sides know.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from zraft import limits
from zraft.errors import CorruptData, TransferError, UsageError
from zraft.transport.address import split_address
from zraft.transport.bulk_landing import storage_error
from zraft.transport.bulk_stream import make_blocking
from zraft.wire.bulk import End, FileEntry, Signal, check_files, check_positions, opening, part_header

_SLICE_MS: Final = 500
"""How long one call on the socket may wait."""
_STEPS_A_SECOND: Final = 20
"""With a rate, how many pieces a second is cut into."""
_COPY_BYTES: Final = 256 * limits.KIB
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MORE: Final = getattr(socket, "MSG_MORE", 0)
_NO_SENDFILE: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTSOCK})

_NO_READ: Final = frozenset({errno.EIO, errno.ESTALE, errno.EISDIR})
_SIGNALS: Final = {bytes((signal,)): signal for signal in Signal}

# What the receiver says, or None where it ends the connection instead -> reason, text, whether it may be resumed.
_SAID: Final[dict[Signal | None, tuple[End, str, bool]]] = {
    None: (End.CUT, "the receiver ended the connection", True),
    Signal.CUT: (End.CUT, "the receiver says that something is missing", True),
    Signal.DAMAGED: (End.DAMAGED, "the receiver says that a checksum is wrong", True),
    Signal.REFUSED: (End.PROTOCOL, "the receiver says that it did not ask for this", True),
    Signal.FAILED: (End.REFUSED, "the receiver cannot store it", False),
}


def send_files(
    address: str,
    token: bytes,
    folder: Path,
    files: Sequence[FileEntry],
    positions: Sequence[int],
    *,
    rate: int | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int], None] = lambda _sent: None,
    stalled_ms: int = limits.STALLED_MS,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Blocks until the receiver at `address` has said that it has everything, verified and durable.

    Sends `files` of `folder`, each from its place in `positions` on; returns how many bytes that were. `rate`: at most
    so many bytes a second, and not below `limits.BULK_RATE_MIN`. `is_cancelled` is asked about twice a second, more
    often while bytes flow; `on_progress` is told the bytes sent so far. A file must stay until this returns.

    Raises UsageError for arguments that cannot be, ProtocolError where `positions` are not of these files (they come
    from another node), StorageError where a file cannot be read (CorruptData where it has another size), and otherwise
    TransferError: `is_resumable` says whether trying again makes sense; where it then begins only the receiver knows.
    """
    if rate is not None and rate < limits.BULK_RATE_MIN:
        raise UsageError(f"a rate of {rate} bytes a second; at least {limits.BULK_RATE_MIN}")
    entries = check_files(files)
    places = check_positions(entries, positions)
    first = opening(token)
    pace = None if rate is None else Pace(rate, clock=clock, pause=pause)
    with _folder_of(folder) as source, _connection(address, stalled_ms) as connection:
        sender = _Sender(connection, pace, is_cancelled, on_progress, stalled_ms=stalled_ms, clock=clock)
        sender.open(first)
        for number, (name, size, _checksum) in enumerate(entries):
            if places[number] < size:
                with _file_of(source, folder / name, size) as file:
                    try:
                        sender.part(number, file, places[number], size)
                    except EOFError as error:
                        raise CorruptData(str(folder / name), size, "the file ends before its end") from error
        sender.end()
    return sender.sent


class Pace:
    """Keeps to `rate` bytes a second on average since it began; what was missed is not made up for by a burst."""

    def __init__(self, rate: int, *, clock: Callable[[], float], pause: Callable[[float], None]) -> None:
        self._rate, self._clock, self._pause = rate, clock, pause
        self.piece_bytes = min(limits.BULK_PIECE_BYTES, max(limits.BULK_TRICKLE_BYTES, rate // _STEPS_A_SECOND))
        self._due = clock()

    def sent(self, size: int) -> None:
        """Returns when the next piece may go."""
        now = self._clock()
        self._due = max(self._due, now - size / self._rate) + size / self._rate
        if self._due > now:
            self._pause(self._due - now)


class _Sender:
    """One connection, from its first byte to its verdict."""

    def __init__(
        self,
        connection: socket.socket,
        pace: Pace | None,
        is_cancelled: Callable[[], bool],
        on_progress: Callable[[int], None],
        *,
        stalled_ms: int,
        clock: Callable[[], float],
    ) -> None:
        self.sent = 0
        """Bytes of files."""
        self._connection, self._pace = connection, pace
        self._is_cancelled, self._on_progress, self._clock = is_cancelled, on_progress, clock
        self._stalled_ms = stalled_ms
        self._move = _by_kernel if hasattr(os, "sendfile") else _by_copy
        self._moved_at = clock()
        """When the receiver last took something worth the name, and what it has taken since."""
        self._moved_since = 0

    def open(self, first: bytes) -> None:
        """The receiver has taken the token."""
        self._send(first)
        if self._signal(self._stalled_ms) is not Signal.ACCEPTED:
            raise TransferError(End.REFUSED, "the receiver does not take the token", is_resumable=False)
        self._moved_at = self._clock()

    def part(self, number: int, file: int, offset: int, end: int) -> None:
        """The rest of one file. Raises EOFError where the file has none."""
        self._send(part_header(number, offset, end - offset), _MORE)
        at_most = limits.BULK_PIECE_BYTES if self._pace is None else self._pace.piece_bytes
        while offset < end:
            count = min(at_most, end - offset)
            moved = self._attempt(partial(self._move, self._connection, file, offset, count), count)
            offset += moved
            self.sent += moved
            if moved:
                self._on_progress(self.sent)
                if self._pace is not None:
                    self._pace.sent(moved)
                    self._moved_at = self._clock()

    def end(self) -> None:
        """Nothing more comes. Returns when the receiver has said that it has everything."""
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._lost(error)
        signal = self._signal(limits.BULK_VERDICT_MS)
        if signal is not Signal.DONE:
            self._told(signal)

    def _send(self, data: bytes, flags: int = 0) -> None:
        """All of a few bytes."""
        while data:
            data = data[self._attempt(partial(self._connection.send, data, flags), len(data)) :]

    def _attempt(self, call: Callable[[], int], asked: int) -> int:
        """How many of the bytes `asked` the `call` has moved: 0 where the receiver takes none at the moment."""
        self._check_wanted()
        try:
            moved = call()
        except BlockingIOError:
            moved = 0
        except OSError as error:
            if self._move is _by_copy or error.errno not in _NO_SENDFILE:
                self._lost(error)
            self._move = _by_copy
            return 0
        self._moved_since += moved
        if moved == asked or self._moved_since >= limits.BULK_TRICKLE_BYTES:
            self._moved_at, self._moved_since = self._clock(), 0
        elif self._clock() - self._moved_at >= self._stalled_ms / 1000:
            raise TransferError(End.STALLED, f"the receiver took nothing for {self._stalled_ms} ms")
        return moved

    def _signal(self, patience_ms: int) -> Signal | None:
        """What the receiver says next; None where it ends the connection, or says what nobody knows."""
        began = self._clock()
        while True:
            self._check_wanted()
            try:
                return _signal_in(self._connection.recv(1))
            except BlockingIOError:
                if self._clock() - began >= patience_ms / 1000:
                    raise TransferError(End.STALLED, f"the receiver says nothing for {patience_ms} ms") from None
            except OSError:
                return None

    def _check_wanted(self) -> None:
        if self._is_cancelled():
            raise TransferError(End.CANCELLED, "not wanted any more", is_resumable=False)

    def _lost(self, error: OSError) -> NoReturn:
        """The connection broke, or the file cannot be read. Where the receiver has said why, that is the reason."""
        if error.errno in _NO_READ:
            raise storage_error(error, "a file to be sent cannot be read") from error
        try:
            signal = _signal_in(self._connection.recv(1, socket.MSG_DONTWAIT))
        except OSError:
            signal = None
        if signal is not None:
            self._told(signal)
        raise TransferError(End.CUT, f"the connection broke: {error.strerror or error}") from error

    def _told(self, signal: Signal | None) -> NoReturn:
        reason, text, is_resumable = _SAID.get(signal, _SAID[None])
        raise TransferError(reason, text, is_resumable=is_resumable)


def _signal_in(data: bytes) -> Signal | None:
    return _SIGNALS.get(data)


def _by_kernel(connection: socket.socket, file: int, offset: int, count: int) -> int:
    moved = os.sendfile(connection.fileno(), file, offset, count)
    if not moved:
        raise EOFError
    return moved


def _by_copy(connection: socket.socket, file: int, offset: int, count: int) -> int:
    data = os.pread(file, min(count, _COPY_BYTES), offset)
    if not data:
        raise EOFError
    return connection.send(data)


@contextmanager
def _connection(address: str, stalled_ms: int) -> Iterator[socket.socket]:
    """A blocking socket whose calls end after `_SLICE_MS` at the latest."""
    try:
        connection = socket.create_connection(split_address(address), stalled_ms / 1000)
        try:
            make_blocking(connection, min(_SLICE_MS, stalled_ms))
        except OSError:
            connection.close()
            raise
    except OSError as error:
        raise TransferError(End.CUT, f"{address} cannot be reached: {error.strerror or error}") from error
    with connection:
        yield connection


@contextmanager
def _folder_of(folder: Path) -> Iterator[int]:
    try:
        source = os.open(folder, _FOLDER)
    except OSError as error:
        raise storage_error(error, f"the folder {folder} cannot be sent") from error
    try:
        yield source
    finally:
        os.close(source)


@contextmanager
def _file_of(source: int, path: Path, size: int) -> Iterator[int]:
    try:
        file = os.open(path.name, _READ, dir_fd=source)
    except OSError as error:
        raise storage_error(error, f"the file {path} cannot be sent") from error
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise CorruptData(str(path), min(found.st_size, size), f"{found.st_size} bytes, where {size} were promised")
        yield file
    finally:
        os.close(file)
