"""A blocking socket as the snapshot channel uses it: large reads by the kernel, and an end to every wait."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from typing import Final

from zraft import limits
from zraft.errors import TransferError
from zraft.wire.bulk import End, Signal

_SLICE_MS: Final = 500
_TIMEVAL: Final = struct.Struct("@ll")


def make_blocking(connection: socket.socket, at_most_ms: int) -> None:
    """Calls wait in the kernel, for `at_most_ms` and then raise BlockingIOError.

    Not Python's own timeout: that makes the socket non-blocking, and then the kernel can neither fill a large buffer
    in one call nor carry a file.
    """
    connection.settimeout(None)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        seconds, millis = divmod(max(1, at_most_ms), 1000)
        connection.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(seconds, millis * 1000))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Stream:
    """What one sender sends."""

    def __init__(
        self, connection: socket.socket, *, stalled_ms: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection, self._stalled_ms, self._clock = connection, stalled_ms, clock

    def accept(self) -> None:
        """The sender hears that its token is good. Raises TransferError where it has gone."""
        try:
            make_blocking(self._connection, min(_SLICE_MS, self._stalled_ms))
        except OSError as error:
            raise TransferError(End.CUT, f"the connection broke: {error.strerror or error}") from error
        self.say(Signal.ACCEPTED)

    def take(self, count: int) -> bytes:
        """The next bytes: `count` of them where they come fast, never more, at the end of the stream none or few.

        Raises TransferError where nothing, or next to nothing, comes for `stalled_ms`, or where the connection breaks.
        """
        parts: list[bytes] = []
        missing, enough = count, count - min(count, limits.BULK_TRICKLE_BYTES)
        began = self._clock()
        while missing > enough:
            try:
                data = self._connection.recv(missing, socket.MSG_WAITALL)
            except BlockingIOError:
                pass
            except OSError as error:
                raise TransferError(End.CUT, f"the connection broke: {error.strerror or error}") from error
            else:
                if not data:
                    break
                parts.append(data)
                missing -= len(data)
            if missing > enough and self._clock() - began >= self._stalled_ms / 1000:
                raise TransferError(End.STALLED, f"the sender sent nothing for {self._stalled_ms} ms")
        return b"".join(parts)

    def say(self, signal: Signal) -> None:
        """Tell the sender, where it still listens: whether it does shows elsewhere."""
        try:
            self._connection.send(bytes((signal,)))
        except OSError:
            pass
