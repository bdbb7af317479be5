"""The door of the snapshot channel: strangers come in, say their token, and are handed over or closed.

All strangers share one thread and never block it. Each costs a descriptor and at most one opening of memory, for a
bounded time; when the places are taken the oldest goes, because an honest opening is the first packet of a connection.
Nobody is answered here: who has no token learns nothing but that something listens.
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from zraft.errors import AddressInUse, ConfigError, ProtocolError
from zraft.transport.address import join_address
from zraft.transport.counters import TransferCounters
from zraft.wire.bulk import OPENING_BYTES, End, token_of

LOG: Final = logging.getLogger("zraft.transport")

Admit: TypeAlias = Callable[[bytes, socket.socket, str], bool]

_BACKLOG: Final = 128
_BREATH_S: Final = 0.5
"""How long nobody is accepted after the system had no descriptor left for it."""


@dataclass(slots=True, eq=False)
class _Stranger:
    connection: socket.socket
    remote: str
    deadline: float
    said: bytes = b""


class Door:
    """One listening socket and its thread."""

    def __init__(
        self, host: str, port: int, *, strangers: int, opening_ms: int, admit: Admit, counters: TransferCounters
    ) -> None:
        """Listens; nobody is accepted before `start`. Raises AddressInUse or ConfigError.

        `admit` is called in the thread of the door with a token, a connection and its address for logs. True: the
        connection is the callee's. It must not wait.
        """
        self._most, self._opening_s, self._admit, self._counters = strangers, opening_ms / 1000, admit, counters
        self._listening = _listening(host, port)
        self.port: int = self._listening.getsockname()[1]
        self._strangers: dict[_Stranger, None] = {}
        """Oldest first, which is also the order of their deadlines."""
        self._resumes_at: float | None = None
        """Set: nobody is accepted before."""
        self._wakes, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"zraft-bulk-door {self.port}", daemon=True)

    def start(self) -> None:
        """Strangers are accepted."""
        self._thread.start()

    def close(self) -> None:
        """Nothing listens, and no stranger is left. May be called twice."""
        if not self._is_closed:
            self._is_closed = True
            self._wakes.send(b"x")
            self._thread.join()
            self._wakes.close()
            self._woken.close()

    def _run(self) -> None:
        try:
            while not self._is_closed:
                self._turn()
        except Exception as bug:
            LOG.critical("snapshots are not received any more", exc_info=bug)
        finally:
            for stranger in list(self._strangers):
                self._turn_away(stranger, End.CANCELLED, "this node stops")
            self._selector.close()
            self._listening.close()

    def _turn(self) -> None:
        """Wait for something, and see to it."""
        deadlines = [stranger.deadline for stranger in self._strangers][:1]
        if self._resumes_at is not None:
            deadlines.append(self._resumes_at)
        wait = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        for key, _events in self._selector.select(wait):
            if key.fileobj is self._listening:
                self._accept()
            elif isinstance(key.data, _Stranger):
                self._listen(key.data)
        now = time.monotonic()
        for stranger in list(self._strangers):
            if stranger.deadline > now:
                break
            self._turn_away(stranger, End.SLOW, "it did not say its token in time")
        if self._resumes_at is not None and self._resumes_at <= now:
            self._resumes_at = None
            self._selector.register(self._listening, selectors.EVENT_READ)

    def _accept(self) -> None:
        try:
            connection, address = self._listening.accept()
        except (BlockingIOError, ConnectionError):
            return  # gone again
        except OSError as error:
            LOG.warning("cannot accept a transfer: %s", error.strerror or error)
            self._counters.turned_away[End.BUSY] += 1
            self._selector.unregister(self._listening)
            self._resumes_at = time.monotonic() + _BREATH_S
            return
        connection.setblocking(False)
        stranger = _Stranger(connection, join_address(*address[:2]), time.monotonic() + self._opening_s)
        self._strangers[stranger] = None
        self._selector.register(connection, selectors.EVENT_READ, stranger)
        if len(self._strangers) > self._most:
            self._turn_away(next(iter(self._strangers)), End.BUSY, "too many others came after it")

    def _listen(self, stranger: _Stranger) -> None:
        if stranger not in self._strangers:
            return  # turned away in this same turn
        try:
            data = stranger.connection.recv(OPENING_BYTES - len(stranger.said))
        except BlockingIOError:
            return
        except OSError as error:
            self._turn_away(stranger, End.CUT, error.strerror or str(error))
            return
        stranger.said += data
        try:
            token = token_of(stranger.said)
        except ProtocolError as error:
            self._turn_away(stranger, End.PROTOCOL, str(error))
            return
        if not data:
            self._turn_away(stranger, End.CUT, "it ended before its token")
        elif token is not None:
            self._let_go(stranger)
            if not self._admit(token, stranger.connection, stranger.remote):
                self._close(stranger, End.TOKEN, "its token is unknown or used up")

    def _turn_away(self, stranger: _Stranger, end: End, why: str) -> None:
        self._let_go(stranger)
        self._close(stranger, end, why)

    def _let_go(self, stranger: _Stranger) -> None:
        del self._strangers[stranger]
        self._selector.unregister(stranger.connection)

    def _close(self, stranger: _Stranger, end: End, why: str) -> None:
        self._counters.turned_away[end] += 1
        LOG.info("%s: no transfer (%s): %s", stranger.remote, end, why)
        stranger.connection.close()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(f"another process listens on {join_address(host, port)}") from error
        text = f"cannot listen on {join_address(host, port)}: {error.strerror or error}"
        raise ConfigError([f"snapshot_listener_addr: {text}"]) from error
    return listening
